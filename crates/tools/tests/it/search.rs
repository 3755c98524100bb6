use std::os::unix::fs::symlink;

use are_core::error::Code;
use serde_json::json;

use crate::support::World;

#[tokio::test]
async fn a_search_finds_lines_in_text_and_nothing_behind_links_or_in_git() {
    let world = World::new();
    world.write("a.txt", "one\r\ntwo Needle here\nthree");
    world.write("sub/b.txt", format!("{}needle{}", "ä".repeat(500), "x".repeat(500)));
    world.write(".git/config", "needle");
    world.write("bin", b"needle\0");
    world.write("latin", b"caf\xe9 needle");
    std::fs::write(world.root.path().join("secret.txt"), "needle outside").expect("file");
    symlink("../secret.txt", world.path("link.txt")).expect("link");
    symlink("..", world.path("up")).expect("link");
    let value = world.ok("fs_search", json!({"pattern": "(?i)needle"})).await;
    let found: Vec<(&str, u64)> = value["matches"]
        .as_array()
        .expect("matches")
        .iter()
        .map(|found| (found["path"].as_str().expect("path"), found["line"].as_u64().expect("line")))
        .collect();
    assert_eq!(found, [("a.txt", 2), ("latin", 1), ("sub/b.txt", 1)]);
    assert_eq!(value["matches"][0]["text"], "two Needle here");
    let long = value["matches"][2]["text"].as_str().expect("text");
    assert!(long.contains("needle") && long.chars().count() == 302, "{long}");
    assert!(long.starts_with('…') && long.ends_with('…'), "both ends are marked as cut: {long}");
    assert_eq!(value["truncated"], false);

    let one = world.ok("fs_search", json!({"pattern": "^three$", "path": "a.txt"})).await;
    assert_eq!(one["matches"][0]["line"], 3);
    for pattern in ["(", "a{1000}{1000}{1000}", "(?=x)", "\\1", "*"] {
        let fault = world.fault("fs_search", json!({"pattern": pattern})).await;
        assert_eq!(fault.code, Code::TOOL_ARGS, "{pattern}: {fault}");
        assert!(!fault.message.contains('\n'), "{fault}");
    }
    assert_eq!(world.fault("fs_search", json!({"pattern": "x", "path": "link.txt"})).await.code, Code::PATH_REFUSED);
    assert_eq!(world.fault("fs_search", json!({"pattern": "x", "path": "up"})).await.code, Code::PATH_REFUSED);
}

#[tokio::test]
async fn a_search_stops_at_its_bounds_and_says_which() {
    let world = World::new();
    world.write("many.txt", "x\n".repeat(10_000));
    let value = world.ok("fs_search", json!({"pattern": "x"})).await;
    assert_eq!(value["matches"].as_array().map(Vec::len), Some(200));
    assert_eq!((&value["truncated"], &value["truncated_by"]), (&json!(true), &json!("matches")));

    // A pattern that costs other engines exponential time.
    world.write("evil.txt", "a".repeat(100_000));
    assert_eq!(world.ok("fs_search", json!({"pattern": "^(a+)+$b", "path": "evil.txt"})).await["matches"], json!([]));

    let deep = "d/".repeat(40);
    world.write(&format!("deep/{deep}x.txt"), "treasure");
    let value = world.ok("fs_search", json!({"pattern": "treasure", "path": "deep"})).await;
    assert_eq!(value["truncated_by"], "depth");
}

#[tokio::test]
async fn a_search_looks_at_the_beginning_of_an_enormous_line_and_says_so() {
    let world = World::new();
    world.write("one.txt", format!("early{}late\nnext late", "é".repeat(1_900_000)));
    let value = world.ok("fs_search", json!({"pattern": "early|late"})).await;
    let lines: Vec<_> = value["matches"].as_array().expect("matches").iter().map(|found| &found["line"]).collect();
    assert_eq!((lines, &value["lines_cut"]), (vec![&json!(1), &json!(2)], &json!(1)));
    let text = value["matches"][0]["text"].as_str().expect("text");
    assert!(text.starts_with("earlyé") && text.ends_with("é…") && text.chars().count() == 301, "{text}");
    assert_eq!(world.ok("fs_search", json!({"pattern": "^late"})).await["matches"], json!([]));
}

#[tokio::test]
async fn a_search_answers_in_time_within_one_expensive_file() {
    let mut world = World::new();
    world.timeout_ms = 1_500;
    // Every line keeps hundreds of states of the expression alive, no two the same ones, and none matches.
    let (mut text, mut seed) = (String::new(), 1u32);
    for at in 1..=3_800_000 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.push(match (at % 1_900, seed >> 31) {
            (0, _) => '\n',
            (_, 0) => 'a',
            _ => 'b',
        });
    }
    world.write("dear.txt", text);
    let value = world.ok("fs_search", json!({"pattern": "a[ab]{900}[^ab]{2}"})).await;
    assert_eq!((&value["truncated_by"], &value["files"]), (&json!("time"), &json!(1)));
}
