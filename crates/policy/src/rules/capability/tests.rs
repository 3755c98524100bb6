use std::collections::BTreeMap;

use are_core::body::{Effect, Outcome, Retry};
use are_core::canonical::Args;
use serde_json::{Value, json};

use crate::call::Parent;
use crate::manifest::{ArgRule, Capabilities, FileAccess, Manifest, Role};
use crate::rules::tests::Case;
use crate::rules::{Decision, Profile, Rules};

fn tool(name: &str, effect: Effect, is_contained: bool, schema: Value) -> Manifest {
    let retry = if effect == Effect::None { Retry::Pure } else { Retry::AtMostOnce };
    let args = BTreeMap::from([("content".to_owned(), ArgRule { role: Role::Content })]);
    Manifest { is_contained, schema, retry, args, ..Case::new(name, effect).manifest }
}

fn schema(arg: &str) -> Value {
    json!({"type": "object", "properties": {arg: {}}})
}

fn caller(name: &str, capabilities: Option<Capabilities>) -> Manifest {
    Manifest { capabilities, ..tool(name, Effect::Credential, false, json!({})) }
}

fn decide(rules: &Rules, manifest: &Manifest, args: &str, callers: &[&Manifest]) -> Decision {
    let none = Args::parse("{}").unwrap();
    let parents: Vec<Parent<'_>> = callers.iter().map(|manifest| Parent { manifest, args: &none }).collect();
    let case = Case { manifest: manifest.clone(), args, ..Case::new("x", Effect::None) };
    case.decide_within(rules, &parents)
}

fn some(fs: FileAccess, http: &[&str], commands: &[&str]) -> Option<Capabilities> {
    let texts = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
    Some(Capabilities { fs, http: texts(http), commands: texts(commands), ..Capabilities::default() })
}

