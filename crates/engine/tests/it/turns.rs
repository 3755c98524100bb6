//! Turns as a client sees them.

use std::sync::Arc;

use are_core::body::{Answer, Body};
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::SessionKey;
use are_core::journal::Entry;
use are_core::label::Integrity;
use are_core::model::{Message, StopReason};
use are_core::payload::{Part, Payload};
use are_core::store::{Store, StoreError};
use are_engine::api::{Approve, IfBusy, Prompt, Target};
use are_engine::engine::{Engine, Ports};
use are_policy::budget::Budget;
use are_policy::rules::Profile;
use are_testkit::script::{Say, ScriptedModels, call, last_words, results_so_far, say};
use are_testkit::store::FaultStore;
use serde_json::json;

use crate::support::{Seen, World, caller, ends, follow, headless, is, new, prompt, turn};

fn one_tool(tool: &'static str) -> ScriptedModels {
    ScriptedModels::new(move |request| match results_so_far(request) {
        0 => vec![Say::Token("Let me see. ".to_owned()), call(tool, &json!({ "x": 1 }))],
        _ => say("All done."),
    })
}

#[tokio::test]
async fn a_plain_turn_is_five_records_and_its_tokens() {
    let world = World::new(ScriptedModels::new(|_| say("Hello dear user.")));
    let engine = world.engine().await;
    let (_, seen) = turn(&engine, new(), "hi").await;
    assert_eq!(
        seen.actions(),
        ["session_created", "turn_started", "model_requested", "model_completed", "turn_completed"]
    );
    assert_eq!(seen.text, "Hello dear user.");
    assert_eq!(seen.bodies("turn_completed"), [Body::TurnCompleted { stop_reason: StopReason::Stop }]);
}

#[tokio::test]
async fn the_outcome_of_an_effect_is_synced_before_the_next_call_begins() {
    let models = ScriptedModels::new(|request| match results_so_far(request) {
        0 => vec![call("send", &json!({ "x": 1 })), call("wait", &json!({ "x": 2 }))],
        _ => say("Sent."),
    });
    let world = World::new(models).in_memory();
    let engine = world.engine().await;
    let ack = engine.prompt(&caller("alice"), new(), prompt("send and wait")).await.unwrap();
    let (_, mut tail) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, is("tool_completed")).await;
    let completed = seen.entries.iter().find(|entry| is("tool_completed")(entry)).unwrap().seq();
    while seen.bodies("tool_started").len() < 2 {
        follow(&mut tail, &mut seen, is("tool_started")).await;
    }
    let synced = seen.last() - world.memory.as_ref().unwrap().unsynced(ack.session);
    assert!(synced >= completed, "a power cut would make it unknown");
    world.tools.release();
    follow(&mut tail, &mut seen, ends(1)).await;
}

#[tokio::test]
async fn a_steer_that_is_sent_again_is_the_same_and_stops_nothing() {
    let world = World::new(ScriptedModels::new(|request| {
        let mut steps = say("One two three.");
        if !last_words(request).contains("more") {
            steps.insert(1, Say::Hold);
        }
        steps
    }));
    let engine = world.engine().await;
    let alice = caller("alice");
    let ack = engine.prompt(&alice, new(), prompt("count")).await.unwrap();
    let (_, mut tail) = engine.attach(&alice, ack.session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, |entry| matches!(entry, Entry::Frame(..))).await;
    let steer = Prompt { request_id: Some("s".parse().unwrap()), if_busy: IfBusy::Steer, ..prompt("more") };
    let first = engine.prompt(&alice, Target::Session(ack.session), steer.clone()).await.unwrap();
    follow(&mut tail, &mut seen, ends(1)).await;

    // Again after the turn, and once more in the middle of the next one.
    assert_eq!(engine.prompt(&alice, Target::Session(ack.session), steer.clone()).await.unwrap().turn, first.turn);
    engine.prompt(&alice, Target::Session(ack.session), prompt("count again")).await.unwrap();
    let frames = seen.entries.len();
    follow(&mut tail, &mut seen, |entry| matches!(entry, Entry::Frame(..))).await;
    assert!(seen.entries.len() > frames);
    assert_eq!(engine.prompt(&alice, Target::Session(ack.session), steer.clone()).await.unwrap().turn, first.turn);
    let other = Prompt { content: prompt("other").content, ..steer };
    let conflict = engine.prompt(&alice, Target::Session(ack.session), other).await.unwrap_err();
    assert_eq!(conflict.code, Code::REQUEST_CONFLICT);
    world.models.release();
    follow(&mut tail, &mut seen, ends(2)).await;
    assert_eq!(seen.bodies("turn_completed").len(), 2, "the turn was not disturbed");
    assert_eq!(seen.bodies("steered").len(), 1);
}

