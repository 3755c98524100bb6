//! Calls that running calls make: recorded, decided and run as calls of their own, and over with those that made them.

use std::sync::Arc;

use are_core::body::{Answer, Body};
use are_core::clock::Clock as _;
use are_core::error::Code;
use are_core::ids::CallNo;
use are_core::journal::Entry;
use are_core::label::{Confidentiality, Integrity};
use are_core::limits::TURN_STEPS_MAX;
use are_core::model::Message;
use are_core::payload::Payload;
use are_engine::api::{Ack, Approve};
use are_engine::engine::{Engine, Tail};
use are_engine::limits::{APPROVAL_MS, CHILDREN_PER_CALL_MAX};
use are_policy::rules::{Profile, Rules};
use are_testkit::clock::START_MS;
use are_testkit::script::{ScriptedModels, call, last_words, results_so_far, say};
use are_testkit::tools::CountedTools;
use serde_json::{Value, json};

use crate::support::{Seen, World, caller, ends, follow, headless, is, new, prompt, turn};

/// What a tool has, with what the engine adds before it gives it up.
const TIMEOUT_MS: u64 = 30_000 + 2_000;
const ASKS: &str = r#"@id("asks") @ask("say so") permit(principal, action, resource == Tool::"send");"#;
const FORBIDS: &str = r#"@id("no") forbid(principal, action, resource == Tool::"send");"#;

/// A model that calls `tool` with these calls to make, and then answers.
fn makes(tool: &'static str, x: Value) -> World {
    let script = move |request: &are_core::model::ModelRequest| match results_so_far(request) {
        0 if last_words(request) == "do it" => vec![call(tool, &json!({ "x": x }))],
        _ => say("All done."),
    };
    World { tools: CountedTools::nesting(), ..World::new(ScriptedModels::new(script)) }.in_memory()
}

fn one(tool: &str) -> Value {
    json!({ "tool": tool, "args": { "x": tool } })
}

fn all(tools: &[&str]) -> Value {
    json!({ "calls": tools.iter().map(|tool| one(tool)).collect::<Vec<_>>() })
}

fn together(tools: &[&str]) -> Value {
    let mut x = all(tools);
    x["together"] = true.into();
    x
}

async fn engine_under(world: &World, rules: &str) -> Engine {
    let mut settings = world.settings();
    if !rules.is_empty() {
        let files = [("a.cedar".to_owned(), rules.to_owned())];
        settings.rules = Arc::new(Rules::new(world.profile, &files).unwrap());
    }
    Engine::start(world.ports(), settings).await.unwrap()
}

/// A prompt of somebody who may approve and is there.
async fn begun(engine: &Engine) -> (Ack, Tail, Seen) {
    let ack = engine.prompt(&caller("alice"), new(), prompt("do it")).await.unwrap();
    let (_, tail) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
    (ack, tail, Seen::default())
}

/// Nothing differs when it is played again, and no call is left without its end.
async fn holds(engine: &Engine, ack: &Ack, seen: &Seen) {
    let report = engine.replay(&caller("alice"), ack.session, None, false).await.unwrap();
    assert_eq!(report.difference, None, "{:?}", seen.actions());
    assert!(report.derived > 0 && report.verified_only == 0);
    let ended = outcomes(seen);
    for body in seen.bodies("tool_started") {
        let Body::ToolStarted { call, .. } = body else { unreachable!() };
        assert_eq!(ended.iter().filter(|(no, _)| *no == call).count(), 1, "call {call}: {:?}", seen.actions());
    }
}

/// Calls with how they ended, in the journal's order.
fn outcomes(seen: &Seen) -> Vec<(CallNo, &'static str)> {
    let of = |entry: &Entry| match entry {
        Entry::Record(record, _) => match record.body {
            Body::ToolCompleted { call, .. } => Some((call, "completed")),
            Body::ToolFailed { call, .. } => Some((call, "failed")),
            Body::ToolUnknown { call, .. } => Some((call, "unknown")),
            _ => None,
        },
        Entry::Frame(..) => None,
    };
    seen.entries.iter().filter_map(of).collect()
}

