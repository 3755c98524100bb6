//! A model calls the tools that it was told of, whatever is served by the time it does.

use are_core::body::{Answer, Body};
use are_core::digest::Digest;
use are_core::error::Code;
use are_core::ids::SessionKey;
use are_core::journal::{Entry, Frame};
use are_engine::api::{Approve, Target};
use are_engine::engine::{Engine, Tail};
use are_policy::manifest::Manifest;
use are_policy::rules::Profile;
use are_testkit::script::{Say, ScriptedModels, call, results_so_far, say};
use serde_json::json;

use crate::support::{Seen, World, caller, ends, follow, is, new, prompt};
use crate::tools::{Living, start};

fn second(manifest: &mut Manifest) {
    manifest.version = "2".to_owned();
    manifest.description = "Does something else under the same name.".to_owned();
}

fn digest_of(engine: &Engine, tool: &str) -> Digest {
    engine.tools().get(tool).unwrap().1
}

async fn begin(engine: &Engine) -> (SessionKey, Tail) {
    let ack = engine.prompt(&caller("alice"), new(), prompt("go")).await.unwrap();
    let (_, tail) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
    (ack.session, tail)
}

async fn approve(engine: &Engine, session: SessionKey) {
    let waiting = engine.session(&caller("alice"), session).await.unwrap().approvals.remove(0);
    let answer = Approve { approval: waiting.approval, digest: waiting.digest, decision: Answer::AllowSession };
    engine.approve(&caller("alice"), session, answer).await.unwrap();
}

async fn replays(engine: &Engine, session: SessionKey) {
    let report = engine.replay(&caller("alice"), session, None, false).await.unwrap();
    assert_eq!(report.difference, None);
    assert!(report.derived >= 4, "{report:?}");
}

fn requested(seen: &Seen) -> Vec<Option<Digest>> {
    let digest = |body: &Body| match body {
        Body::ToolRequested { tool_digest, .. } => *tool_digest,
        other => panic!("{other:?}"),
    };
    seen.bodies("tool_requested").iter().map(digest).collect()
}

/// The only call that failed, because its tool is another by now.
fn refused(seen: &Seen) -> u32 {
    match seen.bodies("tool_failed").as_slice() {
        [Body::ToolFailed { call, code: Code::TOOL_UNKNOWN, .. }] => *call,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_tool_that_is_replaced_while_the_model_answers_is_not_run_in_the_place_of_the_one_it_called() {
    let world = World::new(ScriptedModels::new(|request| match results_so_far(request) {
        0 => vec![Say::Token("I ".to_owned()), Say::Hold, call("put", &json!({"x": 1})), call("read", &json!({}))],
        2 => vec![call("put", &json!({"x": 2}))],
        _ => say("done"),
    }));
    let (engine, living) = start(&world).await;
    let (session, mut tail) = begin(&engine).await;
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, |entry| matches!(entry, Entry::Frame(_, Frame::Token { .. }))).await;
    let (old, read) = (digest_of(&engine, "put"), digest_of(&engine, "read"));
    living.change(|manifest| {
        if manifest.name.as_str() == "put" {
            second(manifest);
        }
    });
    engine.reload_tools().await.unwrap();
    world.models.release();
    follow(&mut tail, &mut seen, ends(1)).await;
    let now = digest_of(&engine, "put");
    assert_ne!(old, now);
    assert_eq!(requested(&seen), [Some(old), Some(read), Some(now)], "a call is of the declaration that was shown");
    assert_eq!(refused(&seen), 1);
    assert_eq!((world.tools.begun("put").len(), world.tools.begun("read").len()), (1, 1));
    let decided = seen.bodies("decision").len();
    assert_eq!(decided, 2, "what is not there any more is not decided about: {:?}", seen.actions());
    replays(&engine, session).await;
}

#[tokio::test]
async fn a_tool_that_is_replaced_while_a_person_is_asked_does_not_run_with_the_answer() {
    for is_restarted in [false, true] {
        let world = World::new(ScriptedModels::new(|request| match results_so_far(request) {
            0 => vec![call("put", &json!({"x": 1}))],
            _ => say("done"),
        }))
        .with_profile(Profile::Ask);
        let (engine, living) = start(&world).await;
        let (session, mut tail) = begin(&engine).await;
        let mut seen = Seen::default();
        follow(&mut tail, &mut seen, is("approval_requested")).await;
        living.change(second);
        engine.reload_tools().await.unwrap();
        let engine = if is_restarted {
            drop(tail);
            engine.shutdown(1_000).await;
            drop(engine);
            let again = Living::new(world.tools.clone());
            again.change(second);
            let engine = again.serve_over(&world).await;
            engine.reload_tools().await.unwrap();
            engine
        } else {
            engine
        };
        let (_, mut tail) = engine.attach(&caller("alice"), session, Some(seen.last()), None).await.unwrap();
        approve(&engine, session).await;
        follow(&mut tail, &mut seen, ends(1)).await;
        assert_eq!(refused(&seen), 1);
        assert_eq!(world.tools.begun("put"), Vec::<u32>::new());
        replays(&engine, session).await;
        // What was allowed for the session was the tool that is not there any more.
        engine.prompt(&caller("alice"), Target::Session(session), prompt("go")).await.unwrap();
        follow(&mut tail, &mut seen, is("approval_requested")).await;
        assert_eq!(world.tools.begun("put"), Vec::<u32>::new());
    }
}

#[tokio::test]
async fn a_tool_that_is_removed_while_the_model_answers_is_said_to_be_gone() {
    let world = World::new(ScriptedModels::new(|request| match results_so_far(request) {
        0 => vec![Say::Token("I ".to_owned()), Say::Hold, call("put", &json!({"x": 1}))],
        _ => say("done"),
    }));
    let (engine, living) = start(&world).await;
    let (session, mut tail) = begin(&engine).await;
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, |entry| matches!(entry, Entry::Frame(_, Frame::Token { .. }))).await;
    living.change(|manifest| {
        if manifest.name.as_str() == "put" {
            manifest.name = "put_elsewhere".parse().unwrap();
        }
    });
    engine.reload_tools().await.unwrap();
    world.models.release();
    follow(&mut tail, &mut seen, ends(1)).await;
    assert_eq!(refused(&seen), 1);
    replays(&engine, session).await;
}