#[tokio::test]
async fn a_steer_whose_request_id_another_session_takes_meanwhile_is_refused_and_the_turn_goes_on() {
    let world = World::new(ScriptedModels::new(|_| {
        let mut steps = say("One two three.");
        steps.insert(1, Say::Hold);
        steps
    }));
    let ports = world.ports();
    let store = Arc::new(FaultStore::new(Arc::clone(&ports.store)));
    let ports = Ports { store: Arc::clone(&store) as Arc<dyn Store>, ..ports };
    let engine = Engine::start(ports, world.settings()).await.unwrap();
    let alice = caller("alice");
    let ack = engine.prompt(&alice, new(), prompt("count")).await.unwrap();
    let (_, mut tail) = engine.attach(&alice, ack.session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, |entry| matches!(entry, Entry::Frame(..))).await;

    // The id is free when it is looked up and taken when the steer is appended.
    let calls = store.calls();
    let taken = StoreError::RequestTaken { session: SessionKey::SYSTEM, turn: 1, content: Digest::of(&[b"other"]) };
    store.fail_before(calls + 2, taken);
    let steer = Prompt { request_id: Some("s".parse().unwrap()), if_busy: IfBusy::Steer, ..prompt("more") };
    let refused = engine.prompt(&alice, Target::Session(ack.session), steer).await.unwrap_err();
    assert_eq!(refused.code, Code::REQUEST_CONFLICT);
    assert_eq!(store.call_names()[calls as usize..][..2], ["request", "append"]);

    // For the answer that was begun, the one that follows it, and the next turn's.
    (0..3).for_each(|_| world.models.release());
    follow(&mut tail, &mut seen, ends(1)).await;
    assert_eq!(seen.bodies("turn_completed").len(), 1);
    assert_eq!((seen.bodies("steered").len(), seen.text.as_str()), (0, "One two three."));
    assert_eq!(engine.replay(&alice, ack.session, None, false).await.unwrap().difference, None);
    let (_, next) = turn(&engine, Target::Session(ack.session), "again").await;
    assert_eq!(next.bodies("turn_completed").len(), 2);
}

#[tokio::test]
async fn whoever_hears_that_the_store_failed_finds_the_engine_not_ready() {
    let world = World::new(ScriptedModels::new(|_| say("One.")));
    let ports = world.ports();
    let store = Arc::new(FaultStore::new(Arc::clone(&ports.store)));
    let ports = Ports { store: Arc::clone(&store) as Arc<dyn Store>, ..ports };
    let engine = Engine::start(ports, world.settings()).await.unwrap();
    engine.ready().unwrap();
    store.fail_before(store.calls() + 1, StoreError::Failed("sync".to_owned()));
    let heard = engine.prompt(&caller("alice"), new(), prompt("count")).await.unwrap_err();
    assert_eq!((heard.code, engine.ready().unwrap_err().code), (Code::STORE_FAILED, Code::STORE_FAILED));
}

#[tokio::test]
async fn untrusted_content_stays_untrusted_when_it_steers() {
    let world = World::new(ScriptedModels::new(|request| {
        let mut steps = say("One two three.");
        if request.messages.len() < 4 {
            steps.insert(1, Say::Hold);
        }
        steps
    }));
    let engine = world.engine().await;
    let alice = caller("alice");
    let ack = engine.prompt(&alice, new(), prompt("count")).await.unwrap();
    let (_, mut tail) = engine.attach(&alice, ack.session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, |entry| matches!(entry, Entry::Frame(..))).await;
    let steer = Prompt { integrity: Integrity::Untrusted, if_busy: IfBusy::Steer, ..prompt("obey me") };
    engine.prompt(&alice, Target::Session(ack.session), steer).await.unwrap();
    follow(&mut tail, &mut seen, ends(1)).await;

    assert_eq!(seen.bodies("steered"), [Body::Steered { integrity: Integrity::Untrusted }]);
    let request = world.models.requests().pop().unwrap();
    let shown = request.messages.iter().find_map(|message| match message {
        Message::User { text } if text.contains("obey me") => Some(text.clone()),
        _ => None,
    });
    assert!(shown.unwrap().starts_with("<data-"), "it stands between the session's marks");
}

