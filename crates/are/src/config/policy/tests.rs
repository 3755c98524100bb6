use super::*;

const RULE: &str = "@id(\"approved-1\")\npermit(principal, action, resource == Tool::\"send\");\n";

fn source(dir: &tempfile::TempDir) -> Source {
    Source::at(&PolicyChoice::Profile("strict"), dir.path())
}

fn approved(dir: &tempfile::TempDir) -> Option<String> {
    std::fs::read_to_string(dir.path().join("policies").join(APPROVED)).ok()
}

#[test]
fn a_rule_is_added_once_beside_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let source = source(&dir);
    source.can_keep().unwrap();
    assert_eq!(approved(&dir), None, "looking makes nothing");
    let once = source.keep(RULE).unwrap();
    let text = approved(&dir).unwrap();
    assert_eq!(source.keep(RULE).unwrap().digest(), once.digest());
    assert_eq!(approved(&dir).unwrap(), text);
    assert!(text.starts_with("//") && text.ends_with(RULE), "{text}");
    let other = RULE.replace("approved-1", "approved-2");
    source.keep(&other).unwrap();
    assert_eq!(approved(&dir).unwrap(), format!("{text}\n{other}"));
    assert_eq!(source.build(&source.read().unwrap()).unwrap().digest(), source.keep(RULE).unwrap().digest());
    let left: Vec<_> = std::fs::read_dir(dir.path().join("policies")).unwrap().collect();
    assert_eq!(left.len(), 1, "no probe and no half-written file stays");
}

#[test]
fn nothing_is_written_where_a_limit_is_reached_or_the_rules_have_errors() {
    let dir = tempfile::tempdir().unwrap();
    let source = source(&dir);
    source.keep(RULE).unwrap();
    let path = dir.path().join("policies").join(APPROVED);
    let full = format!("// {}\n", "x".repeat(are_policy::rules::FILE_BYTES_MAX - RULE.len()));
    let many = "forbid(principal, action, resource);\n".repeat(are_policy::rules::RULES_MAX);
    for text in [&full, &many] {
        std::fs::write(&path, text).unwrap();
        let fault = source.keep(RULE).unwrap_err();
        assert_eq!(fault.code, Code::RULE_NOT_KEPT, "{fault}");
        assert_eq!(&approved(&dir).unwrap(), text);
    }
    std::fs::remove_file(&path).unwrap();
    std::fs::write(dir.path().join("policies/broken.cedar"), "permit(").unwrap();
    let fault = source.keep(RULE).unwrap_err();
    assert!(fault.code == Code::RULE_NOT_KEPT && fault.message.contains("broken.cedar"), "{fault}");
    assert_eq!(approved(&dir), None);
}

#[test]
fn a_named_directory_that_is_gone_is_an_error_and_not_an_empty_set() {
    let dir = tempfile::tempdir().unwrap();
    let named = dir.path().join("rules");
    let source = Source::at(&PolicyChoice::Directory(named.clone()), dir.path());
    assert_eq!(source.read().unwrap_err().code, Code::POLICY_INVALID);
    assert!(source.can_keep().is_err() && source.keep(RULE).is_err());
    std::fs::create_dir(&named).unwrap();
    assert_eq!(source.read().unwrap(), []);
    source.keep(RULE).unwrap();
}

#[test]
fn a_fingerprint_notices_what_changes() {
    let dir = tempfile::tempdir().unwrap();
    let source = source(&dir);
    let none = source.fingerprint();
    assert_eq!(none, source.fingerprint());
    source.keep(RULE).unwrap();
    let one = source.fingerprint();
    assert!(one != none && one.is_fresh());
    std::fs::write(dir.path().join("policies/notes.txt"), "x").unwrap();
    assert_eq!(source.fingerprint(), one, "only rules count");
    // Of the same size and in the same tick, but another file.
    let path = dir.path().join("policies").join(APPROVED);
    std::fs::copy(&path, dir.path().join("policies/x")).unwrap();
    std::fs::rename(dir.path().join("policies/x"), &path).unwrap();
    assert_ne!(source.fingerprint(), one);
}
