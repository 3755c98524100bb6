//! Limits that span sessions, what was used, loops: on a clock that moves only when it is told to.

use are_core::body::{Body, Effect};
use are_core::error::Code;
use are_core::ids::SessionKey;
use are_core::journal::{Entry, Head, Reader};
use are_core::model::Message;
use are_core::payload::Payload;
use are_core::spent::Spent;
use are_core::store::SpentFilter;
use are_engine::api::Target;
use are_engine::engine::{Engine, UsageAsked};
use are_policy::budget::Budget;
use are_policy::limits::{Limit, Limits, Meter};
use are_policy::prices::{Price, Prices};
use are_testkit::clock::START_MS;
use are_testkit::script::{Say, ScriptedModels, call, last_words, results_so_far, say};
use serde_json::json;

use crate::support::{Seen, World, caller, ends, follow, is, new, prompt, turn};

const HOUR_MS: u64 = 3_600_000;

fn limit(key: &str, max: u64) -> Limit {
    Limit { max, ..key.parse().unwrap() }
}

async fn engine_with(world: &World, limits: Limits) -> Engine {
    let settings = are_engine::engine::Settings { limits, ..world.settings() };
    Engine::start(world.ports(), settings).await.unwrap()
}

/// Sends `x` once for each prompt, where `x` is what the prompt says.
fn that_sends() -> ScriptedModels {
    ScriptedModels::new(|request| match results_so_far(request) {
        0 => vec![call("send", &json!({ "x": last_words(request) }))],
        _ => say("done"),
    })
}

fn two_sends_an_hour() -> Limits {
    Limits { effects: [(Effect::Send, vec![limit("calls_per_hour", 2)])].into(), ..Limits::none() }
}

async fn replays(engine: &Engine, session: SessionKey) {
    let report = engine.replay(&caller("alice"), session, None, false).await.unwrap();
    assert_eq!(report.difference, None);
}

fn failed_with(seen: &Seen) -> Vec<Code> {
    let code = |body: Body| match body {
        Body::ToolFailed { code, .. } | Body::TurnFailed { code, .. } => Some(code),
        _ => None,
    };
    seen.bodies("tool_failed").into_iter().chain(seen.bodies("turn_failed")).filter_map(code).collect()
}

#[tokio::test]
async fn an_accounts_calls_are_counted_over_its_sessions_restarts_and_nobody_elses() {
    let world = World::new(that_sends()).in_memory();
    let engine = engine_with(&world, two_sends_an_hour()).await;
    let (first, _) = turn(&engine, new(), "one").await;
    turn(&engine, new(), "two").await;
    assert_eq!(world.tools.begun("send").len(), 2);

    let (third, seen) = turn(&engine, new(), "three").await;
    assert_eq!(failed_with(&seen), [Code::RATE_LIMIT]);
    let until_the_hour = HOUR_MS - START_MS % HOUR_MS;
    let expected = Body::LimitReached {
        call: Some(1),
        limit: "effect.send.calls_per_hour".to_owned(),
        used: 2,
        wanted: 1,
        max: 2,
        retry_after_ms: Some(until_the_hour),
        waits: false,
    };
    assert_eq!(seen.bodies("limit_reached"), [expected]);
    let told = world.models.requests().pop().unwrap();
    let Some(Message::Tool { text, .. }) = told.messages.last() else { panic!("{told:?}") };
    assert!(text.contains("ARE-0713") && text.contains("try again in"), "{text}");
    assert!(seen.text.ends_with("done"), "the turn goes on without the call");
    replays(&engine, third).await;
    replays(&engine, first).await;
    engine.shutdown(1_000).await;

    let engine = engine_with(&world, two_sends_an_hour()).await;
    turn(&engine, Target::Session(first), "four").await;
    turn(&engine, new(), "five").await;
    assert_eq!(world.tools.begun("send").len(), 2, "a restart gives nothing back");
    let other = engine.prompt(&caller("bob"), new(), prompt("six")).await.unwrap();
    let (_, mut tail) = engine.attach(&caller("bob"), other.session, Some(0), None).await.unwrap();
    follow(&mut tail, &mut Seen::default(), ends(1)).await;
    assert_eq!(world.tools.begun("send").len(), 3, "another account has its own");
    world.clock.advance(until_the_hour);
    turn(&engine, Target::Session(third), "seven").await;
    assert_eq!(world.tools.begun("send").len(), 4, "the next hour");
    replays(&engine, third).await;
    engine.shutdown(1_000).await;
}

