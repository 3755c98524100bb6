//! Answers that come late, after a kill, or to a turn that is parked.

use are_core::body::{Answer, Body};
use are_core::error::Code;
use are_core::ids::SessionKey;
use are_engine::api::{Approve, IfBusy, PendingApproval, Prompt, Target};
use are_engine::engine::Engine;
use are_engine::limits::APPROVAL_MS;
use are_policy::rules::{Profile, Rules};
use are_testkit::script::{ScriptedModels, call, last_words, results_so_far, say};
use serde_json::json;
use tokio::runtime::Builder;

use crate::support::{Seen, World, caller, ends, follow, headless, is, new, prompt};

fn asks() -> World {
    let script = |request: &are_core::model::ModelRequest| match results_so_far(request) {
        0 if last_words(request) == "send it" => vec![call("send", &json!({ "x": 1 }))],
        _ => say("ok"),
    };
    World::new(ScriptedModels::new(script)).with_profile(Profile::Ask).in_memory()
}

async fn only(engine: &Engine) -> PendingApproval {
    let mut waiting = engine.approvals(&caller("alice")).await.unwrap();
    assert_eq!(waiting.len(), 1);
    waiting.remove(0)
}

async fn allow(engine: &Engine, one: &PendingApproval) {
    let answer = Approve { approval: one.approval, digest: one.digest, decision: Answer::AllowOnce };
    engine.approve(&caller("alice"), one.session, answer).await.unwrap();
}

/// A turn that is parked: asked, left by its approver, and past its deadline.
async fn parked(world: &World, engine: &Engine) -> (SessionKey, Seen) {
    let ack = engine.prompt(&caller("alice"), new(), prompt("send it")).await.unwrap();
    let (_, mut approver) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
    follow(&mut approver, &mut Seen::default(), is("approval_requested")).await;
    drop(approver);
    world.clock.advance(APPROVAL_MS);
    let mut seen = Seen::default();
    let (_, mut tail) = engine.attach(&headless("alice"), ack.session, Some(0), None).await.unwrap();
    follow(&mut tail, &mut seen, is("turn_parked")).await;
    (ack.session, seen)
}

#[tokio::test]
async fn a_parked_turn_leaves_memory_survives_restarts_and_goes_on_with_a_late_answer() {
    let world = asks();
    let mut engine = world.engine().await;
    let (session, mut seen) = parked(&world, &engine).await;
    let entries = seen.last();
    for _ in 0..2 {
        // Nobody looks, so nothing of it stays in memory.
        while engine.sessions_active() > 0 {
            tokio::task::yield_now().await;
        }
        engine.shutdown(1_000).await;
        drop(engine);
        world.clock.advance(24 * 3_600_000);
        engine = world.engine().await;
        let one = only(&engine).await;
        assert!(one.is_parked);
    }
    let (standing, mut tail) = engine.attach(&headless("alice"), session, Some(entries), None).await.unwrap();
    assert_eq!((standing.seq, standing.turn), (entries, Some(1)), "waiting leaves nothing in the journal");
    allow(&engine, &only(&engine).await).await;
    follow(&mut tail, &mut seen, ends(1)).await;
    assert_eq!((world.tools.begun("send"), seen.text.as_str()), (vec![1], "ok"));
    let report = engine.replay(&caller("alice"), session, None, false).await.unwrap();
    assert_eq!(report.difference, None);
}

#[tokio::test]
async fn a_parked_turn_neither_holds_up_the_end_nor_lets_other_prompts_pass() {
    let world = asks();
    let engine = world.engine().await;
    let (session, _) = parked(&world, &engine).await;
    let here = Target::Session(session);
    let busy = engine.prompt(&caller("alice"), here.clone(), prompt("more")).await.unwrap_err();
    assert_eq!(busy.code, Code::SESSION_BUSY);
    assert!(busy.message.contains("approval 1") && busy.help.contains("answer it"), "{busy:?}");
    let queued = Prompt { if_busy: IfBusy::Queue, ..prompt("next") };
    let ack = engine.prompt(&caller("alice"), here, queued).await.unwrap();
    assert_eq!((ack.turn, only(&engine).await.is_parked), (2, true), "the next prompt waits behind it");
    engine.shutdown(1_000).await;
    drop(engine);

    let engine = world.engine().await;
    let (_, mut tail) = engine.attach(&headless("alice"), session, Some(0), None).await.unwrap();
    engine.cancel(&caller("alice"), session, 1).await.unwrap();
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, ends(2)).await;
    assert_eq!(world.tools.begun("send"), [0_u32; 0], "a cancelled turn's approval is spent with it");
    assert_eq!(engine.approvals(&caller("alice")).await.unwrap(), []);
}

