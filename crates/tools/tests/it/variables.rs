use std::sync::Arc;

use are_core::body::Scope;
use are_core::error::Code;
use are_core::label::{Confidentiality, Integrity, Label, Labels};
use are_core::limits::{VARIABLE_BYTES_MAX, VARIABLES_MAX};
use are_core::payload::Bound;
use are_policy::tools::{Binding, Variables};
use serde_json::{Value, json};

use crate::support::{World, label};

fn bound(value: Value, label: Label) -> Bound {
    Bound { value, labels: Labels::from([(String::new(), label)]) }
}

fn holding(variables: impl IntoIterator<Item = (Scope, String, Bound)>) -> World {
    let mut world = World::new();
    let variables = variables.into_iter().map(|(scope, name, bound)| ((scope, name.parse().expect("name")), bound));
    world.variables = Arc::new(variables.collect::<Variables>());
    world
}

#[tokio::test]
async fn a_set_value_goes_back_as_a_binding_with_the_label_of_the_arguments() {
    let world = World::new();
    let (value, _, bindings) = world.answer("variable_set", json!({"name": "city", "value": {"a": [1]}})).await;
    assert_eq!(value, json!({"name": "city", "scope": "session", "created": true}));
    let expected = Binding::Variable {
        scope: Scope::Session,
        name: "city".parse().expect("name"),
        value: Some(bound(json!({"a": [1]}), label())),
    };
    assert_eq!(bindings, [expected]);
    let (_, _, bindings) = world.answer("variable_set", json!({"name": "x", "value": null, "scope": "account"})).await;
    let [Binding::Variable { scope: Scope::Account, value: Some(bound), .. }] = bindings.as_slice() else {
        panic!("{bindings:?}");
    };
    assert_eq!(bound.value, Value::Null, "null is a value");
}

#[tokio::test]
async fn a_session_variable_hides_the_account_one_and_labels_come_with_it() {
    let tainted = Label::new(Integrity::Untrusted, Confidentiality::Private, "http_request#3");
    let world = holding([
        (Scope::Account, "a".to_owned(), bound(json!("account"), label())),
        (Scope::Session, "a".to_owned(), bound(json!("session"), tainted.clone())),
        (Scope::Account, "b".to_owned(), bound(json!({"x": 1}), label())),
    ]);
    let (value, labels, _) = world.answer("variable_get", json!({"name": "a"})).await;
    assert_eq!(value, json!({"value": "session", "scope": "session"}));
    assert_eq!(labels["/value"], tainted);
    let (value, labels, _) = world.answer("variable_get", json!({"name": "b"})).await;
    assert_eq!(value, json!({"value": {"x": 1}, "scope": "account"}));
    assert_eq!(labels["/value"], label());
    assert_eq!(world.fault("variable_get", json!({"name": "c"})).await.code, Code::TOOL_NOT_FOUND);
}

#[tokio::test]
async fn too_large_and_too_many_are_refused_and_changing_one_is_not() {
    let full = (0..VARIABLES_MAX).map(|n| (Scope::Session, format!("v{n}"), bound(json!(n), label())));
    let world = holding(full);
    let limit = |fault: are_core::error::Fault| assert_eq!(fault.code, Code::VARIABLE_LIMIT);
    limit(world.fault("variable_set", json!({"name": "new", "value": 1})).await);
    let (value, ..) = world.answer("variable_set", json!({"name": "v0", "value": 1})).await;
    assert_eq!(value["created"], false);
    world.ok("variable_set", json!({"name": "new", "value": 1, "scope": "account"})).await;
    let most = "x".repeat(VARIABLE_BYTES_MAX - 2);
    world.ok("variable_set", json!({"name": "v0", "value": most})).await;
    limit(world.fault("variable_set", json!({"name": "v0", "value": format!("{most}x")})).await);
}

#[tokio::test]
async fn deleting_needs_the_variable_in_that_scope() {
    let world = holding([(Scope::Account, "a".to_owned(), bound(json!(1), label()))]);
    assert_eq!(world.fault("variable_delete", json!({"name": "a"})).await.code, Code::TOOL_NOT_FOUND);
    let (_, _, bindings) = world.answer("variable_delete", json!({"name": "a", "scope": "account"})).await;
    assert_eq!(bindings, [Binding::Variable { scope: Scope::Account, name: "a".parse().expect("name"), value: None }]);
    for name in ["", "a b", "ä", "a/b", &"a".repeat(65)] {
        assert_eq!(world.fault("variable_get", json!({"name": name})).await.code, Code::TOOL_ARGS, "{name}");
    }
}