#[tokio::test]
async fn a_turn_waits_for_room_for_its_model_and_can_be_cancelled_meanwhile() {
    let limits = Limits { account: vec![limit("requests_per_minute", 2)], ..Limits::none() };
    let world = World::new(ScriptedModels::new(|_| say("hello"))).in_memory();
    let engine = engine_with(&world, limits).await;
    turn(&engine, new(), "one").await;
    turn(&engine, new(), "two").await;
    let ack = engine.prompt(&caller("alice"), new(), prompt("three")).await.unwrap();
    let (_, mut tail) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, is("limit_reached")).await;
    let asked = world.models.requests().len();
    world.clock.is_slept_until(START_MS + 30_000).await;
    world.clock.advance(30_000);
    follow(&mut tail, &mut seen, ends(1)).await;
    assert_eq!(
        seen.actions()[2..],
        ["limit_reached", "limit_lifted", "model_requested", "model_completed", "turn_completed"]
    );
    assert_eq!(world.models.requests().len(), asked + 1);
    replays(&engine, ack.session).await;

    let ack = engine.prompt(&caller("alice"), new(), prompt("four")).await.unwrap();
    let (_, mut tail) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, is("limit_reached")).await;
    engine.cancel(&caller("alice"), ack.session, 1).await.unwrap();
    follow(&mut tail, &mut seen, ends(1)).await;
    assert_eq!(seen.actions().last().map(String::as_str), Some("turn_cancelled"));
    replays(&engine, ack.session).await;
    engine.shutdown(1_000).await;
}

#[tokio::test]
async fn a_turn_that_would_wait_too_long_fails_and_says_when_there_is_room() {
    let limits = Limits { account: vec![limit("requests_per_day", 1)], wait_seconds: 300, ..Limits::none() };
    let world = World::new(ScriptedModels::new(|_| say("hello"))).in_memory();
    let engine = engine_with(&world, limits).await;
    let (session, _) = turn(&engine, new(), "one").await;
    let (_, seen) = turn(&engine, Target::Session(session), "two").await;
    assert_eq!(failed_with(&seen), [Code::RATE_LIMIT]);
    let payload = seen.payload("turn_failed").remove(0);
    let Payload::Failure { message, help, .. } = payload else { panic!("{payload:?}") };
    assert_eq!(message, "the limit `account.requests_per_day` is 1, and there is no room for 1 more");
    assert!(help.starts_with("try again in "), "{help}");
    assert_eq!(world.models.requests().len(), 1, "the provider is not asked");
    replays(&engine, session).await;
    engine.shutdown(1_000).await;
}

#[tokio::test]
async fn tokens_are_reserved_before_a_call_and_what_a_crash_cut_off_counts_in_full() {
    let world = World::new(ScriptedModels::new(|request| match last_words(request) {
        "hold" => vec![Say::Token("half".to_owned()), Say::Hold],
        _ => say("hello"),
    }))
    .in_memory();
    let limits = || Limits { account: vec![limit("tokens_per_day", 9_000)], ..Limits::none() };
    let engine = engine_with(&world, limits()).await;
    turn(&engine, new(), "one").await;
    let spent = || async {
        let filter = SpentFilter { limit: 10, ..SpentFilter::default() };
        world.store().spent(filter).await.unwrap().remove(0).spent
    };
    assert_eq!(spent().await.tokens, 11, "settled with what was reported");
    let ack = engine.prompt(&caller("alice"), new(), prompt("hold")).await.unwrap();
    let (_, mut tail) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
    follow(&mut tail, &mut Seen::default(), |entry| matches!(entry, Entry::Frame(..))).await;
    let reserved = spent().await.tokens - 11;
    assert!(reserved > 4_000, "{reserved}: input and longest answer");
    engine.shutdown(0).await;

    // It is taken up, and asks anew beside what was cut off; a third reservation finds no room.
    let engine = engine_with(&world, limits()).await;
    let (_, mut tail) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
    let mut held = Seen::default();
    follow(&mut tail, &mut held, is("model_restarted")).await;
    let (_, seen) = turn(&engine, new(), "two").await;
    assert_eq!(failed_with(&seen), [Code::RATE_LIMIT]);
    engine.cancel(&caller("alice"), ack.session, 1).await.unwrap();
    follow(&mut tail, &mut held, ends(1)).await;
    let (_, seen) = turn(&engine, new(), "three").await;
    assert_eq!(failed_with(&seen), [Code::RATE_LIMIT], "a cancelled call that reported nothing gives nothing back");
    engine.shutdown(1_000).await;
}