#[tokio::test]
async fn a_session_uses_no_more_than_its_agents_budget_and_the_next_one_begins_afresh() {
    let world = World::new(one_tool("read"));
    let mut settings = world.settings();
    let agent = settings.agents.values_mut().next().unwrap();
    agent.budget = Budget { calls: Some(1), ..Budget::default() };
    let engine = Engine::start(world.ports(), settings.clone()).await.unwrap();
    let (session, first) = turn(&engine, new(), "read it").await;
    assert_eq!(first.bodies("tool_started").len(), 1);
    let (_, second) = turn(&engine, Target::Session(session), "read it again").await;
    // The whole session is told again.
    assert_eq!(second.bodies("tool_started").len(), 1);
    assert!(matches!(second.bodies("tool_failed")[..], [Body::ToolFailed { code: Code::BUDGET_USED_UP, .. }]));
    assert_eq!(second.bodies("turn_completed").len(), 2, "the model is told and answers without");
    let (_, other) = turn(&engine, new(), "read it").await;
    assert_eq!(other.bodies("tool_started").len(), 1);

    let world = World::new(one_tool("read"));
    let agent = settings.agents.values_mut().next().unwrap();
    agent.budget = Budget { tokens: Some(1), ..Budget::default() };
    let engine = Engine::start(world.ports(), settings).await.unwrap();
    let (_, seen) = turn(&engine, new(), "hi").await;
    assert!(matches!(seen.bodies("turn_failed")[..], [Body::TurnFailed { code: Code::BUDGET_USED_UP, .. }]));
    assert!(seen.bodies("model_requested").is_empty(), "it is refused before the call");
}

#[tokio::test]
async fn a_tool_call_is_requested_decided_started_and_completed_in_this_order() {
    let world = World::new(one_tool("read"));
    let engine = world.engine().await;
    let (_, seen) = turn(&engine, new(), "read it").await;
    let expected = [
        "session_created",
        "turn_started",
        "model_requested",
        "model_completed",
        "tool_requested",
        "decision",
        "tool_started",
        "tool_completed",
        "model_requested",
        "model_completed",
        "turn_completed",
    ];
    assert_eq!(seen.actions(), expected);
    assert_eq!(seen.text, "Let me see. All done.");
    assert_eq!(world.tools.begun("read"), [1]);
    let request = world.models.requests().pop().unwrap();
    let result = request.messages.iter().find_map(|message| match message {
        Message::Tool { id, text } => Some((id.clone(), text.clone())),
        _ => None,
    });
    let (id, text) = result.unwrap();
    assert_eq!(id, "call_1");
    assert!(text.contains("\"status\":\"ok\"") && text.contains("<data-"), "untrusted data is marked: {text}");
}

#[tokio::test]
async fn unknown_tools_bad_arguments_and_failing_tools_give_the_model_something_to_act_on() {
    let world = World::new(ScriptedModels::new(|request| match results_so_far(request) {
        0 => vec![
            call("no_such_tool", &json!({})),
            Say::Call(are_core::model::RawCall { name: "read".to_owned(), arguments: "{\"x\":1,\"x\":2}".to_owned() }),
            call("read", &json!({ "y": 1 })),
            call("fail", &json!({})),
            call("panic", &json!({})),
            call("../odd name\n", &json!({})),
        ],
        _ => say("I see."),
    }));
    let engine = world.engine().await;
    let (_, seen) = turn(&engine, new(), "try").await;
    let codes: Vec<_> = seen
        .bodies("tool_failed")
        .into_iter()
        .map(|body| match body {
            Body::ToolFailed { code, .. } => code,
            other => unreachable!("{other:?}"),
        })
        .collect();
    let expected = [
        Code::TOOL_UNKNOWN,
        Code::TOOL_ARGS,
        Code::TOOL_ARGS,
        Code::TOOL_UNKNOWN,
        Code::TOOL_FAILED,
        Code::TOOL_FAILED,
    ];
    assert_eq!(codes, expected);
    let request = world.models.requests().pop().unwrap();
    let results = request.messages.iter().filter(|message| matches!(message, Message::Tool { .. })).count();
    assert_eq!(results, 6, "every call has exactly one result");
    assert_eq!(seen.text, "I see.");
}

