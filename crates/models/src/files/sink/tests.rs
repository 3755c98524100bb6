use std::sync::Arc;

use super::*;

fn entry() -> Entry {
    Entry {
        alias: "mine".into(),
        title: "mine".into(),
        about: "for a test".into(),
        file: "mine.gguf".into(),
        size: 5,
        sha256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824".into(),
        licence: "Apache-2.0".into(),
        test_only: true,
        hub: None,
        mirror: None,
    }
}

fn poured(dir: &Path, pieces: &[&str]) -> Result<PathBuf, Fault> {
    let entry = entry();
    let mut sink = Sink::create(dir.join("part"), &entry, Arc::new(|_| {}))?;
    for piece in pieces {
        sink.write(piece.as_bytes())?;
    }
    sink.finish(dir, &entry)
}

#[test]
fn only_the_listed_bytes_get_the_final_name() {
    let dir = tempfile::tempdir().unwrap();

    for pieces in [&["hel"][..], &["hello", "!"], &["ha", "llo"], &[]] {
        let fault = poured(dir.path(), pieces).unwrap_err();
        assert_eq!(fault.code, Code::MODEL_PULL_FAILED);
        assert!(!entry().path(dir.path()).exists());
    }

    let path = poured(dir.path(), &["he", "llo"]).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"hello");
    assert!(!dir.path().join("part").exists());
}