#[tokio::test]
async fn what_is_kept_of_usage_is_the_sum_of_what_the_journals_say() {
    let world = World::new(ScriptedModels::new(|request| match (last_words(request), results_so_far(request)) {
        ("break", _) => vec![Say::Fail(are_core::error::Fault::new(Code::MODEL_UNREACHABLE, "gone", "wait"))],
        (_, 0) => vec![call("read", &json!({ "x": 1 })), call("send", &json!({ "x": 2 })), call("fail", &json!({}))],
        _ => say("done"),
    }))
    .in_memory();
    let engine = engine_with(&world, Limits::default()).await;
    let (one, _) = turn(&engine, new(), "go").await;
    turn(&engine, Target::Session(one), "break").await;
    let (two, _) = turn(&engine, new(), "go").await;
    engine.shutdown(1_000).await;
    let store = world.store();
    for session in [one, two] {
        let mut reader = Reader::new(session, Head::EMPTY);
        let (mut meter, mut told) = (Meter::default(), std::collections::BTreeMap::<String, Spent>::new());
        for row in store.read(session, 0, 10_000, usize::MAX).await.unwrap() {
            if let Entry::Record(record, _) = reader.next(&row).unwrap()
                && let Some((subject, _, spent)) = meter.take(&record)
            {
                let sum = told.entry(subject).or_default();
                *sum = sum.plus(&spent);
            }
        }
        let filter = SpentFilter { session: Some(session), limit: 100, ..SpentFilter::default() };
        let kept = store.spent(filter).await.unwrap();
        let kept: std::collections::BTreeMap<String, Spent> =
            kept.into_iter().map(|row| (row.subject, row.spent)).collect();
        assert_eq!(kept, told);
        assert!(kept["effect:send"].calls == 1 && kept["effect:send"].bytes > 0, "{kept:?}");
    }
}

#[tokio::test]
async fn an_account_sees_its_own_usage_and_an_administrator_all() {
    let world = World::new(that_sends()).in_memory();
    let engine = engine_with(&world, two_sends_an_hour()).await;
    let (session, _) = turn(&engine, new(), "one").await;
    let plain = |name: &str| are_engine::api::Caller { can_administer: false, ..caller(name) };
    let all = |asked: UsageAsked, who: are_engine::api::Caller| {
        let engine = engine.clone();
        async move { engine.usage(&who, asked).await.map(|view| view.rows.len()) }
    };
    assert_eq!(all(UsageAsked::default(), plain("alice")).await, Ok(2));
    assert_eq!(all(UsageAsked::default(), plain("bob")).await, Ok(0));
    assert_eq!(all(UsageAsked::default(), caller("admin")).await, Ok(2));
    let of_alice = || UsageAsked { account: Some("alice".parse().unwrap()), ..UsageAsked::default() };
    assert_eq!(all(of_alice(), plain("bob")).await.unwrap_err().code, Code::SCOPE_MISSING);
    assert_eq!(all(of_alice(), caller("admin")).await, Ok(2));
    let of_session = || UsageAsked { session: Some(session), ..UsageAsked::default() };
    assert_eq!(all(of_session(), plain("bob")).await.unwrap_err().code, Code::SESSION_UNKNOWN);
    assert_eq!(all(of_session(), plain("alice")).await, Ok(2));
    let later = UsageAsked { since_ms: START_MS + HOUR_MS, ..UsageAsked::default() };
    assert_eq!(all(later, plain("alice")).await, Ok(0));
    let view = engine.usage(&plain("alice"), UsageAsked::default()).await.unwrap();
    assert_eq!((view.limits.len(), view.limits[0].standing.used), (1, 1));
    engine.shutdown(1_000).await;
}

