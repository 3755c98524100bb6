use super::*;

#[test]
fn a_finding_holds_for_one_file_and_one_rule_and_survives_a_broken_list() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("a.gguf");
    assert_eq!(key(&model, (2, 1)), None);
    fs::write(&model, "one").unwrap();
    let first = key(&model, (2, 1)).unwrap();
    assert_ne!(key(&model, (4, 3)).unwrap(), first);
    fs::write(&model, "other").unwrap();
    assert_ne!(key(&model, (2, 1)).unwrap(), first);

    assert_eq!(recall(dir.path(), &first), None);
    remember(dir.path(), &first, 2);
    assert_eq!((recall(dir.path(), &first), recall(dir.path(), "another")), (Some(2), None));

    fs::write(dir.path().join(FILE), "{\"a\": -1").unwrap();
    assert_eq!(recall(dir.path(), &first), None);
    remember(dir.path(), &first, 3);
    assert_eq!(recall(dir.path(), &first), Some(3));

    (0..2 * FINDINGS_MAX).for_each(|index| remember(dir.path(), &index.to_string(), 1));
    assert!(read(dir.path()).len() <= FINDINGS_MAX);
    // A directory that is not there is no error, it only is not remembered.
    remember(&dir.path().join("gone"), &first, 1);
}
