//! What an error of a login means, to whoever has to do something about it.
//!
//! Strangers' words are told shortened and without what could steer a terminal;
//! what they answer to a request is not, since it may hold a token.

use are_core::error::{Code, Fault};
use rmcp::transport::AuthError;

use crate::http::Unopened;
use crate::text::{plain, short, within};

/// Bytes of an error that are told: addresses of both places fit.
const SAID_BYTES_MAX: usize = 500;

/// A server of that name is not used until somebody logs in.
pub(in crate::mcp) fn needed(server: &str) -> Fault {
    named(Fault::new(Code::SERVER_LOGIN, "the server asks for a login", ""), server)
}

/// The login may do less than the server asks for.
pub(in crate::mcp) fn short_of(scope: Option<&str>) -> Fault {
    let what = match scope.map(|scope| short(&plain(scope))).filter(|scope| !scope.is_empty()) {
        Some(scope) => format!("the server asks for a login that may do more: `{scope}`"),
        None => "the server asks for a login that may do more".to_owned(),
    };
    Fault::new(Code::SERVER_LOGIN, what, "")
}

/// Says by name what to do about a login.
pub(in crate::mcp) fn named(fault: Fault, server: &str) -> Fault {
    if fault.code != Code::SERVER_LOGIN {
        return fault;
    }
    let help = format!(
        "a person logs in with `are mcp login {server}` (with its address where it is not added yet), or adds it again \
         with a header that it takes"
    );
    Fault { help, ..fault }
}

/// An error of the steps.
pub(super) fn of(error: &AuthError) -> Fault {
    let failed = |what: &str, help: &str| Fault::new(Code::LOGIN_FAILED, what, help);
    let theirs = "tell whoever runs the server";
    match error {
        AuthError::AuthorizationRequired | AuthError::TokenExpired | AuthError::TokenRefreshRejected(_) => {
            Fault::new(Code::SERVER_LOGIN, "the login has ended, and the server asks for another one", "")
        }
        AuthError::DiscoveryRequestFailed { source, .. } => source.downcast_ref::<Unopened>().map_or_else(
            || failed(&format!("the place to log in at cannot be found out: {}", said(error)), theirs).retryable(),
            |unopened| unopened.fault.clone(),
        ),
        AuthError::NoAuthorizationSupport => failed("the server does not say where to log in", theirs),
        AuthError::PkceUnsupported => {
            failed("the place to log in at would let a code be used by whoever sees it (no PKCE with S256)", theirs)
        }
        AuthError::RegistrationFailed(why) if why.contains("not supported") => failed(
            "the place to log in at registers nobody by itself",
            "register this program there by hand, with the redirect that you use, and give `--client-id`",
        ),
        AuthError::RegistrationFailed(_) => failed(
            &format!("the place to log in at does not register this program: {}", said(error)),
            "register it there by hand and give `--client-id`",
        ),
        AuthError::TokenRefreshFailed(_) => {
            failed(&format!("the login is not renewed: {}", said(error)), "try again later").retryable()
        }
        other => failed(
            &format!("the login came to nothing: {}", said(other)),
            "begin it again, or tell whoever runs the server",
        ),
    }
}

fn said(error: &AuthError) -> String {
    within(&plain(&error.to_string()), SAID_BYTES_MAX).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_who_has_to_do_something_and_steers_no_terminal() {
        let ended = named(of(&AuthError::TokenRefreshRejected("invalid_grant".to_owned())), "far");
        assert_eq!(ended.code, Code::SERVER_LOGIN);
        assert!(ended.help.contains("are mcp login far"), "{ended}");
        let closed = of(&AuthError::RegistrationFailed("Dynamic client registration not supported".to_owned()));
        assert!(closed.help.contains("--client-id"), "{closed}");
        let later = of(&AuthError::TokenRefreshFailed("\u{1b}[2Jbusy".to_owned()));
        assert!(later.retryable && !later.message.contains('\u{1b}'), "{later}");
        let long = of(&AuthError::AuthorizationFailed("x".repeat(10_000)));
        assert!(long.message.len() < 1_000, "{}", long.message.len());
        assert!(short_of(Some("files:write")).message.contains("`files:write`"));
    }
}