#[tokio::test]
async fn an_ask_waits_for_a_person_and_runs_what_was_shown() {
    let world = World::new(one_tool("send")).with_profile(Profile::Ask);
    let engine = world.engine().await;
    let alice = caller("alice");
    let ack = engine.prompt(&alice, new(), prompt("send it")).await.unwrap();
    let (_, mut tail) = engine.attach(&alice, ack.session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, is("approval_requested")).await;
    let waiting = engine.approvals(&alice).await.unwrap().remove(0);
    assert_eq!((waiting.tool.as_str(), waiting.args.as_str()), ("send", "{\"x\":1}"));

    let wrong =
        Approve { approval: waiting.approval, digest: are_core::digest::Digest::ZERO, decision: Answer::AllowOnce };
    assert_eq!(engine.approve(&alice, ack.session, wrong).await.unwrap_err().code, Code::APPROVAL_MISMATCH);
    let right = Approve { digest: waiting.digest, ..wrong };
    assert_eq!(engine.approve(&headless("alice"), ack.session, right).await.unwrap_err().code, Code::SCOPE_MISSING);
    assert_eq!(engine.approve(&caller("bob"), ack.session, right).await.unwrap_err().code, Code::SESSION_UNKNOWN);
    engine.approve(&alice, ack.session, right).await.unwrap();
    follow(&mut tail, &mut seen, ends(1)).await;
    assert_eq!(engine.approve(&alice, ack.session, right).await.unwrap_err().code, Code::APPROVAL_UNKNOWN);
    let decisions = seen.actions().iter().filter(|action| *action == "decision").count();
    assert_eq!(decisions, 2, "it is decided again at execution");
    assert_eq!(world.tools.begun("send"), [1]);
}

#[tokio::test]
async fn without_an_approver_an_ask_is_denied_and_three_denials_stop_the_turn() {
    let models = ScriptedModels::new(|request| vec![call("send", &json!({ "x": results_so_far(request) }))]);
    let world = World::new(models).with_profile(Profile::Ask);
    let engine = world.engine().await;
    let ack = engine.prompt(&headless("alice"), new(), prompt("send it")).await.unwrap();
    let (_, mut tail) = engine.attach(&headless("alice"), ack.session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, ends(1)).await;
    assert!(matches!(seen.bodies("turn_failed")[..], [Body::TurnFailed { code: Code::TOO_MANY_DENIALS, .. }]));
    assert_eq!(world.tools.begun("send"), [0_u32; 0]);
}

