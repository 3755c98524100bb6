//! A request's fields, one by one, so that a refusal names the one that is wrong.

use are_core::canonical::parse_strict;
use axum::body::Body;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::Wrong;
use crate::server::api::{BODY_BYTES_MAX, read};
use crate::server::named;
use crate::server::problem::invalid;

/// What is said about everything that is not understood.
pub(super) const HELP: &str = "see the documentation of the OpenAI doors for what is taken";

/// The fields of a request. What nobody asks for is ignored, as OpenAI does.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Reads a body.
    pub(super) async fn read(body: Body) -> Result<Self, Wrong> {
        let bytes = read(body, BODY_BYTES_MAX).await?;
        match parse_strict(&bytes).map_err(|error| invalid(error.to_string(), HELP))? {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err(invalid("the body is no JSON object", HELP).into()),
        }
    }

    /// Takes a field; `null` is as good as none.
    pub(super) fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, Wrong> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => named::read(value).map(Some).map_err(|error| Wrong::at(name, error.to_string(), HELP)),
        }
    }

    /// Takes a field that must be there.
    pub(super) fn require<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, Wrong> {
        self.take(name)?.ok_or_else(|| Wrong::at(name, format!("`{name}` is missing"), HELP))
    }

    /// Refuses a field that would change the answer and that nothing here does, unless it holds what means nothing.
    pub(super) fn refuse(&mut self, name: &str, nothing: &[Value]) -> Result<(), Wrong> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(()),
            Some(value) if nothing.contains(&value) => Ok(()),
            Some(_) => Err(Wrong::at(name, format!("`{name}` is not supported"), "leave it out")),
        }
    }
}
