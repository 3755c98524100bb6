use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use are_core::error::Code;
use serde_json::{Value, json};

use crate::support::World;

#[tokio::test]
async fn windows_of_a_file_join_to_the_whole_whatever_their_size() {
    let world = World::new();
    let text: String = (0..400).map(|n| format!("{n} é 漢字 😀{}", if n % 7 == 0 { "\n" } else { "" })).collect();
    world.write("a.txt", &text);
    for limit in [16, 17, 63, 1000, 100_000] {
        let (mut joined, mut offset) = (String::new(), 0);
        loop {
            let value = world.ok("fs_read", json!({"path": "a.txt", "offset": offset, "limit": limit})).await;
            joined.push_str(value["content"].as_str().expect("content"));
            assert_eq!(value["bytes"], text.len());
            match value["next_offset"].as_u64() {
                Some(next) => offset = next,
                None => break,
            }
        }
        assert_eq!(joined, text, "windows of {limit} bytes");
    }
    let value = world.ok("fs_read", json!({"path": "a.txt", "offset": 9_000_000})).await;
    assert_eq!((value["content"].as_str(), value["truncated"].as_bool()), (Some(""), Some(false)));
}

#[tokio::test]
async fn a_huge_file_costs_one_window() {
    let world = World::new();
    let file = std::fs::File::create(world.path("huge")).expect("file");
    file.set_len(1 << 40).expect("a sparse file");
    std::os::unix::fs::FileExt::write_all_at(&file, b"the end", (1 << 40) - 7).expect("its end");
    assert_eq!(world.ok("fs_read", json!({"path": "huge"})).await, json!({"binary": true, "bytes": 1_u64 << 40}));
    let value = world.ok("fs_read", json!({"path": "huge", "offset": (1_u64 << 40) - 7})).await;
    assert_eq!(value["content"], "the end");
    assert_eq!(world.ok("fs_search", json!({"pattern": "end"})).await["files"], 0, "too big to search");
    let fault = world.fault("fs_edit", json!({"path": "huge", "old": "the", "new": "an"})).await;
    assert!(fault.message.contains("too big"), "{fault}");

    world.write("control.txt", "\u{1}".repeat(300 << 10));
    let value = world.ok("fs_read", json!({"path": "control.txt", "limit": 256 << 10})).await;
    assert!(value.to_string().len() < 1 << 20, "quoting counts too");
    assert_eq!(value["next_offset"].as_u64(), value["content"].as_str().map(|text| text.len() as u64));
}

#[tokio::test]
async fn bytes_that_are_no_text_are_told_and_not_shown() {
    let world = World::new();
    world.write("zero", b"a\0b");
    world.write("latin", b"caf\xe9");
    world.write("cut", &"é".as_bytes()[..1]);
    world.write("empty", b"");
    for name in ["zero", "latin", "cut"] {
        assert_eq!(world.ok("fs_read", json!({"path": name})).await["binary"], true, "{name}");
        assert!(
            world.run("fs_edit", json!({"path": name, "old": "c", "new": "d"})).await
                != world.run("fs_stat", json!({"path": name})).await
        );
    }
    assert_eq!(
        world.ok("fs_read", json!({"path": "empty"})).await,
        json!({"content": "", "bytes": 0, "truncated": false})
    );
}

#[tokio::test]
async fn a_list_is_sorted_and_bounded_and_shows_links_as_links() {
    let world = World::new();
    world.write("b.txt", "12345");
    world.write("dir/x", "");
    symlink("/etc/passwd", world.path("a-link")).expect("link");
    let name = std::os::unix::ffi::OsStringExt::from_vec(b"z\xff".to_vec());
    std::fs::write(world.path("").join::<std::ffi::OsString>(name), "").expect("a name that is no text");
    let expected = json!({
        "entries": [
            {"name": "a-link", "kind": "link"}, {"name": "b.txt", "kind": "file", "bytes": 5},
            {"name": "dir", "kind": "directory"}, {"name": "z\u{fffd}", "kind": "file", "bytes": 0},
        ],
        "total": 4,
        "truncated": false,
    });
    assert_eq!(world.ok("fs_list", json!({})).await, expected);
    assert_eq!(world.ok("fs_list", json!({"path": "dir"})).await["total"], 1);
    assert_eq!(world.fault("fs_list", json!({"path": "b.txt"})).await.code, Code::TOOL_FAILED);

    for n in 0..1100 {
        world.write(&format!("many/{n:04}"), "");
    }
    let value = world.ok("fs_list", json!({"path": "many"})).await;
    assert_eq!(value["entries"].as_array().map(Vec::len), Some(1000));
    assert_eq!((&value["total"], &value["truncated"]), (&json!(1100), &json!(true)));
    assert_eq!(value["entries"][999]["name"], "0999");
}

