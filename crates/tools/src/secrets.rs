//! `secret_disclose`: a component asks for the value of a secret that its manifest names.
//!
//! The call is the decision and its record; the value is not in its result,
//! which is stored and shown like any other. The lane of components takes it
//! from the port afterwards and gives it to the guest alone.

use are_core::body::{Effect, Retry};
use are_core::ids::{InvalidId, SecretName};
use are_core::label::{Confidentiality, Integrity};
use are_policy::gate::Permit;
use are_policy::manifest::{Manifest, OutputLabel, Role};
use are_policy::secrets::DISCLOSE;
use serde::Deserialize;
use serde_json::json;

use crate::declare::{does, roles, tool};
use crate::lane::{Answer, Error, read};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    name: SecretName,
}

/// Runs one call.
pub(crate) fn run(permit: Permit) -> Result<Answer, Error> {
    let wanted: Wanted = read(&permit.spend().args)?;
    Ok(json!({ "name": wanted.name }).into())
}

/// The manifest.
pub(crate) fn manifest() -> Result<Manifest, InvalidId> {
    Ok(Manifest {
        effect: Effect::Credential,
        retry: Retry::AtMostOnce,
        args: roles(&[("name", Role::Credential)]),
        output_default: OutputLabel { integrity: Integrity::Platform, confidentiality: Confidentiality::Secret },
        ..tool(
            DISCLOSE,
            "Give a component the value of a secret that its manifest names. Of no use to anybody else.",
            json!({"name": {"type": "string", "minLength": 1, "maxLength": 64, "description": "the secret"}}),
            &["name"],
            does("Sign it", json!({"name": "signing_key"}), "It is signed."),
        )?
    })
}
