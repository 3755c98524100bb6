//! A known secret that a model, a tool or a user says is kept nowhere and told nobody.

use std::path::Path;

use are_core::model::{ModelRequest, RawCall, Reasoning};
use are_testkit::script::{Say, ScriptedModels, results_so_far, say};
use are_testkit::tools::CountedTools;
use serde_json::json;

use crate::fixture::{Fixture, Plan};

const KEY: &str = "sk-live-0123456789abcdef";
/// Begins with the other one.
const LONGER: &str = "sk-live-0123456789abcdefghijklmnopqrstuvwxyz";
/// What no store, frame or export may hold: the end of the longer key, which cleaning
/// the shorter one alone would leave, and the key as JSON would spell it.
const FORBIDDEN: [&str; 3] = [KEY, "ghijklmnopqrstuvwxyz", "u0073k-live-0123456789"];

/// Says the key in every way that is open to a model.
fn talkative(request: &ModelRequest) -> Vec<Say> {
    if results_so_far(request) > 0 {
        return say("that was all");
    }
    let thought = |text: &str, opaque: Option<&str>| {
        Say::Thought(Reasoning { text: text.to_owned(), opaque: opaque.map(str::to_owned) })
    };
    let call = |tool: &str, arguments: String| Say::Call(RawCall { name: tool.to_owned(), arguments });
    let escaped = KEY.replacen('s', "\\u0073", 1);
    vec![
        thought("the key is sk-live-0123", None),
        thought("456789abcdefgh", None),
        thought("ijklmnopqrstuvwxyz!", Some(&format!(r#"{{"signature":"{escaped}"}}"#))),
        thought("no key", Some("signed and sealed")),
        Say::Token("it is sk-li".to_owned()),
        Say::Token("ve-0123456789abcdef".to_owned()),
        Say::Token("ghijklmnopqrst".to_owned()),
        Say::Token("uvwxyz, or not".to_owned()),
        call("read", format!(r#"{{"x":"plain {KEY}"}}"#)),
        call("read", format!(r#"{{"x":["escaped {escaped}"]}}"#)),
        call("read", format!(r#"{{"x":{{"{escaped}":1}}}}"#)),
        call("read", format!(r#"{{"x":"broken {escaped}"#)),
        call("read", r#"{"x":"sk-live-0123${var:rest}"}"#.to_owned()),
        call("remember", format!(r#"{{"x":"bound {escaped}"}}"#)),
    ]
}

#[tokio::test]
async fn a_key_said_by_model_tool_or_user_reaches_no_file_frame_or_export() {
    let models = ScriptedModels::new(talkative);
    let tools = CountedTools::saying(&["out sk-live-01", "23456789abcdef", "ghijklmnopqrstuvwxyz."]);
    let secrets = vec![KEY.to_owned(), LONGER.to_owned()];
    let are = Fixture::planned(Plan { models, tools, secrets, ..Plan::default() }).await;
    are.api("PUT", "/api/variables/rest", Some(json!("456789abcdef"))).await;
    are.api("PUT", "/api/variables/whole", Some(json!({KEY: format!("my {LONGER}")}))).await;

    let mut client = are.v2().await;
    client.send(json!({"type": "prompt", "content": format!("use {KEY} please")})).await;
    let frames = client.until_type("turn_completed").await;
    let session = frames[0]["session"].as_str().unwrap().to_owned();
    let mut told = vec![json!(frames).to_string()];
    // Tokens and pieces by themselves do not show what a reader puts together of them.
    told.push(crate::fixture::text_of(&frames));
    for kind in ["reasoning", "tool_output"] {
        let pieces = frames.iter().filter(|frame| frame["type"] == kind);
        told.push(pieces.filter_map(|frame| frame["text"].as_str()).collect());
    }
    let mut plain = are.v1().await;
    plain.send(json!({"prompt": "and again"})).await;
    loop {
        let text = plain.text().await;
        if text.is_empty() {
            break;
        }
        told.push(text);
    }
    for path in ["/events", "/export", ""] {
        told.push(are.api("GET", &format!("/api/sessions/{session}{path}"), None).await.1.to_string());
    }
    told.push(are.api("GET", "/api/variables", None).await.1.to_string());
    told.push(json!(are.models.requests()).to_string());

    for text in &told {
        assert!(!FORBIDDEN.iter().any(|part| text.contains(part)), "{text}");
    }
    assert_eq!(told[1], "it is [secret removed], or notthat was all");
    assert_eq!(told[2], "the key is [secret removed]!no key");
    assert!(told[3].contains("out [secret removed]."), "{}", told[3]);
    // A signature over words that were changed is dropped, any other one is kept.
    assert!(told[0].contains("signed and sealed") && !told[0].contains("signature"));
    let results: Vec<_> = frames.iter().filter(|frame| frame["type"] == "tool_completed").collect();
    let seen: Vec<_> = results.iter().map(|frame| frame["result"]["x"].to_string()).collect();
    let cleaned = [
        r#""plain [secret removed]""#,
        r#"["escaped [secret removed]"]"#,
        r#"{"[secret removed]":1}"#,
        r#""bound [secret removed]""#,
    ];
    assert_eq!(seen, cleaned);
    let dir = are.end().await;
    let mut searched = 0;
    search(dir.path(), &mut searched);
    assert!(searched > 0);
}

/// No file below `dir` holds what is forbidden; something was removed from one of them.
fn search(dir: &Path, searched: &mut usize) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            search(&path, searched);
        } else if let Ok(bytes) = std::fs::read(&path) {
            let text = String::from_utf8_lossy(&bytes);
            assert!(!FORBIDDEN.iter().any(|part| text.contains(part)), "{}", path.display());
            *searched += usize::from(text.contains("[secret removed]"));
        }
    }
}