fn parents(seen: &Seen) -> Vec<(CallNo, Option<CallNo>)> {
    let parent = |body| match body {
        Body::ToolRequested { call, parent, .. } => (call, parent),
        other => panic!("{other:?}"),
    };
    seen.bodies("tool_requested").into_iter().map(parent).collect()
}

/// What the tool that makes calls answered.
fn made(seen: &Seen) -> Value {
    let results = seen.payload("tool_completed");
    match results.last() {
        Some(Payload::Result { value, .. }) => value["made"].clone(),
        other => panic!("{other:?}: {:?}", seen.actions()),
    }
}

#[tokio::test]
async fn each_is_a_call_of_its_own_and_the_model_sees_only_the_one_that_it_made() {
    let world = makes("nest", all(&["read", "put", "remember", "fail"]));
    let engine = world.engine().await;
    let (session, seen) = turn(&engine, new(), "do it").await;
    let child = ["tool_requested", "decision", "tool_started", "tool_completed"];
    let mut expected = vec!["session_created", "turn_started", "model_requested", "model_completed"];
    expected.extend(["tool_requested", "decision", "tool_started"]);
    expected.extend(child.iter().chain(&child));
    expected.extend(["tool_requested", "decision", "tool_started", "variable_set", "tool_completed"]);
    expected.extend(["tool_requested", "decision", "tool_started", "tool_failed", "tool_completed"]);
    expected.extend(["model_requested", "model_completed", "turn_completed"]);
    assert_eq!(seen.actions(), expected);
    assert_eq!(parents(&seen), [(1, None), (2, Some(1)), (3, Some(1)), (4, Some(1)), (5, Some(1))]);
    assert_eq!([world.tools.begun("read"), world.tools.begun("put")], [vec![1], vec![1]]);
    assert_eq!(made(&seen)[0]["ok"]["did"], "read");
    assert_eq!(made(&seen)[3]["failed"], "ARE-0503", "and it went on");
    let requests = world.models.requests();
    let results = requests[1].messages.iter().filter(|message| matches!(message, Message::Tool { .. })).count();
    assert_eq!(results, 1);
    let report = engine.replay(&caller("alice"), session, None, false).await.unwrap();
    assert_eq!(report.difference, None);
    assert!(
        seen.payload("decision")
            .iter()
            .skip(1)
            .all(|why| matches!(why, Payload::Why { why, .. } if why.starts_with("called by `nest`")))
    );
}

#[tokio::test]
async fn what_a_tool_brings_back_is_as_bad_as_what_its_calls_brought_it() {
    let levels = |seen: &Seen| match seen.bodies("tool_completed").last() {
        Some(Body::ToolCompleted { labels, .. }) => (labels.integrity, labels.confidentiality),
        other => panic!("{other:?}"),
    };
    for (calls, expected) in [
        (all(&[]), (Integrity::Platform, Confidentiality::Public)),
        (all(&["read"]), (Integrity::Untrusted, Confidentiality::Private)),
        (all(&["fail"]), (Integrity::Untrusted, Confidentiality::Private)),
    ] {
        let world = makes("nest", calls);
        let engine = world.engine().await;
        let (_, seen) = turn(&engine, new(), "do it").await;
        assert_eq!(levels(&seen), expected);
    }
}

#[tokio::test]
async fn a_denied_one_comes_back_as_a_failure_and_three_end_the_turn_when_nothing_runs_any_more() {
    let world = makes("nest", all(&["send", "read"]));
    let engine = engine_under(&world, FORBIDS).await;
    let (ack, mut tail, mut seen) = begun(&engine).await;
    follow(&mut tail, &mut seen, ends(1)).await;
    assert_eq!(made(&seen)[0]["failed"], "ARE-0601");
    assert_eq!(made(&seen)[1]["ok"]["did"], "read");
    assert_eq!((seen.text.as_str(), world.tools.begun("send")), ("All done.", vec![]));
    holds(&engine, &ack, &seen).await;

    let world = makes("nest", all(&["send", "send", "send", "read", "put"]));
    let engine = engine_under(&world, FORBIDS).await;
    let (ack, mut tail, mut seen) = begun(&engine).await;
    follow(&mut tail, &mut seen, ends(1)).await;
    let codes: Vec<_> = made(&seen).as_array().unwrap().iter().map(|one| one["failed"].clone()).collect();
    assert_eq!(codes, ["ARE-0601", "ARE-0601", "ARE-0601", "ARE-0606", "ARE-0606"]);
    assert_eq!(seen.actions()[seen.actions().len() - 2..], ["tool_completed", "turn_failed"]);
    holds(&engine, &ack, &seen).await;
}

