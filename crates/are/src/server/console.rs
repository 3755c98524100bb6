//! The console: a page with its modules, the login that lets it in, and the
//! logins that are open.
//!
//! The files hold no data and need no token; `Host` and `Origin` are checked as
//! everywhere. All authority comes from a [login](logins), of which the browser
//! holds one half in a cookie that no script reads and the page the other.

pub(super) mod api;
mod files;
pub(super) mod logins;

use http::{Method, Uri};

pub(super) use self::files::answer;

/// The one path that takes a login, from whoever has none yet.
pub(super) const LOGIN: &str = "/api/login";

/// What can be had without a credential, past the check of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Open {
    /// The page or one of its files.
    File,
    /// The exchange of a code or token for a login.
    Login,
}

/// Whether a request is for something that is open.
pub(super) fn open_way(method: &Method, uri: &Uri) -> Option<Open> {
    let path = uri.path();
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if reads && (path == "/" || path.starts_with(files::PREFIX)) {
        return Some(Open::File);
    }
    (*method == Method::POST && path == LOGIN).then_some(Open::Login)
}