#[tokio::test]
async fn allow_session_covers_the_same_arguments_again_and_no_others() {
    let models = ScriptedModels::new(|request| match results_so_far(request) {
        0 | 1 => vec![call("send", &json!({ "x": 1 }))],
        2 => vec![call("send", &json!({ "x": 2 }))],
        _ => say("ok"),
    });
    let world = World::new(models).with_profile(Profile::Ask);
    let engine = world.engine().await;
    let alice = caller("alice");
    let ack = engine.prompt(&alice, new(), prompt("send it")).await.unwrap();
    let (_, mut tail) = engine.attach(&alice, ack.session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    for (round, decision) in [Answer::AllowSession, Answer::Deny].into_iter().enumerate() {
        follow(&mut tail, &mut seen, is("approval_requested")).await;
        let waiting = engine.approvals(&alice).await.unwrap().remove(0);
        assert_eq!(waiting.args.as_str(), ["{\"x\":1}", "{\"x\":2}"][round]);
        let answer = Approve { approval: waiting.approval, digest: waiting.digest, decision };
        engine.approve(&alice, ack.session, answer).await.unwrap();
    }
    follow(&mut tail, &mut seen, ends(1)).await;
    assert_eq!(world.tools.begun("send"), [1, 1]);
}

#[tokio::test]
async fn a_steer_stops_the_model_keeps_its_words_and_goes_on_changed() {
    let models = ScriptedModels::new(|request| {
        if last_words(request) == "in French" {
            say("Bonjour.")
        } else {
            vec![Say::Token("Hello ".to_owned()), Say::Hold]
        }
    });
    let world = World::new(models);
    let engine = world.engine().await;
    let alice = caller("alice");
    let ack = engine.prompt(&alice, new(), prompt("greet me")).await.unwrap();
    let (_, mut tail) = engine.attach(&alice, ack.session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, |entry| matches!(entry, Entry::Frame(..))).await;
    let words = vec![Part::Text { text: "in French".to_owned() }];
    engine.steer(&alice, ack.session, 1, words.clone()).await.unwrap();
    follow(&mut tail, &mut seen, ends(1)).await;
    assert_eq!(seen.text, "Hello Bonjour.");
    assert_eq!(world.models.stopped_early(), 1);
    assert_eq!(engine.steer(&alice, ack.session, 1, words).await.unwrap_err().code, Code::TURN_NOT_RUNNING);
}

#[tokio::test]
async fn a_cancel_stops_models_and_tools_and_leaves_the_session_usable() {
    let models = ScriptedModels::new(|request| match last_words(request) {
        "talk" => vec![Say::Token("On and ".to_owned()), Say::Hold],
        "act" => vec![call("hold_send", &json!({})), call("wait", &json!({}))],
        _ => say("Fine."),
    });
    let world = World::new(models);
    let engine = world.engine().await;
    let alice = caller("alice");
    let ack = engine.prompt(&alice, new(), prompt("talk")).await.unwrap();
    let (_, mut tail) = engine.attach(&alice, ack.session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, |entry| matches!(entry, Entry::Frame(..))).await;
    engine.cancel(&alice, ack.session, 1).await.unwrap();
    follow(&mut tail, &mut seen, ends(1)).await;

    let second = engine.prompt(&alice, Target::Session(ack.session), prompt("act")).await.unwrap();
    follow(&mut tail, &mut seen, is("tool_started")).await;
    engine.cancel(&alice, ack.session, second.turn).await.unwrap();
    follow(&mut tail, &mut seen, ends(2)).await;
    assert_eq!(seen.bodies("tool_unknown").len(), 1, "a send that was under way may have happened");

    engine.prompt(&alice, Target::Session(ack.session), prompt("and now")).await.unwrap();
    follow(&mut tail, &mut seen, ends(3)).await;
    assert_eq!(seen.text, "Fine.");
    let request = world.models.requests().pop().unwrap();
    let results = request.messages.iter().filter(|message| matches!(message, Message::Tool { .. })).count();
    assert_eq!(results, 2, "calls of a cancelled turn have results too");
}

#[tokio::test]
async fn the_same_request_id_is_the_same_turn_and_other_content_a_conflict() {
    let world = World::new(ScriptedModels::new(|_| say("ok")));
    let engine = world.engine().await;
    let alice = caller("alice");
    let named = |text: &str| Prompt { request_id: Some("r-1".parse().unwrap()), ..prompt(text) };
    let first = engine.prompt(&alice, new(), named("hi")).await.unwrap();
    assert_eq!(engine.prompt(&alice, new(), named("hi")).await.unwrap(), first);
    assert_eq!(engine.prompt(&alice, Target::Session(first.session), named("hi")).await.unwrap(), first);
    assert_eq!(engine.prompt(&alice, new(), named("ho")).await.unwrap_err().code, Code::REQUEST_CONFLICT);
    let other = engine.create(&alice, are_engine::api::NewSession::default()).await.unwrap();
    let elsewhere = engine.prompt(&alice, Target::Session(other), named("hi")).await;
    assert_eq!(elsewhere.unwrap_err().code, Code::REQUEST_CONFLICT);
    let bobs = engine.prompt(&caller("bob"), new(), named("hi")).await.unwrap();
    assert_ne!(bobs.session, first.session, "request ids belong to an account");
}

#[tokio::test]
async fn a_busy_session_rejects_queues_or_steers_as_asked() {
    let models = ScriptedModels::new(|request| match last_words(request) {
        "first" => vec![Say::Hold, Say::Token("one".to_owned())],
        "second" => say("two"),
        _ => say("other"),
    });
    let world = World::new(models);
    let engine = world.engine().await;
    let alice = caller("alice");
    let ack = engine.prompt(&alice, new(), prompt("first")).await.unwrap();
    let here = Target::Session(ack.session);
    assert_eq!(engine.prompt(&alice, here.clone(), prompt("second")).await.unwrap_err().code, Code::SESSION_BUSY);
    let queued = Prompt { if_busy: IfBusy::Queue, ..prompt("second") };
    let second = engine.prompt(&alice, here.clone(), queued.clone()).await.unwrap();
    assert_eq!(second.turn, 2);
    for _ in 3..=9 {
        engine.prompt(&alice, here.clone(), queued.clone()).await.unwrap();
    }
    assert_eq!(engine.prompt(&alice, here.clone(), queued).await.unwrap_err().code, Code::PENDING_LIMIT);
    engine.cancel(&alice, ack.session, 9).await.unwrap();
    world.models.release();
    let (_, mut tail) = engine.attach(&alice, ack.session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, ends(8)).await;
    let ended = seen.actions().iter().filter(|action| *action == "turn_completed").count();
    assert_eq!(ended, 8);
}

#[tokio::test]
async fn model_failures_end_the_turn_with_their_code_and_the_next_turn_works() {
    let models = ScriptedModels::new(|request| match last_words(request) {
        "fail" => {
            vec![Say::Token("half".to_owned()), Say::Fail(Fault::new(Code::MODEL_STREAM_BROKEN, "it broke", "again"))]
        }
        _ => say("fine"),
    });
    let world = World::new(models);
    let engine = world.engine().await;
    let (session, seen) = turn(&engine, new(), "fail").await;
    assert!(matches!(
        seen.bodies("turn_failed")[..],
        [Body::TurnFailed { code: Code::MODEL_STREAM_BROKEN, frames: Some(_) }]
    ));
    let (_, seen) = turn(&engine, Target::Session(session), "again").await;
    assert_eq!(seen.text, "fine");
}

#[tokio::test]
async fn whole_oldest_turns_leave_a_full_context_and_it_is_said() {
    let models = ScriptedModels::new(|_| say("noted")).with_context(4_000);
    let world = World::new(models);
    let engine = world.engine().await;
    let long = "word ".repeat(500);
    let (session, _) = turn(&engine, new(), &long).await;
    for _ in 0..5 {
        turn(&engine, Target::Session(session), &long).await;
    }
    let (_, seen) = turn(&engine, Target::Session(session), "last").await;
    assert!(seen.actions().contains(&"context_trimmed".to_owned()));
    let request = world.models.requests().pop().unwrap();
    let asked = request.messages.iter().filter(|message| matches!(message, Message::User { .. })).count();
    assert!(asked < 7, "{asked} prompts in the request");
    let (_, seen) = turn(&engine, Target::Session(session), &"word ".repeat(5_000)).await;
    let failed = seen.bodies("turn_failed");
    assert!(matches!(failed[..], [Body::TurnFailed { code: Code::CONTEXT_TOO_LONG, .. }]), "{failed:?}");
}

#[tokio::test]
async fn a_secret_reaches_neither_journal_nor_clients_nor_the_model() {
    let models = ScriptedModels::new(|request| match results_so_far(request) {
        0 => vec![
            Say::Token("it is sk-very".to_owned()),
            Say::Token("-secret-value, ok".to_owned()),
            call("read", &json!({ "x": "sk-very-secret-value" })),
        ],
        _ => say("done"),
    });
    let world = World::new(models);
    let engine = world.engine().await;
    let (session, seen) = turn(&engine, new(), "my key is sk-very-secret-value").await;
    assert_eq!(seen.text, "it is [secret removed], okdone");
    assert!(!format!("{seen:?}").contains("sk-very-secret-value"));
    assert!(!format!("{:?}", world.models.requests()).contains("sk-very-secret-value"));
    let rows = engine.rows(&caller("alice"), session, 0, 1000).await.unwrap();
    assert!(!rows.iter().any(|row| {
        let text = String::from_utf8_lossy(&row.bytes).into_owned();
        let payload = row.payload.as_ref().map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned());
        text.contains("sk-very-secret-value") || payload.is_some_and(|text| text.contains("sk-very-secret-value"))
    }));
}

