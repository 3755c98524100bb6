//! What happens at a deadline, and not before: on a clock that moves only when it is told to.

use are_core::body::{Answer, Body};
use are_core::error::Code;
use are_core::payload::Payload;
use are_engine::api::{Ack, Approve, Caller, Target};
use are_engine::engine::{Engine, Tail};
use are_engine::limits::APPROVAL_MS;
use are_policy::manifest::CallLimits;
use are_policy::rules::Profile;
use are_testkit::clock::START_MS;
use are_testkit::script::{ScriptedModels, call, results_so_far, say};
use serde_json::json;

use crate::support::{Seen, World, caller, ends, follow, headless, is, new, prompt};

/// How long whoever prompts and may approve has to attach.
const ATTEND_MS: u64 = 10_000;
/// What a tool gets beyond its own limit before it is given up.
const GRACE_MS: u64 = 2_000;

fn calls(tool: &'static str) -> ScriptedModels {
    ScriptedModels::new(move |request| match results_so_far(request) {
        0 => vec![call(tool, &json!({ "x": 1 }))],
        _ => say("All done."),
    })
}

fn that_asks() -> World {
    World::new(calls("send")).with_profile(Profile::Ask).in_memory()
}

/// A prompt of somebody who may approve; the session is watched by somebody who may not.
async fn asked(engine: &Engine) -> (Ack, Tail, Seen) {
    let ack = engine.prompt(&caller("alice"), new(), prompt("send it")).await.unwrap();
    let (mut tail, mut seen) = watch(engine, &ack).await;
    follow(&mut tail, &mut seen, is("approval_requested")).await;
    (ack, tail, seen)
}

async fn watch(engine: &Engine, ack: &Ack) -> (Tail, Seen) {
    let (_, tail) = engine.attach(&headless("alice"), ack.session, Some(0), None).await.unwrap();
    (tail, Seen::default())
}

async fn waiting(engine: &Engine) -> usize {
    engine.approvals(&caller("alice")).await.unwrap().len()
}

/// Lets time pass until one millisecond before `at_ms`, shows that the session has looked and waits on, and then lets
/// that millisecond pass.
async fn reach(world: &World, engine: &Engine, at_ms: u64) {
    world.clock.advance_to(at_ms - 1);
    // It looked at the clock and will look again at the deadline: so it decided to wait.
    world.clock.is_slept_until(at_ms).await;
    assert_eq!(waiting(engine).await, 1, "a millisecond before");
    world.clock.advance_to(at_ms);
}

fn resolved_by_nobody(seen: &Seen) -> bool {
    let nobody = Body::ApprovalResolved { approval: 1, decision: Answer::Deny, by: "nobody".to_owned(), policy: None };
    seen.bodies("approval_resolved") == [nobody]
}

fn was_denied(seen: &Seen) -> bool {
    matches!(seen.bodies("tool_failed")[..], [Body::ToolFailed { code: Code::DENIED, .. }])
}

#[tokio::test]
async fn whoever_prompts_and_may_approve_has_ten_seconds_to_attach() {
    let world = that_asks();
    let engine = world.engine().await;
    let (_, mut tail, mut seen) = asked(&engine).await;
    reach(&world, &engine, START_MS + ATTEND_MS).await;
    follow(&mut tail, &mut seen, ends(1)).await;
    assert!(resolved_by_nobody(&seen) && was_denied(&seen), "{:?}", seen.actions());
    assert_eq!(world.tools.begun("send"), [0_u32; 0]);
}

#[tokio::test]
async fn whoever_may_not_approve_is_not_waited_for_at_all() {
    let world = that_asks();
    let engine = world.engine().await;
    let ack = engine.prompt(&headless("alice"), new(), prompt("send it")).await.unwrap();
    let (mut tail, mut seen) = watch(&engine, &ack).await;
    follow(&mut tail, &mut seen, ends(1)).await;
    assert!(resolved_by_nobody(&seen) && was_denied(&seen), "{:?}", seen.actions());
}

