use are_core::digest::Digest;
use are_core::error::Code;
use are_core::label::{Confidentiality, Integrity};
use are_policy::tools::{ToolOutcome, Tools};
use serde_json::json;

use crate::support::World;

#[tokio::test]
async fn a_permit_for_another_declaration_of_the_tool_is_refused() {
    let world = World::new();
    let args = json!({"path": "a.txt", "content": "x"});
    let permit = world.permit_for("fs_write", &args, Digest::of(&[b"another"]));
    let ToolOutcome::Failed { fault, .. } = world.registry.run(permit, world.place()).await else { panic!("it ran") };
    assert_eq!(fault.code, Code::TOOL_UNKNOWN);
    assert!(!world.path("a.txt").exists());
}

#[tokio::test]
async fn a_name_that_is_no_tool_and_arguments_that_do_not_fit_fail_before_anything_runs() {
    let world = World::new();
    assert_eq!(world.fault("fs_format", json!({})).await.code, Code::TOOL_UNKNOWN);
    for (tool, args) in [
        ("fs_write", json!({"path": "a.txt"})),
        ("fs_write", json!({"path": "a.txt", "content": 5})),
        ("fs_write", json!({"path": "a.txt", "content": "x", "mode": "0777"})),
        ("fs_read", json!({"path": ["a.txt"]})),
        ("fs_read", json!({"path": "a.txt", "offset": -1})),
        ("fs_read", json!({"path": "a.txt", "limit": 1})),
        ("http_request", json!({"url": "http://a.example/", "method": "CONNECT"})),
        ("http_request", json!({"url": "http://a.example/", "headers": {"a": 1}})),
        ("variable_set", json!({"name": "a"})),
        ("variable_set", json!({"name": "a", "value": 1, "scope": "world"})),
    ] {
        let fault = world.fault(tool, args.clone()).await;
        assert_eq!(fault.code, Code::TOOL_ARGS, "{tool} {args}");
        assert!(!fault.message.is_empty() && !fault.help.is_empty());
    }
    assert!(!world.path("a.txt").exists());
}

#[tokio::test]
async fn outcomes_are_labelled_field_by_field() {
    let world = World::new();
    world.write("a.txt", "words of anybody");
    let (value, labels, _) = world.answer("fs_read", json!({"path": "a.txt"})).await;
    assert_eq!(value, json!({"content": "words of anybody", "bytes": 16, "truncated": false}));
    assert_eq!(labels[""].integrity, Integrity::Untrusted);
    assert_eq!(labels[""].confidentiality, Confidentiality::Private);
    assert_eq!(labels[""].origins, ["fs_read#1"]);
    assert_eq!(labels["/bytes"].integrity, Integrity::Platform);
    assert!(!labels.contains_key("/next_offset"), "a field that is not there has no label");

    let ToolOutcome::Failed { label, .. } = world.run("fs_read", json!({"path": "b.txt"})).await else {
        panic!("it is not there")
    };
    assert_eq!(label.integrity, Integrity::Platform, "the message repeats the arguments and nothing else");
    assert_eq!(label.origins, ["fs_read#2", "user"]);
    let refused = world.run("http_request", json!({"url": "http://10.0.0.1/"})).await;
    let ToolOutcome::Failed { label, .. } = refused else { panic!("it is private") };
    assert_eq!(label.integrity, Integrity::Untrusted);
}

#[tokio::test]
async fn a_call_that_is_dropped_before_it_starts_does_nothing() {
    let world = World::new();
    let permit = world.permit("fs_write", &json!({"path": "a.txt", "content": "x"}));
    drop(world.registry.run(permit, world.place()));
    assert!(!world.path("a.txt").exists());
}

#[tokio::test]
async fn a_missing_workspace_is_a_failure_without_its_path() {
    let world = World::new();
    std::fs::remove_dir(world.path("")).expect("remove");
    let fault = world.fault("fs_list", json!({})).await;
    assert_eq!(fault.code, Code::TOOL_FAILED);
    assert!(!fault.to_string().contains(&*world.root.path().to_string_lossy()));
}
