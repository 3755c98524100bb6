//! Claims: each has attacks that a test reads, tests that exist, and a function that the product calls.
//!
//! `docs/security/controls.md` is made from `controls.toml` and from what is found here, so that it cannot promise what
//! nobody calls. `INSTA_UPDATE=always` writes it anew.

use std::fmt::Write as _;

use serde::Deserialize;

use crate::source::{Text, file, places, product, root, rust};

/// Where the page is.
const PAGE: &str = "docs/security/controls.md";
/// Its source.
const SOURCE: &str = "docs/security/controls.toml";

#[derive(Deserialize)]
struct Controls {
    control: Vec<Control>,
}

#[derive(Deserialize)]
struct Control {
    claim: String,
    attacks: Vec<String>,
    tests: Vec<String>,
    function: String,
}

/// `path::name` as its halves.
fn split(reference: &str) -> (&str, &str) {
    reference.split_once("::").unwrap_or_else(|| panic!("`{reference}` is not `path::name`"))
}

/// The files of the product that call a function, its own definition aside.
fn callers(reference: &str, sources: &[Text]) -> Vec<String> {
    let (path, name) = split(reference);
    let definition = file(path);
    let code = definition.code();
    let defined = places(&code, name).into_iter().any(|at| code[..at].trim_end().ends_with("fn"));
    assert!(defined, "`{name}` is not a function of {path}");
    let calls = |source: &Text| {
        let code = source.code();
        places(&code, name).into_iter().any(|at| {
            let is_definition = code[..at].trim_end().ends_with("fn");
            !is_definition && code[at + name.len()..].trim_start().starts_with('(')
        })
    };
    sources.iter().filter(|source| calls(source)).map(|source| source.path.clone()).collect()
}

fn must_have_test(reference: &str) {
    let (path, name) = split(reference);
    let text = file(path);
    assert!(text.is_test(), "{path} is no file of tests");
    let code = text.text;
    assert!(code.contains(&format!("fn {name}(")), "{path} has no test `{name}`");
}

#[test]
fn every_claim_has_attacks_tests_and_a_caller_in_the_product() {
    let controls: Controls = toml::from_str(&file(SOURCE).text).expect(SOURCE);
    let (product, all) = (product(), rust());
    let mut page = String::from(
        "# Controls\n\nWhat the documents claim, the attacks and tests that try to break it, and where the product calls what holds it. Made\n\
         from `controls.toml` by a test, which fails when a claim loses any of them.\n\n| claim | attacks | tests | held by | called in |\n|---|---|---|---|---|\n",
    );
    for control in &controls.control {
        for attack in &control.attacks {
            assert!(root().join(attack).exists(), "`{attack}` is missing");
            let name = attack.trim_start_matches("tests/attacks/");
            let is_read = all.iter().any(|source| source.is_test() && source.text.contains(&format!("attacks/{name}")));
            assert!(is_read, "no test reads `{attack}`");
        }
        assert!(!control.tests.is_empty(), "nothing tests: {}", control.claim);
        control.tests.iter().for_each(|test| must_have_test(test));
        let callers = callers(&control.function, &product);
        assert!(!callers.is_empty(), "the product never calls `{}`: {}", control.function, control.claim);
        let listed = |items: &[String]| items.iter().map(|item| format!("`{item}`")).collect::<Vec<_>>().join("<br>");
        let tests: Vec<String> = control.tests.iter().map(|test| split(test).1.replace('_', " ")).collect();
        writeln!(
            page,
            "| {} | {} | {} | `{}` | {} |",
            control.claim,
            listed(&control.attacks),
            tests.join("<br>"),
            control.function,
            listed(&callers)
        )
        .expect("a text takes everything");
    }
    println!("{} claims", controls.control.len());
    assert!(controls.control.len() >= 7);
    if std::env::var("INSTA_UPDATE").is_ok_and(|value| value == "always") {
        std::fs::write(root().join(PAGE), &page).expect(PAGE);
    }
    assert_eq!(file(PAGE).text, page, "{PAGE} is not what its source says; INSTA_UPDATE=always writes it anew");
}