#[tokio::test]
async fn a_write_makes_directories_and_says_whether_the_file_is_new() {
    let world = World::new();
    let value = world.ok("fs_write", json!({"path": "a/b/c.txt", "content": "one"})).await;
    assert_eq!(value, json!({"path": "a/b/c.txt", "bytes": 3, "created": true}));
    let value = world.ok("fs_write", json!({"path": "a/./b/../b/c.txt", "content": ""})).await;
    assert_eq!(value, json!({"path": "a/b/c.txt", "bytes": 0, "created": false}));
    assert_eq!(world.read("a/b/c.txt"), "");
    for (path, code) in [
        ("a", Code::TOOL_FAILED),
        ("a/b/c.txt/d", Code::TOOL_FAILED),
        (".", Code::PATH_REFUSED),
        ("new/", Code::PATH_REFUSED),
    ] {
        assert_eq!(world.fault("fs_write", json!({"path": path, "content": "x"})).await.code, code, "{path}");
    }
    assert!(!world.path("new").exists());
    assert!(world.leftovers().is_empty());
}

#[tokio::test]
async fn a_write_keeps_mode_bits_and_leaves_other_hard_links_alone() {
    let world = World::new();
    world.write("script.sh", "old");
    std::fs::set_permissions(world.path("script.sh"), PermissionsExt::from_mode(0o750)).expect("mode");
    std::fs::hard_link(world.path("script.sh"), world.root.path().join("twin")).expect("hard link");
    world.ok("fs_write", json!({"path": "script.sh", "content": "new"})).await;
    let metadata = std::fs::metadata(world.path("script.sh")).expect("metadata");
    assert_eq!((metadata.mode() & 0o7777, metadata.nlink()), (0o750, 1));
    assert_eq!(world.read("script.sh"), "new");
    assert_eq!(std::fs::read_to_string(world.root.path().join("twin")).expect("twin"), "old");

    std::fs::set_permissions(world.path("script.sh"), PermissionsExt::from_mode(0o440)).expect("mode");
    for (tool, args) in [
        ("fs_write", json!({"path": "script.sh", "content": "x"})),
        ("fs_edit", json!({"path": "script.sh", "old": "new", "new": "x"})),
    ] {
        let fault = world.fault(tool, args).await;
        assert!(fault.message.contains("read-only"), "{fault}");
    }
    assert_eq!(world.read("script.sh"), "new");
}

#[tokio::test]
async fn a_write_through_a_link_inside_changes_the_file_and_keeps_the_link() {
    let world = World::new();
    world.write("real/file.txt", "old");
    symlink("real/file.txt", world.path("link")).expect("link");
    symlink("../link", world.path("real/second")).expect("link");
    world.ok("fs_write", json!({"path": "real/second", "content": "new"})).await;
    world.ok("fs_edit", json!({"path": "link", "old": "new", "new": "newer"})).await;
    assert_eq!(world.read("real/file.txt"), "newer");
    assert!(std::fs::symlink_metadata(world.path("link")).expect("link").is_symlink());
}

#[tokio::test]
async fn what_a_killed_call_left_is_cleared_by_the_same_call() {
    let world = World::new();
    world.write("a.txt", "old");
    let outside = world.root.path().join("outside.txt");
    std::fs::write(&outside, "outside").expect("file");
    for leave in [true, false] {
        let permit = world.permit("fs_write", &json!({"path": "a.txt", "content": "new"}));
        let leftover = world.path(&format!(".are-{}.tmp", &permit.call().key().to_string()[..32]));
        if leave {
            std::fs::write(&leftover, "half of").expect("leftover");
        } else {
            symlink(&outside, &leftover).expect("a link planted in its place");
        }
        let outcome = are_policy::tools::Tools::run(&world.registry, permit, world.place()).await;
        assert!(matches!(outcome, are_policy::tools::ToolOutcome::Completed { .. }), "{outcome:?}");
        assert_eq!(world.read("a.txt"), "new");
        assert!(world.leftovers().is_empty());
    }
    assert_eq!(std::fs::read_to_string(outside).expect("file"), "outside");
}