async fn answer(engine: &Engine, ack: &Ack, decision: Answer) {
    let waiting = engine.approvals(&caller("alice")).await.unwrap();
    assert_eq!((waiting.len(), waiting[0].tool.as_str()), (1, "send"));
    assert!(waiting[0].why.starts_with("called by `nest`"), "{}", waiting[0].why);
    let answer = Approve { approval: waiting[0].approval, digest: waiting[0].digest, decision };
    engine.approve(&caller("alice"), ack.session, answer).await.unwrap();
}

#[tokio::test]
async fn time_stands_still_while_a_person_is_asked_and_goes_on_with_the_answer() {
    let world = makes("nest", all(&["send", "wait"]));
    let engine = engine_under(&world, ASKS).await;
    let (ack, mut tail, mut seen) = begun(&engine).await;
    follow(&mut tail, &mut seen, is("approval_requested")).await;
    // Far beyond what the tool has.
    let pause_ms = 10 * 60_000;
    world.clock.is_slept_until(START_MS + 1_000).await;
    world.clock.advance(pause_ms);
    world.clock.is_slept_until(START_MS + pause_ms + TIMEOUT_MS).await;
    answer(&engine, &ack, Answer::AllowOnce).await;
    let is_third =
        |entry: &Entry| matches!(entry, Entry::Record(r, _) if matches!(r.body, Body::ToolStarted { call: 3, .. }));
    follow(&mut tail, &mut seen, is_third).await;
    assert_eq!(outcomes(&seen), [(2, "completed")]);
    // What is left of its time ends all the same.
    world.clock.advance(TIMEOUT_MS);
    follow(&mut tail, &mut seen, ends(1)).await;
    assert_eq!(outcomes(&seen)[1..], [(3, "failed"), (1, "unknown")], "{:?}", seen.actions());
    assert_eq!(world.clock.now_ms(), START_MS + pause_ms + TIMEOUT_MS);
    holds(&engine, &ack, &seen).await;
}

#[tokio::test]
async fn a_refused_one_comes_back_as_a_failure() {
    let world = makes("nest", all(&["send"]));
    let engine = engine_under(&world, ASKS).await;
    let (ack, mut tail, mut seen) = begun(&engine).await;
    follow(&mut tail, &mut seen, is("approval_requested")).await;
    answer(&engine, &ack, Answer::Deny).await;
    follow(&mut tail, &mut seen, ends(1)).await;
    assert_eq!(made(&seen)[0]["failed"], "ARE-0601");
    assert_eq!(world.tools.begun("send"), [0_u32; 0]);
    holds(&engine, &ack, &seen).await;
}

#[tokio::test]
async fn no_answer_by_the_deadline_is_a_denial_also_with_somebody_there_and_the_turn_is_not_parked() {
    let world = makes("nest", all(&["send"]));
    let engine = engine_under(&world, ASKS).await;
    let (ack, mut tail, mut seen) = begun(&engine).await;
    follow(&mut tail, &mut seen, is("approval_requested")).await;
    world.clock.is_slept_until(START_MS + 1_000).await;
    world.clock.advance_to(START_MS + APPROVAL_MS - 1);
    world.clock.is_slept_until(START_MS + APPROVAL_MS).await;
    assert_eq!(engine.approvals(&caller("alice")).await.unwrap().len(), 1, "a millisecond before");
    world.clock.advance(1);
    follow(&mut tail, &mut seen, ends(1)).await;
    let resolved = seen.bodies("approval_resolved");
    assert!(matches!(&resolved[..], [Body::ApprovalResolved { by, decision: Answer::Deny, .. }] if by == "nobody"));
    assert_eq!(made(&seen)[0]["failed"], "ARE-0601");
    assert_eq!((seen.bodies("turn_parked").len(), seen.text.as_str()), (0, "All done."));
    holds(&engine, &ack, &seen).await;
}