#[tokio::test]
async fn rules_that_changed_while_a_turn_was_parked_are_asked_before_the_answer_counts() {
    let world = asks();
    let engine = world.engine().await;
    let (session, mut seen) = parked(&world, &engine).await;
    let old = only(&engine).await;
    while engine.sessions_active() > 0 {
        tokio::task::yield_now().await;
    }
    let text = "@id(\"asks\") @ask(\"say so\") permit(principal, action, resource);";
    engine.set_rules(Rules::new(Profile::Ask, &[("a.cedar".into(), text.into())]).unwrap()).await.unwrap();
    let answer = Approve { approval: old.approval, digest: old.digest, decision: Answer::AllowOnce };
    assert_eq!(engine.approve(&caller("alice"), session, answer).await.unwrap_err().code, Code::APPROVAL_UNKNOWN);
    let (_, mut tail) = engine.attach(&caller("alice"), session, Some(seen.last()), None).await.unwrap();
    allow(&engine, &only(&engine).await).await;
    follow(&mut tail, &mut seen, ends(1)).await;
    assert_eq!(seen.bodies("approval_withdrawn").len(), 1);
    assert_eq!(world.tools.begun("send"), [1]);
    let report = engine.replay(&caller("alice"), session, None, false).await.unwrap();
    assert_eq!(report.difference, None);
}

#[tokio::test]
async fn a_deleted_session_with_a_parked_turn_waits_for_nobody() {
    let world = asks();
    let engine = world.engine().await;
    let (session, _) = parked(&world, &engine).await;
    engine.delete(&caller("alice"), session).await.unwrap();
    assert_eq!(engine.approvals(&caller("alice")).await.unwrap(), []);
}

/// One life of a process, which ends as by a kill.
fn life<T>(life: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let done = runtime.block_on(life);
    // Dropping the runtime drops every task where it stands.
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    done
}

#[test]
fn an_answer_given_and_unspent_survives_a_kill_and_is_decided_again_under_the_rules_of_then() {
    let forbid = "@id(\"no\") forbid(principal, action, resource == Tool::\"send\");";
    let ask = "@id(\"asks\") @ask(\"say so\") permit(principal, action, resource == Tool::\"send\");";
    for (text, begun, asked) in [("", 1, 1), (forbid, 0, 1), (ask, 0, 2)] {
        // The first call holds the second one back, so that its answer is given and not spent.
        let script = |request: &are_core::model::ModelRequest| match results_so_far(request) {
            0 => vec![call("wait", &json!({})), call("send", &json!({ "x": 1 }))],
            _ => say("ok"),
        };
        let world = World::new(ScriptedModels::new(script)).with_profile(Profile::Ask).in_memory();
        let mut seen = Seen::default();
        let session = life(async {
            let engine = world.engine().await;
            let ack = engine.prompt(&caller("alice"), new(), prompt("send it")).await.unwrap();
            let (_, mut tail) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
            follow(&mut tail, &mut seen, is("approval_requested")).await;
            allow(&engine, &only(&engine).await).await;
            follow(&mut tail, &mut seen, is("approval_resolved")).await;
            ack.session
        });
        let resolved = seen.bodies("approval_resolved");
        assert!(matches!(&resolved[..], [Body::ApprovalResolved { by, .. }] if by == "alice"), "{resolved:?}");
        assert_eq!(world.tools.begun("send"), [0_u32; 0], "not spent");
        life(async {
            let mut settings = world.settings();
            if !text.is_empty() {
                let files = [("a.cedar".to_owned(), text.to_owned())];
                settings.rules = std::sync::Arc::new(Rules::new(Profile::Ask, &files).unwrap());
            }
            let engine = Engine::start(world.ports(), settings).await.unwrap();
            let (_, mut tail) = engine.attach(&caller("alice"), session, Some(seen.last()), None).await.unwrap();
            world.tools.release();
            if asked == 2 {
                follow(&mut tail, &mut seen, is("approval_requested")).await;
                let one = only(&engine).await;
                let answer = Approve { approval: one.approval, digest: one.digest, decision: Answer::Deny };
                engine.approve(&caller("alice"), session, answer).await.unwrap();
            }
            follow(&mut tail, &mut seen, ends(1)).await;
            let report = engine.replay(&caller("alice"), session, None, false).await.unwrap();
            assert_eq!(report.difference, None, "{text}");
        });
        assert_eq!(world.tools.begun("send").len(), begun, "{text}: {:?}", seen.actions());
        assert_eq!(seen.bodies("approval_requested").len(), asked, "{text}: {:?}", seen.actions());
    }
}
