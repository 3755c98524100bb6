//! Every external program that a test starts stands in `scripts/deps.list`.

use std::fs;
use std::path::{Path, PathBuf};

/// Fewer files or programs than this means that the scan looks at nothing.
const FILES_MIN: usize = 10;

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            out.push(path);
        }
    }
}

/// Names of programs that are started by a literal name.
fn programs(text: &str) -> impl Iterator<Item = &str> {
    text.split("Command::new(\"").skip(1).filter_map(|rest| rest.split('"').next())
}

#[test]
fn every_program_that_a_test_starts_is_installed_by_make_deps() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let list = fs::read_to_string(root.join("scripts/deps.list")).expect("the list");
    let listed: Vec<&str> = list
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split('|').next())
        .map(str::trim)
        .collect();
    let mut files = Vec::new();
    for krate in fs::read_dir(root.join("crates")).expect("the crates").flatten() {
        sources(&krate.path().join("tests"), &mut files);
        if krate.file_name() == "testkit" {
            sources(&krate.path().join("src"), &mut files);
        }
    }
    let mut started = 0;
    for file in &files {
        let text = fs::read_to_string(file).expect("readable");
        for program in programs(&text).filter(|program| !program.is_empty()) {
            // `cargo` is the one thing that must be there before.
            assert!(program == "cargo" || listed.contains(&program), "`{program}` in {} is not listed", file.display());
            started += 1;
        }
    }
    println!("{} files, {started} programs started, {} programs listed", files.len(), listed.len());
    assert!(files.len() >= FILES_MIN && started > 0, "the scan looked at nothing");
}
