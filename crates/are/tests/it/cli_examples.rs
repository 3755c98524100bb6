//! The example components, made from their sources, added by name and called as a user calls them.

use std::path::{Path, PathBuf};
use std::process::Command;

use are_testkit::run::absent;
use serde_json::json;

use crate::cli_stage::Stage;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/tools")
}

#[tokio::test]
async fn a_component_in_c_is_built_added_and_called() {
    let stage = Stage::new().await;
    let out = stage.project().join("words.wasm");
    let script = r#"exec "${XDG_CACHE_HOME:-$HOME/.cache}/are/tools/bin/componentize" "$@""#;
    let built = Command::new("sh")
        .args(["-c", script, "sh", "words.c", "words.wit"])
        .arg(&out)
        .args(["-O2", "-Wall", "-Wextra", "-Werror"])
        .current_dir(examples().join("c"))
        .output()
        .expect("sh");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let size = std::fs::metadata(&out).expect("component").len();
    assert!(size < 8 << 10, "{size} bytes");
    stage.run(&["tool", "add", "words.wasm"]).await.exits(0);
    let counted =
        stage.run(&["tool", "call", "words_count", r#"{"text":"one zwölf\nthree\n"}"#, "--json"]).await.exits(0).json();
    assert_eq!(counted["result"], json!({"lines": 2, "words": 3, "characters": 16}), "{counted}");
    let empty = stage.run(&["tool", "call", "words_longest", r#"{"text":" \n"}"#, "--json"]).await;
    assert!(
        format!("{}{}", empty.stdout, empty.stderr).contains("the text has no words"),
        "{} {}",
        empty.stdout,
        empty.stderr
    );
}

#[tokio::test]
async fn a_component_in_python_is_built_added_and_called() {
    let stage = Stage::new().await;
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let out = stage.project().join("tables.wasm");
    let built = Command::new("sh")
        .args(["scripts/python.sh", "componentize-py", "-d", "examples/tools/python/tables.wit", "-w", "tables"])
        .args(["componentize", "-p", "examples/tools/python", "app", "-o"])
        .arg(&out)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(root)
        .output()
        .expect("sh");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    stage.run(&["tool", "add", "tables.wasm"]).await.exits(0);
    let args = json!({"csv": "item,price\ntea,2.5\nbread,4\n", "column": "price"}).to_string();
    let summed = stage.run(&["tool", "call", "tables_sum", &args, "--json"]).await.exits(0).json();
    assert_eq!(summed["result"], json!(6.5), "{summed}");
    let args = json!({"csv": "item,price\n", "column": "cost"}).to_string();
    let wrong = stage.run(&["tool", "call", "tables_sum", &args]).await;
    assert!(wrong.stderr.contains("there is no column `cost`"), "{} {}", wrong.stdout, wrong.stderr);
}

#[tokio::test]
async fn a_component_in_rust_is_built_added_and_called() {
    let target = Command::new("sh")
        .args(["-c", "ls \"$(rustc --print target-libdir --target wasm32-wasip2)\"/libcore-*.rlib"])
        .output()
        .expect("sh");
    if !target.status.success() {
        return absent("the example component in Rust: the target wasm32-wasip2 is not installed");
    }
    let stage = Stage::new().await;
    let built = Command::new("cargo")
        .args(["build", "--release", "--locked", "--offline", "--target", "wasm32-wasip2", "--target-dir"])
        .arg(stage.project().join("target"))
        .current_dir(examples().join("rust"))
        .output()
        .expect("cargo");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    stage.run(&["tool", "add", "target/wasm32-wasip2/release/slug.wasm"]).await.exits(0);
    let args = json!({"title": "Ahoj, Světe!", "options": {"between": "underscore"}}).to_string();
    let made = stage.run(&["tool", "call", "slug_slug", &args, "--json"]).await.exits(0).json();
    assert_eq!(made["result"], json!("ahoj_světe"), "{made}");
}