#[test]
fn a_tool_makes_no_call_beyond_what_it_declared() {
    let read = tool("fs_read", Effect::None, true, schema("path"));
    let write = tool("fs_write", Effect::Modify, true, schema("path"));
    let run = tool("process_run", Effect::Modify, true, schema("argv"));
    let get = tool("http_request", Effect::NetworkRead, false, schema("url"));
    let variable = tool("variable_get", Effect::None, true, schema("name"));
    let mail = tool("mail", Effect::Send, false, schema("to"));
    let rules = Rules::new(Profile::Observe, &[]).unwrap();
    let (none, reads, writes) = (FileAccess::None, FileAccess::Read, FileAccess::Write);
    let argv = r#"{"argv": ["cargo", "test", "-q"]}"#;
    let url = r#"{"url": "https://api.example.org/x?y"}"#;
    let cases: &[(&Manifest, &str, Option<Capabilities>, bool)] = &[
        (&write, r#"{"path": "a"}"#, None, true),
        (&write, r#"{"path": "a"}"#, some(reads, &[], &[]), false),
        (&write, r#"{"path": "a"}"#, some(writes, &[], &[]), true),
        (&read, r#"{"path": "a"}"#, some(none, &[], &[]), false),
        (&read, r#"{"path": "a"}"#, some(reads, &[], &[]), true),
        (&variable, r#"{"name": "a"}"#, some(none, &[], &[]), true),
        (&run, argv, some(writes, &["*"], &[]), false),
        (&run, argv, some(none, &[], &["cargo test *"]), true),
        (&run, argv, some(none, &[], &["cargo test"]), false),
        (&run, argv, some(none, &[], &["cargo test -q"]), true),
        (&run, argv, some(none, &[], &["cargo"]), false),
        (&run, r#"{"argv": ["cargo"]}"#, some(none, &[], &["cargo test *"]), false),
        (&run, r#"{"shell": "cargo test -q"}"#, some(none, &[], &["cargo test *"]), false),
        (&run, r#"{"shell": "cargo test -q"}"#, some(none, &[], &["*"]), true),
        (&run, r#"{"argv": ["cargo", "test"], "shell": "rm x"}"#, some(none, &[], &["cargo test *"]), false),
        (&get, url, some(none, &["api.example.org"], &[]), true),
        (&get, url, some(none, &["*.example.org"], &[]), true),
        (&get, url, some(none, &["example.org"], &[]), false),
        (&get, r#"{"url": "https://example.org"}"#, some(none, &["*.example.org"], &[]), false),
        (&get, url, some(none, &["api.example.org:443"], &[]), true),
        (&get, url, some(none, &["api.example.org:8443"], &[]), false),
        (
            &get,
            r#"{"url": "https://api.example.org.evil.test"}"#,
            some(none, &["*.example.org", "api.example.org"], &[]),
            false,
        ),
        (&get, r#"{"url": "https://notexample.org"}"#, some(none, &["*.example.org"], &[]), false),
        (&get, r#"{"url": "not an address"}"#, some(none, &["example.org"], &[]), false),
        (&get, "{}", some(none, &["example.org"], &[]), false),
        (&mail, r#"{"to": "bob@example.org"}"#, some(writes, &["example.org"], &["*"]), false),
    ];
    for (manifest, args, capabilities, is_within) in cases {
        let caller = caller("mine", capabilities.clone());
        let decision = decide(&rules, manifest, args, &[&caller]);
        let shown = format!("{} {args} {capabilities:?}: {decision:?}", manifest.name);
        assert_eq!(decision.outcome == Outcome::Allow, *is_within, "{shown}");
        if !is_within {
            assert_eq!(
                (decision.outcome, decision.rules.as_slice()),
                (Outcome::Deny, &["capability:mine".to_owned()][..])
            );
            assert!(decision.why.contains("`mine`") && decision.say.contains("capabilities"), "{shown}");
        }
    }
    println!("{} cases", cases.len());
}

#[test]
fn no_tool_of_the_chain_gets_through_another_what_it_did_not_declare() {
    let write = tool("fs_write", Effect::Modify, true, schema("path"));
    let rules = Rules::new(Profile::Observe, &[]).unwrap();
    let (open, narrow, wide) = (
        caller("open", None),
        caller("narrow", some(FileAccess::Read, &[], &[])),
        caller("wide", some(FileAccess::Write, &[], &[])),
    );
    for (callers, is_within) in [
        (vec![&open], true),
        (vec![&open, &wide], true),
        (vec![&wide, &narrow], false),
        (vec![&narrow, &wide], false),
        (vec![&open, &open, &narrow], false),
    ] {
        let decision = decide(&rules, &write, r#"{"path": "a"}"#, &callers);
        assert_eq!(decision.outcome == Outcome::Allow, is_within, "{decision:?}");
    }
}

#[test]
fn a_permit_is_no_capability_a_forbid_is_the_better_reason_and_an_approval_lifts_neither() {
    let write = tool("fs_write", Effect::Modify, true, schema("path"));
    let narrow = caller("narrow", some(FileAccess::Read, &[], &[]));
    let text = "@id(\"all\") permit(principal, action, resource);";
    let rules = Rules::new(Profile::Strict, &[("a.cedar".to_owned(), text.to_owned())]).unwrap();
    let decision = decide(&rules, &write, r#"{"path": "a"}"#, &[&narrow]);
    assert_eq!((decision.outcome, decision.rules), (Outcome::Deny, vec!["capability:narrow".to_owned()]));
    let text = "@id(\"no\") forbid(principal, action, resource);";
    let rules = Rules::new(Profile::Observe, &[("a.cedar".to_owned(), text.to_owned())]).unwrap();
    let decision = decide(&rules, &write, r#"{"path": "a"}"#, &[&narrow]);
    assert_eq!((decision.outcome, decision.rules), (Outcome::Deny, vec!["no".to_owned()]));
}

#[test]
fn a_tool_names_no_secret_beyond_those_that_it_declared() {
    let get = tool("http_request", Effect::NetworkRead, false, schema("url"));
    let disclose = Manifest {
        args: BTreeMap::from([("name".to_owned(), ArgRule { role: Role::Credential })]),
        ..tool(crate::secrets::DISCLOSE, Effect::Credential, false, schema("name"))
    };
    let rules = Rules::new(Profile::Observe, &[]).unwrap();
    let declares = |secrets: &[&str]| {
        let capabilities = Capabilities {
            http: vec!["api.example.org".to_owned()],
            secrets: secrets.iter().map(|name| name.parse().unwrap()).collect(),
            ..Capabilities::default()
        };
        caller("wrap", Some(capabilities))
    };
    let header = r#"{"url": "https://api.example.org/", "content": {"A": "${secret:one}"}}"#;
    let asks = r#"{"name": "one"}"#;
    for (manifest, args) in [(&get, header), (&disclose, asks)] {
        for (secrets, expected) in [(&["one"][..], Outcome::Allow), (&[], Outcome::Deny), (&["two"], Outcome::Deny)] {
            let maker = declares(secrets);
            let decision = decide(&rules, manifest, args, &[&maker]);
            assert_eq!(decision.outcome, expected, "{} within {secrets:?}: {}", manifest.name, decision.why);
            assert!(decision.permissions.contains(&"secret:one".to_owned()), "{:?}", decision.permissions);
        }
        // All makers up the chain must have declared it, and who declares nothing leaves it to the rules.
        let (with, without) = (declares(&["one"]), declares(&[]));
        assert_eq!(decide(&rules, manifest, args, &[&with, &without]).outcome, Outcome::Deny);
        assert_eq!(decide(&rules, manifest, args, &[&caller("free", None)]).outcome, Outcome::Allow);
    }
}
