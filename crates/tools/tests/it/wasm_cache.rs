//! Compiled code is kept, and only what this installation wrote is ever loaded.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use are_policy::tools::Tools as _;
use are_tools::{HttpOptions, Registry};

use crate::wasm_support::{ECHO, put, runs, served, wasm};

fn load(cache: &Path, bytes: &[u8]) {
    let dir = tempfile::tempdir().expect("directory");
    put(dir.path(), "c", bytes, "");
    let registry = Registry::compiling(HttpOptions::default(), Some(cache.to_owned())).expect("registry");
    let registry = served(registry, dir.path()).expect("component");
    assert!(registry.snapshot().iter().any(|(manifest, _)| manifest.name.as_str().starts_with("c_")));
}

fn entries(cache: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut entries: Vec<_> = fs::read_dir(cache)
        .expect("cache")
        .map(|entry| entry.expect("entry").path())
        .map(|path| (path.clone(), fs::read(path).expect("entry")))
        .collect();
    entries.sort();
    entries
}

fn echo() -> Vec<u8> {
    wasm(&format!(
        r#"(component {ECHO}
          (func (export "echo") (param "value" u32) (result u32) (canon lift (core func $i "i32"))))"#
    ))
}

#[test]
fn a_component_is_compiled_once() {
    let dir = tempfile::tempdir().expect("directory");
    let cache = dir.path().join("wasm");
    load(&cache, &echo());
    let first = entries(&cache);
    assert_eq!(first.len(), 1);
    load(&cache, &echo());
    assert_eq!(entries(&cache), first, "what was kept is what was used");
    load(&cache, &wasm(&runs(r#"(func (export "run"))"#)));
    assert_eq!(entries(&cache).len(), 2);
}

#[test]
fn an_edited_torn_or_foreign_entry_is_compiled_anew() {
    let dir = tempfile::tempdir().expect("directory");
    let cache = dir.path().join("wasm");
    load(&cache, &echo());
    let (path, honest) = entries(&cache).remove(0);
    let flipped = |at: usize| {
        let mut bytes = honest.clone();
        bytes[at] ^= 1;
        bytes
    };
    let other = {
        let dir = tempfile::tempdir().expect("directory");
        load(&dir.path().join("wasm"), &echo());
        entries(&dir.path().join("wasm")).remove(0).1
    };
    let lies = [
        ("code changed at its start", flipped(40)),
        ("code changed in the middle", flipped(honest.len() / 2)),
        ("code changed at its end", flipped(honest.len() - 1)),
        ("seal changed", flipped(3)),
        ("cut off", honest[..honest.len() / 2].to_vec()),
        ("no code", honest[..32].to_vec()),
        ("no seal", honest[..7].to_vec()),
        ("empty", Vec::new()),
        ("something else", b"#!/bin/sh\n".repeat(100)),
        ("another installation's", other),
    ];
    for (name, lie) in lies {
        fs::write(&path, &lie).expect("lie");
        load(&cache, &echo());
        let now = entries(&cache).remove(0).1;
        assert_ne!(now, lie, "{name} is still there");
        assert_eq!(now[..32], honest[..32], "{name}: the same code has the same seal");
    }
}

#[test]
fn an_entry_of_one_component_does_not_pass_for_anothers() {
    let dir = tempfile::tempdir().expect("directory");
    let cache = dir.path().join("wasm");
    load(&cache, &echo());
    let (one, honest) = entries(&cache).remove(0);
    load(&cache, &wasm(&runs(r#"(func (export "run"))"#)));
    let (two, _) = entries(&cache).into_iter().find(|(path, _)| *path != one).expect("second");
    fs::write(&two, &honest).expect("swapped");
    load(&cache, &wasm(&runs(r#"(func (export "run"))"#)));
    assert_ne!(fs::read(&two).expect("second"), honest);
}

#[test]
fn the_key_is_private_and_a_lost_or_readable_one_is_replaced() {
    let dir = tempfile::tempdir().expect("directory");
    let cache = dir.path().join("wasm");
    let key = dir.path().join("wasm.key");
    load(&cache, &echo());
    let mode = |path: &Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    assert_eq!((mode(&key), mode(&cache), mode(&entries(&cache)[0].0)), (0o600, 0o700, 0o600));
    let before = (fs::read(&key).expect("key"), entries(&cache).remove(0).1);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("mode");
    load(&cache, &echo());
    let after = (fs::read(&key).expect("key"), entries(&cache).remove(0).1);
    assert_ne!(before.0, after.0, "a key that others could read is no key");
    assert_ne!(before.1[..32], after.1[..32]);
    assert_eq!(mode(&key), 0o600);
}

#[test]
fn a_cache_that_cannot_be_used_costs_time_and_nothing_else() {
    let dir = tempfile::tempdir().expect("directory");
    let file = dir.path().join("wasm");
    fs::write(&file, "in the way").expect("file");
    load(&file, &echo());
    assert_eq!(fs::read(&file).expect("file"), b"in the way");
}
