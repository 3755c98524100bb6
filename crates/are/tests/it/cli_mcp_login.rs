//! Logins at servers of tools, as a person goes through them: by a browser of this machine, and by hand.

use std::process::Stdio;

use are_testkit::oauth::{Manner, OauthServer};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::Child;

use crate::cli_stage::Stage;

async fn stage(server: &OauthServer) -> Stage {
    let mut stage = Stage::new().await;
    stage.set("ARE_POLICY", "observe").set("ARE_EGRESS_PRIVATE", &server.place());
    stage
}

/// The address that a person is told to open.
async fn address(child: &mut Child) -> String {
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    while let Some(line) = lines.next_line().await.expect("readable") {
        if line.starts_with("http://") {
            // What else is said goes where nobody reads it.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return line;
        }
    }
    panic!("no address is told");
}

/// What a browser is shown at an address.
async fn browse(address: &str) -> String {
    let rest = address.strip_prefix("http://").expect("an address");
    let (host, path) = rest.split_once('/').expect("a path");
    let mut stream = TcpStream::connect(host).await.expect("somebody listens");
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut page = String::new();
    stream.read_to_string(&mut page).await.expect("a page");
    page
}

/// Logs in by pasting what `answer` makes of the address that is told; the exit code.
async fn log_in(stage: &Stage, wish: &[&str], answer: &dyn Fn(&str) -> String) -> Option<i32> {
    let mut child = stage.command(wish).stdin(Stdio::piped()).spawn().expect("the program starts");
    let page = address(&mut child).await;
    let mut pipe = child.stdin.take().expect("a pipe");
    pipe.write_all(format!("{}\n", answer(&page)).as_bytes()).await.expect("it reads");
    drop(pipe);
    child.wait().await.expect("it ends").code()
}

/// The steps of logins that are on record.
async fn steps(stage: &Stage) -> Vec<String> {
    let records = stage.run(&["audit", "export"]).await.exits(0);
    let records = records.stdout.lines().filter(|line| line.contains("server_login"));
    let step = |line: &str| {
        let record: Value = serde_json::from_str(line).expect(line);
        let find = |value: &Value| value["step"].as_str().map(str::to_owned);
        find(&record).or_else(|| record.as_object()?.values().find_map(find)).expect(line)
    };
    records.map(step).collect()
}

/// Nothing that was given to the client alone stands in what people are shown.
fn shows_no_token(server: &OauthServer, shown: &str) {
    assert!(server.given().iter().all(|given| !shown.contains(given.as_str())), "{shown}");
}

#[tokio::test]
async fn a_person_logs_in_with_their_browser_and_everything_is_on_record_but_what_that_brings() {
    let server = OauthServer::start(Manner::default()).await;
    let stage = stage(&server).await;
    let url = server.url();
    let refused = stage.run(&["mcp", "add", "far", &url, "--yes"]).await.exits(5);
    assert!(refused.stderr.contains("ARE-0544") && refused.stderr.contains("are mcp login far"), "{}", refused.stderr);

    let mut child = stage.command(&["mcp", "login", "far", &url, "--json"]).spawn().expect("the program starts");
    let page = address(&mut child).await;
    let callback = server.agree(&page);
    let wrong = browse(&callback.replace("state=", "state=x")).await;
    assert!(wrong.starts_with("HTTP/1.1 400"), "{wrong}");
    let right = browse(&callback).await;
    assert!(right.starts_with("HTTP/1.1 200") && right.contains("has arrived"), "{right}");
    let output = child.wait_with_output().await.expect("it ends");
    assert!(output.status.success());
    let done: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(done, json!({"scopes": ["read"], "expires_in_ms": 3_600_000, "renews": true}));

    let added = stage.run(&["mcp", "add", "far", &url, "--yes"]).await.exits(0);
    let called = stage.run(&["tool", "call", "far_look", "--json"]).await.exits(0);
    assert_eq!(called.json()["result"], json!({"text": "\"look\" by Bearer [secret]"}), "{}", called.stdout);
    // Another process has only what is kept: it renews what is not taken any more.
    server.expire();
    let again = stage.run(&["tool", "call", "far_look", "--json"]).await.exits(0);
    let short = stage.run(&["tool", "call", "far_change"]).await.exits(5);
    assert!(short.stderr.contains("ARE-0544") && short.stderr.contains("`write`"), "{}", short.stderr);
    let listed = stage.run(&["mcp", "list"]).await.exits(0);
    assert!(listed.stderr.contains("may do more"), "{}", listed.stderr);
    let one = stage.run(&["mcp", "list", "--json"]).await.exits(0).json();
    assert_eq!(one["servers"][0]["login"], "short", "{one}");
    let secrets = stage.run(&["secret", "list"]).await.exits(0);
    assert!(
        secrets.stdout.contains("mcp-token-far-") && secrets.stdout.contains(&server.place()),
        "{}",
        secrets.stdout
    );
    assert_eq!(steps(&stage).await, ["begun", "done"]);
    let exported = stage.run(&["audit", "export"]).await.exits(0);
    for shown in [&added, &called, &again, &short, &listed, &secrets, &exported] {
        shows_no_token(&server, &format!("{}{}", shown.stdout, shown.stderr));
    }

    stage.run(&["mcp", "logout", "far"]).await.exits(0);
    let needed = stage.run(&["mcp", "list"]).await.exits(0);
    assert!(needed.stderr.contains("asks for a login: `are mcp login far`"), "{}", needed.stderr);
    stage.run(&["tool", "call", "far_look"]).await.exits(1);
    stage.run(&["mcp", "logout", "far"]).await.exits(1);
    assert_eq!(steps(&stage).await, ["begun", "done", "ended"]);
}

