use std::collections::BTreeSet;

use are_core::model::Example;
use serde_json::json;

use super::*;

fn manifest() -> Manifest {
    Manifest {
        name: "http_request".parse().unwrap(),
        description: "Fetches a page.".to_owned(),
        lane: Lane::Builtin,
        version: "1".to_owned(),
        schema: json!({"type": "object", "properties": {"method": {"type": "string"}}}),
        example: None,
        effect: Effect::Send,
        effect_by: None,
        retry: Retry::Pure,
        args: BTreeMap::new(),
        output_default: OutputLabel::default(),
        output_fields: BTreeMap::new(),
        is_contained: false,
        capabilities: None,
        limits: CallLimits::default(),
        intents: BTreeMap::new(),
    }
}

fn by_method(absent: Option<Effect>) -> Manifest {
    let map = BTreeMap::from([("GET".to_owned(), Effect::NetworkRead), ("NONE".to_owned(), Effect::None)]);
    Manifest { effect_by: Some(EffectBy { arg: "method".to_owned(), map, absent }), ..manifest() }
}

#[test]
fn what_effect_by_does_not_name_is_the_worst() {
    for (args, effect) in [
        (r#"{"method":"GET"}"#, Effect::NetworkRead),
        (r#"{"method":"NONE"}"#, Effect::None),
        (r#"{"method":"get"}"#, Effect::Send),
        (r#"{"method":"GET "}"#, Effect::Send),
        (r#"{"method":["GET"]}"#, Effect::Send),
        (r#"{"method":1}"#, Effect::Send),
        (r#"{"Method":"GET"}"#, Effect::Send),
        ("{}", Effect::Send),
    ] {
        assert_eq!(by_method(None).effect_of(&Args::parse(args).unwrap()), effect, "{args}");
        assert_eq!(manifest().effect_of(&Args::parse(args).unwrap()), Effect::Send);
    }
    let absent = by_method(Some(Effect::NetworkRead));
    for args in ["{}", r#"{"method":null}"#] {
        assert_eq!(absent.effect_of(&Args::parse(args).unwrap()), Effect::NetworkRead);
    }
}

#[test]
fn pure_holds_only_without_effect() {
    assert_eq!(manifest().retry_of(Effect::None), Retry::Pure);
    assert_eq!(manifest().retry_of(Effect::NetworkRead), Retry::AtMostOnce);
    for retry in [Retry::Idempotent, Retry::AtMostOnce, Retry::Transactional] {
        let manifest = Manifest { retry, ..manifest() };
        assert_eq!((manifest.retry_of(Effect::None), manifest.retry_of(Effect::Send)), (retry, retry));
    }
}

fn example() -> Example {
    Example { ask: "Fetch it".to_owned(), arguments: json!({}), result: None, answer: "It is fetched.".to_owned() }
}

#[test]
fn the_digest_changes_with_every_field() {
    let base = manifest();
    let trusted = OutputLabel { integrity: Integrity::Platform, confidentiality: Confidentiality::Public };
    let changed = [
        Manifest { name: "http_get".parse().unwrap(), ..base.clone() },
        Manifest { description: "Fetches a site.".to_owned(), ..base.clone() },
        Manifest { version: "2".to_owned(), ..base.clone() },
        Manifest { schema: json!({"type": "object"}), ..base.clone() },
        Manifest { example: Some(example()), ..base.clone() },
        Manifest { effect: Effect::Share, ..base.clone() },
        by_method(None),
        by_method(Some(Effect::None)),
        Manifest { retry: Retry::Idempotent, ..base.clone() },
        Manifest { args: BTreeMap::from([("url".to_owned(), ArgRule { role: Role::Content })]), ..base.clone() },
        Manifest { output_default: trusted, ..base.clone() },
        Manifest { output_fields: BTreeMap::from([("/status".to_owned(), trusted)]), ..base.clone() },
        Manifest { is_contained: true, ..base.clone() },
        Manifest { limits: CallLimits { timeout_ms: 1, ..CallLimits::default() }, ..base.clone() },
        Manifest { limits: CallLimits { output_bytes: 1, ..CallLimits::default() }, ..base.clone() },
        Manifest { intents: BTreeMap::from([("en".to_owned(), vec!["fetch".to_owned()])]), ..base.clone() },
    ];
    let digests: BTreeSet<_> = changed.iter().chain([&base]).map(Manifest::digest).collect();
    assert_eq!(digests.len(), changed.len() + 1);
    assert!(!digests.contains(&Digest::ZERO));
    assert_eq!(manifest().digest(), base.digest());
}

#[test]
fn a_manifest_survives_encoding_and_unknown_keys_are_refused() {
    let manifest = by_method(Some(Effect::None));
    let mut value = serde_json::to_value(&manifest).unwrap();
    assert_eq!(serde_json::from_value::<Manifest>(value.clone()).unwrap(), manifest);
    value["efect"] = json!("none");
    assert!(serde_json::from_value::<Manifest>(value).is_err());
}

#[test]
fn what_is_not_declared_is_the_worst_case() {
    let least = json!({"name": "x", "description": "", "lane": "builtin", "version": "1", "schema": {}, "effect": "none",
        "retry": "at_most_once"});
    let manifest: Manifest = serde_json::from_value(least).unwrap();
    assert!(!manifest.is_contained);
    assert_eq!(manifest.output_default.integrity, Integrity::Untrusted);
    assert_eq!(manifest.output_default.confidentiality, Confidentiality::Private);
}

#[test]
fn a_name_that_stands_twice_is_refused() {
    let twin = Manifest { version: "2".to_owned(), ..manifest() };
    assert_eq!(ToolSet::new([manifest(), twin]).unwrap_err().as_str(), "http_request");
}

#[test]
fn a_set_is_the_same_in_any_order_and_narrows_to_what_is_allowed() {
    let other = Manifest { name: "a".parse().unwrap(), ..manifest() };
    let set = ToolSet::new([manifest(), other.clone()]).unwrap();
    assert_eq!(set.digest(), ToolSet::new([other.clone(), manifest()]).unwrap().digest());
    assert_eq!(set.get("a"), Some((&other, other.digest())));
    assert_eq!((set.get("b"), set.get("no name!")), (None, None));

    let named = |names: &'static [&str]| set.narrowed(|tool| names.contains(&tool.as_str()));
    let narrowed = named(&["a", "b"]);
    assert_eq!(narrowed.iter().map(|(manifest, _)| manifest.name.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_ne!(narrowed.digest(), set.digest());
    assert_eq!(named(&["a", "http_request"]).digest(), set.digest());
    assert_eq!(named(&[]).iter().count(), 0);
}

#[test]
fn a_set_comes_back_from_the_object_whose_digest_names_it() {
    let set = ToolSet::new([manifest(), Manifest { name: "a".parse().unwrap(), ..by_method(None) }]).unwrap();
    assert_eq!(set.digest(), Digest::of(&[&set.object()]));
    for set in [&set, &set.narrowed(|_| false)] {
        let again = ToolSet::from_object(&set.object()).unwrap();
        assert_eq!((again.digest(), again.object()), (set.digest(), set.object()));
        let manifests: Vec<_> = set.iter().map(|(manifest, _)| manifest).collect();
        assert_eq!(set.object(), to_canonical(&manifests).unwrap().into_bytes());
    }
    let twice = serde_json::to_vec(&[manifest(), manifest()]).unwrap();
    for bytes in [&b""[..], b"{}", b"[{}]", &twice] {
        assert!(ToolSet::from_object(bytes).is_none());
    }
}
