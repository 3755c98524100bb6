//! Models behind one another, and what becomes of a turn's wishes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use are_core::body::Body;
use are_core::error::{Code, Fault};
use are_core::journal::{Entry, Frame};
use are_core::model::{Effort, Message, ModelInfo, Reasoning};
use are_core::payload::Payload;
use are_engine::api::Prompt;
use are_policy::budget::Budget;
use are_testkit::script::{Say, ScriptedModels, call, results_so_far, say};
use serde_json::json;

use crate::agents::replays;
use crate::support::{Seen, World, caller, ends, follow, is, new, prompt, turn};

fn fault(code: Code) -> Fault {
    Fault::new(code, "it did not work", "try another one")
}

/// Models `test:second` and `test:third` behind the first.
fn three(models: ScriptedModels) -> ScriptedModels {
    let others = [models.info("test:second"), models.info("test:third")];
    models.with_others(others)
}

/// Two models in a row that break off, and one that answers.
fn breaking(code: Code) -> ScriptedModels {
    three(ScriptedModels::new(move |request| match request.model.as_str() {
        "test:scripted" => vec![Say::Token("Half an ".to_owned()), Say::Fail(fault(code))],
        "test:second" => vec![Say::Fail(fault(Code::MODEL_UNREACHABLE))],
        _ => say("Here I am."),
    }))
}

fn asked(seen: &Seen) -> Vec<(String, u32)> {
    let asked = |body: Body| match body {
        Body::ModelRequested { model, attempt, .. } => (model, attempt),
        body => panic!("{body:?}"),
    };
    seen.bodies("model_requested").into_iter().map(asked).collect()
}

#[tokio::test]
async fn the_next_model_answers_in_the_place_of_one_that_broke_off() {
    let world = World::new(breaking(Code::MODEL_STREAM_BROKEN));
    let engine = world.engine().await;
    let (session, seen) = turn(&engine, new(), "hi").await;
    let again = ["model_failed", "model_restarted", "model_requested"];
    let expected = [
        &["session_created", "turn_started", "model_requested"][..],
        &again,
        &again,
        &["model_completed", "turn_completed"],
    ];
    assert_eq!(seen.actions(), expected.concat());
    assert_eq!(seen.text, "Here I am.", "what the first had said is superseded");
    let expected =
        [("test:scripted", 1), ("test:second", 2), ("test:third", 3)].map(|(name, no)| (name.to_owned(), no));
    assert_eq!(asked(&seen), expected);
    let failed = seen.bodies("model_failed");
    let [
        Body::ModelFailed { model: first, code, frames, attempt: 1 },
        Body::ModelFailed { model: second, frames: None, .. },
    ] = &failed[..]
    else {
        panic!("{failed:?}");
    };
    assert_eq!((first.as_str(), *code, second.as_str()), ("test:scripted", Code::MODEL_STREAM_BROKEN, "test:second"));
    assert!(frames.is_some(), "what it had said is bound by its record");
    let told = seen.payload("model_failed");
    assert!(matches!(&told[0], Payload::Failure { message, .. } if message == "it did not work"));
    replays(&engine, session).await;
}

#[tokio::test]
async fn only_what_is_the_providers_fault_is_another_ones_chance() {
    for (code, is_passed_on) in [
        (Code::MODEL_UNREACHABLE, true),
        (Code::MODEL_TIMEOUT, true),
        (Code::MODEL_RATE_LIMITED, true),
        (Code::MODEL_AUTH, true),
        (Code::MODEL_LIMIT, true),
        (Code::LOCAL_ENGINE, true),
        (Code::MODEL_ERROR, false),
        (Code::CONTEXT_TOO_LONG, false),
        (Code::MODEL_UNKNOWN, false),
    ] {
        let world = World::new(breaking(code));
        let (_, seen) = turn(&world.engine().await, new(), "hi").await;
        assert_eq!(seen.actions().contains(&"model_failed".to_owned()), is_passed_on, "{code}");
        let end = if is_passed_on { "turn_completed" } else { "turn_failed" };
        assert_eq!(seen.actions().last().map(String::as_str), Some(end), "{code}");
    }
}

#[tokio::test]
async fn when_no_model_is_left_the_turn_fails_and_the_next_turn_begins_with_the_first() {
    let world = World::new(three(ScriptedModels::new(|_| vec![Say::Fail(fault(Code::MODEL_UNREACHABLE))])));
    let engine = world.engine().await;
    let (session, seen) = turn(&engine, new(), "hi").await;
    assert_eq!(
        (seen.bodies("model_failed").len(), seen.actions().last().map(String::as_str)),
        (2, Some("turn_failed"))
    );
    let ack =
        engine.prompt(&caller("alice"), are_engine::api::Target::Session(session), prompt("again")).await.unwrap();
    let (_, mut tail) = engine.attach(&caller("alice"), session, Some(0), None).await.unwrap();
    let mut all = Seen::default();
    follow(&mut tail, &mut all, ends(ack.turn)).await;
    assert_eq!(asked(&all)[3], ("test:scripted".to_owned(), 1));
    replays(&engine, session).await;
}

