use std::collections::BTreeMap;

use are_core::body::{Effect, Retry};
use serde_json::json;

use super::*;
use crate::manifest::{CallLimits, Capabilities, OutputLabel};

fn name(text: &str) -> SecretName {
    text.parse().unwrap()
}

fn args(value: &Json) -> Args {
    Args::from_value(value).unwrap()
}

fn manifest(lane: Lane, tool: &str) -> Manifest {
    Manifest {
        name: tool.parse().unwrap(),
        description: "does something".to_owned(),
        lane,
        version: "1".to_owned(),
        schema: json!({"type": "object"}),
        example: None,
        effect: Effect::Credential,
        effect_by: None,
        retry: Retry::AtMostOnce,
        args: BTreeMap::new(),
        output_default: OutputLabel::default(),
        output_fields: BTreeMap::new(),
        is_contained: false,
        capabilities: None,
        limits: CallLimits::default(),
        intents: BTreeMap::new(),
    }
}

#[test]
fn pieces_are_the_text_and_the_names_in_it() {
    let parts = pieces("Bearer ${secret:a_1}:${secret:b}!").unwrap();
    let secret = |text| Piece::Secret(name(text));
    assert_eq!(parts, [Piece::Text("Bearer "), secret("a_1"), Piece::Text(":"), secret("b"), Piece::Text("!")]);
    assert_eq!(pieces("$secret:x ${var:y}").unwrap(), [Piece::Text("$secret:x ${var:y}")]);
    for broken in ["${secret:}", "${secret:a b}", "${secret:a", "x${secret:${secret:a}}", "${secret:ä}"] {
        assert_eq!(pieces(broken).unwrap_err().code, Code::SECRET_MISPLACED, "{broken}");
    }
}

#[test]
fn a_secret_stands_only_where_its_value_is_put_in() {
    let request = manifest(Lane::Builtin, HTTP_REQUEST);
    for good in [
        json!({"url": "https://a.example/", "headers": {"Authorization": "Bearer ${secret:x}"}}),
        json!({"url": "https://a.example/p?key=${secret:x}&b=1"}),
        json!({"url": "https://a.example/p?key=${secret:x}#part"}),
        json!({"url": "https://a.example/", "method": "POST", "body": {"a": ["${secret:x}"]}}),
        json!({"url": "https://a.example/", "method": "POST", "body": "x=${secret:x}"}),
    ] {
        check(&request, &args(&good)).unwrap_or_else(|fault| panic!("{good}: {fault}"));
    }
    for bad in [
        json!({"url": "https://${secret:x}.example/"}),
        json!({"url": "https://a.example/${secret:x}"}),
        json!({"url": "https://a.example:${secret:x}/?b"}),
        json!({"url": "https://a.example/${secret:x}?${secret:x}"}),
        json!({"url": "https://a.example/#?${secret:x}"}),
        json!({"url": "https://a.example/?a#${secret:x}"}),
        json!({"url": "${secret:x}"}),
        json!({"url": "https://a.example/", "method": "${secret:x}"}),
        json!({"url": "https://a.example/", "headers": {"X-${secret:x}": "1"}}),
        json!({"url": "https://a.example/", "headers": {"X": "${secret:not a name}"}}),
    ] {
        assert_eq!(check(&request, &args(&bad)).unwrap_err().code, Code::SECRET_MISPLACED, "{bad}");
    }
    let named = args(&json!({"text": "${secret:x}"}));
    for tool in ["fs_write", "process_run", "variable_set", "memory_add", DISCLOSE] {
        assert_eq!(check(&manifest(Lane::Builtin, tool), &named).unwrap_err().code, Code::SECRET_MISPLACED, "{tool}");
    }
    assert_eq!(check(&manifest(Lane::Command, "deploy"), &named).unwrap_err().code, Code::SECRET_MISPLACED);
    for lane in [Lane::Wasm, Lane::Js, Lane::Http] {
        check(&manifest(lane, "own"), &named).unwrap();
    }
    let many: Vec<String> = (0..=NAMED_MAX).map(|n| format!("${{secret:s{n}}}")).collect();
    let fault = check(&request, &args(&json!({"url": "https://a.example/", "body": many}))).unwrap_err();
    assert_eq!(fault.code, Code::SECRET_LIMIT);
}

