//! What shows how a server and its sessions do: figures, the timeline of a session, the log's filter while it runs.

use are_testkit::provider::Reply;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::cli_stage::Stage;
use crate::fixture::Fixture;

/// The value of a figure on the page.
fn figure(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[tokio::test]
async fn figures_count_what_sessions_stored_and_name_nobody() {
    let are = Fixture::start().await;
    let token = are.token_of("mallory-the-account", &["read", "prompt"]).await;
    let mut client = are.open(Some("are.v2"), &token).await;
    for words in ["say one-two-three", "call put", "fail"] {
        client.send(json!({"type": "prompt", "content": words})).await;
        loop {
            let event = client.json().await;
            if event["type"] == "turn_completed" || event["type"] == "turn_failed" {
                break;
            }
        }
    }
    let (status, page) = are.ask("GET /metrics", &[]).await;
    assert_eq!(status, 200);
    for (name, at_least) in [
        ("are_ready", 1.0),
        ("are_sockets", 1.0),
        ("are_turns_total{outcome=\"completed\"}", 2.0),
        ("are_turns_total{outcome=\"failed\"}", 1.0),
        ("are_turns_running", 0.0),
        ("are_turn_seconds_count", 3.0),
        ("are_model_requests_total{provider=\"test\"}", 4.0),
        ("are_model_answers_total{provider=\"test\"}", 3.0),
        ("are_model_first_token_seconds_count{provider=\"test\"}", 1.0),
        ("are_tokens_total{provider=\"test\",kind=\"input\"}", 0.0),
        ("are_journal_records_total", 10.0),
        ("are_journal_frames_total", 1.0),
        ("process_resident_memory_bytes", 1.0),
    ] {
        let value = figure(&page, name).unwrap_or_else(|| panic!("{name}:\n{page}"));
        assert!(value >= at_least, "{name} is {value}:\n{page}");
    }
    let decided: f64 = ["allow", "ask", "deny"]
        .iter()
        .filter_map(|outcome| figure(&page, &format!("are_decisions_total{{outcome=\"{outcome}\"}}")))
        .sum();
    assert!(decided >= 1.0, "{page}");
    for word in ["mallory", "one-two-three", "session=", "account=", "tool="] {
        assert!(!page.contains(word), "{word}:\n{page}");
    }
    assert!(page.trim_end().ends_with("# EOF"), "a whole page:\n{page}");
    are.end().await;
}

#[tokio::test]
async fn a_timeline_shows_where_the_time_of_each_turn_went() {
    let mut stage = Stage::new().await;
    stage.set("ARE_POLICY", "observe");
    stage.write("project/notes.txt", "a note");
    stage.provider().script([
        Reply::call("fs_read", &json!({"path": "notes.txt"})),
        Reply::call("fs_read", &json!({"path": "none.txt"})),
        Reply::text(["It is a note."]),
        Reply::text(["Bye."]),
    ]);
    stage.run(&["run", "what do the notes say?"]).await.exits(0);
    let key = stage.latest().await;
    stage.run(&["run", "--session", &key, "\u{1b}[31mbye"]).await.exits(0);
    let told = stage.run(&["session", "show", &key, "--timeline", "--json"]).await.exits(0).json();
    let spans = told["spans"].as_array().expect("spans");
    let of = |kind: &str| spans.iter().filter(|span| span["kind"] == kind).collect::<Vec<_>>();
    assert_eq!((of("turn").len(), of("model").len(), of("tool").len()), (2, 4, 2), "{told}");
    for span in spans {
        assert!(span["end_ms"].as_u64() >= span["start_ms"].as_u64() && span["end_ms"].is_u64(), "{span}");
    }
    assert_eq!(of("turn")[0]["name"], "what do the notes say?");
    let ended: Vec<&str> = of("tool").iter().filter_map(|span| span["status"].as_str()).collect();
    assert_eq!(ended[0], "completed");
    assert!(ended[1].starts_with("failed, ARE-"), "{ended:?}");
    assert!(of("model").iter().all(|span| span["usage"]["output_tokens"].is_u64()), "{told}");
    let shown = stage.run(&["session", "show", &key, "--timeline"]).await.exits(0).stdout;
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 8, "{shown}");
    assert!(lines[0].starts_with("turn 1 ") && lines[6].starts_with("turn 2 "), "{shown}");
    assert!(lines[2].contains("tool fs_read #") && lines[2].contains('█'), "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown}");
}

#[tokio::test]
async fn a_server_logs_otherwise_from_when_it_is_told_to() {
    let mut stage = Stage::new().await;
    let refused = stage.run(&["config", "log"]).await.exits(5);
    assert!(refused.stderr.contains("no server runs"), "{}", refused.stderr);
    stage.set("ARE_LOG", "warn");
    let log = stage.home().join("log");
    let file = std::fs::File::create(&log).expect("a file");
    let mut server = stage.command(&["start", "--port", "0"]).stderr(file).spawn().expect("the program starts");
    let mut ready = BufReader::new(server.stdout.take().expect("a pipe")).lines();
    ready.next_line().await.expect("readable").expect("a ready line");
    let lines = || std::fs::read_to_string(&log).expect("a log").lines().count();
    assert_eq!(stage.run(&["config", "log"]).await.exits(0).stdout, "warn\n");
    stage.provider().script([Reply::text(["one"]), Reply::text(["two"])]);
    stage.run(&["run", "one"]).await.exits(0);
    let before = lines();
    for wrong in ["are_engine=loudly", &"x,".repeat(2_000)] {
        let refused = stage.run(&["config", "log", wrong]).await;
        assert!(refused.code != Some(0) && refused.stderr.contains("ARE-0002"), "{}", refused.stderr);
    }
    let told = stage.run(&["config", "log", "trace", "--json"]).await.exits(0).json();
    assert_eq!(told["filter"], "trace");
    stage.run(&["run", "two"]).await.exits(0);
    // More than the line that says so.
    assert!(lines() > before + 1, "it logs more: {before}, then {}", lines());
    let text = std::fs::read_to_string(&log).expect("a log");
    assert!(!text.contains("sk-stage-secret"), "whatever its level");
    let pid = server.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())).expect("it runs");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it can be signalled");
    assert_eq!(server.wait().await.expect("it ends").code(), Some(0));
}
