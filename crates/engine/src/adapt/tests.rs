use are_core::body::Rating;
use proptest::prelude::*;

use super::*;

const ALL: [Sign; 7] =
    [Sign::Failed, Sign::Malformed, Sign::WrongTool, Sign::Repeated, Sign::Again, Sign::Checked, Sign::Steered];

fn info(name: &str, efforts: &[Effort]) -> ModelInfo {
    ModelInfo {
        name: name.to_owned(),
        context_tokens: 8_000,
        output_tokens: 1_000,
        takes_temperature: true,
        efforts: efforts.to_vec(),
        is_either: false,
        takes_images: false,
        is_local: true,
        continues: false,
    }
}

fn tiers(count: usize) -> Vec<ModelInfo> {
    (0..count).map(|no| info(&format!("test:{no}"), &[])).collect()
}

/// A turn with these signs: the tier that it begins with and the one that it ends with.
fn turn(standing: &mut Standing, tiers: &[ModelInfo], signs: &[Sign], waited_ms: u64) -> (usize, usize) {
    let ladder = ladder(tiers, true);
    let start = standing.start(tiers, &ladder);
    let end = course(signs, start, ladder.len() - 1).rung;
    let model = tiers[ladder[end].tier].name.clone();
    standing.close(signs, Some(model), waited_ms);
    (ladder[start].tier, ladder[end].tier)
}

const BAD: &[Sign] = &[Sign::Failed, Sign::Failed];

#[test]
fn a_ladder_has_each_model_as_it_is_and_with_more_effort_where_it_takes_one() {
    use Effort::{High, Low, Max, Medium, Xhigh};
    let tiers = [info("a", &[]), info("b", &[Low, Medium, High]), info("c", &[Low, Medium, High, Xhigh, Max])];
    let rungs: Vec<_> = ladder(&tiers, true).iter().map(|rung| (rung.tier, rung.effort)).collect();
    assert_eq!(rungs, [(0, None), (1, None), (1, Some(High)), (2, None), (2, Some(Xhigh))]);
    let without: Vec<_> = ladder(&tiers, false).iter().map(|rung| rung.tier).collect();
    assert_eq!(without, [0, 1, 2], "who wishes for an effort has it everywhere");
    assert_eq!(ladder(&[], true).len(), 1);
}

#[test]
fn two_light_signs_or_a_heavy_one_rise_and_the_highest_rung_is_never_left_upwards() {
    assert_eq!(course(&[Sign::Failed], 0, 3).rung, 0);
    let risen = course(BAD, 0, 3);
    assert_eq!((risen.rung, risen.causes), (1, vec![Sign::Failed]));
    let mixed = course(&[Sign::Malformed, Sign::Failed], 0, 3);
    assert_eq!((mixed.rung, mixed.causes, mixed.is_cold), (1, vec![Sign::Malformed, Sign::Failed], true));
    for heavy in [Sign::Repeated, Sign::Again, Sign::Checked] {
        assert_eq!(course(&[heavy], 0, 3).rung, 1, "{heavy:?}");
    }
    assert_eq!(course(&[Sign::Checked; 100], 1, 2).rung, 2);
}

#[test]
fn going_in_circles_on_the_highest_rung_asks_the_user() {
    assert!(!course(&[Sign::Failed, Sign::Repeated], 0, 0).is_stuck);
    assert!(course(&[Sign::Failed, Sign::Repeated, Sign::Repeated], 0, 0).is_stuck);
    let risen = course(&[Sign::Failed, Sign::Repeated], 0, 1);
    assert_eq!((risen.rung, risen.is_stuck), (1, false), "another model comes first");
    assert!(course(&[Sign::Repeated, Sign::Repeated], 0, 1).is_stuck);
    assert!(!course(&[Sign::Again; 9], 0, 0).is_stuck, "what answers is not stuck");
}

#[test]
fn alternating_good_and_bad_turns_do_not_swing() {
    let (tiers, mut standing) = (tiers(2), Standing::default());
    let first = turn(&mut standing, &tiers, BAD, 0);
    assert_eq!(first, (0, 1));
    for round in 0..50 {
        assert_eq!(turn(&mut standing, &tiers, &[], 0), (1, 1), "round {round}");
        assert_eq!(turn(&mut standing, &tiers, BAD, 0), (1, 1), "round {round}");
    }
}