#[tokio::test]
async fn an_approver_who_is_there_is_waited_for_beyond_every_deadline_and_when_he_leaves_the_turn_is_parked() {
    let world = that_asks();
    let engine = world.engine().await;
    let (ack, mut tail, mut seen) = asked(&engine).await;
    let (_, approver) = engine.attach(&caller("alice"), ack.session, None, None).await.unwrap();
    // Ten seconds, the approval's own deadline, a day.
    for at_ms in [ATTEND_MS, APPROVAL_MS, 24 * 3_600_000] {
        world.clock.advance_to(START_MS + at_ms);
        world.clock.is_slept_beyond(START_MS + at_ms).await;
        assert_eq!(waiting(&engine).await, 1, "after {at_ms} ms");
    }
    drop(approver);
    world.clock.advance(1_000);
    follow(&mut tail, &mut seen, is("turn_parked")).await;
    assert_eq!(waiting(&engine).await, 1);
}

#[tokio::test]
async fn when_an_approver_leaves_before_the_deadline_his_coming_back_is_waited_for_until_then() {
    let world = that_asks();
    let engine = world.engine().await;
    let (ack, mut tail, mut seen) = asked(&engine).await;
    let (_, approver) = engine.attach(&caller("alice"), ack.session, None, None).await.unwrap();
    world.clock.advance_to(START_MS + 2 * ATTEND_MS);
    world.clock.is_slept_beyond(START_MS + 2 * ATTEND_MS).await;
    drop(approver);
    reach(&world, &engine, START_MS + APPROVAL_MS).await;
    follow(&mut tail, &mut seen, is("turn_parked")).await;
    assert_eq!(seen.bodies("approval_resolved"), []);
}

#[tokio::test]
async fn a_late_answer_of_an_approver_who_stayed_still_counts() {
    let world = that_asks();
    let engine = world.engine().await;
    let (ack, mut tail, mut seen) = asked(&engine).await;
    let (_, _approver) = engine.attach(&caller("alice"), ack.session, None, None).await.unwrap();
    world.clock.advance(2 * APPROVAL_MS);
    let shown = engine.approvals(&caller("alice")).await.unwrap().remove(0);
    assert_eq!(shown.expires_at_ms, START_MS + APPROVAL_MS);
    let answer = Approve { approval: shown.approval, digest: shown.digest, decision: Answer::AllowOnce };
    engine.approve(&caller("alice"), ack.session, answer).await.unwrap();
    follow(&mut tail, &mut seen, ends(1)).await;
    assert_eq!(world.tools.begun("send"), [1]);
}

#[tokio::test]
async fn after_a_restart_the_approvals_own_deadline_counts_and_then_the_turn_is_parked() {
    let world = that_asks();
    let engine = world.engine().await;
    let (ack, ..) = asked(&engine).await;
    engine.shutdown(1_000).await;
    drop(engine);
    world.clock.advance(ATTEND_MS);

    let engine = world.engine().await;
    let (mut tail, mut seen) = watch(&engine, &ack).await;
    reach(&world, &engine, START_MS + APPROVAL_MS).await;
    follow(&mut tail, &mut seen, is("turn_parked")).await;
    assert_eq!((waiting(&engine).await, seen.bodies("approval_resolved").len()), (1, 0));
}

#[tokio::test]
async fn after_a_restart_a_turn_of_somebody_who_may_not_approve_is_denied_at_the_deadline() {
    let world = that_asks();
    let engine = world.engine().await;
    // Somebody who may approve is there while he asks, and is gone after the restart.
    let session = engine.create(&caller("alice"), are_engine::api::NewSession::default()).await.unwrap();
    let (_, mut approver) = engine.attach(&caller("alice"), session, Some(0), None).await.unwrap();
    let ack = engine.prompt(&headless("alice"), Target::Session(session), prompt("send it")).await.unwrap();
    follow(&mut approver, &mut Seen::default(), is("approval_requested")).await;
    engine.shutdown(1_000).await;
    drop(engine);
    world.clock.advance(ATTEND_MS);

    let engine = world.engine().await;
    let (mut tail, mut seen) = watch(&engine, &ack).await;
    reach(&world, &engine, START_MS + APPROVAL_MS).await;
    follow(&mut tail, &mut seen, ends(1)).await;
    assert!(resolved_by_nobody(&seen) && was_denied(&seen), "{:?}", seen.actions());
}

