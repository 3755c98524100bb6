//! Which crate may know which, and where versions are stated.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::source::{files, root};

/// What each crate may need of ours, in the product.
const EDGES: [(&str, &[&str]); 8] = [
    ("are-core", &[]),
    ("are-policy", &["are-core"]),
    ("are-engine", &["are-core", "are-policy"]),
    ("are-tools", &["are-core", "are-policy"]),
    ("are-models", &["are-core"]),
    ("are-store", &["are-core"]),
    ("are", &["are-core", "are-policy", "are-engine", "are-tools", "are-models", "are-store"]),
    ("are-testkit", &["are-core", "are-policy", "are-engine", "are-tools", "are-models", "are-store"]),
];

/// What their tests may need beside that.
const TEST_EDGES: [(&str, &[&str]); 8] = [
    ("are-core", &[]),
    ("are-policy", &[]),
    ("are-engine", &["are-store", "are-testkit"]),
    ("are-tools", &["are-testkit"]),
    ("are-models", &["are-testkit"]),
    ("are-store", &["are-testkit"]),
    ("are", &["are-testkit"]),
    ("are-testkit", &[]),
];

/// What a crate compiles without, because of its weight or its reach.
const WITHOUT: [(&str, &[&str]); 3] = [
    ("are-core", &["tokio", "reqwest", "hyper", "rusqlite", "rustix", "rustls", "cedar-policy", "clap", "getrandom"]),
    ("are-policy", &["tokio", "reqwest", "hyper", "rusqlite", "rustix", "rustls", "clap", "getrandom"]),
    ("are-engine", &["reqwest", "hyper", "rusqlite", "rustix", "rustls", "axum", "clap", "cap-std", "llama-cpp-2"]),
];

fn allowed<'a>(table: &'a [(&str, &[&'a str])], name: &str) -> &'a [&'a str] {
    let found = table.iter().find(|(krate, _)| *krate == name);
    found.unwrap_or_else(|| panic!("the crate `{name}` has no row in the table of edges")).1
}

/// Dependencies by crate and kind (`normal`, `dev`, `build`).
fn dependencies() -> BTreeMap<String, Vec<(String, String)>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let text = |value: &Value, default: &str| value.as_str().unwrap_or(default).to_owned();
    let of = |package: &Value| -> Vec<(String, String)> {
        let all = package["dependencies"].as_array().expect("dependencies");
        all.iter().map(|one| (text(&one["name"], "?"), text(&one["kind"], "normal"))).collect()
    };
    packages.iter().map(|package| (text(&package["name"], "?"), of(package))).collect()
}

#[test]
fn crates_know_each_other_only_in_the_one_direction() {
    let crates = dependencies();
    let mut edges = 0;
    for (name, dependencies) in &crates {
        for (other, kind) in dependencies.iter().filter(|(other, _)| crates.contains_key(other)) {
            edges += 1;
            let is_allowed = match kind.as_str() {
                "normal" => allowed(&EDGES, name).contains(&other.as_str()),
                "dev" => {
                    allowed(&EDGES, name).contains(&other.as_str())
                        || allowed(&TEST_EDGES, name).contains(&other.as_str())
                }
                _ => false,
            };
            assert!(is_allowed, "`{name}` may not depend on `{other}` ({kind})");
        }
    }
    println!("{} crates, {edges} edges between them", crates.len());
    assert_eq!(crates.len(), EDGES.len(), "the table names every crate");
    assert!(edges >= 15);
}

#[test]
fn inner_crates_compile_without_io_heavy_dependencies() {
    let crates = dependencies();
    let mut looked_at = 0;
    for (name, without) in WITHOUT {
        for (other, kind) in &crates[name] {
            looked_at += 1;
            assert!(kind != "normal" || !without.contains(&other.as_str()), "`{name}` may not depend on `{other}`");
        }
    }
    println!("{looked_at} dependencies of {} crates", WITHOUT.len());
    assert!(looked_at >= 20);
}

#[test]
fn versions_and_features_are_stated_in_the_root_only() {
    let manifests = files("crates", |path| path.ends_with("/Cargo.toml"));
    let mut stated = 0;
    for manifest in &manifests {
        let table: toml::Table = manifest.text.parse().unwrap_or_else(|error| panic!("{}: {error}", manifest.path));
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(dependencies) = table.get(kind).and_then(toml::Value::as_table) else { continue };
            for (name, value) in dependencies {
                stated += 1;
                let keys: BTreeSet<&str> =
                    value.as_table().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
                let is_inherited =
                    keys.contains("workspace") && keys.is_subset(&BTreeSet::from(["workspace", "optional"]));
                assert!(is_inherited, "{}: `{name}` must be `{name}.workspace = true`", manifest.path);
            }
        }
    }
    println!("{} manifests, {stated} dependencies", manifests.len());
    assert!(manifests.len() >= EDGES.len() && stated >= 60);
}
