//! How the program lies in its file: functions that a server runs beside each other.

use std::collections::HashMap;
use std::fs;
use std::process::Command;

use are_testkit::run;

#[test]
fn functions_that_a_server_runs_lie_beside_each_other() {
    let Some(list) = option_env!("ARE_LAYOUT") else {
        run::skip("this build has no order of functions: another linker, or not the profile that the list is of");
        return;
    };
    let list = fs::read_to_string(list).expect("the list is there");
    let said = Command::new("nm").arg("--defined-only").arg(env!("CARGO_BIN_EXE_are")).output().expect("nm runs");
    let said = String::from_utf8_lossy(&said.stdout);
    let code = said.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ' ');
        let (address, kind, name) = (parts.next()?, parts.next()?, parts.next()?);
        let address = u64::from_str_radix(address, 16).ok()?;
        "tTwW".contains(kind).then_some((name, address))
    });
    let code: HashMap<&str, u64> = code.collect();
    let mut listed: Vec<u64> = list.lines().filter_map(|name| code.get(name).copied()).collect();
    let names = list.lines().count();
    println!("{} of {names} functions are in this build", listed.len());
    assert!(
        names > 0 && listed.len() * 10 >= names * 9,
        "the list is of another build: `make layout` writes it anew, and why it must is said in scripts/layout.sh"
    );
    listed.sort_unstable();
    let all = code.values().max().zip(code.values().min()).map(|(last, first)| last - first).expect("there is code");
    // What is folded into others, or comes from C, may lie elsewhere.
    let (first, last) = (listed[listed.len() / 20], listed[listed.len() * 19 / 20]);
    assert!((last - first) * 3 < all, "they lie over {} of {all} bytes", last - first);
}
