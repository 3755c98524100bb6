//! Every program that a test starts is on the one list of what must be installed.

use std::collections::BTreeSet;

use crate::source::{file, rust, stripped};

/// What needs no entry: the program that builds everything else.
const GIVEN: [&str; 1] = ["cargo"];

/// Arguments that are our own binaries, by how they are written.
const OUR_OWN: [&str; 5] = ["env!(", "std::env::current_exe(", "current_exe(", "are(", "cargo"];

fn listed() -> BTreeSet<String> {
    let list = file("scripts/deps.list").text;
    let names = list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    names.filter_map(|line| line.split('|').next()).map(|name| name.trim().to_owned()).collect()
}

#[test]
fn every_program_that_a_test_starts_is_on_the_list() {
    let listed = listed();
    let mut started = BTreeSet::new();
    let mut looked_at = 0;
    for source in rust().iter().filter(|source| source.is_test() || source.path.starts_with("crates/testkit/")) {
        looked_at += 1;
        // Found where it is code, read where strings still hold their text.
        let (bare, code) = (stripped(&source.text, true), source.code_with_strings());
        for (at, call) in bare.match_indices("Command::new(") {
            let argument = code[at + call.len()..].trim_start();
            if let Some(name) = argument.strip_prefix('"').and_then(|rest| rest.split('"').next()) {
                started.insert(name.to_owned());
            } else {
                let is_ours = OUR_OWN.iter().any(|own| argument.starts_with(own));
                let shown: String = argument.chars().take(40).collect();
                assert!(is_ours, "{} starts `{shown}`: name the program, or add how it is ours", source.path);
            }
        }
    }
    println!("{looked_at} test sources start {started:?}; {} programs are listed", listed.len());
    assert!(looked_at >= 40 && !started.is_empty() && listed.len() >= 10);
    for name in &started {
        assert!(listed.contains(name) || GIVEN.contains(&name.as_str()), "`{name}` is missing in scripts/deps.list");
    }
}

#[test]
fn the_list_of_programs_is_well_formed() {
    let list = file("scripts/deps.list").text;
    let mut rows = 0;
    for line in list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        rows += 1;
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let [name, need, probe, how, size, why] = columns.as_slice() else { panic!("six columns: {line}") };
        assert!(!name.is_empty() && !probe.is_empty() && !why.is_empty(), "{line}");
        assert!(["run", "test", "layout"].contains(need), "{line}");
        assert!(
            ["apt:", "rustup:", "cargo:", "path:", "fetch:", "pip:", "npm:", "are:"]
                .iter()
                .any(|kind| how.starts_with(kind)),
            "{line}"
        );
        assert!(size.parse::<u32>().is_ok(), "{line}");
    }
    println!("{rows} programs");
    assert!(rows >= 10);
}
