//! Variables: JSON values that outlast a turn, or with scope `account` a session.
//!
//! Transactional: nothing is changed here. A new value goes back as a binding,
//! and the engine records it together with the call's outcome, so that both are
//! there or neither. A value carries the label of what it was made from.

use are_core::body::{Effect, Retry, Scope};
use are_core::error::{Code, Fault};
use are_core::ids::{InvalidId, VariableName};
use are_core::label::Labels;
use are_core::limits::{VARIABLE_BYTES_MAX, VARIABLES_MAX};
use are_core::payload::Bound;
use are_policy::gate::Permit;
use are_policy::manifest::{Manifest, Role};
use are_policy::tools::Binding;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::declare::{does, finds, intents, ours, roles, tool};
use crate::lane::{Answer, Error, Room, read};
use crate::text::short;

/// Which of the variable tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    Get,
    Set,
    Delete,
}

impl Tool {
    /// The tool of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "variable_get" => Self::Get,
            "variable_set" => Self::Set,
            "variable_delete" => Self::Delete,
            _ => return None,
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GetArgs {
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetArgs {
    name: String,
    value: Value,
    #[serde(default = "session")]
    scope: Scope,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteArgs {
    name: String,
    #[serde(default = "session")]
    scope: Scope,
}

const fn session() -> Scope {
    Scope::Session
}

/// Runs one call.
pub(crate) fn run(tool: Tool, permit: Permit, room: &Room) -> Result<Answer, Error> {
    let args = permit.spend().args;
    Ok(match tool {
        Tool::Get => get(&read(&args)?, room)?,
        Tool::Set => set(read(&args)?, room)?,
        Tool::Delete => delete(&read(&args)?, room)?,
    })
}

fn get(args: &GetArgs, room: &Room) -> Result<Answer, Fault> {
    let name = name(&args.name)?;
    for scope in [Scope::Session, Scope::Account] {
        if let Some(bound) = room.variables.get(&(scope, name.clone())) {
            let labels = bound.labels.iter().map(|(pointer, label)| (format!("/value{pointer}"), label.clone()));
            return Ok(Answer {
                value: json!({"value": bound.value, "scope": scope}),
                labels: labels.collect(),
                bindings: Vec::new(),
            });
        }
    }
    Err(unknown(&name))
}

fn set(args: SetArgs, room: &Room) -> Result<Answer, Fault> {
    let name = name(&args.name)?;
    let bytes = args.value.to_string().len();
    if bytes > VARIABLE_BYTES_MAX {
        return Err(Fault::new(
            Code::VARIABLE_LIMIT,
            format!("the value of `{name}` has {bytes} bytes as JSON, and {VARIABLE_BYTES_MAX} is the most"),
            "write it to a file with `fs_write` and keep its path in the variable",
        ));
    }
    let key = (args.scope, name.clone());
    let created = !room.variables.contains_key(&key);
    if created && room.variables.keys().filter(|(scope, _)| *scope == args.scope).count() >= VARIABLES_MAX {
        return Err(Fault::new(
            Code::VARIABLE_LIMIT,
            format!("there are {VARIABLES_MAX} variables already, which is the most"),
            "delete one with `variable_delete`, or put several values into one variable",
        ));
    }
    let labels = Labels::from([(String::new(), room.label.clone())]);
    let value = Some(Bound { value: args.value, labels });
    Ok(Answer {
        value: json!({"name": name, "scope": args.scope, "created": created}),
        labels: Labels::new(),
        bindings: vec![Binding::Variable { scope: args.scope, name, value }],
    })
}

fn delete(args: &DeleteArgs, room: &Room) -> Result<Answer, Fault> {
    let name = name(&args.name)?;
    if !room.variables.contains_key(&(args.scope, name.clone())) {
        return Err(unknown(&name));
    }
    Ok(Answer {
        value: json!({"name": name, "scope": args.scope, "deleted": true}),
        labels: Labels::new(),
        bindings: vec![Binding::Variable { scope: args.scope, name, value: None }],
    })
}

fn name(text: &str) -> Result<VariableName, Fault> {
    text.parse().map_err(|error: InvalidId| {
        Fault::new(Code::TOOL_ARGS, format!("the name `{}` is refused: {error}", short(text)), "choose another name")
    })
}

fn unknown(name: &VariableName) -> Fault {
    Fault::new(
        Code::TOOL_NOT_FOUND,
        format!("there is no variable `{name}`"),
        "set it with `variable_set`, or go on without it",
    )
}

/// The manifests.
pub(crate) fn manifests() -> Result<Vec<Manifest>, InvalidId> {
    let name =
        json!({"type": "string", "minLength": 1, "maxLength": 64, "description": "letters, digits, `_`, `-` and `.`"});
    let scope = json!({"type": "string", "enum": ["session", "account"], "description": "session if absent; account lasts across sessions"});
    Ok(vec![
        Manifest {
            effect: Effect::None,
            retry: Retry::Pure,
            args: roles(&[("name", Role::Selector)]),
            output_fields: ours(&["/scope"]),
            is_contained: true,
            ..tool(
                "variable_get",
                "Read a variable of this session, else of the account.",
                json!({"name": name}),
                &["name"],
                finds("What is the value of the variable owner?", json!({"name": "owner"}), "Ada", "The owner is Ada."),
            )?
        },
        Manifest {
            effect: Effect::Modify,
            retry: Retry::Transactional,
            args: roles(&[("name", Role::Selector), ("value", Role::Content), ("scope", Role::Option)]),
            output_fields: ours(&["/scope", "/created"]),
            intents: intents(&["remember", "set", "keep", "note"], &["记住", "设置", "记下"]),
            is_contained: true,
            ..tool(
                "variable_set",
                "Keep a JSON value under a name, for later turns.",
                json!({"name": name, "value": {"description": "any JSON value"}, "scope": scope}),
                &["name", "value"],
                does(
                    "Remember that the owner is Ada",
                    json!({"name": "owner", "value": "Ada"}),
                    "I will remember that.",
                ),
            )?
        },
        Manifest {
            effect: Effect::Destructive,
            retry: Retry::Transactional,
            args: roles(&[("name", Role::Selector), ("scope", Role::Option)]),
            output_fields: ours(&["/scope", "/deleted"]),
            intents: intents(&["forget", "delete", "unset"], &["忘记", "删除", "忘掉"]),
            is_contained: true,
            ..tool(
                "variable_delete",
                "Delete a variable.",
                json!({"name": name, "scope": scope}),
                &["name"],
                does("Forget the variable owner", json!({"name": "owner"}), "The variable owner is gone."),
            )?
        },
    ])
}
