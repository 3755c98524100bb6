use are_core::body::Body;
use are_core::digest::Digest;
use are_core::journal::{Draft, Entry, Head, Record, Stamp};
use are_core::model::{StopReason, Usage};
use are_core::spent::Spent;
use proptest::prelude::*;

use super::*;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const NOW: u64 = 1_790_000_000_000;

fn limit(key: &str, max: u64) -> Limit {
    Limit { max, ..key.parse().unwrap() }
}

fn tokens(tokens: i64) -> Spent {
    Spent { tokens, ..Spent::default() }
}

#[test]
fn a_key_says_what_is_limited_in_which_time() {
    for quantity in Quantity::ALL {
        for per in Per::ALL {
            let one = Limit { quantity, per, max: 0 };
            assert_eq!(one.to_string().parse(), Ok(one));
        }
    }
    for key in ["tokens", "tokens_per_year", "token_per_day", "_per_day", "tokens_per_", "tokens_per_day_per_day"] {
        assert_eq!(key.parse::<Limit>(), Err(()), "{key}");
    }
}

#[test]
fn months_are_those_of_the_calendar() {
    // 2024-02-29T12:00:00Z, 2026-12-31T23:59:59.999Z, 1970-01-01.
    let month = |at| Per::Month.window(at);
    assert_eq!(month(1_709_208_000_000), (1_706_745_600_000, 1_709_251_200_000));
    assert_eq!(month(1_798_761_599_999), (1_796_083_200_000, 1_798_761_600_000));
    assert_eq!(month(0), (0, 31 * 24 * HOUR));
    assert_eq!(Per::Day.window(24 * HOUR + 1), (24 * HOUR, 48 * HOUR));
}

#[test]
fn a_rate_refills_and_says_when_there_is_room() {
    let mut levels = Levels::new(&[limit("tokens_per_minute", 60)], NOW);
    assert_eq!(levels.check(&tokens(60), NOW), Ok(()));
    levels.add(&tokens(60), NOW, NOW);
    let crossed = levels.check(&tokens(10), NOW).unwrap_err();
    assert_eq!((crossed.used, crossed.wanted, crossed.retry_after_ms), (60, 10, Some(10_000)));
    assert!(levels.check(&tokens(10), NOW + 9_999).is_err());
    assert_eq!(levels.check(&tokens(10), NOW + 10_000), Ok(()));
    assert_eq!(levels.check(&tokens(61), NOW + HOUR).unwrap_err().retry_after_ms, None, "never fits");
}

#[test]
fn a_window_ends_and_its_end_is_told() {
    let mut levels = Levels::new(&[limit("tokens_per_hour", 100)], NOW);
    levels.add(&tokens(90), NOW, NOW);
    let crossed = levels.check(&tokens(11), NOW).unwrap_err();
    let (_, ends) = Per::Hour.window(NOW);
    assert_eq!(crossed.retry_after_ms, Some(ends - NOW));
    assert_eq!(levels.check(&tokens(10), NOW), Ok(()));
    assert_eq!(levels.check(&tokens(100), ends), Ok(()));
    levels.add(&tokens(-40), NOW, ends);
    assert_eq!(levels.check(&tokens(100), ends), Ok(()), "what settles an earlier window gives nothing to this one");
    assert!(levels.check(&tokens(101), ends).is_err());
}

#[test]
fn what_is_known_only_afterwards_stops_the_next_call_and_no_model() {
    let mut levels = Levels::new(&[limit("cpu_seconds_per_day", 5_000)], NOW);
    levels.add(&Spent { cpu_ms: 4_999, ..Spent::default() }, NOW, NOW);
    assert_eq!(levels.check(&reserve_call(), NOW), Ok(()));
    levels.add(&Spent { cpu_ms: 3_000, ..Spent::default() }, NOW, NOW);
    assert!(levels.check(&reserve_call(), NOW).is_err());
    assert_eq!(levels.check(&reserve_model(9, None), NOW), Ok(()));
}