#[tokio::test]
async fn a_person_whose_browser_is_elsewhere_pastes_where_it_was_sent_and_failures_are_on_record() {
    let server = OauthServer::start(Manner::default()).await;
    let stage = stage(&server).await;
    let url = server.url();
    let log_in = async |answer: &dyn Fn(&str) -> String| {
        let wish = ["mcp", "login", "far", &url, "--no-browser", "--scope", "read", "--scope", "write"];
        log_in(&stage, &wish, answer).await
    };
    assert_eq!(log_in(&|page| server.refuse(page)).await, Some(1));
    assert_eq!(log_in(&|page| server.agree(page).replace("state=", "state=x")).await, Some(1));
    assert_eq!(log_in(&|_| String::new()).await, Some(1));
    assert_eq!(log_in(&|page| server.agree(page)).await, Some(0));
    assert_eq!(steps(&stage).await, ["begun", "failed", "begun", "failed", "begun", "begun", "done"]);
    stage.run(&["mcp", "add", "far", &url, "--yes"]).await.exits(0);
    stage.run(&["tool", "call", "far_change"]).await.exits(0);

    // A renewal that fails is on record too, and the next step is told.
    server.expire();
    server.refuse_renewals();
    let ended = stage.run(&["tool", "call", "far_look"]).await.exits(5);
    assert!(ended.stderr.contains("are mcp login far"), "{}", ended.stderr);
    assert_eq!(steps(&stage).await.last().map(String::as_str), Some("not_renewed"));
    let listed = stage.run(&["mcp", "list"]).await.exits(0);
    assert!(listed.stderr.contains("asks for a login"), "{}", listed.stderr);
    // Removing the server forgets the login.
    stage.run(&["mcp", "remove", "far"]).await.exits(0);
    let secrets = stage.run(&["secret", "list"]).await.exits(0);
    assert!(!secrets.stdout.contains("mcp-"), "{}", secrets.stdout);
}

#[tokio::test]
async fn nobody_logs_in_at_what_is_no_server_on_a_network() {
    let stage = Stage::new().await;
    let unknown = stage.run(&["mcp", "login", "far"]).await.exits(1);
    assert!(unknown.stderr.contains("ARE-0542"), "{}", unknown.stderr);
    let private = stage.run(&["mcp", "login", "far", "http://127.0.0.1:9/mcp"]).await.exits(1);
    assert!(private.stderr.contains("ARE-0508"), "{}", private.stderr);
    stage.run(&["mcp", "login", "far", "https://example.com/mcp", "--client-secret", "x"]).await.exits(2);
    assert_eq!(steps(&stage).await, ["begun", "failed"]);
}

#[tokio::test]
async fn a_running_server_serves_and_ceases_to_serve_as_somebody_logs_in_and_out() {
    let server = OauthServer::start(Manner::default()).await;
    let stage = stage(&server).await;
    let serving = stage.serve(&[]).await;
    let url = server.url();
    let wish = ["mcp", "login", "far", &url, "--no-browser"];
    assert_eq!(log_in(&stage, &wish, &|page| server.agree(page)).await, Some(0));
    stage.run(&["mcp", "add", "far", &url, "--yes"]).await.exits(0);
    let lists = async || stage.run(&["tool", "list"]).await.exits(0).stdout.contains("far_look");
    assert!(lists().await);
    stage.run(&["mcp", "logout", "far"]).await.exits(0);
    assert!(!lists().await, "at once");
    let told = stage.run(&["tool", "list"]).await.exits(0);
    assert!(told.stderr.contains("asks for a login"), "{}", told.stderr);
    // It is added now, so its name says which it is.
    assert_eq!(log_in(&stage, &["mcp", "login", "far", "--no-browser"], &|page| server.agree(page)).await, Some(0));
    assert!(lists().await, "at once");
    stage.run(&["tool", "call", "far_look"]).await.exits(0);
    serving.terminate().await;
}
