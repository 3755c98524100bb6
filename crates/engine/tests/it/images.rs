//! Images in prompts: what is taken, who is shown them, and what they taint.

use are_core::body::{Body, Outcome};
use are_core::error::{Code, Fault};
use are_core::ids::SessionKey;
use are_core::model::{Image, Message, ModelInfo, ModelRequest};
use are_core::payload::{Part, Payload};
use are_engine::api::{Prompt, Target};
use are_engine::engine::Engine;
use are_policy::rules::Profile;
use are_testkit::script::{Say, ScriptedModels, call, last_words, results_so_far, say};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::agents::replays;
use crate::support::{Seen, World, caller, ends, follow, is, new, prompt};

/// A white pixel.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2FAAAAABJRU5ErkJggg==";

fn image(media_type: &str, data: &str) -> Part {
    Part::Image(Image { media_type: media_type.to_owned(), data: data.into() })
}

fn text(text: &str) -> Part {
    Part::Text { text: text.to_owned() }
}

fn showing(content: Vec<Part>) -> Prompt {
    Prompt { content, ..prompt("") }
}

/// What the user said and showed, as the model has it.
fn shown(request: &ModelRequest) -> Vec<String> {
    let words = request.messages.iter().filter_map(|message| match message {
        Message::User { text } => Some(text.clone()),
        Message::Image(image) => Some(format!("<{} of {}>", image.media_type, image.data.len())),
        Message::System { .. } | Message::Assistant { .. } | Message::Tool { .. } => None,
    });
    words.collect()
}

async fn take_turn(engine: &Engine, target: Target, content: Vec<Part>, no: u32) -> (SessionKey, Seen) {
    let ack = engine.prompt(&caller("alice"), target, showing(content)).await.unwrap();
    let (_, mut tail) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, ends(no)).await;
    (ack.session, seen)
}

fn failures(seen: &Seen) -> Vec<Code> {
    let code = |body: Body| match body {
        Body::TurnFailed { code, .. } => code,
        other => panic!("{other:?}"),
    };
    seen.bodies("turn_failed").into_iter().map(code).collect()
}

#[tokio::test]
async fn an_image_stands_where_the_user_put_it_and_in_later_turns_too() {
    let world = World::new(ScriptedModels::new(|_| say("A pixel.")).seeing());
    let engine = world.engine().await;
    let content = vec![text("What is this"), image("image/png", PNG), text("in one word?")];
    let (session, seen) = take_turn(&engine, new(), content.clone(), 1).await;
    assert_eq!(seen.text, "A pixel.");
    let kept = seen.payload("turn_started").remove(0);
    assert!(matches!(&kept, Payload::Prompt { content: kept, .. } if *kept == content), "{kept:?}");
    take_turn(&engine, Target::Session(session), vec![text("Are you sure?")], 2).await;
    let pixel = format!("<image/png of {}>", PNG.len());
    let requests = world.models.requests();
    assert_eq!(shown(&requests[0]), ["What is this", &pixel, "in one word?"]);
    assert_eq!(shown(&requests[1]), ["What is this", &pixel, "in one word?", "Are you sure?"]);
    let begins = &requests[0].messages;
    assert_eq!(requests[1].messages[..begins.len()], begins[..], "the provider's cache finds what it had");
    replays(&engine, session).await;
}

#[tokio::test]
async fn what_an_image_says_permits_nothing() {
    let acts = |request: &ModelRequest| match results_so_far(request) {
        0 => vec![call("send", &json!({"x": "bob@b.example"}))],
        _ => say("done"),
    };
    let said = || text("Send it to ann@a.example");
    let mut outcomes = Vec::new();
    for content in [vec![said()], vec![said(), image("image/png", PNG)]] {
        let world = World::new(ScriptedModels::new(acts).seeing()).with_profile(Profile::Strict);
        let engine = world.engine().await;
        let ack = engine.prompt(&caller("alice"), new(), showing(content)).await.unwrap();
        let (_, mut tail) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
        let mut seen = Seen::default();
        follow(&mut tail, &mut seen, is("decision")).await;
        outcomes.extend(seen.bodies("decision").into_iter().map(|decided| match decided {
            Body::Decision { decision, .. } => decision,
            other => panic!("{other:?}"),
        }));
        engine.shutdown(1_000).await;
    }
    assert_eq!(outcomes, [Outcome::Ask, Outcome::Deny]);
}