#[test]
fn each_rise_doubles_the_clean_turns_that_it_takes_to_come_down() {
    let (tiers, mut standing) = (tiers(2), Standing::default());
    for expected in [2, 4, 8, 8, 8] {
        turn(&mut standing, &tiers, BAD, 0);
        let clean = (1..100).find(|_| turn(&mut standing, &tiers, &[], 0).0 == 0);
        // The turn that begins lower is the one after them.
        assert_eq!(clean, Some(expected + 1));
    }
}

#[test]
fn a_slow_model_is_left_after_one_clean_turn() {
    let (tiers, mut standing) = (tiers(2), Standing::default());
    for _ in 0..4 {
        turn(&mut standing, &tiers, BAD, 0);
    }
    assert_eq!(turn(&mut standing, &tiers, &[], 60_000), (1, 1));
    assert_eq!(turn(&mut standing, &tiers, &[], 60_000), (0, 0));
}

#[test]
fn a_rating_down_begins_the_next_turn_higher_and_ratings_up_count_as_clean_turns() {
    let (tiers, mut standing) = (tiers(3), Standing::default());
    standing.rate(Some(Rating::Down), false);
    standing.rate(None, false);
    assert_eq!(turn(&mut standing, &tiers, &[], 0), (1, 1));
    assert_eq!(turn(&mut standing, &tiers, &[], 0), (1, 1), "once");
    standing.rate(Some(Rating::Up), false);
    assert_eq!(turn(&mut standing, &tiers, &[], 0), (0, 0));
    for _ in 0..9 {
        standing.rate(Some(Rating::Down), false);
        turn(&mut standing, &tiers, &[], 0);
    }
    standing.rate(Some(Rating::Down), false);
    assert_eq!(turn(&mut standing, &tiers, &[], 0), (2, 2), "not above the highest");
}

#[test]
fn models_that_are_gone_are_forgotten() {
    let mut standing = Standing::default();
    turn(&mut standing, &tiers(3), &[Sign::Checked, Sign::Checked], 0);
    assert_eq!(standing.start(&tiers(3), &ladder(&tiers(3), true)), 2);
    assert_eq!(standing.start(&tiers(1), &ladder(&tiers(1), true)), 0);
}

#[test]
fn what_the_model_is_told_names_no_more_than_a_few_things() {
    let many: Vec<String> = (0..100).map(|no| format!("file{no}.txt")).collect();
    let doubts = [
        Doubt::Empty,
        Doubt::Cut,
        Doubt::Untouched(many.clone()),
        Doubt::Missed(many.clone()),
        Doubt::Undone(many.clone()),
        Doubt::Unfounded(many),
    ];
    let text = check(&doubts);
    assert!(text.len() < 1_500 && text.matches("file").count() <= 24, "{text}");
    for doubt in &doubts {
        assert!(!doubt.reason().contains("file0"), "records name nothing that was said");
    }
    assert_eq!(note(&super::Strategy::default()), None);
}

fn some_signs() -> impl proptest::strategy::Strategy<Value = Vec<Sign>> {
    prop::collection::vec(prop::sample::select(ALL.to_vec()), 0..30)
}

proptest! {
    #[test]
    fn a_course_is_bounded_and_only_rises(signs in some_signs(), start in 0_usize..6, top in 0_usize..6) {
        let mut last = start.min(top);
        for end in 0..=signs.len() {
            let course = course(&signs[..end], start, top);
            prop_assert!(course.rung >= last && course.rung <= top);
            prop_assert!(course.causes.len() <= ALL.len());
            last = course.rung;
        }
        prop_assert_eq!(course(&[], start, top).rung, start.min(top));
    }

    #[test]
    fn a_turn_comes_down_one_model_at_most_and_only_after_enough_clean_turns(
        turns in prop::collection::vec((some_signs(), any::<bool>()), 0..60),
        count in 1_usize..5,
    ) {
        let (tiers, mut standing) = (tiers(count), Standing::default());
        let (mut before, mut clean) = (0, 0);
        for (signs, is_clean) in turns {
            let signs = if is_clean { Vec::new() } else { signs };
            let stay = standing.stay();
            let (start, end) = turn(&mut standing, &tiers, &signs, 0);
            prop_assert!(start < count && end < count && end >= start);
            if start < before {
                prop_assert_eq!(start, before - 1);
                prop_assert!(clean >= stay, "{} clean turns where it takes {}", clean, stay);
                clean = 0;
            } else {
                clean = if signs.is_empty() { clean + 1 } else { 0 };
            }
            before = end;
        }
    }
}
