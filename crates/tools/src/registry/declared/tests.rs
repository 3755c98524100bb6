use are_core::label::{Confidentiality, Integrity};
use serde_json::json;

use super::*;

fn schema() -> Value {
    json!({ "type": "object", "properties": { "path": { "type": "string" } }, "additionalProperties": false })
}

fn manifest(text: &str, export: Option<&str>) -> Result<Manifest, Fault> {
    Declared::parse(text)?.manifest(Path::new("files.js"), export, Lane::Js, "does something", schema())
}

#[test]
fn what_is_not_declared_is_the_worst_case() {
    let manifest = manifest("", Some("readFile")).expect("manifest");
    assert_eq!(manifest.name.as_str(), "files_read_file");
    assert_eq!((manifest.effect, manifest.retry), (Effect::Credential, Retry::AtMostOnce));
    assert_eq!(manifest.role_of("path"), Role::Destination);
    assert_eq!(manifest.output_default.integrity, Integrity::Untrusted);
    assert!(!manifest.is_contained && manifest.capabilities.is_none());
}

#[test]
fn a_tools_own_keys_come_before_those_of_the_file() {
    let text = r#"
        effect = "network_read"
        retry = "idempotent"
        output.default = "untrusted public"
        limits.timeout_ms = 5000
        [capabilities]
        fs = "read"
        [tools.read_file]
        effect = "none"
        retry = "pure"
        description = "Reads."
        args.path.role = "selector"
        args.path.description = "below the\u200b workspace"
        intents.en = ["read"]
        [tools.readFile2.output.fields]
        size = "platform"
    "#;
    let read = manifest(text, Some("readFile")).expect("manifest");
    assert_eq!((read.effect, read.retry, read.description.as_str()), (Effect::None, Retry::Pure, "Reads."));
    assert_eq!(read.role_of("path"), Role::Selector);
    assert_eq!(read.schema["properties"]["path"]["description"], "below the workspace");
    assert_eq!(read.limits.timeout_ms, 5000);
    assert_eq!(read.output_default.confidentiality, Confidentiality::Public);
    assert_eq!(read.intents["en"], ["read"]);
    let other = manifest(text, Some("write")).expect("manifest");
    assert_eq!(
        (other.effect, other.retry, other.description.as_str()),
        (Effect::NetworkRead, Retry::Idempotent, "does something")
    );
    let declared = Declared::parse(text).expect("manifest");
    let strangers = declared.strangers(Path::new("files.js"), &["files_read_file"]);
    assert_eq!(strangers, ["readFile2"]);
}

#[test]
fn an_effect_of_its_own_does_not_inherit_what_made_another_milder() {
    let text = r#"
        effect = "send"
        effect_by = { arg = "path", map = { a = "none" } }
        [tools.b]
        effect = "financial"
    "#;
    assert!(manifest(text, Some("a")).expect("manifest").effect_by.is_some());
    let b = manifest(text, Some("b")).expect("manifest");
    assert_eq!((b.effect, b.effect_by), (Effect::Financial, None));
}

#[test]
fn mistakes_are_told_with_what_to_do() {
    for (text, why, help) in [
        ("efect = \"none\"", "`efect` is not known", "did you mean `effect`?"),
        ("[tools.a]\nretri = \"pure\"", "`tools.a.retri` is not known", "did you mean `tools.a.retry`?"),
        ("[limits]\ntimeout = 5", "`limits.timeout` is not known", "did you mean `limits.timeout_ms`?"),
        ("[args.path]\nrol = \"option\"", "`args.path.rol` is not known", "did you mean `args.path.role`?"),
        ("argv = []", "`argv` is not known", "it needs `lane = \"command\"`"),
        ("colour = 1", "`colour` is not known", "known here: description, version"),
        ("lane = \"builtin\"", "`lane` must be `http` or `command`", "leave it out"),
        ("effect = ", "not valid TOML in line 1", "mend that line"),
        ("effect = \"mild\"", "unknown variant `mild`", "tools.md"),
        ("retry = \"transactional\"", "cannot be `transactional`", "the runtime itself"),
        ("retry = \"pure\"\neffect = \"send\"", "needs `effect = \"none\"`", "idempotent"),
        ("limits.timeout_ms = 0", "`limits.timeout_ms` must be from 1 to", "range"),
        ("capabilities.env.A = \"b\"", "holds for components and command lines only", "leave it out"),
        ("limits.output_bytes = 99999999", "`limits.output_bytes` must be from 1 to", "range"),
        ("output.default = \"trusted\"", "`trusted` is no label", "tools.md"),
        ("output.default = \"user system\"", "says the same thing twice", "tools.md"),
        ("args.paht.role = \"option\"", "`args.paht` is no argument of it", "did you mean `path`?"),
        ("effect_by = { arg = \"x\", map = {} }", "`effect_by` names `x`", "one of its arguments"),
        ("description = \"\u{200b}\"", "has no description", "chooses by it"),
        ("[[test]]\nargz = {}", "`test.argz` is not known", "did you mean `test.args`?"),
        ("tools.a = 1", "`tools.a` must be a table", "[tools.NAME]"),
    ] {
        let fault = manifest(text, Some("a")).expect_err(text);
        assert!(fault.message.contains(why), "{text}: {}", fault.message);
        assert!(fault.help.contains(help), "{text}: {}", fault.help);
    }
}

#[test]
fn a_limit_that_nothing_would_keep_is_refused() {
    let declared = Declared::parse("limits.memory_bytes = 1000000").expect("TOML");
    let of = |lane| declared.manifest(Path::new("a.toml"), None, lane, "does something", schema());
    assert!(of(Lane::Http).expect_err("a template").message.contains("components and scripts only"));
    assert_eq!(of(Lane::Js).expect("a script").limits.memory_bytes, Some(1_000_000));
}
