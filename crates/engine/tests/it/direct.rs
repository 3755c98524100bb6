//! Calls that somebody makes without a model.

use are_core::body::{Body, Outcome};
use are_core::canonical::Args;
use are_core::error::Code;
use are_core::ids::SessionKey;
use are_core::model::Message;
use are_engine::api::{Called, DirectCall, IfBusy, Target};
use are_engine::engine::Engine;
use are_policy::rules::{Profile, Rules};
use are_testkit::script::{ScriptedModels, say};
use serde_json::{Value, json};

use crate::support::{Seen, World, caller, ends, follow, headless, is, new, prompt, turn};

fn silent() -> ScriptedModels {
    ScriptedModels::new(|_| panic!("a direct call asks no model"))
}

fn direct(target: Target, tool: &str, args: &Value) -> DirectCall {
    DirectCall {
        target,
        request_id: None,
        tool: tool.parse().unwrap(),
        args: Args::from_value(args).unwrap(),
        if_busy: IfBusy::Reject,
        waits: false,
    }
}

async fn seen(engine: &Engine, session: SessionKey, turn: u32) -> Seen {
    let (_, mut tail) = engine.attach(&caller("alice"), session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, ends(turn)).await;
    seen
}

#[tokio::test]
async fn a_direct_call_is_decided_recorded_and_replayed_like_any() {
    let world = World::new(silent()).with_profile(Profile::Strict);
    let engine = world.engine().await;
    let call = direct(new(), "read", &json!({"x": 5}));
    let Called { session, turn, call, value, labels } = engine.call_tool(&caller("alice"), call).await.unwrap();
    assert_eq!((turn, call, value), (1, 1, json!({"did": "read", "x": 5})));
    assert!(labels.contains_key(""));
    let seen = seen(&engine, session, turn).await;
    let expected = [
        "session_created",
        "turn_started",
        "direct_requested",
        "tool_requested",
        "decision",
        "tool_started",
        "tool_completed",
        "turn_completed",
    ];
    assert_eq!(seen.actions(), expected);
    let report = engine.replay(&caller("alice"), session, None, false).await.unwrap();
    assert_eq!((report.difference, report.derived), (None, 5));
    assert_eq!(world.tools.begun("read"), [1]);

    let rule = r#"@id("no-reading") forbid(principal, action, resource == Tool::"read");"#;
    let rules = Rules::new(Profile::Strict, &[("rules.cedar".to_owned(), rule.to_owned())]).unwrap();
    let difference = engine.replay(&caller("alice"), session, Some(rules), false).await.unwrap().difference.unwrap();
    assert_eq!(difference.action, "decision");
}

#[tokio::test]
async fn to_call_is_to_ask_and_to_approve_for_whoever_may() {
    let world = World::new(silent()).with_profile(Profile::Strict);
    let engine = world.engine().await;
    let called = engine.call_tool(&caller("alice"), direct(new(), "send", &json!({"x": "to bob"}))).await.unwrap();
    let seen = seen(&engine, called.session, 1).await;
    assert!(matches!(seen.bodies("decision").as_slice(), [Body::Decision { decision: Outcome::Allow, .. }]));

    let asks = r#"@id("mind") @ask("think of it") permit(principal, action, resource == Tool::"put");"#;
    let rules = Rules::new(Profile::Strict, &[("rules.cedar".to_owned(), asks.to_owned())]).unwrap();
    engine.set_rules(rules).await.unwrap();
    engine.call_tool(&caller("alice"), direct(new(), "put", &json!({"x": 1}))).await.unwrap();
    let fault = engine.call_tool(&headless("alice"), direct(new(), "put", &json!({"x": 1}))).await.unwrap_err();
    assert!(fault.code == Code::DENIED && fault.help.contains("scope `approve`"), "{fault}");
    assert_eq!(world.tools.begun("put").len(), 1);

    let forbids = r#"@id("never") forbid(principal, action, resource == Tool::"put");"#;
    let rules = Rules::new(Profile::Observe, &[("rules.cedar".to_owned(), forbids.to_owned())]).unwrap();
    engine.set_rules(rules).await.unwrap();
    let fault = engine.call_tool(&caller("alice"), direct(new(), "put", &json!({"x": 1}))).await.unwrap_err();
    assert_eq!((fault.code, world.tools.begun("put").len()), (Code::DENIED, 1), "nobody's asking lifts a `forbid`");
}

#[tokio::test]
async fn a_direct_call_ends_as_its_call_does() {
    let world = World::new(silent());
    let engine = world.engine().await;
    for (tool, args, code) in [
        ("fail", json!({}), Code::TOOL_FAILED),
        ("no_such", json!({}), Code::TOOL_UNKNOWN),
        ("read", json!({"y": 1}), Code::TOOL_ARGS),
        ("read", json!({"x": "${var:unset}"}), Code::TOOL_ARGS),
    ] {
        let fault = engine.call_tool(&caller("alice"), direct(new(), tool, &args)).await.unwrap_err();
        assert_eq!(fault.code, code, "{tool} {args}");
    }
}

#[tokio::test]
async fn it_cannot_be_steered_and_another_turn_knows_of_it() {
    let world = World::new(ScriptedModels::new(|request| {
        assert!(request.messages.iter().any(|message| matches!(message, Message::Tool { .. })));
        say("known")
    }));
    let engine = world.engine().await;
    let (waiting, caller_) = (engine.clone(), caller("alice"));
    let held = tokio::spawn(async move { waiting.call_tool(&caller_, direct(new(), "wait", &json!({}))).await });
    let session = loop {
        if let [row] = engine.sessions(&caller("alice"), 10, None).await.unwrap().as_slice() {
            break row.key;
        }
        tokio::task::yield_now().await;
    };
    let (_, mut tail) = engine.attach(&caller("alice"), session, Some(0), None).await.unwrap();
    follow(&mut tail, &mut Seen::default(), is("tool_started")).await;
    let steered = engine.steer(&caller("alice"), session, 1, prompt("stop").content).await;
    assert_eq!(steered.unwrap_err().code, Code::TURN_NOT_RUNNING);
    world.tools.release();
    held.await.unwrap().unwrap();
    let (_, seen) = turn(&engine, Target::Session(session), "what happened?").await;
    assert_eq!(seen.text, "known");
}
