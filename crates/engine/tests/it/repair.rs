//! An answer without the form that was asked for is asked for once more, and a replay asks where the turn did.

use are_core::body::Body;
use are_core::ids::SessionKey;
use are_core::journal::{Entry, Frame};
use are_core::model::{Asked, Format, Message, ModelRequest, Shape, StopReason};
use are_engine::api::{Prompt, Target};
use are_engine::engine::Engine;
use are_testkit::script::{Say, ScriptedModels, call, last_words, results_so_far, say};
use serde_json::json;

use crate::support::{Seen, World, caller, ends, follow, new, prompt};

/// Begins what a model is told whose answer was refused.
const REFUSED: &str = "Your answer was refused";

/// A prompt whose answer must be a point.
fn point(text: &str) -> Prompt {
    let schema = json!({"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]});
    let format = Format::Schema { name: "point".to_owned(), schema, strict: true };
    let asked = Asked { shape: Shape { format: Some(format), ..Shape::default() }, ..Asked::default() };
    Prompt { asked, ..prompt(text) }
}

async fn answered(engine: &Engine, target: Target, prompt: Prompt) -> (SessionKey, Seen) {
    let ack = engine.prompt(&caller("alice"), target, prompt).await.unwrap();
    let (_, mut tail) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, ends(ack.turn)).await;
    (ack.session, seen)
}

async fn replays(engine: &Engine, session: SessionKey) {
    let report = engine.replay(&caller("alice"), session, None, false).await.unwrap();
    assert_eq!(report.difference, None);
    assert!(report.derived >= 2, "{report:?}");
}

fn is_told_again(request: &ModelRequest) -> bool {
    last_words(request).starts_with(REFUSED)
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_asked_for_again_with_what_is_wrong_with_it() {
    let world = World::new(ScriptedModels::new(|request| {
        if is_told_again(request) { say("{\"x\": 1}") } else { say("{\"x\": \"one\"}") }
    }));
    let engine = world.engine().await;
    let (session, seen) = answered(&engine, new(), point("where?")).await;
    let kinds: Vec<String> = seen.actions().into_iter().filter(|action| action.starts_with("model_")).collect();
    assert_eq!(kinds, ["model_requested", "model_completed", "model_requested", "model_completed"]);
    let requests = world.models.requests();
    let [.., Message::Assistant { text: refused, .. }, Message::User { text: why }] = requests[1].messages.as_slice()
    else {
        panic!("{:#?}", requests[1].messages)
    };
    assert_eq!(refused, "{\"x\": \"one\"}");
    // What is wrong quotes the answer, so it stands between marks.
    assert!(why.contains("<data-") && why.contains('x') && why.contains("integer"), "{why}");
    assert_eq!(requests[0].messages.as_slice(), &requests[1].messages[..requests[0].messages.len()]);
    replays(&engine, session).await;
    // What follows has it as it was.
    answered(&engine, Target::Session(session), prompt("and now?")).await;
    let requests = world.models.requests();
    assert_eq!(requests.len(), 3);
    let earlier = &requests[1].messages;
    assert_eq!(earlier.as_slice(), &requests[2].messages[..earlier.len()]);
    replays(&engine, session).await;
}

#[tokio::test]
async fn it_is_asked_for_once_more_and_not_again() {
    let world = World::new(ScriptedModels::new(|_| say("I would rather talk.")));
    let engine = world.engine().await;
    let (session, seen) = answered(&engine, new(), point("where?")).await;
    assert_eq!(world.models.requests().len(), 2);
    let ended = seen.bodies("turn_completed");
    assert!(matches!(ended.as_slice(), [Body::TurnCompleted { stop_reason: StopReason::Stop }]), "{ended:?}");
    replays(&engine, session).await;
    // A later turn tells nobody to mend the last answer of this one.
    answered(&engine, Target::Session(session), prompt("well")).await;
    let request = world.models.requests().pop().unwrap();
    let told = request
        .messages
        .iter()
        .filter(|message| matches!(message, Message::User { text } if text.starts_with(REFUSED)));
    assert_eq!(told.count(), 1);
    assert_eq!(last_words(&request), "well");
}

#[tokio::test]
async fn what_needs_no_form_or_has_none_to_give_is_not_asked_for_again() {
    let world = World::new(ScriptedModels::new(|request| match (last_words(request), results_so_far(request)) {
        ("cut", _) => vec![Say::Token("{\"x\":".to_owned()), Say::Cut],
        ("call", 0) => vec![Say::Token("First I look.".to_owned()), call("read", &json!({}))],
        ("call", _) => say("{\"x\": 2}"),
        _ => say("just words"),
    }));
    let engine = world.engine().await;
    for (prompt, requests) in [(prompt("free"), 1), (point("cut"), 1), (point("call"), 2)] {
        let before = world.models.requests().len();
        let (session, _) = answered(&engine, new(), prompt).await;
        assert_eq!(world.models.requests().len() - before, requests);
        replays(&engine, session).await;
    }
}

#[tokio::test]
async fn a_restart_while_it_is_asked_for_again_asks_the_same() {
    let world = World::new(ScriptedModels::new(|request| {
        if is_told_again(request) {
            vec![Say::Token("{\"x\":".to_owned()), Say::Hold, Say::Token(" 1}".to_owned())]
        } else {
            say("no")
        }
    }));
    let engine = world.engine().await;
    let ack = engine.prompt(&caller("alice"), new(), point("where?")).await.unwrap();
    let (_, mut tail) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    let is_begun = |entry: &Entry| matches!(entry, Entry::Frame(_, Frame::Token { text }) if text == "{\"x\":");
    follow(&mut tail, &mut seen, is_begun).await;
    drop(tail);
    engine.shutdown(1_000).await;
    drop(engine);
    world.models.release();
    let engine = world.engine().await;
    let (_, mut tail) = engine.attach(&caller("alice"), ack.session, Some(seen.last()), None).await.unwrap();
    follow(&mut tail, &mut seen, ends(1)).await;
    let requests = world.models.requests();
    assert_eq!(requests.len(), 3);
    assert_eq!(requests[1].messages, requests[2].messages);
    assert_eq!(seen.text, "no{\"x\": 1}");
    replays(&engine, ack.session).await;
}