#[tokio::test]
async fn the_same_failing_call_is_told_to_the_model_and_then_ends_the_turn() {
    let world = World::new(ScriptedModels::new(|_| vec![call("fail", &json!({ "x": 1 }))])).in_memory();
    let engine = engine_with(&world, Limits::none()).await;
    let (session, seen) = turn(&engine, new(), "go").await;
    assert_eq!(failed_with(&seen), [Code::TOOL_FAILED, Code::TOOL_FAILED, Code::TOOL_FAILED, Code::LOOP]);
    let told = |request: &are_core::model::ModelRequest| {
        let is_told =
            |message: &Message| matches!(message, Message::Tool { text, .. } if text.contains("\"repeated\""));
        request.messages.iter().filter(|message| is_told(message)).count()
    };
    let told: Vec<usize> = world.models.requests().iter().map(told).collect();
    assert_eq!(told, [0, 0, 0, 1]);
    replays(&engine, session).await;
    engine.shutdown(1_000).await;
}

#[tokio::test]
async fn calls_that_answer_differently_or_after_a_change_or_with_other_arguments_are_no_loop() {
    for kind in ["poll", "change", "vary", "off"] {
        let world = World::new(ScriptedModels::new(move |request| {
            let done = results_so_far(request);
            if done >= 10 {
                return say("done");
            }
            vec![match kind {
                "poll" => call("read", &json!({ "x": 1 })),
                "change" if done % 3 == 2 => call("put", &json!({ "x": done })),
                "vary" => call("fail", &json!({ "x": done })),
                _ => call("fail", &json!({ "x": 1 })),
            }]
        }))
        .in_memory();
        let loop_after = if kind == "off" { 0 } else { 3 };
        let engine = engine_with(&world, Limits { loop_after, ..Limits::none() }).await;
        let (session, seen) = turn(&engine, new(), "go").await;
        assert_eq!(seen.actions().last().map(String::as_str), Some("turn_completed"), "{kind}");
        replays(&engine, session).await;
        engine.shutdown(1_000).await;
    }
}

#[tokio::test]
async fn money_of_a_session_is_held_to_and_a_model_without_a_price_is_refused() {
    let world = World::new(ScriptedModels::new(|_| say("hello"))).in_memory();
    let price = Price { input: 1_000_000, cached: None, output: 1_000_000 };
    let prices = Prices::new([("test".to_owned(), price)].into());
    let session = Budget { money: Some(500), ..Budget::default() };
    let limits = Limits { session, ..Limits::none() };
    let settings = are_engine::engine::Settings { limits, prices, ..world.settings() };
    let engine = Engine::start(world.ports(), settings).await.unwrap();
    let (key, seen) = turn(&engine, new(), "one").await;
    let [Body::ModelRequested { reserved_tokens, reserved_cost, .. }] = &seen.bodies("model_requested")[..] else {
        panic!("{:?}", seen.actions());
    };
    assert_eq!((*reserved_tokens, *reserved_cost), (500, Some(500)), "the answer is as long as the money allows");
    let [Body::ModelCompleted { cost, .. }] = &seen.bodies("model_completed")[..] else { panic!("one") };
    assert_eq!(*cost, Some(11));
    let mut turns = 1;
    let code = loop {
        turns += 1;
        let (_, seen) = turn(&engine, Target::Session(key), "more words for a longer conversation").await;
        if let Some(Body::TurnFailed { code, .. }) = seen.bodies("turn_failed").pop() {
            break code;
        }
        assert!(turns < 60, "the money is used up some day");
    };
    assert_eq!(code, Code::BUDGET_USED_UP);
    replays(&engine, key).await;
    engine.shutdown(1_000).await;
}
