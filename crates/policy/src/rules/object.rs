//! What a call acts upon, as rules see it.
//!
//! An object is a leaf of an argument whose role is destination, selector or
//! identity; what has no role counts as a destination. Taking one too many is
//! safe: a permit must hold for every object, and a forbid needs only one.
//! Paths are made plain lexically, so that `a/../.git/x` is `.git/x`. Nothing
//! is looked up: where the workspace lies is not known here, so an absolute path
//! stands for each of its ends too, and a link is judged by the name it was
//! called by, not by what it leads to.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::call::{Call, Context};
use crate::manifest::{Manifest, Role};

/// Objects of one call that are judged; a call with more is denied. More is a broken or hostile model.
pub(super) const OBJECTS_MAX: usize = 64;
/// Bytes of one object; a longer one is denied. Longer than any path or address, and matching stays cheap.
pub(super) const OBJECT_BYTES_MAX: usize = 8 << 10;

/// The objects of a call, sorted; `Err` says which limit it crosses.
pub(super) fn of(call: &Call, ctx: &Context<'_>) -> Result<BTreeSet<String>, String> {
    named(call, ctx.manifest).map(|(objects, _)| objects)
}

/// The objects of a call, and each of them as `argument=object`.
pub(super) fn named(call: &Call, manifest: &Manifest) -> Result<(BTreeSet<String>, BTreeSet<String>), String> {
    let (mut objects, mut named) = (BTreeSet::new(), BTreeSet::new());
    for (name, value) in call.args.to_map() {
        let role = manifest.args.get(&name).map_or(Role::Destination, |rule| rule.role);
        if is_object(role) {
            let mut of_argument = BTreeSet::new();
            collect(&value, manifest.is_contained, &mut of_argument)?;
            named.extend(of_argument.iter().map(|object| format!("{name}={object}")));
            objects.append(&mut of_argument);
            if objects.len() > OBJECTS_MAX {
                return Err(too_many());
            }
        }
    }
    Ok((objects, named))
}

const fn is_object(role: Role) -> bool {
    match role {
        Role::Destination | Role::Selector | Role::Identity => true,
        Role::Credential | Role::Content | Role::Amount | Role::Time | Role::Option => false,
    }
}

// Recursion is bounded: canonical arguments nest at most `DEPTH_MAX` deep.
fn collect(value: &Value, is_path: bool, objects: &mut BTreeSet<String>) -> Result<(), String> {
    let object = match value {
        Value::Null => return Ok(()),
        Value::Array(items) => return items.iter().try_for_each(|item| collect(item, is_path, objects)),
        // A key can name a destination as well as a value can.
        Value::Object(fields) => {
            return fields.iter().try_for_each(|(key, field)| {
                insert(key.clone(), objects)?;
                if is_path {
                    insert_path(plain_path(key), objects)?;
                }
                collect(field, is_path, objects)
            });
        }
        Value::String(text) if is_path => return insert_path(plain_path(text), objects),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    };
    insert(object, objects)
}

fn insert_path(path: String, objects: &mut BTreeSet<String>) -> Result<(), String> {
    if path.starts_with('/') {
        for (at, _) in path.match_indices('/') {
            let end = &path[at + 1..];
            insert(if end.is_empty() { "." } else { end }.to_owned(), objects)?;
        }
    }
    insert(path, objects)
}

fn insert(object: String, objects: &mut BTreeSet<String>) -> Result<(), String> {
    if object.len() > OBJECT_BYTES_MAX {
        return Err(format!("an argument that says what is acted upon is longer than {OBJECT_BYTES_MAX} bytes"));
    }
    objects.insert(object);
    if objects.len() > OBJECTS_MAX { Err(too_many()) } else { Ok(()) }
}

fn too_many() -> String {
    format!("the arguments name more than {OBJECTS_MAX} things to act upon")
}

/// The path without `.`, inner `..` and doubled slashes; leading `..` stay, the root is its own parent.
pub(super) fn plain_path(path: &str) -> String {
    let is_absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if is_absolute => {}
            part => parts.push(part),
        }
    }
    let plain = parts.join("/");
    match (is_absolute, plain.is_empty()) {
        (true, _) => format!("/{plain}"),
        (false, true) => ".".to_owned(),
        (false, false) => plain,
    }
}

#[cfg(test)]
mod tests;
