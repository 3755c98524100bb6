//! Agents that agents begin: sessions of their own, with a part of the rights, that are found again after a crash.

use are_core::body::{Answer, Body};
use are_core::ids::SessionKey;
use are_core::journal::{Entry, Record};
use are_core::label::{Integrity, Label};
use are_core::model::ModelRequest;
use are_core::payload::Payload;
use are_engine::api::{Approve, Target};
use are_engine::engine::Engine;
use are_policy::rules::Profile;
use are_testkit::script::{Say, ScriptedModels, call, last_words, results_so_far, say};
use are_testkit::tools::CountedTools;
use serde_json::{Value, json};

use crate::support::{Seen, World, caller, ends, follow, headless, is, new, prompt, turn};

/// A world in which each session does what its last words are mapped to, answer by answer.
pub(crate) fn world(script: impl Fn(&str, usize) -> Vec<Say> + Send + Sync + 'static) -> World {
    let models =
        ScriptedModels::new(move |request: &ModelRequest| script(last_words(request), results_so_far(request)));
    World { tools: CountedTools::spawning(), ..World::new(models) }
}

pub(crate) fn spawn(prompt: &str) -> Say {
    call("agent_spawn", &json!({ "prompt": prompt }))
}

/// The sessions that a session began, as its journal names them.
pub(crate) fn children(seen: &Seen) -> Vec<SessionKey> {
    let child = |body: &Body| match body {
        Body::ChildStarted { child, .. } => *child,
        other => panic!("{other:?}"),
    };
    seen.bodies("child_started").iter().map(child).collect()
}

pub(crate) async fn seen(engine: &Engine, session: SessionKey) -> Seen {
    let (_, mut tail) = engine.attach(&caller("alice"), session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, ends(1)).await;
    seen
}

pub(crate) async fn replays(engine: &Engine, session: SessionKey) {
    let report = engine.replay(&caller("alice"), session, None, false).await.unwrap();
    assert_eq!(report.difference, None);
    assert!(report.derived >= 2, "{report:?}");
}

/// Results of calls, with the label of each.
pub(crate) fn results(seen: &Seen) -> Vec<(Value, Label)> {
    let result = |payload: &Payload| match payload {
        Payload::Result { value, labels, .. } => (value.clone(), labels[""].clone()),
        other => panic!("{other:?}"),
    };
    seen.payload("tool_completed").iter().map(result).collect()
}

pub(crate) fn record<'a>(seen: &'a Seen, action: &str) -> &'a Record {
    let found = seen.entries.iter().find_map(|entry| match entry {
        Entry::Record(record, _) if record.body.action() == action => Some(record),
        Entry::Record(..) | Entry::Frame(..) => None,
    });
    found.unwrap_or_else(|| panic!("no {action} among {:?}", seen.actions()))
}