#[tokio::test]
async fn whoever_may_not_approve_waits_for_nobody() {
    let world = makes("nest", all(&["send"]));
    let engine = engine_under(&world, ASKS).await;
    let ack = engine.prompt(&headless("alice"), new(), prompt("do it")).await.unwrap();
    let (_, mut tail) = engine.attach(&headless("alice"), ack.session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, ends(1)).await;
    assert_eq!((made(&seen)[0]["failed"].as_str(), world.clock.now_ms()), (Some("ARE-0601"), START_MS));
    holds(&engine, &ack, &seen).await;
}

#[tokio::test]
async fn rules_that_change_while_a_person_is_asked_are_asked_instead() {
    let world = makes("nest", all(&["send"]));
    let engine = engine_under(&world, ASKS).await;
    let (ack, mut tail, mut seen) = begun(&engine).await;
    follow(&mut tail, &mut seen, is("approval_requested")).await;
    let files = [("a.cedar".to_owned(), FORBIDS.to_owned())];
    engine.set_rules(Rules::new(Profile::Observe, &files).unwrap()).await.unwrap();
    follow(&mut tail, &mut seen, ends(1)).await;
    assert_eq!(seen.bodies("approval_withdrawn").len(), 1);
    assert_eq!((made(&seen)[0]["failed"].as_str(), world.tools.begun("send")), (Some("ARE-0601"), vec![]));
    holds(&engine, &ack, &seen).await;
}