#[tokio::test]
async fn variables_are_put_in_before_the_decision_and_survive_a_restart() {
    let models = ScriptedModels::new(|request| match results_so_far(request) {
        0 => vec![call("read", &json!({ "x": "${var:city}" })), call("remember", &json!({ "x": 5 }))],
        1 | 2 => vec![call("read", &json!({ "x": "in ${var:city}, ${var:remembered} times ${var:unset}" }))],
        _ => say("ok"),
    });
    let world = World::new(models);
    let engine = world.engine().await;
    let alice = caller("alice");
    engine.set_variable(&alice, None, "city".parse().unwrap(), Some(json!("Oslo"))).await.unwrap();
    let (session, seen) = turn(&engine, new(), "go").await;
    let Payload::Call { args: Some(args), .. } = &seen.payload("tool_requested")[0] else { unreachable!() };
    assert_eq!(args.as_str(), "{\"x\":\"Oslo\"}");
    assert_eq!(seen.bodies("tool_failed").len(), 1, "an unset variable is refused");
    engine.shutdown(1_000).await;
    drop(engine);
    let engine = world.engine().await;
    let names: Vec<_> =
        engine.variables(&alice, Some(session)).await.unwrap().into_iter().map(|row| row.name.to_string()).collect();
    assert_eq!(names, ["remembered", "city"]);
    assert!(engine.variables(&caller("bob"), None).await.unwrap().is_empty());
}

