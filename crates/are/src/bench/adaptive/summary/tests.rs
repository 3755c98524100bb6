use super::*;

fn run(strategy: Strategy, task: usize, seed: usize, done: bool, ms: u64) -> Run {
    Run {
        strategy,
        task: format!("t{task}"),
        kind: "k".to_owned(),
        seed,
        done,
        missing: String::new(),
        tokens: 100,
        cached_tokens: 40,
        ms,
        requests: 1,
        models: Vec::new(),
        reasons: Vec::new(),
    }
}

#[test]
fn wilsons_interval_is_that_of_the_textbook_and_never_leaves_the_shares() {
    let half = wilson(5, 10);
    assert!((half.low - 0.2366).abs() < 1e-3 && (half.high - 0.7634).abs() < 1e-3, "{half:?}");
    let (none, all) = (wilson(0, 20), wilson(20, 20));
    assert!(none.low == 0.0 && none.high > 0.0 && none.high < 0.2, "{none:?}");
    assert!(all.high == 1.0 && all.low > 0.8, "{all:?}");
    assert_eq!(wilson(0, 0), Estimate { value: 0.0, low: 0.0, high: 1.0 });
}

#[test]
fn strategies_are_compared_over_what_both_have_played() {
    let mut runs = Vec::new();
    for task in 0..20 {
        for seed in 0..3 {
            runs.push(run(Strategy::Lowest, task, seed, task % 2 == 0, 1_000));
            runs.push(run(Strategy::Adaptive, task, seed, true, 3_000));
        }
    }
    // Played by one only.
    runs.push(run(Strategy::Adaptive, 99, 0, false, 900_000));
    let report = of(&runs);
    assert_eq!(
        report.rows.iter().map(|row| (row.strategy, row.runs)).collect::<Vec<_>>(),
        [(Strategy::Lowest, 60), (Strategy::Adaptive, 61)]
    );
    let lowest = &report.rows[0];
    assert!((lowest.done.value - 0.5).abs() < 1e-9 && (lowest.computed_tokens.value - 60.0).abs() < 1e-9);
    let [beside] = &report.beside[..] else { panic!("{:?}", report.beside) };
    assert_eq!((beside.other, beside.pairs), (Strategy::Lowest, 60));
    assert!((beside.done.value - 0.5).abs() < 1e-9 && beside.done.low > 0.2 && beside.done.high < 0.8, "{beside:?}");
    assert_eq!(beside.seconds, Estimate { value: 2.0, low: 2.0, high: 2.0 });
}

#[test]
fn what_is_won_and_lost_stands_by_its_reasons() {
    let because =
        |run: Run, reasons: &[&str]| Run { reasons: reasons.iter().map(|&one| one.to_owned()).collect(), ..run };
    let mut runs: Vec<Run> = (0..6).map(|task| run(Strategy::Lowest, task, 0, task == 2, 1_000)).collect();
    runs.extend((0..2).map(|task| because(run(Strategy::Adaptive, task, 0, true, 3_000), &["b", "a", "b"])));
    runs.push(because(run(Strategy::Adaptive, 2, 0, false, 4_000), &["c"]));
    runs.extend((3..6).map(|task| run(Strategy::Adaptive, task, 0, false, 1_000)));
    let report = of(&runs);
    let one = |reasons: &[&str], (runs, won, lost), seconds| Because {
        reasons: reasons.iter().map(|&one| one.to_owned()).collect(),
        runs,
        won,
        lost,
        seconds,
    };
    assert_eq!(
        report.beside[0].reasons,
        [one(&[], (3, 0, 0), 0.0), one(&["a", "b"], (2, 2, 0), 2.0), one(&["c"], (1, 0, 1), 3.0)]
    );
}

#[test]
fn the_same_runs_give_the_same_report_and_none_give_none() {
    let runs: Vec<Run> = (0..9).map(|task| run(Strategy::Warm, task, 0, task > 3, 100 * task as u64)).collect();
    assert_eq!(format!("{:?}", of(&runs)), format!("{:?}", of(&runs)));
    let empty = of(&[]);
    assert!(empty.rows.is_empty() && empty.beside.is_empty());
}