#[test]
fn a_secret_goes_to_its_hosts_over_https_and_nowhere_else() {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let hosts = ["API.example.com", "b.example.com:8443", "*.wide.example", "127.0.0.1:9000", "192.0.2.7", "[::1]:9"];
    let bound_to = BoundTo::read(&texts(&hosts), &texts(&["deploy"])).unwrap();
    let may = |url: &str| bound_to.check(&name("x"), Purpose::Request(&Target::parse(url).unwrap())).is_ok();
    for good in [
        "https://api.example.com/x",
        "https://api.example.com:443/",
        "https://b.example.com:8443/",
        "https://a.wide.example/",
        "https://a.b.wide.example/",
        "http://127.0.0.1:9000/",
        "http://[::1]:9/",
        "https://192.0.2.7/",
    ] {
        assert!(may(good), "{good}");
    }
    for bad in [
        "http://api.example.com/",
        "https://api.example.com:444/",
        "https://b.example.com/",
        "https://example.com/",
        "https://evil-api.example.com/",
        "https://api.example.com.evil.example/",
        "https://wide.example/",
        "https://evilwide.example/",
        "http://a.wide.example/",
        "http://127.0.0.1:9001/",
        "http://127.0.0.2:9000/",
        "http://192.0.2.7/",
        "http://localhost:9000/",
    ] {
        assert!(!may(bad), "{bad}");
    }
    for (purpose, is_allowed) in [
        (Purpose::Process("deploy"), true),
        (Purpose::Guest("deploy"), true),
        (Purpose::Process("other"), false),
        (Purpose::Guest("deploy2"), false),
    ] {
        let found = bound_to.check(&name("x"), purpose);
        assert_eq!(found.is_ok(), is_allowed, "{purpose:?}");
        assert!(found.err().is_none_or(|fault| fault.code == Code::SECRET_BOUND));
    }
}

#[test]
fn what_nothing_can_be_bound_to_is_refused_with_what_to_write() {
    for bad in [
        "https://api.example.com",
        "api.example.com/x",
        "*.com",
        "*",
        "*.127.0.0.1",
        "a b.example",
        "",
        "api.example.com:0",
        "api.example.com:99999",
        "127.0.0.1",
        "localhost",
        "user@host.example",
        "a.example\n",
    ] {
        let found = BoundTo::read(&[bad.to_owned()], &[]);
        // White space around a host is nobody's intention.
        if bad == "a.example\n" {
            assert_eq!(found.unwrap().hosts, ["a.example"]);
            continue;
        }
        assert_eq!(found.expect_err(bad).code, Code::SECRET_BOUND, "{bad}");
    }
    assert_eq!(BoundTo::read(&[], &[]).unwrap_err().code, Code::SECRET_BOUND);
    assert_eq!(BoundTo::read(&[], &["no tool".to_owned()]).unwrap_err().code, Code::SECRET_BOUND);
    let many: Vec<String> = (0..=BOUND_TO_MAX).map(|n| format!("h{n}.example")).collect();
    assert_eq!(BoundTo::read(&many, &[]).unwrap_err().code, Code::SECRET_BOUND);
}

#[test]
fn the_secrets_of_a_call_are_those_of_its_arguments_and_of_its_manifest() {
    let mut tool = manifest(Lane::Wasm, "sign");
    tool.capabilities = Some(Capabilities {
        secrets: vec![name("listed")],
        env: BTreeMap::from([
            ("A".to_owned(), "plain".to_owned()),
            ("B".to_owned(), "secret:given".to_owned()),
            ("C".to_owned(), "secret:no name".to_owned()),
        ]),
        ..Capabilities::default()
    });
    let found = of_call(&tool, &args(&json!({"a": {"b": "x ${secret:named}"}})));
    assert_eq!(found, BTreeSet::from([name("listed"), name("given"), name("named")]));
    let label = label(&found).unwrap();
    assert_eq!(label.confidentiality, Confidentiality::Secret);
    assert_eq!(label.origins, ["secret:given", "secret:listed", "secret:named"]);
    let asks = manifest(Lane::Builtin, DISCLOSE);
    assert_eq!(of_call(&asks, &args(&json!({"name": "k"}))), BTreeSet::from([name("k")]));
    assert!(of_call(&manifest(Lane::Js, "other"), &args(&json!({"name": "k"}))).is_empty());
}
