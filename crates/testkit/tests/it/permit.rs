//! One place makes permits, one place asks for them, and few issue receipts.

use are_core::store::Receipt;
use are_policy::gate::Permit;

use crate::source::{Text, file, item, line, places, product, rust};

const GATE: &str = "crates/policy/src/gate.rs";
const CALLER: &str = "crates/engine/src/actor/tools.rs";

/// Who may issue receipts: stores, doubles of stores, and tests of what takes a permit.
const ISSUERS: [&str; 5] = [
    "crates/store/",
    "crates/testkit/",
    "crates/policy/src/gate/tests.rs",
    "crates/tools/tests/",
    "crates/tools/src/js/tests/",
];

/// Compiles only while `T` is not `Clone`: with a second impl the call below would be ambiguous.
trait NotClone<Marker> {
    fn holds() {}
}
impl<T> NotClone<()> for T {}
impl<T: Clone> NotClone<u8> for T {}

/// Positions at which a value of the type is made or taken apart.
fn literals(code: &str, name: &str) -> Vec<usize> {
    let is_literal = |at: &usize| {
        let before = code[..*at].trim_end();
        let is_declared = ["struct", "impl", "for", "->", "enum"].iter().any(|word| before.ends_with(word));
        code[at + name.len()..].trim_start().starts_with('{') && !is_declared && !before.ends_with("::")
    };
    places(code, name).into_iter().filter(is_literal).collect()
}

#[test]
fn a_permit_is_made_in_one_function_and_cannot_be_copied() {
    <Permit as NotClone<_>>::holds();
    <Receipt as NotClone<_>>::holds();
    let sources = product();
    let mut made = Vec::new();
    for source in &sources {
        let code = source.code();
        made.extend(literals(&code, "Permit").into_iter().map(|at| format!("{}:{}", source.path, line(&code, at))));
    }
    let gate = file(GATE).code();
    let authorize = gate.find("pub fn authorize(").expect("the function");
    let body = authorize..authorize + item(&gate[authorize..]);
    let inside: Vec<usize> = literals(&gate, "Permit").into_iter().filter(|at| body.contains(at)).collect();
    println!("{} sources; permits are made at {made:?}", sources.len());
    assert!(sources.len() >= 100);
    assert_eq!((made.len(), inside.len()), (1, 1), "only `authorize` makes a permit");
    let methods = gate.find("impl Permit {").expect("the methods");
    let methods = &gate[methods..methods + item(&gate[methods..])];
    assert!(literals(methods, "Self").is_empty(), "no method makes another permit");
}

#[test]
fn only_the_actor_asks_the_gate_and_only_the_rules_decide() {
    let sources = product();
    let mut asked = Vec::new();
    let mut decided = 0;
    for source in sources.iter().filter(|source| source.path != GATE) {
        let code = source.code();
        asked.extend(places(&code, "authorize").into_iter().map(|_| source.path.clone()));
        let is_lane = source.path.starts_with("crates/engine/") || source.path.starts_with("crates/tools/");
        if is_lane {
            decided += literals(&code, "Decision").len();
        }
    }
    println!("{} sources; the gate is asked in {asked:?}", sources.len());
    assert_eq!(asked, [CALLER], "`authorize` is named once, where tools are started");
    assert_eq!(decided, 0, "engine and tools make up no decision");
}

#[test]
fn only_stores_issue_receipts() {
    let sources = rust();
    let is_issuer = |source: &Text| ISSUERS.iter().any(|place| source.path.starts_with(place));
    let mut issued = 0;
    for source in &sources {
        let code = if source.is_test() { source.code_with_strings() } else { source.code() };
        let calls = places(&code, "Receipt::issue").len();
        issued += calls;
        assert!(calls == 0 || is_issuer(source), "{} issues receipts", source.path);
    }
    println!("{} sources, {issued} places that issue receipts", sources.len());
    assert!(sources.len() >= 150 && issued >= 3);
}
