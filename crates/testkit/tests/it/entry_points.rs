//! One list of all doors: `entry-points.toml`, held equal to the code both ways.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::source::{file, item, places, snake, variants};

const SOURCES: [&str; 15] = [
    "crates/engine/src/engine.rs",
    "crates/engine/src/engine/sessions.rs",
    "crates/engine/src/engine/workspace.rs",
    "crates/engine/src/engine/account.rs",
    "crates/engine/src/engine/accounts.rs",
    "crates/engine/src/engine/agents.rs",
    "crates/engine/src/engine/audit.rs",
    "crates/engine/src/engine/compaction.rs",
    "crates/engine/src/engine/logins.rs",
    "crates/engine/src/engine/memory.rs",
    "crates/engine/src/engine/policy.rs",
    "crates/engine/src/engine/search.rs",
    "crates/engine/src/engine/secrets.rs",
    "crates/engine/src/engine/tools.rs",
    "crates/engine/src/engine/usage.rs",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    entry: Vec<Entry>,
}

/// One public method of the engine.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    method: String,
    kind: Kind,
    /// Where clients reach it.
    #[serde(default)]
    doors: Vec<String>,
    /// Records that it causes, at least.
    #[serde(default)]
    records: Vec<String>,
}

#[derive(Deserialize, PartialEq, Eq, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// A turn begins or goes on, and with it tools may be called.
    Work,
    /// Something is recorded, but no tool can be called by it.
    Change,
    /// Nothing changes.
    Read,
    /// For the process that runs the engine, behind no door.
    Process,
}

fn list() -> List {
    toml::from_str(&file("crates/testkit/tests/entry-points.toml").text).expect("a list of entries")
}

/// Public methods in the `impl Engine` blocks.
fn methods() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for path in SOURCES {
        let code = file(path).code();
        for (at, _) in code.match_indices("impl Engine {") {
            let body = &code[at..at + item(&code[at..])];
            for head in ["pub fn ", "pub async fn "] {
                let names = body.match_indices(head).map(|(at, _)| &body[at + head.len()..]);
                found.extend(names.filter_map(|rest| rest.split('(').next()).map(str::to_owned));
            }
        }
    }
    found
}

/// `POST /api/sessions` and so on, as the one table of routes has them.
fn routes() -> BTreeSet<String> {
    let code = file("crates/are/src/server/routes.rs").code_with_strings();
    let start = code.find("\nroutes! {").expect("the table");
    let table = &code[start..start + item(&code[start..])];
    let row = |line: &str| {
        let (method, rest) = line.trim().split_once(" \"")?;
        Some(format!("{} {}", method.to_uppercase(), rest.split('"').next()?))
    };
    table.lines().filter_map(row).collect()
}

#[test]
fn every_public_method_of_the_engine_is_in_the_list_and_back() {
    let list = list();
    let listed: BTreeSet<String> = list.entry.iter().map(|entry| entry.method.clone()).collect();
    let methods = methods();
    let work: Vec<&str> =
        list.entry.iter().filter(|entry| entry.kind == Kind::Work).map(|entry| entry.method.as_str()).collect();
    println!("{} methods, {} of them start work: {}", methods.len(), work.len(), work.join(", "));
    assert!(methods.len() >= 20);
    assert_eq!(methods, listed);
    assert_eq!(listed.len(), list.entry.len(), "no method stands twice");
    for entry in &list.entry {
        let is_public = entry.kind != Kind::Process;
        assert_eq!(is_public, !entry.doors.is_empty(), "`{}`: doors, unless it is for the process", entry.method);
        let records = matches!(entry.kind, Kind::Work | Kind::Change);
        assert!(!records || !entry.records.is_empty(), "`{}` names what it records", entry.method);
    }
}

#[test]
fn every_record_that_an_entry_names_exists() {
    let known: BTreeSet<String> =
        variants(&file("crates/core/src/body.rs").code(), "Body").iter().map(|name| snake(name)).collect();
    let mut named = 0;
    for entry in list().entry {
        for record in entry.records {
            named += 1;
            assert!(known.contains(&record), "`{}` names `{record}`", entry.method);
        }
    }
    println!("{} kinds of record, {named} named", known.len());
    assert!(known.len() >= 25 && named >= 10);
}

#[test]
fn every_door_that_changes_something_is_in_the_list_and_back() {
    let mut known = routes();
    let v2 = file("crates/are/src/server/wire/client.rs").code();
    known.extend(variants(&v2, "ClientFrame").iter().map(|name| format!("are.v2 {}", snake(name))));
    let v1 = file("crates/are/src/server/v1.rs").code();
    known.extend(variants(&v1, "Request").iter().map(|name| format!("are.v1 {}", snake(name))));
    let mut doors: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in list().entry {
        for door in entry.doors {
            assert!(known.contains(&door), "`{}` names the door `{door}`, which is not there", entry.method);
            doors.entry(door).or_default().push(entry.method.clone());
        }
    }
    // What reads needs no decision; `ping` and the log's filter reach no engine.
    let reaches = |door: &&String| !door.starts_with("GET ") && *door != "are.v2 ping" && *door != "PUT /api/log";
    let must: Vec<&String> = known.iter().filter(reaches).collect();
    println!("{} doors, {} of them do more than read, {} are listed", known.len(), must.len(), doors.len());
    assert!(known.len() >= 25 && must.len() >= 15);
    for door in must {
        assert!(doors.contains_key(door), "the door `{door}` is in no entry");
    }
}

#[test]
fn the_engine_is_reached_through_the_server_only() {
    let callers: Vec<String> = crate::source::product()
        .into_iter()
        .filter(|source| source.path.starts_with("crates/are/src/"))
        .filter(|source| !places(&source.code(), "are_engine::engine").is_empty())
        .map(|source| source.path)
        .collect();
    println!("the engine is named in {callers:?}");
    assert!(callers.len() >= 2);
    let is_expected =
        |path: &String| path.starts_with("crates/are/src/server") || path.starts_with("crates/are/src/wiring");
    assert!(callers.iter().all(is_expected), "only server and wiring hold the engine");
}
