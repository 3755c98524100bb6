//! Budgets: the core can be read in one sitting, a file in one go.

use crate::source::{product, rust};

/// Lines of code of `are-core`, without blank lines, comments and tests.
const CORE_LINES_MAX: usize = 2_000;
/// Lines of any source file, everything counted.
const FILE_LINES_MAX: usize = 800;

#[test]
fn the_core_stays_below_its_budget() {
    let mut lines = 0;
    let mut files = 0;
    for source in product().iter().filter(|source| source.path.starts_with("crates/core/src/")) {
        files += 1;
        lines += source.code().lines().filter(|line| !line.trim().is_empty()).count();
    }
    println!("are-core: {lines} of {CORE_LINES_MAX} lines in {files} files");
    assert!(files >= 10 && lines >= 500);
    assert!(lines <= CORE_LINES_MAX, "are-core has {lines} lines of code");
}

#[test]
fn no_source_file_is_too_long() {
    let sources = rust();
    let mut longest = (0, String::new());
    for source in &sources {
        let lines = source.text.lines().count();
        assert!(lines <= FILE_LINES_MAX, "{} has {lines} lines; split it", source.path);
        longest = longest.max((lines, source.path.clone()));
    }
    println!("{} sources, the longest is {} with {} lines", sources.len(), longest.1, longest.0);
    assert!(sources.len() >= 150);
}