#[tokio::test]
async fn an_image_that_is_shown_while_a_turn_runs_is_heard() {
    let script = |request: &ModelRequest| match last_words(request) {
        "go" => vec![Say::Token("Well ".to_owned()), Say::Hold],
        _ => say("I see."),
    };
    let world = World::new(ScriptedModels::new(script).seeing());
    let engine = world.engine().await;
    let ack = engine.prompt(&caller("alice"), new(), prompt("go")).await.unwrap();
    let (_, mut tail) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, |entry| matches!(entry, are_core::journal::Entry::Frame(..))).await;
    engine.steer(&caller("alice"), ack.session, 1, vec![image("image/png", PNG), text("like this")]).await.unwrap();
    follow(&mut tail, &mut seen, ends(1)).await;
    let last = world.models.requests().pop().unwrap();
    assert_eq!(shown(&last), ["go", &format!("<image/png of {}>", PNG.len()), "like this"]);
    replays(&engine, ack.session).await;
}

#[tokio::test]
async fn an_image_that_is_shown_while_a_turn_runs_finds_a_model_that_can_see() {
    let models = ScriptedModels::new(|request| match request.model.as_str() {
        "test:scripted" => vec![Say::Token("Well ".to_owned()), Say::Hold],
        seeing => say(seeing),
    });
    let seeing = ModelInfo { takes_images: true, ..models.info("test:seeing") };
    let world = World::new(models.with_others([seeing]));
    let engine = world.engine().await;
    let ack = engine.prompt(&caller("alice"), new(), prompt("go")).await.unwrap();
    let (_, mut tail) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, |entry| matches!(entry, are_core::journal::Entry::Frame(..))).await;
    engine.steer(&caller("alice"), ack.session, 1, vec![image("image/png", PNG)]).await.unwrap();
    follow(&mut tail, &mut seen, ends(1)).await;
    assert!(seen.text.ends_with("test:seeing"), "{}", seen.text);
    replays(&engine, ack.session).await;
}

/// A client that keeps no session sends all that was said with each request.
#[tokio::test]
async fn an_image_among_what_was_said_before_keeps_no_model_from_answering() {
    let world = World::new(ScriptedModels::new(|_| say("Hello.")));
    let engine = world.engine().await;
    let before = vec![
        Message::User { text: "What is this?".to_owned() },
        Message::Image(Image { media_type: "image/png".to_owned(), data: PNG.into() }),
        Message::Assistant { text: "A pixel.".to_owned(), reasoning: Vec::new(), calls: Vec::new() },
    ];
    let content = vec![Part::Exchange { messages: before }, text("hi")];
    let (session, seen) = take_turn(&engine, new(), content, 1).await;
    assert_eq!(seen.text, "Hello.");
    let last = world.models.requests().pop().unwrap();
    let [_, unseen, _] = &shown(&last)[..] else { panic!("{:?}", shown(&last)) };
    assert!(unseen.contains("not shown to you"), "{unseen}");
    replays(&engine, session).await;
}

#[tokio::test]
async fn a_model_that_cannot_see_says_so_and_the_session_goes_on() {
    let world = World::new(ScriptedModels::new(|_| say("Hello.")));
    let engine = world.engine().await;
    let (session, seen) = take_turn(&engine, new(), vec![image("image/png", PNG), text("What is it?")], 1).await;
    assert_eq!(failures(&seen), [Code::IMAGES_REFUSED]);
    assert_eq!(world.models.requests().len(), 0, "nobody is asked in vain");
    let (_, seen) = take_turn(&engine, Target::Session(session), vec![text("hi")], 2).await;
    assert_eq!((seen.text.as_str(), failures(&seen).len()), ("Hello.", 1));
    let last = world.models.requests().pop().unwrap();
    assert!(shown(&last)[0].contains("not shown to you"), "{:?}", shown(&last));
    replays(&engine, session).await;
}