/// A call of a held tool; the turn, what is seen of it, and when the call must be given up.
async fn held(engine: &Engine, caller: &Caller) -> (Ack, Tail, Seen, u64) {
    let ack = engine.prompt(caller, new(), prompt("go")).await.unwrap();
    let (mut tail, mut seen) = watch(engine, &ack).await;
    follow(&mut tail, &mut seen, is("tool_started")).await;
    (ack, tail, seen, START_MS + CallLimits::default().timeout_ms + GRACE_MS)
}

#[tokio::test]
async fn a_tool_is_given_up_when_its_time_and_the_grace_are_over_and_not_before() {
    for (tool, outcome) in [("wait", "tool_failed"), ("hold_send", "tool_unknown")] {
        let world = World::new(calls(tool)).in_memory();
        let engine = world.engine().await;
        let (ack, mut tail, mut seen, deadline) = held(&engine, &caller("alice")).await;
        world.clock.is_slept_until(deadline).await;
        world.clock.advance_to(deadline - 1);
        assert_eq!(engine.session(&caller("alice"), ack.session).await.unwrap().turn, Some(1), "{tool}");
        let entries = engine.events(&caller("alice"), ack.session, 0, 100).await.unwrap();
        assert!(!entries.iter().any(is(outcome)), "{tool} still has time");

        world.clock.advance_to(deadline);
        follow(&mut tail, &mut seen, ends(1)).await;
        assert_eq!((seen.bodies(outcome).len(), seen.text.as_str()), (1, "All done."), "{tool}: {:?}", seen.actions());
        let Payload::Failure { message, .. } = &seen.payload(outcome)[0] else { panic!("a failure") };
        assert!(message.contains("took too long"), "{message}");
        // What comes later comes to nothing: the call has its outcome.
        world.tools.release();
        engine.prompt(&caller("alice"), Target::Session(ack.session), prompt("again")).await.unwrap();
        follow(&mut tail, &mut seen, is("turn_started")).await;
        assert_eq!(seen.bodies(outcome).len(), 1);
    }
}

#[tokio::test]
async fn a_tool_that_answers_in_its_last_millisecond_is_heard() {
    let world = World::new(calls("wait")).in_memory();
    let engine = world.engine().await;
    let (_, mut tail, mut seen, deadline) = held(&engine, &caller("alice")).await;
    world.clock.is_slept_until(deadline).await;
    world.clock.advance_to(deadline - 1);
    world.tools.release();
    follow(&mut tail, &mut seen, ends(1)).await;
    let took = seen.bodies("tool_completed");
    assert!(matches!(took[..], [Body::ToolCompleted { ms, .. }] if ms == deadline - 1 - START_MS), "{took:?}");
    assert!(seen.bodies("tool_failed").is_empty());
}

#[tokio::test]
async fn a_shutdown_gives_running_tools_their_grace_and_no_more() {
    for is_quick in [true, false] {
        let world = World::new(calls("hold_send")).in_memory();
        let engine = world.engine().await;
        let (ack, tail, ..) = held(&engine, &caller("alice")).await;
        drop(tail);
        let stopping = engine.shutdown(5_000);
        let passing = async {
            world.clock.is_slept_until(START_MS + 5_000).await;
            world.clock.advance(4_999);
            if is_quick {
                world.tools.release();
            } else {
                world.clock.advance(1);
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = stopping => {}
            () = passing => {}
        }
        drop(engine);

        let engine = world.engine().await;
        let (mut tail, mut seen) = watch(&engine, &ack).await;
        follow(&mut tail, &mut seen, ends(1)).await;
        let outcome = if is_quick { "tool_completed" } else { "tool_unknown" };
        assert_eq!(seen.bodies(outcome).len(), 1, "{:?}", seen.actions());
        assert_eq!(world.tools.begun("hold_send"), [1]);
    }
}