#[tokio::test]
async fn an_agent_works_in_a_session_of_its_own_and_its_answer_is_a_result() {
    let world = world(|words, results| match (words, results) {
        ("go", 0) => vec![spawn("look")],
        ("look", 0) => vec![Say::Token("I look. ".to_owned()), call("read", &json!({ "x": 1 }))],
        ("look", _) => say("It is blue."),
        _ => say("done"),
    });
    let engine = world.engine().await;
    let (session, seen_above) = turn(&engine, new(), "go").await;
    let child = children(&seen_above)[0];
    let seen_below = seen(&engine, child).await;
    let (value, label) = results(&seen_above).remove(0);
    assert_eq!((&value["answer"], &value["ended"]), (&json!("It is blue."), &json!("completed")));
    assert_eq!(value["session"], json!(child));
    assert_eq!(label.integrity, Integrity::Untrusted, "a model's text vouches for nothing");
    assert!(label.origins.contains(&"read".to_owned()), "it bears what its agent had read: {label:?}");
    let Body::SessionCreated { child_of, parent: None, .. } = &record(&seen_below, "session_created").body else {
        panic!()
    };
    assert_eq!(*child_of, Some((session, 1)));
    let Body::ToolStarted { key, .. } = &record(&seen_above, "tool_started").body else { panic!() };
    let Body::TurnStarted { request_id, integrity, .. } = &record(&seen_below, "turn_started").body else { panic!() };
    assert_eq!(request_id.as_ref().map(ToString::to_string), Some(key.to_string()), "the call's own key");
    assert_eq!(*integrity, Integrity::Platform, "not the user's words");
    let order = ["tool_started", "child_started", "child_completed", "tool_completed"];
    let actions = seen_above.actions();
    let places = order.map(|action| actions.iter().position(|one| one == action));
    assert!(places.is_sorted() && places.iter().all(Option::is_some), "{actions:?}");
    for session in [session, child] {
        replays(&engine, session).await;
    }
    let listed = engine.sessions(&caller("alice"), 10, None).await.unwrap();
    let works_for =
        |row: &are_core::store::SessionRow| row.last_thread_id.as_ref().and_then(are_engine::engine::works_for);
    let above: Vec<_> = listed.iter().map(|row| (row.key, works_for(row))).collect();
    assert!(above.contains(&(child, Some(session))) && above.contains(&(session, None)), "{above:?}");
}

#[tokio::test]
async fn an_agent_is_shown_its_task_as_words_and_nothing_of_the_conversation() {
    let world = world(|words, results| match (words, results) {
        ("my secret plan", 0) => vec![spawn("look")],
        ("look", _) => say("seen"),
        _ => say("done"),
    });
    let engine = world.engine().await;
    turn(&engine, new(), "my secret plan").await;
    let below = world.models.requests().into_iter().find(|request| last_words(request) == "look").unwrap();
    assert_eq!(below.messages.len(), 2, "the opening and the task: {:?}", below.messages);
}

#[tokio::test]
async fn after_a_restart_the_same_agent_is_found_and_goes_on() {
    let world = world(|words, results| match (words, results) {
        ("go", 0) => vec![spawn("look")],
        ("look", 0) => vec![Say::Token("I look. ".to_owned()), Say::Hold, Say::Token("It is blue.".to_owned())],
        _ => say("done"),
    });
    let engine = world.engine().await;
    let ack = engine.prompt(&caller("alice"), new(), prompt("go")).await.unwrap();
    let (_, mut tail) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
    let mut above = Seen::default();
    follow(&mut tail, &mut above, is("child_started")).await;
    let child = children(&above)[0];
    let (_, mut below) = engine.attach(&caller("alice"), child, Some(0), None).await.unwrap();
    follow(&mut below, &mut Seen::default(), |entry| matches!(entry, Entry::Frame(..))).await;
    drop((tail, below));
    // What waits for agents ends at once: the grace of tools would never be over on this clock.
    engine.shutdown(1_000).await;
    drop(engine);
    let engine = world.engine().await;
    let (_, mut tail) = engine.attach(&caller("alice"), ack.session, Some(above.last()), None).await.unwrap();
    world.models.release();
    follow(&mut tail, &mut above, ends(1)).await;
    assert_eq!(above.actions().last().unwrap(), "turn_completed");
    assert_eq!(children(&above), [child], "begun once");
    assert_eq!(results(&above)[0].0["answer"], json!("I look. It is blue."));
    let sessions = engine.sessions(&caller("alice"), 10, None).await.unwrap();
    assert_eq!(sessions.iter().map(|row| row.turns).collect::<Vec<_>>(), [1, 1]);
    for session in [ack.session, child] {
        replays(&engine, session).await;
    }
}

