//! Answers that are given again.

use are_core::body::Body;
use are_core::ids::SessionKey;
use are_core::model::{Reasoning, Usage};
use are_engine::api::{Prompt, Target};
use are_engine::engine::{Engine, Settings};
use are_testkit::script::{Say, ScriptedModels, call, results_so_far, say};
use serde_json::json;

use crate::agents::replays;
use crate::support::{Seen, World, caller, ends, follow, new, prompt};

async fn start(world: &World) -> Engine {
    Engine::start(world.ports(), Settings { response_cache: true, ..world.settings() }).await.unwrap()
}

async fn ask(engine: &Engine, account: &str, target: Target, prompt: Prompt) -> (SessionKey, Seen) {
    let ack = engine.prompt(&caller(account), target, prompt).await.unwrap();
    let (_, mut tail) = engine.attach(&caller(account), ack.session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, ends(ack.turn)).await;
    (ack.session, seen)
}

fn is_cached(seen: &Seen) -> Vec<bool> {
    let cached = |body: Body| match body {
        Body::ModelCompleted { cached, usage, .. } => {
            assert_eq!(cached, usage == Usage::default(), "an answer that costs nothing is one that was there");
            cached
        }
        body => panic!("{body:?}"),
    };
    seen.bodies("model_completed").into_iter().map(cached).collect()
}

fn thoughtful() -> ScriptedModels {
    ScriptedModels::new(|request| {
        let thought = Reasoning { text: "hm".to_owned(), opaque: Some("{}".to_owned()) };
        let mut answer = vec![Say::Thought(thought)];
        answer.extend(say(&format!("{} messages.", request.messages.len())));
        answer
    })
}

#[tokio::test]
async fn the_same_request_of_the_same_account_gets_the_same_answer_and_says_so() {
    let world = World::new(thoughtful());
    let engine = start(&world).await;
    let (first, told) = ask(&engine, "alice", new(), prompt("hi")).await;
    let (second, told_again) = ask(&engine, "alice", new(), prompt("hi")).await;
    assert_ne!(first, second);
    assert_eq!((is_cached(&told), is_cached(&told_again)), (vec![false], vec![true]));
    assert_eq!((told.text.as_str(), told_again.text.as_str()), ("2 messages.", "2 messages."));
    assert_eq!(world.models.requests().len(), 1);
    replays(&engine, second).await;

    // Both go on alike, and no turn is mistaken for another.
    let (_, told) = ask(&engine, "alice", Target::Session(first), prompt("and?")).await;
    let (_, told_again) = ask(&engine, "alice", Target::Session(second), prompt("and?")).await;
    assert_eq!((is_cached(&told), is_cached(&told_again)), (vec![false, false], vec![true, true]));
    assert_eq!(told_again.text, "4 messages.");
}

#[tokio::test]
async fn another_account_another_wish_and_another_word_are_asked_anew() {
    let world = World::new(thoughtful());
    let engine = start(&world).await;
    ask(&engine, "alice", new(), prompt("hi")).await;
    for (account, prompt) in [
        ("bob", prompt("hi")),
        ("alice", prompt("hi ")),
        ("alice", Prompt { temperature_milli: Some(1), ..prompt("hi") }),
    ] {
        let (_, told) = ask(&engine, account, new(), prompt).await;
        assert_eq!(is_cached(&told), [false], "{account}");
    }
    assert_eq!(world.models.requests().len(), 4);
}

#[tokio::test]
async fn nothing_that_has_to_do_with_a_tool_is_answered_from_memory() {
    let world = World::new(ScriptedModels::new(|request| match results_so_far(request) {
        0 => vec![call("send", &json!({ "x": 1 }))],
        _ => say("Sent."),
    }));
    let engine = start(&world).await;
    for _ in 0..2 {
        let (_, told) = ask(&engine, "alice", new(), prompt("send it")).await;
        assert_eq!(is_cached(&told), [false, false]);
    }
    assert_eq!(world.models.requests().len(), 4);
}

#[tokio::test]
async fn what_was_cut_off_or_is_too_old_or_was_erased_is_asked_anew() {
    let world = World::new(ScriptedModels::new(|_| [say("Half"), vec![Say::Cut]].concat()));
    let engine = start(&world).await;
    for _ in 0..2 {
        assert_eq!(is_cached(&ask(&engine, "alice", new(), prompt("hi")).await.1), [false]);
    }

    let world = World::new(thoughtful());
    let engine = start(&world).await;
    ask(&engine, "alice", new(), prompt("hi")).await;
    world.clock.advance(59 * 60 * 1000);
    let (second, told) = ask(&engine, "alice", new(), prompt("hi")).await;
    assert_eq!(is_cached(&told), [true]);
    world.clock.advance(2 * 60 * 1000);
    assert_eq!(is_cached(&ask(&engine, "alice", new(), prompt("hi")).await.1), [false]);
    engine.delete(&caller("alice"), second).await.unwrap();
    assert_eq!(is_cached(&ask(&engine, "alice", new(), prompt("hi")).await.1), [false]);
}

#[tokio::test]
async fn without_the_setting_nothing_is_answered_from_memory() {
    let world = World::new(thoughtful());
    let engine = world.engine().await;
    for _ in 0..2 {
        assert_eq!(is_cached(&ask(&engine, "alice", new(), prompt("hi")).await.1), [false]);
    }
}