/// Models of a session's turn, in the order in which they were asked.
async fn models_of_next_turn(
    engine: &are_engine::engine::Engine,
    session: are_core::ids::SessionKey,
    prompt: Prompt,
) -> Vec<String> {
    let caller = caller("alice");
    let before = engine.session(&caller, session).await.unwrap().row.head.seq;
    let ack = engine.prompt(&caller, are_engine::api::Target::Session(session), prompt).await.unwrap();
    let (_, mut tail) = engine.attach(&caller, session, Some(0), None).await.unwrap();
    let mut all = Seen::default();
    follow(&mut tail, &mut all, ends(ack.turn)).await;
    all.entries.retain(|entry| entry.seq() > before);
    asked(&all).into_iter().map(|(model, _)| model).collect()
}

#[tokio::test]
async fn turns_do_not_begin_with_a_model_that_lately_could_not_answer_until_one_of_them_tries_it() {
    let is_dead = Arc::new(AtomicBool::new(true));
    let dead = Arc::clone(&is_dead);
    let world = World::new(three(ScriptedModels::new(move |request| match request.model.as_str() {
        "test:scripted" if dead.load(Ordering::Acquire) => vec![Say::Fail(fault(Code::MODEL_UNREACHABLE))],
        _ => say("Here."),
    })));
    let engine = world.engine().await;
    let (session, seen) = turn(&engine, new(), "hi").await;
    assert_eq!(asked(&seen).len(), 2);
    assert_eq!(models_of_next_turn(&engine, session, prompt("again")).await, ["test:second"]);
    let named = Prompt { model: Some("test:third".to_owned()), ..prompt("you") };
    assert_eq!(models_of_next_turn(&engine, session, named).await, ["test:third"], "whoever is named is asked");

    // Some time later one turn tries it, in vain, and it rests for longer than before.
    world.clock.advance(15_000);
    assert_eq!(models_of_next_turn(&engine, session, prompt("now?")).await, ["test:scripted", "test:second"]);
    world.clock.advance(15_000);
    assert_eq!(models_of_next_turn(&engine, session, prompt("now?")).await, ["test:second"]);
    is_dead.store(false, Ordering::Release);
    world.clock.advance(15_000);
    assert_eq!(models_of_next_turn(&engine, session, prompt("now?")).await, ["test:scripted"]);
    assert_eq!(models_of_next_turn(&engine, session, prompt("and now?")).await, ["test:scripted"]);
    replays(&engine, session).await;
}

#[tokio::test]
async fn whoever_names_a_model_gets_that_one_or_none() {
    let world = World::new(breaking(Code::MODEL_STREAM_BROKEN));
    let engine = world.engine().await;
    let named = Prompt { model: Some("test:scripted".to_owned()), ..prompt("hi") };
    let ack = engine.prompt(&caller("alice"), new(), named).await.unwrap();
    let (_, mut tail) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, ends(ack.turn)).await;
    assert_eq!((asked(&seen).len(), seen.actions().last().map(String::as_str)), (1, Some("turn_failed")));
}

#[tokio::test]
async fn a_turn_stays_with_the_model_that_took_over_and_a_restart_does_not_change_that() {
    let world =
        World::new(three(ScriptedModels::new(|request| match (request.model.as_str(), results_so_far(request)) {
            ("test:scripted", _) => vec![Say::Fail(fault(Code::MODEL_UNREACHABLE))],
            (_, 0) => vec![Say::Token("I look. ".to_owned()), call("read", &json!({ "x": 1 }))],
            (_, 1) => vec![Say::Token("Half".to_owned()), Say::Hold],
            _ => say("never"),
        })));
    let engine = world.engine().await;
    let ack = engine.prompt(&caller("alice"), new(), prompt("hi")).await.unwrap();
    let (_, mut tail) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    let is_half = |entry: &Entry| matches!(entry, Entry::Frame(_, Frame::Token { text }) if text == "Half");
    follow(&mut tail, &mut seen, is_half).await;
    engine.shutdown(0).await;
    drop((engine, tail));

    let engine = world.engine().await;
    let (_, mut tail) = engine.attach(&caller("alice"), ack.session, Some(seen.last()), None).await.unwrap();
    follow(&mut tail, &mut seen, is("model_requested")).await;
    let models: Vec<String> = asked(&seen).into_iter().map(|(model, _)| model).collect();
    assert_eq!(models, ["test:scripted", "test:second", "test:second", "test:second"]);
    world.models.release();
    follow(&mut tail, &mut seen, ends(1)).await;
    assert_eq!(seen.text, "I look. Half");
    replays(&engine, ack.session).await;
}