#[tokio::test]
async fn a_model_that_can_see_is_asked_where_another_one_cannot() {
    let models = ScriptedModels::new(|request| say(&request.model));
    let seeing = ModelInfo { takes_images: true, ..models.info("test:seeing") };
    let world = World::new(models.with_others([seeing]));
    let engine = world.engine().await;
    let (session, seen) = take_turn(&engine, new(), vec![image("image/png", PNG)], 1).await;
    assert_eq!(seen.text, "test:seeing");
    let (_, seen) = take_turn(&engine, Target::Session(session), vec![text("hi")], 2).await;
    assert_eq!(seen.text, "test:scripted", "words need none that can see");
    let last = world.models.requests().pop().unwrap();
    assert!(shown(&last)[0].contains("not shown to you"), "{:?}", shown(&last));
    replays(&engine, session).await;
}

/// A provider refuses some images for reasons that only it knows, and would refuse them with every later request too.
#[tokio::test]
async fn an_image_that_a_turn_failed_with_does_not_make_the_next_one_fail() {
    let script = |request: &ModelRequest| {
        if request.messages.iter().any(|message| matches!(message, Message::Image(_))) {
            return vec![Say::Fail(Fault::new(Code::MODEL_ERROR, "it is too wide", "send another one"))];
        }
        say("Hello.")
    };
    let world = World::new(ScriptedModels::new(script).seeing());
    let engine = world.engine().await;
    let (session, seen) = take_turn(&engine, new(), vec![image("image/png", PNG)], 1).await;
    assert_eq!(failures(&seen), [Code::MODEL_ERROR]);
    let (_, seen) = take_turn(&engine, Target::Session(session), vec![text("hi")], 2).await;
    assert_eq!(seen.text, "Hello.");
    replays(&engine, session).await;
}

#[tokio::test]
async fn an_image_that_no_model_has_answered_is_not_sent_again() {
    let script = |request: &ModelRequest| match request.messages.last() {
        Some(Message::Image(_)) => vec![Say::Hold],
        _ => say("Hello."),
    };
    let world = World::new(ScriptedModels::new(script).seeing());
    let engine = world.engine().await;
    let ack = engine.prompt(&caller("alice"), new(), showing(vec![image("image/png", PNG)])).await.unwrap();
    let (_, mut tail) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, is("model_requested")).await;
    engine.cancel(&caller("alice"), ack.session, 1).await.unwrap();
    follow(&mut tail, &mut seen, ends(1)).await;
    take_turn(&engine, Target::Session(ack.session), vec![text("hi")], 2).await;
    let last = world.models.requests().pop().unwrap();
    assert!(shown(&last)[0].contains("not shown to you"), "{:?}", shown(&last));
    replays(&engine, ack.session).await;
}

/// Another model, or another limit of the same one: what was answered once may be refused later.
#[tokio::test]
async fn images_that_are_refused_later_fail_one_turn_and_no_more() {
    let script = |request: &ModelRequest| {
        let images = request.messages.iter().filter(|message| matches!(message, Message::Image(_))).count();
        if images > 1 {
            return vec![Say::Fail(Fault::new(Code::MODEL_ERROR, "one image at most", "send one"))];
        }
        say("Hello.")
    };
    let world = World::new(ScriptedModels::new(script).seeing());
    let engine = world.engine().await;
    let (session, seen) = take_turn(&engine, new(), vec![image("image/png", PNG)], 1).await;
    assert_eq!(seen.text, "Hello.");
    let here = || Target::Session(session);
    let (_, seen) = take_turn(&engine, here(), vec![image("image/png", PNG)], 2).await;
    assert_eq!(failures(&seen), [Code::MODEL_ERROR]);
    let (_, seen) = take_turn(&engine, here(), vec![image("image/png", PNG)], 3).await;
    assert_eq!(seen.text, "Hello.");
    replays(&engine, session).await;
}

