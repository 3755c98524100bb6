use super::*;

#[test]
fn every_listed_model_is_complete_and_named_once() {
    let catalog = Catalog::builtin();
    for entry in &catalog.models {
        assert_eq!(entry.sha256.len(), 64, "{}", entry.alias);
        assert!(entry.sha256.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)));
        assert!(entry.size > MEGABYTE);
        assert!(entry.file.ends_with(".gguf") && !entry.file.contains('/'));
        assert!(entry.hub.is_some() || entry.mirror.is_some(), "{} has no source", entry.alias);
        assert!(entry.hub.iter().all(|hub| hub.starts_with("https://")));
        assert!(entry.mirror.iter().all(|mirror| !mirror.packages.is_empty()));
    }
    let mut aliases: Vec<_> = catalog.models.iter().map(|entry| &entry.alias).collect();
    aliases.sort();
    aliases.dedup();
    assert_eq!(aliases.len(), catalog.models.len());
    assert!(catalog.get(Catalog::DEFAULT).is_ok());
}

#[test]
fn an_unknown_alias_is_answered_with_the_list_but_not_with_test_models() {
    let fault = Catalog::builtin().get("huge").unwrap_err();

    assert_eq!(fault.code, Code::LOCAL_MODEL_UNKNOWN);
    assert_eq!(fault.message, "`huge` is not a local model");
    assert!(fault.help.contains("`small` (492 MB), `medium` (1118 MB)"), "{}", fault.help);
    assert!(!fault.help.contains("tests"));
}