#[test]
fn a_restart_gives_nothing_back() {
    let limits = [limit("tokens_per_minute", 60), limit("tokens_per_day", 1_000)];
    let mut levels = Levels::new(&limits, NOW);
    levels.recall(&tokens(900), NOW, NOW);
    let crossed = levels.check(&tokens(30), NOW).unwrap_err();
    assert_eq!((crossed.limit.per, crossed.retry_after_ms), (Per::Minute, Some(30_000)));
    assert_eq!(levels.check(&tokens(60), NOW + MINUTE), Ok(()));
    assert_eq!(levels.check(&tokens(60), NOW + 2 * MINUTE), Ok(()));
    levels.add(&tokens(60), NOW + MINUTE, NOW + MINUTE);
    assert_eq!(levels.check(&tokens(41), NOW + 3 * MINUTE).unwrap_err().limit.per, Per::Day);
}

proptest! {
    #[test]
    fn a_bucket_never_admits_more_than_it_holds_and_gains(
        max in 1_u64..500,
        steps in prop::collection::vec((0_u64..5_000, 1_i64..200), 1..60),
    ) {
        let mut levels = Levels::new(&[limit("tokens_per_minute", max)], NOW);
        let (mut now, mut admitted) = (NOW, Vec::new());
        for (wait, amount) in steps {
            now += wait;
            if levels.check(&tokens(amount), now).is_ok() {
                levels.add(&tokens(amount), now, now);
                admitted.push((now, amount));
            }
        }
        for (index, (from, _)) in admitted.iter().enumerate() {
            let mut sum = 0;
            for (at, amount) in &admitted[index..] {
                sum += i128::from(*amount);
                let allowed = i128::from(max) * i128::from(MINUTE) + i128::from(at - from) * i128::from(max);
                prop_assert!(sum * i128::from(MINUTE) <= allowed);
            }
        }
    }

    #[test]
    fn a_window_never_admits_more_than_its_limit_whatever_is_settled(
        max in 1_u64..1_000,
        steps in prop::collection::vec((0_u64..HOUR / 4, 1_i64..300, 0_i64..300), 1..60),
    ) {
        let mut levels = Levels::new(&[limit("tokens_per_hour", max)], NOW);
        let mut now = NOW;
        let mut used: BTreeMap<u64, i64> = BTreeMap::new();
        for (wait, reserved, really) in steps {
            now += wait;
            if levels.check(&tokens(reserved), now).is_ok() {
                levels.add(&tokens(reserved), now, now);
                let really = really.min(reserved);
                levels.add(&tokens(really - reserved), now, now);
                *used.entry(Per::Hour.window(now).0).or_default() += really;
            }
        }
        prop_assert!(used.values().all(|used| u64::try_from(*used).unwrap() <= max));
    }

    #[test]
    fn the_order_of_what_was_used_changes_no_window(
        parts in prop::collection::vec((0_u64..3 * HOUR, -50_i64..100), 1..30).prop_shuffle(),
    ) {
        let fold = |parts: &[(u64, i64)]| {
            let mut levels = Levels::new(&[limit("tokens_per_hour", 100), limit("tokens_per_month", 100)], NOW);
            parts.iter().for_each(|(at, amount)| levels.add(&tokens(*amount), NOW + at, NOW + 3 * HOUR));
            levels.standing(NOW + 3 * HOUR)
        };
        let mut sorted = parts.clone();
        sorted.sort_unstable();
        prop_assert_eq!(fold(&parts), fold(&sorted));
    }
}

fn record(at_ms: u64, body: Body) -> Record {
    let stamp = Stamp {
        session: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
        account: "alice".parse().unwrap(),
        agent_id: "main".to_owned(),
        via: None,
        at_ms,
    };
    match (Draft { turn: Some(1), body, payload: None }).seal(&stamp, Head::EMPTY, [0; 32]).unwrap().1 {
        Entry::Record(record, _) => *record,
        Entry::Frame(..) => unreachable!("a record was sealed"),
    }
}