#[tokio::test]
async fn whoever_stops_a_turn_stops_its_agents() {
    for is_deleted in [false, true] {
        let world = world(|words, results| match (words, results) {
            ("go", 0) => vec![spawn("look")],
            ("look", 0) => vec![spawn("look closer")],
            ("look closer", 0) => vec![call("wait", &json!({}))],
            _ => say("done"),
        });
        let engine = world.engine().await;
        let alice = caller("alice");
        let ack = engine.prompt(&alice, new(), prompt("go")).await.unwrap();
        let mut keys = vec![ack.session];
        for _ in 0..2 {
            let (_, mut tail) = engine.attach(&alice, *keys.last().unwrap(), Some(0), None).await.unwrap();
            let mut seen = Seen::default();
            follow(&mut tail, &mut seen, is("child_started")).await;
            keys.push(children(&seen)[0]);
        }
        let (_, mut deepest) = engine.attach(&alice, keys[2], Some(0), None).await.unwrap();
        let mut below = Seen::default();
        follow(&mut deepest, &mut below, is("tool_started")).await;
        if is_deleted {
            engine.delete(&alice, ack.session).await.unwrap();
            for key in keys {
                assert!(engine.session(&alice, key).await.is_err(), "{key} is deleted with what began it");
            }
            continue;
        }
        engine.cancel(&alice, ack.session, 1).await.unwrap();
        follow(&mut deepest, &mut below, ends(1)).await;
        assert_eq!(below.actions().last().unwrap(), "turn_cancelled");
        for key in keys {
            replays(&engine, key).await;
        }
    }
}

#[tokio::test]
async fn what_an_agent_asks_waits_in_its_session_and_an_answer_goes_on_with_both() {
    let world = world(|words, results| match (words, results) {
        ("go", 0) => vec![spawn("write")],
        ("write", 0) => vec![call("put", &json!({ "x": 1 }))],
        _ => say("done"),
    })
    .with_profile(Profile::Ask);
    let engine = world.engine().await;
    let alice = caller("alice");
    let ack = engine.prompt(&alice, new(), prompt("go")).await.unwrap();
    let (_, mut tail) = engine.attach(&alice, ack.session, Some(0), None).await.unwrap();
    let mut above = Seen::default();
    follow(&mut tail, &mut above, is("approval_requested")).await;
    let answer = async |session: SessionKey, decision: Answer| {
        let waiting = engine.session(&alice, session).await.unwrap().approvals.remove(0);
        let answer = Approve { approval: waiting.approval, digest: waiting.digest, decision };
        engine.approve(&alice, session, answer).await.unwrap();
    };
    // The spawning itself, for the whole session: that holds for nothing that the agent does.
    answer(ack.session, Answer::AllowSession).await;
    follow(&mut tail, &mut above, is("child_started")).await;
    let child = children(&above)[0];
    let (_, mut below) = engine.attach(&headless("alice"), child, Some(0), None).await.unwrap();
    let mut seen_below = Seen::default();
    follow(&mut below, &mut seen_below, is("approval_requested")).await;
    let waiting = engine.approvals(&alice).await.unwrap();
    assert_eq!(waiting.iter().map(|one| one.session).collect::<Vec<_>>(), [child], "it is found without knowing where");
    // Longer than an agent works: while a person is asked, no time is counted.
    world.clock.advance(3 * 60 * 60 * 1_000);
    answer(child, Answer::AllowOnce).await;
    follow(&mut tail, &mut above, ends(1)).await;
    assert_eq!(above.actions().last().unwrap(), "turn_completed");
    assert_eq!(results(&above)[0].0["ended"], json!("completed"));
    assert_eq!(world.tools.begun("put"), [1]);
    for session in [ack.session, child] {
        replays(&engine, session).await;
    }
}