#[tokio::test]
async fn a_provider_that_never_answered_costs_the_budget_nothing() {
    let models = three(ScriptedModels::new(|request| match request.model.as_str() {
        "test:third" => say("Here."),
        _ => vec![Say::Fail(fault(Code::MODEL_UNREACHABLE))],
    }));
    let world = World::new(models);
    let mut settings = world.settings();
    for agent in settings.agents.values_mut() {
        // Enough for one request with its longest answer, and for no second one.
        agent.budget = Budget { tokens: Some(7_000), ..Budget::default() };
    }
    let engine = are_engine::engine::Engine::start(world.ports(), settings).await.unwrap();
    let (_, seen) = turn(&engine, new(), "hi").await;
    assert_eq!(seen.actions().last().map(String::as_str), Some("turn_completed"));
    let limits: Vec<u64> = world.models.requests().iter().map(|request| request.output_tokens_max).collect();
    assert!(limits.windows(2).all(|pair| pair[0] == pair[1]), "{limits:?}");
}

#[tokio::test]
async fn the_words_of_a_block_of_reasoning_are_whole_beside_what_signs_them() {
    let models = ScriptedModels::new(|request| match results_so_far(request) {
        0 => {
            let piece = |text: &str, opaque: Option<&str>| {
                Say::Thought(Reasoning { text: text.to_owned(), opaque: opaque.map(str::to_owned) })
            };
            vec![
                piece("first ", None),
                piece("second", None),
                piece("", Some("{\"signature\":\"a\"}")),
                piece("", Some("{\"data\":\"b\"}")),
                piece("unsigned", None),
                call("read", &json!({ "x": 1 })),
            ]
        }
        _ => say("Done."),
    });
    let world = World::new(models);
    let engine = world.engine().await;
    turn(&engine, new(), "hi").await;
    let requests = world.models.requests();
    let reasoning = requests[1].messages.iter().find_map(|message| match message {
        Message::Assistant { reasoning, .. } => Some(reasoning.clone()),
        _ => None,
    });
    let block = |text: &str, opaque: &str| Reasoning { text: text.to_owned(), opaque: Some(opaque.to_owned()) };
    assert_eq!(reasoning, Some(vec![block("first second", "{\"signature\":\"a\"}"), block("", "{\"data\":\"b\"}")]));
}

/// The second model takes some effort and no temperature.
fn picky() -> ScriptedModels {
    let models = ScriptedModels::new(|request| match request.model.as_str() {
        "test:scripted" => vec![Say::Fail(fault(Code::MODEL_UNREACHABLE))],
        _ => say("Done."),
    });
    let efforts = vec![Effort::Low, Effort::High];
    let second = ModelInfo { efforts, takes_temperature: false, ..models.info("test:second") };
    models.with_others([second])
}

#[tokio::test]
async fn what_a_model_does_not_take_is_dropped_and_said() {
    let world = World::new(picky());
    let engine = world.engine().await;
    let wishful = Prompt { temperature_milli: Some(700), effort: Some(Effort::Max), ..prompt("hi") };
    let ack = engine.prompt(&caller("alice"), new(), wishful).await.unwrap();
    let (_, mut tail) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, ends(1)).await;
    let told = seen.bodies("strategy");
    let expected = [
        Body::Strategy {
            model: "test:scripted".to_owned(),
            effort: None,
            temperature_milli: Some(700),
            reasons: vec!["`test:scripted` takes no effort".to_owned()],
            checks: false,
        },
        Body::Strategy {
            model: "test:second".to_owned(),
            effort: Some(Effort::High),
            temperature_milli: None,
            reasons: vec![
                "`test:second` takes no effort `max`; `high` is used".to_owned(),
                "`test:second` takes no temperature".to_owned(),
            ],
            checks: false,
        },
    ];
    assert_eq!(told, expected);
    let sent: Vec<_> = world.models.requests().iter().map(|r| (r.effort, r.temperature_milli)).collect();
    assert_eq!(sent, [(None, Some(700)), (Some(Effort::High), None)]);
    replays(&engine, ack.session).await;

    let (_, seen) = turn(&engine, new(), "hi").await;
    assert!(seen.bodies("strategy").is_empty(), "nothing was wished for");
}