#[tokio::test]
async fn the_images_of_one_request_are_bounded_and_its_beginning_stays() {
    let world = World::new(ScriptedModels::new(|_| say("Hello.")).seeing().with_context(1_000_000));
    let engine = world.engine().await;
    let large = STANDARD.encode([&STANDARD.decode(PNG).unwrap()[..], &vec![0; 700_000]].concat());
    let mut target = new();
    for no in 1..=20 {
        let (session, _) = take_turn(&engine, target, vec![image("image/png", &large)], no).await;
        target = Target::Session(session);
    }
    let requests = world.models.requests();
    let images = |request: &ModelRequest| {
        request.messages.iter().filter(|message| matches!(message, Message::Image(_))).count() * large.len()
    };
    let most = requests.iter().map(images).max().unwrap();
    assert!((6 << 20..=9 << 20).contains(&most), "{most}");
    assert!(matches!(requests.last().unwrap().messages.last(), Some(Message::Image(_))), "the newest is there");
    let grows = |pair: &&[ModelRequest]| pair[1].messages.starts_with(&pair[0].messages);
    assert!(requests.windows(2).filter(grows).count() >= 16, "what a provider has cached is found");
}

#[tokio::test]
async fn a_turn_that_runs_is_not_ended_by_an_image_that_nobody_can_see() {
    let world = World::new(ScriptedModels::new(|_| vec![Say::Token("Well ".to_owned()), Say::Hold]));
    let engine = world.engine().await;
    let ack = engine.prompt(&caller("alice"), new(), prompt("go")).await.unwrap();
    let (_, mut tail) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, |entry| matches!(entry, are_core::journal::Entry::Frame(..))).await;
    let steered = engine.steer(&caller("alice"), ack.session, 1, vec![image("image/png", PNG)]).await;
    assert_eq!(steered.unwrap_err().code, Code::IMAGES_REFUSED);
    world.models.release();
    follow(&mut tail, &mut seen, ends(1)).await;
    assert_eq!((seen.text.as_str(), failures(&seen)), ("Well ", Vec::new()));
}

#[tokio::test]
async fn what_is_no_image_is_refused_before_it_is_part_of_a_session() {
    let world = World::new(ScriptedModels::new(|_| say("Hello.")).seeing());
    let engine = world.engine().await;
    let huge = STANDARD.encode([&STANDARD.decode(PNG).unwrap()[..], &vec![0; 1 << 20]].concat());
    let exchanged = |data: &str| Part::Exchange {
        messages: vec![Message::Image(Image { media_type: "image/png".to_owned(), data: data.into() })],
    };
    for (part, code) in [
        (image("image/svg+xml", &STANDARD.encode("<svg/>")), Code::REQUEST_INVALID),
        (image("image/jpeg", PNG), Code::REQUEST_INVALID),
        (image("image/png", "no base64!"), Code::REQUEST_INVALID),
        (image("image/png", PNG.trim_end_matches('=')), Code::REQUEST_INVALID),
        (image("image/png", ""), Code::REQUEST_INVALID),
        (image("image/png", &huge), Code::PROMPT_TOO_LARGE),
        (exchanged("AAAA"), Code::REQUEST_INVALID),
    ] {
        let said = format!("{part:.80?}");
        let refused = engine.prompt(&caller("alice"), new(), showing(vec![part, text("hi")])).await.unwrap_err();
        assert_eq!(refused.code, code, "{said}");
    }
    let jpeg = STANDARD.encode([0xff, 0xd8, 0xff, 0xe0]);
    let webp = STANDARD.encode(b"RIFF\x04\0\0\0WEBPVP8 ");
    let gif = STANDARD.encode(b"GIF89a");
    for (media_type, data) in [("image/jpeg", jpeg), ("image/webp", webp), ("image/gif", gif)] {
        take_turn(&engine, new(), vec![image(media_type, &data)], 1).await;
    }
}
