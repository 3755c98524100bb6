//! Logins at servers of tools: what somebody wishes, what comes of it, and the port to whoever keeps it.
//!
//! What a login brings are two secrets of the operator's account. The token is
//! bound to the server's host, and what renews it to the host that gave it; so
//! a server that names another place to log in at gets neither. Their names
//! hold the server's name and a digest of its address: a server that moves has
//! no login until somebody logs in there.

use are_core::BoxFuture;
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::SecretName;
use serde::Serialize;

use crate::secrets::{BoundTo, Secrets, Value};

/// Begins the names of tokens.
const TOKEN: &str = "mcp-token-";
/// Begins the names of what renews them.
const GRANT: &str = "mcp-login-";
/// Hexadecimal digits of an address's digest in a name.
const DIGITS: usize = 8;

/// The secrets of one login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginNames {
    /// The token itself.
    pub token: SecretName,
    /// What renews it.
    pub grant: SecretName,
}

impl LoginNames {
    /// Of a server at an address.
    ///
    /// # Errors
    /// ARE-0542 for what is no name of a server.
    pub fn of(server: &str, url: &str) -> Result<Self, Fault> {
        let digest = &Digest::of(&[url.as_bytes()]).to_string()[..DIGITS];
        let name = |start: &str| {
            format!("{start}{server}-{digest}").parse::<SecretName>().map_err(|_| {
                Fault::new(Code::SERVER_INVALID, "that is no name for a server", "`are mcp list` shows the names")
            })
        };
        Ok(Self { token: name(TOKEN)?, grant: name(GRANT)? })
    }
}

/// True for a secret of a login at this server, wherever it is.
#[must_use]
pub fn is_of_login(server: &str, name: &SecretName) -> bool {
    let rest = |start: &str| name.as_str().strip_prefix(start)?.strip_prefix(server)?.strip_prefix('-');
    let is_digest = |rest: &str| rest.len() == DIGITS && rest.bytes().all(|byte| byte.is_ascii_hexdigit());
    [TOKEN, GRANT].into_iter().filter_map(rest).any(is_digest)
}

/// Who asks for a login, as the place to log in at knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginClient {
    /// Its id there; an https address where that place reads what a client is from there.
    pub id: String,
    /// The stored secret that it proves itself with, bound to that place.
    pub secret: Option<SecretName>,
}

/// A login that somebody wishes for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginWish {
    /// Name of the server.
    pub name: String,
    /// How it is reached, as JSON; `None` for what was consented to before.
    pub server: Option<String>,
    /// Where the browser is sent once the person has agreed: loopback, or https.
    pub redirect_uri: String,
    /// What the login may do; empty for what the server asks for.
    pub scopes: Vec<String>,
    /// `None` registers with the place to log in at.
    pub client: Option<LoginClient>,
}

/// A login that waits for a person to agree to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoginBegun {
    /// Where the person agrees.
    pub url: String,
    /// What comes back with their answer, once.
    pub state: String,
    /// What the login would be allowed to do.
    pub scopes: Vec<String>,
    /// Milliseconds until it is too late.
    pub expires_in_ms: u64,
}

/// A login that holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoggedIn {
    /// What it may do.
    pub scopes: Vec<String>,
    /// Milliseconds until its token ends; `None` where nobody says.
    pub expires_in_ms: Option<u64>,
    /// True when it renews itself.
    pub renews: bool,
}

/// A secret that a login brought.
pub struct Kept {
    /// Its name.
    pub name: SecretName,
    /// Its value.
    pub value: Value,
    /// Where it may go.
    pub bound_to: BoundTo,
}

/// Where logins are kept: as secrets of the operator, every change and every failure on record.
pub trait LoginKeeper: Secrets {
    /// The names of all secrets there are.
    fn names(&self) -> Vec<SecretName>;

    /// Keeps what a login or a renewal brought, in this order, in place of what was kept before.
    fn keep(&self, kept: Vec<Kept>) -> BoxFuture<'_, Result<(), Fault>>;

    /// Forgets what was kept.
    fn forget(&self, names: Vec<SecretName>) -> BoxFuture<'_, Result<(), Fault>>;

    /// Records that a login at this server could not be renewed.
    fn failed<'a>(&'a self, server: &'a str, fault: &'a Fault) -> BoxFuture<'a, ()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_a_login_tell_servers_and_addresses_apart() {
        let names = LoginNames::of("my-server", "https://example.com/mcp").expect("names");
        assert!(is_of_login("my-server", &names.token) && is_of_login("my-server", &names.grant));
        for other in ["my", "server", "my-server-", "my_server", ""] {
            assert!(!is_of_login(other, &names.token), "{other}");
        }
        let elsewhere = LoginNames::of("my-server", "https://example.com/other").expect("names");
        assert_ne!(elsewhere, names);
        // A server whose name goes on like another one's login is another server.
        let longer = LoginNames::of(&names.token.as_str()[TOKEN.len()..], "https://example.com/").expect("names");
        assert!(!is_of_login("my-server", &longer.token));
        for wrong in ["a b", "../x", "a:b", &"x".repeat(60)] {
            assert_eq!(LoginNames::of(wrong, "https://example.com/").expect_err(wrong).code, Code::SERVER_INVALID);
        }
    }
}