fn requested(tokens: u64, cost: Option<u64>) -> Body {
    Body::ModelRequested {
        attempt: 1,
        model: "p:m".to_owned(),
        digest: Digest::ZERO,
        conditions: are_core::body::Conditions {
            agent: Digest::ZERO,
            policy: Digest::ZERO,
            tools: Digest::ZERO,
            setting: Digest::ZERO,
        },
        reserved_tokens: tokens,
        reserved_cost: cost,
        plans: false,
    }
}

fn completed(input_tokens: u64, output_tokens: u64, cost: Option<u64>) -> Body {
    let usage = Usage { input_tokens, output_tokens, ..Usage::default() };
    Body::ModelCompleted { stop_reason: StopReason::Stop, usage, frames: None, calls: 0, cost, cached: false }
}

fn sum(bodies: Vec<Body>) -> Spent {
    let mut meter = Meter::default();
    let used = bodies.into_iter().filter_map(|body| meter.take(&record(NOW, body)));
    used.fold(Spent::default(), |sum, (_, _, spent)| sum.plus(&spent))
}

#[test]
fn a_settled_call_counts_what_it_used_and_settling_again_changes_nothing() {
    let settled = sum(vec![requested(100, Some(50)), completed(30, 5, Some(20)), completed(30, 5, Some(20))]);
    let expected = Spent { requests: 1, input_tokens: 30, output_tokens: 5, tokens: 35, cost: 20, ..Spent::default() };
    assert_eq!(settled, expected);
}

#[test]
fn a_call_that_was_cut_off_counts_in_full_and_one_that_never_began_to_answer_does_not() {
    assert_eq!(sum(vec![requested(100, None), requested(40, None), completed(0, 0, None)]).tokens, 140);
    let cancelled = vec![requested(100, Some(9)), completed(0, 0, Some(9)), Body::TurnCancelled {}];
    assert_eq!((sum(cancelled.clone()).tokens, sum(cancelled).cost), (100, 9), "nothing is given back twice");
    let failed = Body::TurnFailed { code: are_core::error::Code::INTERNAL, frames: None };
    let spent = sum(vec![requested(100, Some(9)), failed.clone(), failed]);
    assert_eq!((spent.tokens, spent.cost, spent.requests), (0, 0, 1));
    let resumed = vec![requested(100, None), Body::TurnResumed { gap_ms: 1, frames: None }, completed(1, 1, None)];
    assert_eq!(sum(resumed).tokens, 100, "what a crash left open is not settled by what follows");
}

#[test]
fn a_plan_is_settled_as_an_answer_is_and_costs_nothing_where_no_model_could_be_had() {
    let usage = Usage { input_tokens: 30, output_tokens: 5, ..Usage::default() };
    let planned = |usage| Body::Planned { tools: None, error: None, usage, cost: Some(20) };
    assert_eq!(
        sum(vec![requested(100, Some(50)), planned(Some(usage))]),
        sum(vec![requested(100, Some(50)), completed(30, 5, Some(20))])
    );
    assert_eq!(sum(vec![requested(100, None), planned(Some(Usage::default()))]).tokens, 100, "it may be charged for");
    let spent = sum(vec![requested(100, Some(9)), planned(None)]);
    assert_eq!((spent.tokens, spent.cost, spent.requests), (0, 0, 1));
}

#[test]
fn calls_settle_once_at_the_time_at_which_they_began() {
    let started = Body::ToolStarted {
        call: 1,
        effect: Effect::Send,
        retry: are_core::body::Retry::AtMostOnce,
        key: Digest::ZERO,
    };
    let ended = Body::ToolUnknown {
        call: 1,
        result: "unknown".to_owned(),
        frames: None,
        spent: Some(are_core::body::CallSpent { cpu_ms: 7, bytes: 9 }),
    };
    let mut meter = Meter::default();
    let began = meter.take(&record(NOW, started)).unwrap();
    assert_eq!(began, ("effect:send".to_owned(), NOW, reserve_call()));
    let (subject, at_ms, spent) = meter.take(&record(NOW + 2 * HOUR, ended.clone())).unwrap();
    assert_eq!((subject.as_str(), at_ms, spent.cpu_ms, spent.bytes), ("effect:send", NOW, 7, 9));
    assert_eq!(meter.take(&record(NOW, ended)), None);
}
