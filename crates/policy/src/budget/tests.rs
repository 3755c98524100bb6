use proptest::prelude::*;

use super::*;

fn usage(input_tokens: u64, output_tokens: u64) -> Usage {
    Usage { input_tokens, output_tokens, ..Usage::default() }
}

#[test]
fn a_call_is_reserved_in_full_and_settled_with_what_it_used() {
    let mut ledger = Ledger::default();
    ledger.reserve(100, 0);
    assert_eq!(ledger.tokens(), 100);
    ledger.settle(usage(30, 5), None);
    assert_eq!(ledger.tokens(), 35);
}

#[test]
fn a_call_of_which_nothing_is_known_counts_in_full() {
    let mut ledger = Ledger::default();
    ledger.reserve(100, 0);
    ledger.reserve(50, 0);
    assert_eq!(ledger.tokens(), 150, "the first was cut off");
    ledger.settle(usage(0, 0), None);
    assert_eq!(ledger.tokens(), 150, "the second reported nothing");
}

#[test]
fn an_answer_is_as_long_as_the_budget_allows_and_refused_when_nothing_is_left() {
    let budget = Budget { tokens: Some(100), ..Budget::default() };
    let mut ledger = Ledger::default();
    assert_eq!(budget.answer_tokens(&ledger, 30, 50), Ok(50));
    assert_eq!(budget.answer_tokens(&ledger, 80, 50), Ok(20));
    assert_eq!(budget.answer_tokens(&ledger, 100, 50).unwrap_err().code, Code::BUDGET_USED_UP);
    ledger.reserve(90, 0);
    assert_eq!(budget.answer_tokens(&ledger, 10, 50).unwrap_err().code, Code::BUDGET_USED_UP);
    assert_eq!(Budget::default().answer_tokens(&ledger, u64::MAX, 50), Ok(50));
}

#[test]
fn calls_are_counted_when_they_begin() {
    let budget = Budget { calls: Some(1), ..Budget::default() };
    let mut ledger = Ledger::default();
    assert!(budget.check_call(&ledger).is_ok());
    ledger.begin_call();
    assert_eq!(budget.check_call(&ledger).unwrap_err().code, Code::BUDGET_USED_UP);
}

proptest! {
    #[test]
    fn what_is_used_never_falls_below_what_was_reported_nor_above_the_budget(
        budget in 1_u64..2000,
        steps in prop::collection::vec((1_u64..200, 1_u64..200, any::<bool>()), 0..30),
    ) {
        let limits = Budget { tokens: Some(budget), ..Budget::default() };
        let mut ledger = Ledger::default();
        let mut reported = 0;
        for (input, wanted, is_reported) in steps {
            let Ok(answer) = limits.answer_tokens(&ledger, input, wanted) else { continue };
            ledger.reserve(input + answer, 0);
            if is_reported {
                ledger.settle(usage(input, answer / 2), None);
                reported += input + answer / 2;
            }
            prop_assert!(ledger.tokens() >= reported && ledger.tokens() <= budget);
        }
    }
}

#[test]
fn an_agent_has_what_is_left_and_what_it_used_was_used() {
    let budget = Budget {
        tokens: Some(100),
        calls: Some(5),
        steps: Some(9),
        agents: Some(2),
        seconds: Some(60),
        ..Budget::default()
    };
    let mut ledger = Ledger::default();
    ledger.reserve(30, 0);
    ledger.settle(usage(20, 5), None);
    ledger.begin_call();
    ledger.begin_agent();
    let left = budget.left(&ledger);
    let expected = Budget {
        tokens: Some(75),
        calls: Some(4),
        steps: Some(7),
        agents: Some(1),
        seconds: Some(60),
        ..Budget::default()
    };
    assert_eq!(left, expected);
    assert_eq!(left.least(Budget { tokens: Some(10), ..Budget::default() }), Budget { tokens: Some(10), ..expected });
    assert_eq!(left.least(Budget { tokens: Some(1000), ..Budget::default() }), expected, "no more than there is");
    ledger.charge(Used { tokens: 80, calls: 4, steps: 7, ..Used::default() });
    assert_eq!(ledger.used(), Used { tokens: 105, calls: 5, steps: 9, agents: 1, ..Used::default() });
    assert_eq!(budget.left(&ledger).tokens, Some(0));
    assert!(budget.check_call(&ledger).is_err() && budget.check_step(&ledger).is_err());
}

#[test]
fn money_is_reserved_and_settled_as_tokens_are_and_an_unknown_price_is_refused() {
    let price = Price { input: 1_000_000, cached: None, output: 2_000_000 };
    let budget = Budget { money: Some(100), ..Budget::default() };
    let mut ledger = Ledger::default();
    assert_eq!(budget.affordable_tokens(&ledger, ("m", Some(price)), 40, 500), Ok(30));
    assert_eq!(budget.affordable_tokens(&ledger, ("m", Some(price)), 40, 7), Ok(7));
    ledger.reserve(70, 100);
    assert_eq!(ledger.cost(), 100);
    let fault = budget.affordable_tokens(&ledger, ("m", Some(price)), 1, 1).unwrap_err();
    assert_eq!(fault.code, Code::BUDGET_USED_UP);
    ledger.settle(usage(40, 5), Some(50));
    assert_eq!(budget.affordable_tokens(&ledger, ("m", Some(price)), 20, 500), Ok(15));
    assert_eq!(budget.affordable_tokens(&ledger, ("m", None), 1, 1).unwrap_err().code, Code::PRICE_UNKNOWN);
    assert_eq!(Budget::default().affordable_tokens(&ledger, ("m", None), 1, 9), Ok(9), "no money is limited");
}

#[test]
fn a_call_may_begin_while_anything_is_left_of_what_is_known_only_afterwards() {
    let budget = Budget { cpu_ms: Some(10), bytes: Some(100), ..Budget::default() };
    let mut ledger = Ledger::default();
    ledger.settle_call(CallSpent { cpu_ms: 9, bytes: 99 });
    assert!(budget.check_call(&ledger).is_ok());
    ledger.settle_call(CallSpent { cpu_ms: 0, bytes: 1 });
    assert_eq!(budget.check_call(&ledger).unwrap_err().code, Code::BUDGET_USED_UP);
    ledger = Ledger::default();
    ledger.settle_call(CallSpent { cpu_ms: 10, bytes: 0 });
    assert_eq!(budget.check_call(&ledger).unwrap_err().code, Code::BUDGET_USED_UP);
}