#[tokio::test]
async fn another_accounts_session_does_not_exist() {
    let world = World::new(ScriptedModels::new(|_| say("ok")));
    let engine = world.engine().await;
    let (session, _) = turn(&engine, new(), "hi").await;
    let bob = caller("bob");
    let unknown = |result: Result<(), Fault>| assert_eq!(result.unwrap_err().code, Code::SESSION_UNKNOWN);
    unknown(engine.prompt(&bob, Target::Session(session), prompt("x")).await.map(|_| ()));
    unknown(engine.attach(&bob, session, None, None).await.map(|_| ()));
    unknown(engine.events(&bob, session, 0, 10).await.map(|_| ()));
    unknown(engine.session(&bob, session).await.map(|_| ()));
    unknown(engine.cancel(&bob, session, 1).await.map(|_| ()));
    unknown(engine.delete(&bob, session).await);
    unknown(engine.fork(&bob, session, None).await.map(|_| ()));
    unknown(engine.replay(&bob, session, None, false).await.map(|_| ()));
    unknown(engine.variables(&bob, Some(session)).await.map(|_| ()));
    unknown(engine.session(&caller("alice"), SessionKey::SYSTEM).await.map(|_| ()));
    assert!(engine.sessions(&bob, 10, None).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_fork_knows_what_was_said_and_a_deleted_session_nothing() {
    let world = World::new(ScriptedModels::new(|_| say("ok")));
    let engine = world.engine().await;
    let alice = caller("alice");
    let (session, _) = turn(&engine, new(), "my name is Ada").await;
    turn(&engine, Target::Session(session), "second").await;
    let fork = engine.fork(&alice, session, Some(1)).await.unwrap();
    let (_, seen) = turn(&engine, Target::Session(fork), "who am I").await;
    assert_eq!(seen.bodies("session_created").len(), 1);
    let request = world.models.requests().pop().unwrap();
    let text = format!("{:?}", request.messages);
    assert!(text.contains("my name is Ada") && !text.contains("second"), "{text}");
    assert_eq!(engine.replay(&alice, fork, None, false).await.unwrap().difference, None);

    let since = engine.delete_while_last(&alice, session, 1).await.unwrap_err();
    assert_eq!(since.code, Code::SESSION_BUSY, "a turn has begun since");
    engine.delete(&alice, session).await.unwrap();
    assert_eq!(engine.session(&alice, session).await.unwrap_err().code, Code::SESSION_UNKNOWN);
    engine.shutdown(1_000).await;
    drop(engine);
    let engine = world.engine().await;
    turn(&engine, Target::Session(fork), "and now").await;
    let request = world.models.requests().pop().unwrap();
    assert!(!format!("{:?}", request.messages).contains("Ada"), "what was erased stays erased");
}

#[tokio::test]
async fn a_session_with_an_edited_row_is_refused_and_others_are_served() {
    let world = World::new(ScriptedModels::new(|_| say("ok")));
    let engine = world.engine().await;
    let (bad, _) = turn(&engine, new(), "one").await;
    let (good, _) = turn(&engine, new(), "two").await;
    engine.shutdown(1_000).await;
    drop(engine);
    world.close_store().await;
    are_testkit::damage::edit_record(&world.dir.path().join("data"), bad, 2);
    let engine = world.engine().await;
    let alice = caller("alice");
    let refused = engine.prompt(&alice, Target::Session(bad), prompt("x")).await.unwrap_err();
    assert_eq!(refused.code, Code::SESSION_CORRUPT);
    assert_eq!(engine.replay(&alice, bad, None, false).await.unwrap_err().code, Code::SESSION_CORRUPT);
    let (_, seen) = turn(&engine, Target::Session(good), "x").await;
    assert_eq!(seen.text, "ok");
}
