//! The memory tools: what they keep, what they find, whose word it is.

use std::sync::Arc;

use are_core::error::Code;
use are_core::label::{Confidentiality, Integrity, Label};
use are_core::limits::{MEMORIES_MAX, MEMORY_BYTES_MAX};
use are_policy::tools::{Binding, Memory};
use serde_json::json;

use crate::support::{Table, World, label};

#[tokio::test]
async fn a_memory_is_kept_with_the_label_of_what_it_was_made_from() {
    let world = World::new();
    let (value, _, bindings) = world.answer("memory_add", json!({"text": "Deploys happen on Tuesdays"})).await;
    let [Binding::Memory { id, text, label: own }] = bindings.as_slice() else { panic!("{bindings:?}") };
    assert_eq!((text.as_str(), own), ("Deploys happen on Tuesdays", &label()));
    assert_eq!(value, json!({"id": id, "added": true}));
    let (_, _, others) = world.answer("memory_add", json!({"text": "Deploys happen on Tuesdays"})).await;
    assert_ne!(bindings, others, "another call is another memory");
}

#[tokio::test]
async fn what_is_found_carries_its_own_label() {
    let mut world = World::new();
    let memory = |digit: &str, text: &str, label: Label| Memory {
        id: digit.repeat(16).parse().expect("an id"),
        text: text.to_owned(),
        label,
        created_at_ms: 7,
    };
    let theirs = Label::new(Integrity::Untrusted, Confidentiality::Private, "http_request#3");
    let ours = Label::new(Integrity::User, Confidentiality::Private, "user");
    let all = vec![memory("a", "pay Bob", theirs.clone()), memory("b", "pay Ada", ours.clone())];
    world.memories = Arc::new(Table { all, count: 2 });
    let (value, labels, _) = world.answer("memory_search", json!({"query": "pay"})).await;
    assert_eq!(value["memories"][1], json!({"id": "b".repeat(16), "text": "pay Ada", "created_at_ms": 7}));
    assert_eq!((labels.get("/memories/0/text"), labels.get("/memories/1/text")), (Some(&theirs), Some(&ours)));
    let (value, ..) = world.answer("memory_search", json!({"query": "pay", "limit": 1})).await;
    assert_eq!(value["memories"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn memories_are_limited_in_number_and_size() {
    let mut world = World::new();
    let most = "x".repeat(MEMORY_BYTES_MAX);
    world.ok("memory_add", json!({"text": most})).await;
    for text in [format!("{most}x"), " \n".to_owned(), "\u{4e2d}".repeat(MEMORY_BYTES_MAX / 3 + 1)] {
        let fault = world.fault("memory_add", json!({"text": text})).await;
        assert!(matches!(fault.code, Code::MEMORY_LIMIT | Code::TOOL_ARGS), "{fault}");
    }
    world.memories = Arc::new(Table { all: Vec::new(), count: MEMORIES_MAX });
    assert_eq!(world.fault("memory_add", json!({"text": "one more"})).await.code, Code::MEMORY_LIMIT);
}
