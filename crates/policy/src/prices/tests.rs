use proptest::prelude::*;

use super::*;

fn model(name: &str, is_local: bool) -> ModelInfo {
    ModelInfo {
        name: name.to_owned(),
        context_tokens: 1,
        output_tokens: 1,
        takes_temperature: true,
        efforts: Vec::new(),
        is_either: false,
        takes_images: false,
        is_local,
        continues: false,
    }
}

#[test]
fn a_models_own_price_comes_before_its_providers_and_none_is_unknown_but_for_local_ones() {
    let (dear, cheap) = (Price { input: 9, cached: None, output: 9 }, Price { input: 1, cached: None, output: 1 });
    let prices = Prices::new(BTreeMap::from([("p:big".to_owned(), dear), ("p".to_owned(), cheap)]));
    assert_eq!(prices.of(&model("p:big", false)), Some(dear));
    assert_eq!(prices.of(&model("p:small", false)), Some(cheap));
    assert_eq!(prices.of(&model("q:small", false)), None);
    assert_eq!(prices.of(&model("local:small", true)), Some(Price::default()));
}

#[test]
fn cached_tokens_have_their_price_and_every_cost_is_rounded_up() {
    let price = Price { input: 2_000_000, cached: Some(500_000), output: 8_000_000 };
    let usage = Usage { input_tokens: 1_000, cached_tokens: 400, cache_written_tokens: 0, output_tokens: 10 };
    assert_eq!(price.cost(usage), 600 * 2 + 200 + 80);
    let one = Usage { input_tokens: 1, cached_tokens: 0, cache_written_tokens: 0, output_tokens: 0 };
    assert_eq!(Price { input: 1, cached: None, output: 1 }.cost(one), 1);
    assert_eq!(price.affordable_output(80), 10);
    assert_eq!(Price::default().affordable_output(0), u64::MAX);
}

#[test]
fn amounts_are_read_and_written_as_people_write_them() {
    for (text, millionths) in [("12.50", 12_500_000), ("0.000001", 1), ("3", 3_000_000), ("0.15", 150_000)] {
        assert_eq!(parse_money(text), Some(millionths), "{text}");
    }
    for text in ["", ".5", "5.", "-1", "1e3", "1.0000001", "1000000001", "1,5", " 1"] {
        assert_eq!(parse_money(text), None, "{text}");
    }
    assert_eq!(
        (show_money(12_500_000), show_money(1), show_money(0)),
        ("12.50".into(), "0.000001".into(), "0.00".into())
    );
}

proptest! {
    #[test]
    fn an_amount_survives_being_written_and_read(millionths in 0..=WHOLE_MAX * 1_000_000) {
        prop_assert_eq!(parse_money(&show_money(millionths)), Some(millionths));
    }

    #[test]
    fn what_is_affordable_costs_no_more_than_there_is(money in 0_u64..10_000_000_000, output in 1_u64..100_000_000) {
        let price = Price { input: 0, cached: None, output };
        let tokens = price.affordable_output(money);
        let usage = Usage { input_tokens: 0, cached_tokens: 0, cache_written_tokens: 0, output_tokens: tokens };
        prop_assert!(price.cost(usage) <= money);
    }
}
