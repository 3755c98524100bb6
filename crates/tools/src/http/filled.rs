//! Puts the values of secrets into a request: the last step before it is built.
//!
//! Where the request goes is read from its address first, and every value is
//! asked for with that place: one that is not bound to it is refused before
//! anything is sent. What is told of the request afterwards is the address as
//! it was asked for, with the names.

use std::collections::BTreeMap;

use are_core::error::Fault;
use are_core::ids::SecretName;
use are_policy::address::Target;
use are_policy::secrets::{MARK, Piece, Purpose, Value, check_url, in_json, misplaced, pieces};
use serde_json::Value as Json;

use super::refused;
use super::request::Wanted;
use crate::lane::Room;
use crate::text::encoded;

type Values = BTreeMap<SecretName, Value>;

/// The request with values, and the address to tell of where it had any.
pub(super) async fn fill(mut wanted: Wanted, room: &Room) -> Result<(Wanted, Option<String>), Fault> {
    let named = named(&wanted)?;
    if named.is_empty() {
        return Ok((wanted, None));
    }
    check_url(&wanted.url)?;
    let target = Target::parse(&wanted.url).map_err(refused)?;
    let mut values = Values::new();
    for name in named {
        let value = room.secrets.reveal(&name, Purpose::Request(&target)).await?;
        values.insert(name, value);
    }
    let told = wanted.url.clone();
    wanted.url = put_in(&wanted.url, &values, encoded)?;
    // SECURITY: a value that reads as another place would go there.
    if !Target::parse(&wanted.url).map_err(refused)?.is_same_origin(&target) {
        return Err(misplaced("with the secret, the address would be another one"));
    }
    for value in wanted.headers.values_mut() {
        fill_json(value, &values)?;
    }
    if let Some(body) = &mut wanted.body {
        fill_json(body, &values)?;
    }
    wanted.has_secrets = true;
    Ok((wanted, Some(told)))
}

fn named(wanted: &Wanted) -> Result<std::collections::BTreeSet<SecretName>, Fault> {
    if wanted.headers.keys().any(|name| name.contains(MARK)) {
        return Err(misplaced("a secret stands in the name of a header"));
    }
    let mut found = in_json(&Json::String(wanted.url.clone()))?;
    for value in wanted.headers.values().chain(&wanted.body) {
        found.extend(in_json(value)?);
    }
    Ok(found)
}

fn fill_json(json: &mut Json, values: &Values) -> Result<(), Fault> {
    match json {
        Json::Null | Json::Bool(_) | Json::Number(_) => Ok(()),
        Json::String(text) if text.contains(MARK) => {
            *text = put_in(text, values, str::to_owned)?;
            Ok(())
        }
        Json::String(_) => Ok(()),
        Json::Array(items) => items.iter_mut().try_for_each(|item| fill_json(item, values)),
        Json::Object(fields) if fields.keys().any(|key| key.contains(MARK)) => {
            Err(misplaced("a secret stands in the name of a field"))
        }
        Json::Object(fields) => fields.values_mut().try_for_each(|field| fill_json(field, values)),
    }
}

fn put_in(text: &str, values: &Values, written: impl Fn(&str) -> String) -> Result<String, Fault> {
    let piece = |piece: Piece<'_>| match piece {
        Piece::Text(text) => Ok(text.to_owned()),
        Piece::Secret(name) => {
            let value = values.get(&name).ok_or_else(|| misplaced("a secret was not asked for"))?;
            Ok(written(value.expose()))
        }
    };
    pieces(text)?.into_iter().map(piece).collect()
}
