use super::*;

fn entry(sha256: &str) -> Entry {
    Entry {
        alias: "mine".into(),
        title: "mine".into(),
        about: "for a test".into(),
        file: "mine.gguf".into(),
        size: 5,
        sha256: sha256.into(),
        licence: "Apache-2.0".into(),
        test_only: true,
        hub: None,
        mirror: None,
    }
}

/// SHA-256 of `hello`.
const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

#[test]
fn a_missing_short_long_or_other_file_is_refused_with_the_command_that_mends_it() {
    let dir = tempfile::tempdir().unwrap();
    let entry = entry(HELLO);
    let path = entry.path(dir.path());

    let fault = listed(dir.path(), &entry).unwrap_err();
    assert_eq!(fault.code, Code::MODEL_FILE_MISSING);
    assert!(fault.help.contains("`are model pull mine`"), "{}", fault.help);

    for (content, why) in [
        ("hell", "it is cut off: 4 of 5 bytes"),
        ("hello!", "it is too long: 6 of 5 bytes"),
        ("hallo", "its SHA-256 is not the listed one"),
    ] {
        fs::write(&path, content).unwrap();
        let fault = listed(dir.path(), &entry).unwrap_err();
        assert_eq!(fault.code, Code::MODEL_FILE_WRONG);
        assert!(fault.message.ends_with(why), "{}", fault.message);
        assert!(fault.help.contains("`are model pull mine`"));
    }

    fs::write(&path, "hello").unwrap();
    assert_eq!(listed(dir.path(), &entry).unwrap(), path);

    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(listed(dir.path(), &entry).unwrap_err().message.ends_with("it is not a regular file"));
}

#[test]
fn a_file_is_hashed_once_and_again_when_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    let entry = entry(HELLO);
    let path = entry.path(dir.path());
    fs::write(&path, "hello").unwrap();
    listed(dir.path(), &entry).unwrap();
    let stamps = fs::read_to_string(dir.path().join("verified.json")).unwrap();
    assert!(stamps.contains(HELLO));

    // A stamp that vouches for other bytes is believed: nothing was hashed.
    fs::write(dir.path().join("verified.json"), stamps.replace(HELLO, &"0".repeat(64))).unwrap();
    assert!(listed(dir.path(), &entry).is_err());

    // Broken stamps and a changed file are hashed anew.
    fs::write(dir.path().join("verified.json"), "{").unwrap();
    listed(dir.path(), &entry).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "hallo").unwrap();
    assert!(listed(dir.path(), &entry).is_err());
}

#[test]
fn a_wish_is_an_alias_or_a_path_and_never_another_model() {
    let dir = tempfile::tempdir().unwrap();

    assert_eq!(locate(dir.path(), "huge").unwrap_err().code, Code::LOCAL_MODEL_UNKNOWN);
    assert_eq!(locate(dir.path(), "small").unwrap_err().code, Code::MODEL_FILE_MISSING);
    assert_eq!(locate(dir.path(), "huge.gguf").unwrap_err().code, Code::MODEL_FILE_MISSING);
    assert_eq!(locate(dir.path(), "./huge").unwrap_err().code, Code::MODEL_FILE_MISSING);

    let garbage = dir.path().join("garbage.gguf");
    fs::write(&garbage, "not a model at all").unwrap();
    let fault = locate(dir.path(), garbage.to_str().unwrap()).unwrap_err();
    assert_eq!(fault.code, Code::MODEL_FILE_WRONG);
    assert!(fault.message.ends_with("it is not a GGUF file"), "{}", fault.message);
    assert!(fault.help.contains("`are model pull small`"));

    let fault = locate(dir.path(), "/dev/zero").unwrap_err();
    assert!(fault.message.ends_with("it is not a regular file"), "{}", fault.message);
}

#[test]
fn removing_forgets_the_file_and_its_stamp() {
    let dir = tempfile::tempdir().unwrap();
    let path = Catalog::builtin().get("small").unwrap().path(dir.path());
    fs::write(&path, "hello").unwrap();
    assert_eq!(list(dir.path())[0].presence, Presence::Wrong);

    assert!(remove(dir.path(), "small").unwrap());
    assert!(!path.exists());
    assert!(!remove(dir.path(), "small").unwrap());
    assert_eq!(list(dir.path())[0].presence, Presence::Missing);
    assert_eq!(remove(dir.path(), "huge").unwrap_err().code, Code::LOCAL_MODEL_UNKNOWN);
}
