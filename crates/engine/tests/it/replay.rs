//! Sessions played again.

use are_core::journal::{Entry, Frame};
use are_engine::api::Target;
use are_policy::rules::{Profile, Rules};
use are_testkit::script::{Say, ScriptedModels, call, last_words, results_so_far, say};
use serde_json::json;

use crate::support::{Seen, World, caller, ends, follow, is, new, prompt, turn};

fn busy() -> ScriptedModels {
    ScriptedModels::new(|request| match results_so_far(request) {
        0 => vec![Say::Token("a ".to_owned()), call("read", &json!({ "x": 1 })), call("read", &json!({ "x": 2 }))],
        2 => vec![call("send", &json!({ "x": 3 })), call("no_such", &json!({}))],
        4 => vec![call("remember", &json!({ "x": 4 }))],
        _ => say("the end"),
    })
}

#[tokio::test]
async fn a_session_replays_to_the_same_records() {
    let world = World::new(busy());
    let engine = world.engine().await;
    let (session, seen) = turn(&engine, new(), "go").await;
    turn(&engine, are_engine::api::Target::Session(session), "again").await;
    let report = engine.replay(&caller("alice"), session, None, false).await.unwrap();
    assert_eq!(report.difference, None);
    assert!(report.derived > 20, "{report:?}");
    assert!(seen.text.ends_with("the end"));
}

#[tokio::test]
async fn under_one_changed_rule_the_first_differing_decision_is_named() {
    let world = World::new(busy());
    let engine = world.engine().await;
    let (session, seen) = turn(&engine, new(), "go").await;
    let rule = r#"@id("no-sending") forbid(principal, action, resource == Tool::"send");"#;
    let rules = Rules::new(Profile::Observe, &[("rules.cedar".to_owned(), rule.to_owned())]).unwrap();
    let report = engine.replay(&caller("alice"), session, Some(rules), false).await.unwrap();
    let difference = report.difference.unwrap();
    let sent = seen.entries.iter().find_map(|entry| match entry {
        are_core::journal::Entry::Record(record, _) => match &record.body {
            are_core::body::Body::Decision { call: 3, .. } => Some(record.seq),
            _ => None,
        },
        are_core::journal::Entry::Frame(..) => None,
    });
    assert_eq!((Some(difference.seq), difference.action.as_str()), (sent, "decision"));
    assert!(difference.regenerated.contains("no-sending"), "{}", difference.regenerated);
}

#[tokio::test]
async fn another_engine_version_is_verified_and_reexecuted_only_when_asked() {
    let world = World::new(busy());
    let engine = world.engine().await;
    let (session, _) = turn(&engine, new(), "go").await;
    engine.shutdown(1_000).await;
    drop(engine);
    let mut settings = world.settings();
    settings.version = "next".to_owned();
    let engine = are_engine::engine::Engine::start(world.ports(), settings).await.unwrap();
    let report = engine.replay(&caller("alice"), session, None, false).await.unwrap();
    assert_eq!((report.derived, report.difference.clone()), (0, None));
    assert!(report.verified_only > 10, "{report:?}");
    let report = engine.replay(&caller("alice"), session, None, true).await.unwrap();
    assert_eq!((report.verified_only, report.difference), (0, None));
}

#[tokio::test]
async fn a_session_whose_answers_and_calls_were_cut_short_replays_to_the_same_records() {
    let world = World::new(ScriptedModels::new(|request| match last_words(request) {
        "talk" => vec![Say::Token("On and ".to_owned()), Say::Hold],
        "act" => vec![call("hold_send", &json!({})), call("wait", &json!({}))],
        _ => say("Fine."),
    }));
    let engine = world.engine().await;
    let alice = caller("alice");
    let session = engine.create(&alice, are_engine::api::NewSession::default()).await.unwrap();
    let (_, mut tail) = engine.attach(&alice, session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    let is_token = |entry: &Entry| matches!(entry, Entry::Frame(_, Frame::Token { .. }));
    // A steer, then a stop, in the middle of an answer; a stop while a tool runs.
    for words in ["talk", "talk", "act"] {
        engine.prompt(&alice, Target::Session(session), prompt(words)).await.unwrap();
        match (words, seen.bodies("turn_started").len()) {
            ("talk", 0) => {
                follow(&mut tail, &mut seen, is_token).await;
                engine.steer(&alice, session, 1, prompt("other").content).await.unwrap();
                follow(&mut tail, &mut seen, ends(1)).await;
            }
            ("talk", _) => {
                follow(&mut tail, &mut seen, is_token).await;
                engine.cancel(&alice, session, 2).await.unwrap();
                follow(&mut tail, &mut seen, ends(2)).await;
            }
            _ => {
                follow(&mut tail, &mut seen, is("tool_started")).await;
                engine.cancel(&alice, session, 3).await.unwrap();
                follow(&mut tail, &mut seen, ends(3)).await;
            }
        }
    }
    let cut = ["steered", "turn_cancelled", "tool_unknown"].map(|action| seen.bodies(action).len());
    assert_eq!(cut, [1, 2, 1], "{:?}", seen.actions());
    let report = engine.replay(&alice, session, None, false).await.unwrap();
    assert_eq!(report.difference, None);
    assert!(report.derived >= 8, "{report:?}");
}
