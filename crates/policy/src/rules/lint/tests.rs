use are_core::body::Effect;
use serde_json::json;

use super::super::check;
use super::super::tests::Case;
use crate::manifest::{EffectBy, Manifest, ToolSet};

fn tools() -> ToolSet {
    let write = Case::new("fs_write", Effect::Create).manifest;
    let absent = Some(Effect::NetworkRead);
    let by = EffectBy { arg: "method".to_owned(), map: [("GET".to_owned(), Effect::NetworkRead)].into(), absent };
    let fetch = Manifest { effect_by: Some(by), ..Case::new("http_request", Effect::Send).manifest };
    let fetch = Manifest { is_contained: false, ..fetch };
    let schema = json!({"type": "object", "properties": {"argv": {"type": "array"}}});
    let run = Manifest { schema, is_contained: false, ..Case::new("run", Effect::Destructive).manifest };
    ToolSet::new([write, fetch, run]).unwrap()
}

fn warnings(text: &str) -> Vec<String> {
    let found = check(&[("a.cedar".to_owned(), text.to_owned())], &tools()).unwrap();
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn rules_that_can_match_are_not_warned_of() {
    let text = r#"
        permit(principal, action == Action::"create", resource == Tool::"fs_write")
        when { context has path && context.path in Path::"src/a" };
        permit(principal, action == Action::"network_read", resource == Tool::"http_request")
        when { context has host && (context.host in Host::"org" || context.host == Host::"a.b:80" || context.host == Host::"[::1]:80") };
        permit(principal, action in Action::"call", resource == Tool::"run") when { context has argv };
        // A part of the condition does not decide.
        permit(principal, action, resource == Tool::"fs_write") when { context has host || true };
        forbid(principal, action, resource == Tool::"fs_write") unless { context has host };"#;
    assert_eq!(warnings(text), [""; 0]);
}

#[test]
fn rules_that_no_call_can_match_are_warned_of_with_what_to_write() {
    for (rule, message) in [
        (
            r#"permit(principal, action, resource == Tool::"http_request") when { context has path && context.path in Path::"a" };"#,
            "a.cedar:1: no call of `http_request` has a `context.path` (help: what it acts upon is `context.host` and \
             `context.url`, or `context.object`)",
        ),
        (
            r#"permit(principal, action, resource == Tool::"fs_write") when { true && context has host };"#,
            "a.cedar:1: no call of `fs_write` has a `context.host` (help: what it acts upon is `context.path`)",
        ),
        (
            r#"permit(principal, action, resource == Tool::"fs_write") when { context has argv };"#,
            "a.cedar:1: no call of `fs_write` has a `context.argv` (help: what it acts upon is `context.path`)",
        ),
        (
            r#"permit(principal, action == Action::"financial", resource == Tool::"http_request");"#,
            "a.cedar:1: no call of `http_request` has the action `financial` (help: its actions are `network_read`, \
             `send`)",
        ),
        (
            "\nforbid(principal, action, resource == Tool::\"fs_wirte\");",
            "a.cedar:2: there is no tool `fs_wirte` (help: the tools there are: `are tool list`)",
        ),
        (
            r#"forbid(principal, action, resource) when { context has path && context.path in Path::"./src/" };"#,
            "a.cedar:1: `Path::\"./src/\"` never matches: a rule sees the normal form (help: write `Path::\"src\"`)",
        ),
        (
            r#"forbid(principal, action, resource) when { context has host && context.host in Host::"Example.org" };"#,
            "a.cedar:1: `Host::\"Example.org\"` never matches: a rule sees the normal form (help: write \
             `Host::\"example.org\"`)",
        ),
        (
            r#"forbid(principal, action, resource) when { context has host && context.host in Host::"https://example.org/" };"#,
            "a.cedar:1: `Host::\"https://example.org/\"` never matches: a rule sees the normal form (help: write \
             `Host::\"example.org:443\"`)",
        ),
        (
            r#"forbid(principal, action, resource) when { context has host && context.host in Host::"*.example.org" };"#,
            "a.cedar:1: `Host::\"*.example.org\"` is no host and never matches (help: write `Host::\"example.org\"` or \
             `Host::\"example.org:443\"`)",
        ),
    ] {
        assert_eq!(warnings(rule), [message], "{rule}");
    }
}