#[tokio::test]
async fn pure_ones_run_together_and_the_rest_one_after_another() {
    let world = makes("nest", together(&["wait", "wait", "hold_send", "hold_send", "wait"]));
    let engine = world.engine().await;
    let (ack, mut tail, mut seen) = begun(&engine).await;
    let started = |n: CallNo| move |entry: &Entry| matches!(entry, Entry::Record(r, _) if matches!(r.body, Body::ToolStarted { call, .. } if call == n));
    follow(&mut tail, &mut seen, started(6)).await;
    let running: Vec<_> = seen
        .bodies("tool_started")
        .into_iter()
        .map(|body| match body {
            Body::ToolStarted { call, .. } => call,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(running, [1, 2, 3, 4, 6], "the second that sends waits for the first");
    for _ in 0..5 {
        world.tools.release();
    }
    follow(&mut tail, &mut seen, ends(1)).await;
    assert!(made(&seen).as_array().unwrap().iter().all(|one| one["ok"].is_object()), "{}", made(&seen));
    assert_eq!(world.tools.begun("hold_send"), [1, 1]);
    holds(&engine, &ack, &seen).await;
}

#[tokio::test]
async fn a_cancel_gives_every_begun_call_an_outcome_and_begins_no_other() {
    let world = makes("nest", together(&["hold_send", "put", "send", "wait"]));
    let engine = engine_under(&world, ASKS).await;
    let (ack, mut tail, mut seen) = begun(&engine).await;
    let is_fifth =
        |entry: &Entry| matches!(entry, Entry::Record(r, _) if matches!(r.body, Body::ToolStarted { call: 5, .. }));
    follow(&mut tail, &mut seen, is_fifth).await;
    engine.cancel(&caller("alice"), ack.session, 1).await.unwrap();
    follow(&mut tail, &mut seen, ends(1)).await;
    let expected = [(3, "failed"), (4, "failed"), (5, "failed"), (2, "unknown"), (1, "unknown")];
    assert_eq!(outcomes(&seen), expected, "{:?}", seen.actions());
    assert_eq!(seen.actions().last().unwrap(), "turn_cancelled");
    assert_eq!((world.tools.begun("put"), world.tools.begun("send")), (vec![], vec![]));
    assert_eq!(engine.approvals(&caller("alice")).await.unwrap(), []);
    holds(&engine, &ack, &seen).await;
}

#[tokio::test]
async fn a_steer_leaves_them_running() {
    let world = makes("nest", all(&["hold_send", "read"]));
    let engine = world.engine().await;
    let (ack, mut tail, mut seen) = begun(&engine).await;
    let is_second =
        |entry: &Entry| matches!(entry, Entry::Record(r, _) if matches!(r.body, Body::ToolStarted { call: 2, .. }));
    follow(&mut tail, &mut seen, is_second).await;
    let words = vec![are_core::payload::Part::Text { text: "and be quick".to_owned() }];
    engine.steer(&caller("alice"), ack.session, 1, words).await.unwrap();
    world.tools.release();
    follow(&mut tail, &mut seen, ends(1)).await;
    assert_eq!(outcomes(&seen), [(2, "completed"), (3, "completed"), (1, "completed")]);
    holds(&engine, &ack, &seen).await;
}

#[tokio::test]
async fn those_that_a_tool_no_longer_waits_for_are_stopped() {
    let mut x = together(&["hold_send", "put", "send", "wait"]);
    x["leaves"] = true.into();
    let world = makes("nest", x);
    let engine = engine_under(&world, ASKS).await;
    let (ack, mut tail, mut seen) = begun(&engine).await;
    let is_fifth =
        |entry: &Entry| matches!(entry, Entry::Record(r, _) if matches!(r.body, Body::ToolStarted { call: 5, .. }));
    follow(&mut tail, &mut seen, is_fifth).await;
    world.tools.leave();
    follow(&mut tail, &mut seen, ends(1)).await;
    let mut ended = outcomes(&seen);
    assert_eq!(ended.pop(), Some((1, "completed")), "{:?}", seen.actions());
    ended.sort_unstable();
    assert_eq!(ended, [(2, "unknown"), (3, "failed"), (4, "failed"), (5, "failed")]);
    assert_eq!(made(&seen), json!(["left"]));
    assert_eq!(world.tools.begun("put"), [0_u32; 0]);
    assert_eq!(engine.approvals(&caller("alice")).await.unwrap(), []);
    holds(&engine, &ack, &seen).await;
}

#[tokio::test]
async fn a_tool_that_is_given_up_takes_its_calls_with_it() {
    let world = makes("nest", all(&["hold_send"]));
    let engine = world.engine().await;
    let (ack, mut tail, mut seen) = begun(&engine).await;
    let is_second =
        |entry: &Entry| matches!(entry, Entry::Record(r, _) if matches!(r.body, Body::ToolStarted { call: 2, .. }));
    follow(&mut tail, &mut seen, is_second).await;
    world.clock.is_slept_until(START_MS + TIMEOUT_MS).await;
    world.clock.advance(TIMEOUT_MS);
    follow(&mut tail, &mut seen, ends(1)).await;
    assert_eq!(outcomes(&seen), [(2, "unknown"), (1, "unknown")]);
    assert_eq!(seen.text, "All done.");
    holds(&engine, &ack, &seen).await;
}

/// `tool` calling the others, the last of which reads.
fn chain(tools: &[&str]) -> Value {
    let read = all(&["read"]);
    tools.iter().rev().fold(read, |x, tool| json!({ "calls": [{ "tool": tool, "args": { "x": x } }] }))
}

#[tokio::test]
async fn calls_nest_three_deep_and_never_in_a_circle() {
    for (tools, inner, count) in [
        (&["deep_nest", "again_nest"][..], None, 4),
        (&["deep_nest", "again_nest", "pure_nest"], Some("ARE-0708"), 4),
        (&["nest"], Some("ARE-0708"), 1),
        (&["deep_nest", "nest"], Some("ARE-0708"), 2),
    ] {
        let world = makes("nest", chain(tools));
        let engine = world.engine().await;
        let (ack, mut tail, mut seen) = begun(&engine).await;
        follow(&mut tail, &mut seen, ends(1)).await;
        assert_eq!(seen.bodies("tool_started").len(), count, "{tools:?}: {:?}", seen.actions());
        let shown = made(&seen).to_string();
        assert_eq!(shown.contains("ARE-0708"), inner.is_some(), "{shown}");
        holds(&engine, &ack, &seen).await;
    }
}

#[tokio::test]
async fn a_loop_fills_neither_the_journal_nor_the_turn() {
    let many = |tool: &str, count: usize| json!({ "calls": vec![one(tool); count] });
    let most = usize::try_from(CHILDREN_PER_CALL_MAX).unwrap();
    let world = makes("nest", many("nothing_of_that_name", most + 50));
    let engine = world.engine().await;
    let (ack, mut tail, mut seen) = begun(&engine).await;
    follow(&mut tail, &mut seen, ends(1)).await;
    let answers = made(&seen);
    assert_eq!(seen.bodies("tool_requested").len(), 1 + most);
    assert_eq!((&answers[most - 1]["failed"], &answers[most]["failed"]), (&json!("ARE-0501"), &json!("ARE-0708")));
    holds(&engine, &ack, &seen).await;

    let steps = usize::try_from(TURN_STEPS_MAX).unwrap();
    let world = makes("nest", many("read", steps));
    let engine = world.engine().await;
    let (ack, mut tail, mut seen) = begun(&engine).await;
    follow(&mut tail, &mut seen, ends(1)).await;
    assert!(seen.bodies("tool_started").len() < steps);
    assert_eq!(made(&seen)[steps - 1]["failed"], "ARE-0701");
    assert_eq!(seen.text, "All done.", "the model has steps left to answer with");
    holds(&engine, &ack, &seen).await;
}

#[tokio::test]
async fn secrets_are_taken_out_of_what_a_tool_asks_for() {
    let secret = json!({ "calls": [{ "tool": "read", "args": { "x": "sk-very-secret-value" } }] });
    let world = makes("nest", secret);
    let engine = world.engine().await;
    let (session, seen) = turn(&engine, new(), "do it").await;
    assert!(!format!("{:?}", seen.entries).contains("sk-very-secret"), "{:?}", seen.entries);
    let report = engine.replay(&caller("alice"), session, None, false).await.unwrap();
    assert_eq!(report.difference, None);
}

#[tokio::test]
async fn what_a_manifest_does_not_name_its_tool_does_not_get() {
    let world = makes("narrow_nest", all(&["read", "put", "send", "remember"]));
    let engine = world.engine().await;
    let (ack, mut tail, mut seen) = begun(&engine).await;
    follow(&mut tail, &mut seen, ends(1)).await;
    let answers = made(&seen);
    assert!(answers[0]["ok"].is_object() && answers[3]["ok"].is_object(), "{answers}");
    assert_eq!((&answers[1]["failed"], &answers[2]["failed"]), (&json!("ARE-0601"), &json!("ARE-0601")), "{answers}");
    holds(&engine, &ack, &seen).await;
}

#[tokio::test]
async fn a_shutdown_asks_nobody_any_more_and_leaves_nothing_open() {
    let world = makes("nest", all(&["send", "read"]));
    let engine = engine_under(&world, ASKS).await;
    let (ack, mut tail, mut seen) = begun(&engine).await;
    follow(&mut tail, &mut seen, is("approval_requested")).await;
    engine.shutdown(60_000).await;
    drop(engine);
    let engine = engine_under(&world, ASKS).await;
    let (_, mut tail) = engine.attach(&caller("alice"), ack.session, Some(seen.last()), None).await.unwrap();
    follow(&mut tail, &mut seen, ends(1)).await;
    assert_eq!(outcomes(&seen), [(2, "failed"), (3, "completed"), (1, "completed")], "{:?}", seen.actions());
    assert_eq!(seen.text, "All done.");
    let report = engine.replay(&caller("alice"), ack.session, None, false).await.unwrap();
    assert_eq!(report.difference, None);
}

#[tokio::test]
async fn more_pure_calls_than_run_together_replay_too() {
    let script = |request: &are_core::model::ModelRequest| match results_so_far(request) {
        0 => (0..12).map(|x| call("read", &json!({ "x": x }))).collect(),
        _ => say("All done."),
    };
    let world = World::new(ScriptedModels::new(script)).in_memory();
    let engine = world.engine().await;
    let (ack, mut tail, mut seen) = begun(&engine).await;
    follow(&mut tail, &mut seen, ends(1)).await;
    holds(&engine, &ack, &seen).await;
    assert!(
        seen.bodies("tool_failed").iter().all(|body| !matches!(body, Body::ToolFailed { code: Code::INTERNAL, .. }))
    );
}
