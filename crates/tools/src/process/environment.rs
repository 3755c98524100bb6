//! What a command gets of the tool whose command line it is, secrets among it.
//!
//! No call can ask for any of this: the engine takes it from the manifest of the
//! tool that makes the call. A value is opened right before the command starts
//! and goes to its environment alone. A command that is given one has no network,
//! not even to what the operator granted.

use are_core::error::{Code, Fault};
use are_policy::secrets::{Purpose, in_env};

use crate::lane::Room;

/// True when one of them is a secret.
pub(super) fn holds_secrets(room: &Room) -> bool {
    room.environment.variables.values().any(|value| in_env(value).is_some())
}

/// Names and values, in the order of the names.
pub(super) async fn of(room: &Room) -> Result<Vec<(String, String)>, Fault> {
    let given = &room.environment;
    let mut variables = Vec::new();
    for (name, value) in &given.variables {
        let value = match in_env(value) {
            None => value.clone(),
            Some(Ok(secret)) => room.secrets.reveal(&secret, Purpose::Process(&given.tool)).await?.expose().to_owned(),
            Some(Err(error)) => {
                let help = "mend `capabilities.env` of its manifest";
                return Err(Fault::new(
                    Code::MANIFEST_INVALID,
                    format!("`{}`: `env.{name}`: {error}", given.tool),
                    help,
                ));
            }
        };
        variables.push((name.clone(), value));
    }
    Ok(variables)
}
