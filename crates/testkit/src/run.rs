//! How the tests were asked to run: the only variables that they read, and chance that a seed repeats.

use std::fmt::Display;
use std::fs::File;
use std::io::Write as _;

/// Every case instead of a spread of them, and measurements that take minutes.
const LONG: &str = "ARE_TEST_LONG";
/// Repeats a run whose seed was printed.
const SEED: &str = "ARE_TEST_SEED";
/// Lets a test pass that cannot show anything on this machine.
const ALLOW_SKIP: &str = "ARE_TEST_ALLOW_SKIP";
/// A file to which each skipped proof adds its reason; `make test` sets it.
const SKIPPED: &str = "ARE_TEST_SKIPPED";

fn is_set(name: &str) -> bool {
    std::env::var(name).is_ok_and(|value| value == "1")
}

/// True when the long form of every test was asked for.
#[must_use]
pub fn is_long() -> bool {
    is_set(LONG)
}

/// Says why a test cannot show anything here; its caller then returns. It fails unless that was allowed: a proof
/// that was not made must not look like one that was.
///
/// # Panics
/// Unless `ARE_TEST_ALLOW_SKIP=1`.
#[track_caller]
pub fn skip(why: impl Display) {
    assert!(is_set(ALLOW_SKIP), "this cannot be tested here: {why}\n({ALLOW_SKIP}=1 lets it pass untested)");
    note_skipped(&why);
}

/// The same for data that lies beside the project on some machines only: its absence is said and fails nothing.
pub fn absent(what: impl Display) {
    note_skipped(&what);
}

#[expect(clippy::print_stdout, reason = "it is the test's own output")]
#[expect(clippy::expect_used, reason = "a proof that is skipped unseen is worse than a test that fails")]
fn note_skipped(why: &impl Display) {
    println!("SKIPPED: {why}");
    // A test that passes is not quoted, so the reason is also left where `make test` looks for it.
    if let Some(path) = std::env::var_os(SKIPPED) {
        let mut list = File::options().create(true).append(true).open(path).expect("the list of what was skipped");
        writeln!(list, "SKIPPED: {why}").expect("the list of what was skipped");
    }
}

/// Says that a part is left to the long form.
#[expect(clippy::print_stdout, reason = "it is the test's own output")]
pub fn leave_to_long(what: impl Display) {
    println!("left out: {what}; {LONG}=1 runs it");
}

/// Numbers by chance that a seed repeats.
#[derive(Debug, Clone)]
pub struct Chance(fastrand::Rng);

impl Chance {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// From `ARE_TEST_SEED`, else a new one; printed, so that a failure can be repeated.
    ///
    /// # Panics
    /// When the variable is no number.
    #[must_use]
    #[expect(clippy::print_stdout, reason = "it is the test's own output")]
    pub fn of_this_run() -> Self {
        let seed = match std::env::var(SEED) {
            Ok(text) => text.parse().unwrap_or_else(|error| panic!("{SEED}={text}: {error}")),
            Err(_) => fastrand::u64(..),
        };
        println!("{SEED}={seed}");
        Self::new(seed)
    }

    /// A number below `bound`; 0 when that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.u64(..bound.max(1))
    }

    /// `count` of `all`, in their order; all of them in the long form.
    pub fn spread<T: Clone>(&mut self, all: &[T], count: usize) -> Vec<T> {
        let count = if is_long() { all.len() } else { count.min(all.len()) };
        (0..count)
            .map(|part| all[self.0.usize(part * all.len() / count..(part + 1) * all.len() / count)].clone())
            .collect()
    }
}
