//! Puts the values of secrets into what a server is started or reached with: the last step before that.
//!
//! What is shown, consented to and kept in the server's file holds the names
//! alone. A value is asked for at each connection, for the process of that
//! server or for the place that it is reached at, and is refused unless its
//! owner bound it to that.

use std::collections::BTreeMap;

use are_core::error::Fault;
use are_core::ids::SecretName;
use are_policy::address::Target;
use are_policy::secrets::{IN_ENV, MARK, Piece, Purpose, pieces};

use super::runtime::Means;
use super::spec::{Local, Remote, Spec, invalid};
use crate::registry::names::snake;

/// How a server is started or reached, with values.
pub(super) struct Filled {
    pub(super) spec: Spec,
    /// The values that were put in.
    pub(super) values: Vec<String>,
}

/// Puts values in.
///
/// # Errors
/// As [`Secrets::reveal`](are_policy::secrets::Secrets::reveal).
pub(super) async fn fill(name: &str, spec: &Spec, means: &Means) -> Result<Filled, Fault> {
    let mut values = Vec::new();
    let spec = match spec {
        Spec::Local(local) => {
            // As its tools begin, and as the owner of a secret writes it.
            let process = snake(name);
            let env = all(&local.env, Purpose::Process(&process), means, &mut values).await?;
            Spec::Local(Local { env, ..local.clone() })
        }
        Spec::Remote(remote) => {
            let target = Target::parse(&remote.url).map_err(|refusal| invalid(refusal.to_string(), "add it again"))?;
            let headers = all(&remote.headers, Purpose::Request(&target), means, &mut values).await?;
            Spec::Remote(Remote { headers, ..remote.clone() })
        }
    };
    Ok(Filled { spec, values })
}

async fn all(
    named: &BTreeMap<String, String>,
    purpose: Purpose<'_>,
    means: &Means,
    values: &mut Vec<String>,
) -> Result<BTreeMap<String, String>, Fault> {
    let mut filled = BTreeMap::new();
    for (key, text) in named {
        let mut whole = String::new();
        for piece in read(key, text)? {
            match piece {
                Piece::Text(text) => whole.push_str(text),
                Piece::Secret(name) => {
                    let value = means.secrets().await.reveal(&name, purpose).await?;
                    whole.push_str(value.expose());
                    values.push(value.expose().to_owned());
                }
            }
        }
        filled.insert(key.clone(), whole);
    }
    Ok(filled)
}

/// What a value of a variable or header consists of: `secret:NAME` whole, or any text with `${secret:NAME}` in it.
///
/// # Errors
/// ARE-0542 for another value that somebody else would have to fill in.
pub(super) fn read<'a>(key: &str, text: &'a str) -> Result<Vec<Piece<'a>>, Fault> {
    let help = "write the value itself, or the name of a secret: `secret:NAME`, or `${secret:NAME}` as a part of it";
    if let Some(name) = text.strip_prefix(IN_ENV) {
        let name: SecretName =
            name.parse().map_err(|_| invalid(format!("`{key}` refers to a secret by no possible name"), help))?;
        return Ok(vec![Piece::Secret(name)]);
    }
    let found = pieces(text).map_err(|fault| invalid(format!("`{key}`: {}", fault.message), help))?;
    if found.iter().any(|piece| matches!(piece, Piece::Text(text) if text.contains("${"))) {
        return Err(invalid(format!("`{key}` holds a `${{…}}` that nobody fills in"), help));
    }
    Ok(found)
}

/// The name of a variable or header, with the secrets that its value is made of, for people.
pub(super) fn told(key: &str, text: &str) -> String {
    // PERF: what was taken in names one or nothing, and most name nothing.
    if !text.starts_with(IN_ENV) && !text.contains(MARK) {
        return key.to_owned();
    }
    let names: Vec<String> = read(key, text)
        .into_iter()
        .flatten()
        .filter_map(|piece| match piece {
            Piece::Secret(name) => Some(format!("`{name}`")),
            Piece::Text(_) => None,
        })
        .collect();
    format!("{key} with the secret {}", names.join(" and "))
}
