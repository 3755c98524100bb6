use are_core::error::{Code, Fault};

use super::{REST_MS_FIRST, REST_MS_MAX, RESTING_MAX, Resting};

const MODEL: &str = "test:first";

fn unreachable() -> Fault {
    Fault::new(Code::MODEL_UNREACHABLE, "it cannot be reached", "try another one").retryable()
}

/// When the rest that begins at `now_ms` is over.
fn end(resting: &Resting, now_ms: u64) -> u64 {
    let (mut rests, mut is_over) = (now_ms, now_ms + 2 * REST_MS_MAX);
    assert!(resting.rests(MODEL, rests) && !resting.rests(MODEL, is_over));
    while rests + 1 < is_over {
        let middle = u64::midpoint(rests, is_over);
        if resting.rests(MODEL, middle) { rests = middle } else { is_over = middle }
    }
    is_over
}

#[test]
fn a_rest_doubles_up_to_its_longest_and_ends_with_an_answer() {
    let resting = Resting::default();
    assert!(!resting.rests(MODEL, 0));
    let mut now = 1_000;
    let mut expected = REST_MS_FIRST;
    for _ in 0..12 {
        resting.asked(MODEL, now);
        resting.failed(MODEL, &unreachable(), now);
        let over = end(&resting, now);
        assert_eq!(over - now, expected);
        now = over;
        expected = (expected * 2).min(REST_MS_MAX);
    }
    resting.asked(MODEL, now);
    resting.answered(MODEL);
    assert!(!resting.rests(MODEL, now));
    resting.failed(MODEL, &unreachable(), now);
    assert_eq!(end(&resting, now) - now, REST_MS_FIRST, "what was is forgotten");
}

#[test]
fn requests_that_fail_together_count_once_and_one_alone_tries_again() {
    let resting = Resting::default();
    for at in 0..10 {
        resting.failed(MODEL, &unreachable(), at);
    }
    let over = end(&resting, 9);
    assert_eq!(over, 9 + REST_MS_FIRST);
    assert!(!resting.rests(MODEL, over));
    resting.asked(MODEL, over);
    assert!(resting.rests(MODEL, over), "while one tries it, the others go on without it");
    resting.failed(MODEL, &unreachable(), over + 5);
    assert_eq!(end(&resting, over + 5), over + 5 + 2 * REST_MS_FIRST);
}

#[test]
fn a_provider_is_left_alone_for_as_long_as_it_asks_for_within_bounds() {
    let resting = Resting::default();
    let limited = |ms| Fault::new(Code::MODEL_RATE_LIMITED, "slowly", "wait").retryable().retry_after(ms);
    resting.failed(MODEL, &limited(60_000), 0);
    assert_eq!(end(&resting, 0), 60_000);
    resting.failed(MODEL, &limited(u64::MAX), 60_000);
    assert_eq!(end(&resting, 60_000), 60_000 + REST_MS_MAX);
}

#[test]
fn what_is_wrong_with_a_request_is_not_held_against_the_model_and_no_list_of_names_grows() {
    let resting = Resting::default();
    for code in [Code::MODEL_LIMIT, Code::CONTEXT_TOO_LONG, Code::MODEL_UNKNOWN, Code::MODEL_ERROR] {
        resting.failed(MODEL, &Fault::new(code, "no", "no"), 0);
        assert!(!resting.rests(MODEL, 0), "{code}");
    }
    for number in 0..RESTING_MAX + 10 {
        resting.failed(&format!("test:{number}"), &unreachable(), 0);
    }
    assert_eq!(resting.lock().len(), RESTING_MAX);
    resting.failed(MODEL, &unreachable(), REST_MS_FIRST);
    assert!(resting.rests(MODEL, REST_MS_FIRST), "those whose rest is over make room");
    assert_eq!(resting.lock().len(), 1);
}