#[tokio::test]
async fn an_edit_needs_exactly_one_occurrence_and_says_how_many_there_are() {
    let world = World::new();
    world.write("a.txt", "one two two");
    for (old, count) in [("two", "more than once"), ("three", "does not hold"), ("ONE", "does not hold")] {
        let fault = world.fault("fs_edit", json!({"path": "a.txt", "old": old, "new": "x"})).await;
        assert_eq!(fault.code, Code::TOOL_FAILED);
        assert!(fault.message.contains(count), "{fault}");
    }
    let value = world.ok("fs_edit", json!({"path": "a.txt", "old": "one two", "new": "é$1\\n"})).await;
    assert_eq!(value["bytes"], 10);
    assert_eq!(world.read("a.txt"), "é$1\\n two", "no pattern language in either text");
    assert_eq!(
        world.fault("fs_edit", json!({"path": "b.txt", "old": "a", "new": "b"})).await.code,
        Code::TOOL_NOT_FOUND
    );
    assert!(world.leftovers().is_empty());
}

#[tokio::test]
async fn mkdir_delete_move_and_stat_do_what_they_say() {
    let world = World::new();
    assert_eq!(world.ok("fs_mkdir", json!({"path": "a/b"})).await["created"], true);
    assert_eq!(world.ok("fs_mkdir", json!({"path": "a/b/"})).await["created"], false);
    world.write("a/x.txt", "x");
    assert_eq!(world.fault("fs_mkdir", json!({"path": "a/x.txt"})).await.code, Code::TOOL_FAILED);

    let value = world.ok("fs_stat", json!({"path": "a/x.txt"})).await;
    assert_eq!((&value["kind"], &value["bytes"], &value["is_read_only"]), (&json!("file"), &json!(1), &json!(false)));
    assert!(value["modified_at_ms"].as_u64() > Some(1_600_000_000_000));
    assert_eq!(world.ok("fs_stat", json!({"path": "."})).await["kind"], "directory");
    assert_eq!(world.fault("fs_stat", json!({"path": "y"})).await.code, Code::TOOL_NOT_FOUND);

    assert_eq!(world.ok("fs_move", json!({"from": "a/x.txt", "to": "a/b/y.txt"})).await["moved"], true);
    world.write("a/z.txt", "z");
    let fault = world.fault("fs_move", json!({"from": "a/z.txt", "to": "a/b/y.txt"})).await;
    assert!(fault.message.contains("exists already"), "{fault}");
    assert_eq!(world.read("a/b/y.txt"), "x");
    assert_eq!(world.fault("fs_move", json!({"from": "nothing", "to": "n"})).await.code, Code::TOOL_NOT_FOUND);
    assert_eq!(world.fault("fs_move", json!({"from": "a", "to": "a/b/c"})).await.code, Code::TOOL_FAILED);
    assert_eq!(world.fault("fs_move", json!({"from": "a/z.txt", "to": "."})).await.code, Code::PATH_REFUSED);
    assert_eq!(world.fault("fs_move", json!({"from": ".", "to": "q"})).await.code, Code::PATH_REFUSED);

    let fault = world.fault("fs_delete", json!({"path": "a"})).await;
    assert!(fault.message.contains("not empty"), "{fault}");
    symlink("a", world.path("link")).expect("link");
    for path in ["link", "a/b/y.txt", "a/b/", "a/z.txt", "a"] {
        assert_eq!(world.ok("fs_delete", json!({"path": path})).await["deleted"], true, "{path}");
    }
    assert_eq!(world.fault("fs_delete", json!({"path": "a"})).await.code, Code::TOOL_NOT_FOUND);
    assert_eq!(world.fault("fs_delete", json!({"path": "."})).await.code, Code::PATH_REFUSED);
    assert_eq!(world.ok("fs_list", json!({})).await["entries"], Value::Array(Vec::new()));
}