#[tokio::test]
async fn an_agent_whose_question_nobody_answers_is_parked_and_goes_on_after_a_restart() {
    let world = world(|words, results| match (words, results) {
        ("go", 0) => vec![spawn("write")],
        ("write", 0) => vec![call("put", &json!({ "x": 1 }))],
        _ => say("done"),
    })
    .with_profile(Profile::Ask);
    let engine = world.engine().await;
    let alice = caller("alice");
    let answer = async |engine: &Engine, session: SessionKey| {
        let waiting = engine.session(&alice, session).await.unwrap().approvals.remove(0);
        let decision = Answer::AllowOnce;
        let answer = Approve { approval: waiting.approval, digest: waiting.digest, decision };
        engine.approve(&alice, session, answer).await.unwrap();
    };
    let ack = engine.prompt(&alice, new(), prompt("go")).await.unwrap();
    let (_, mut tail) = engine.attach(&alice, ack.session, Some(0), None).await.unwrap();
    let mut above = Seen::default();
    follow(&mut tail, &mut above, is("approval_requested")).await;
    answer(&engine, ack.session).await;
    follow(&mut tail, &mut above, is("child_started")).await;
    let child = children(&above)[0];
    let (_, mut below) = engine.attach(&headless("alice"), child, Some(0), None).await.unwrap();
    let mut seen_below = Seen::default();
    follow(&mut below, &mut seen_below, is("approval_requested")).await;
    let Body::ApprovalRequested { expires_at_ms, .. } = &record(&seen_below, "approval_requested").body else {
        panic!()
    };
    // Whoever was there for the turn above was there for its agent, and leaves both.
    drop(tail);
    world.clock.advance_to(*expires_at_ms);
    follow(&mut below, &mut seen_below, is("turn_parked")).await;
    drop(below);
    engine.shutdown(1_000).await;
    drop(engine);
    let engine = world.engine().await;
    let waiting = engine.approvals(&alice).await.unwrap();
    assert_eq!(waiting.iter().map(|one| (one.session, one.is_parked)).collect::<Vec<_>>(), [(child, true)]);
    answer(&engine, child).await;
    let (_, mut tail) = engine.attach(&alice, ack.session, Some(above.last()), None).await.unwrap();
    follow(&mut tail, &mut above, ends(1)).await;
    assert_eq!(above.actions().last().unwrap(), "turn_completed");
    assert_eq!((children(&above), world.tools.begun("put")), (vec![child], vec![1]));
    for session in [ack.session, child] {
        replays(&engine, session).await;
    }
}

#[tokio::test]
async fn where_nobody_may_answer_an_agent_is_denied_what_it_would_have_to_ask() {
    let world = world(|words, results| match (words, results) {
        ("go", 0) => vec![call("pure_nest", &json!({})), spawn("write")],
        ("write", 0) => vec![call("send", &json!({ "x": 1 }))],
        _ => say("done"),
    })
    .with_profile(Profile::Contained);
    let engine = world.engine().await;
    let ack = engine.prompt(&headless("alice"), new(), prompt("go")).await.unwrap();
    let (_, mut tail) = engine.attach(&headless("alice"), ack.session, Some(0), None).await.unwrap();
    let mut above = Seen::default();
    follow(&mut tail, &mut above, ends(1)).await;
    assert_eq!(above.actions().last().unwrap(), "turn_completed");
    let below = seen(&engine, children(&above)[0]).await;
    assert_eq!(world.tools.begun("send"), Vec::<u32>::new());
    assert_eq!(below.bodies("tool_failed").len(), 1, "{:?}", below.actions());
}

#[tokio::test]
async fn words_to_an_agent_go_to_its_session_and_ask_there() {
    let world = world(|words, results| match (words, results) {
        ("go", 0) => vec![spawn("look")],
        ("look", 0) => say("seen"),
        ("and now?", 0) => say("now too"),
        _ => say("done"),
    });
    let engine = world.engine().await;
    let (_, above) = turn(&engine, new(), "go").await;
    let child = children(&above)[0];
    let ack = engine.prompt(&caller("alice"), Target::Session(child), prompt("and now?")).await.unwrap();
    let (_, mut tail) = engine.attach(&caller("alice"), child, Some(0), None).await.unwrap();
    let mut below = Seen::default();
    follow(&mut tail, &mut below, ends(ack.turn)).await;
    assert!(below.text.ends_with("now too"), "{}", below.text);
    replays(&engine, child).await;
}
