//! The console's logins: codes that wait to be used, and logins that are open.
//!
//! A login has two halves. The browser keeps one in a cookie that no script can
//! read, the page the other; each is worth nothing alone. So a page of another
//! origin, which makes the browser send the cookie, has nothing, and neither
//! has whoever reads what the page stored. Only their SHA-256 are kept.
//!
//! A login is worth what its [root](Root) is worth at each moment: it is looked
//! at anew with every request, and what takes from the root takes from it.
//! Logins live in memory: a server that starts again asks for another.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use are_core::digest::{Digest, Nonce};
use are_core::error::{Code, Fault};
use are_core::ids::AccountId;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, header};
use subtle::ConstantTimeEq as _;
use tokio_util::sync::CancellationToken;

/// How long a code may wait, in milliseconds: for a browser to start.
pub(in crate::server) const CODE_MS: u64 = 60_000;
/// Codes that wait at once; each is asked for by somebody with a credential.
const CODES_MAX: usize = 64;
/// A login ends after so long without a request, in milliseconds.
const IDLE_MS: u64 = 12 * 60 * 60 * 1000;
/// And after so long whatever happens.
const AGE_MS: u64 = 7 * 24 * 60 * 60 * 1000;
/// Logins of one account; a further one ends the one that was used longest ago.
const PER_ACCOUNT_MAX: usize = 16;
/// Logins in all: some hundred kilobytes.
const LOGINS_MAX: usize = 1024;
/// Begins a page's half. No token begins with it.
const HALF_PREFIX: &str = "arehalf_";
/// Begins the cookie's name; the login's id follows, so that logins of several pages and ports stand side by side.
const COOKIE_PREFIX: &str = "are_console_";

/// On what a login rests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::server) enum Root {
    /// Whoever runs the server: the unix socket, the admin token.
    Operator,
    /// The token of this id.
    Token(String),
}

#[derive(Debug)]
struct Offer {
    root: Root,
    until_ms: u64,
}

#[derive(Debug)]
struct Login {
    cookie: Digest,
    half: Digest,
    root: Root,
    account: AccountId,
    opened_at_ms: u64,
    used_at_ms: u64,
    open: CancellationToken,
}

impl Login {
    const fn ends_at_ms(&self) -> u64 {
        let (idle, age) = (self.used_at_ms.saturating_add(IDLE_MS), self.opened_at_ms.saturating_add(AGE_MS));
        if idle < age { idle } else { age }
    }
}

/// A login just opened: the only moment its halves exist together.
#[derive(Debug)]
pub(in crate::server) struct Opened {
    /// Its public id.
    pub(in crate::server) id: String,
    /// `name=value` of the cookie.
    pub(in crate::server) cookie: String,
    /// What the page keeps.
    pub(in crate::server) half: String,
}

/// A login as a request shows it.
#[derive(Debug)]
pub(in crate::server) struct Recognised {
    /// Its public id.
    pub(in crate::server) id: String,
    /// On what it rests.
    pub(in crate::server) root: Root,
    /// What it opened waits on this.
    pub(in crate::server) open: CancellationToken,
}

/// Codes and logins.
#[derive(Debug, Default)]
pub(in crate::server) struct Logins {
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    /// By the SHA-256 of the code.
    offers: HashMap<Digest, Offer>,
    /// By id.
    logins: HashMap<String, Login>,
}

impl Logins {
    /// A code that stands for `root`, once and soon.
    ///
    /// # Errors
    /// ARE-0712 when too many wait.
    pub(in crate::server) fn offer(&self, root: Root, random: &Nonce, now_ms: u64) -> Result<String, Fault> {
        let mut inside = self.inside();
        inside.offers.retain(|_, offer| offer.until_ms > now_ms);
        if inside.offers.len() >= CODES_MAX {
            let message = format!("{CODES_MAX} codes wait to be used");
            return Err(Fault::new(Code::ACCOUNT_LIMIT, message, "use one, or wait a minute").retryable());
        }
        let code = URL_SAFE_NO_PAD.encode(random);
        inside.offers.insert(Digest::of(&[code.as_bytes()]), Offer { root, until_ms: now_ms + CODE_MS });
        Ok(code)
    }

    /// What a code stands for. It is used up, in time or not.
    pub(in crate::server) fn redeem(&self, code: &str, now_ms: u64) -> Option<Root> {
        // SECURITY: looked up by its hash, so that how long it takes says nothing about codes that wait.
        let offer = self.inside().offers.remove(&Digest::of(&[code.as_bytes()]))?;
        (offer.until_ms > now_ms).then_some(offer.root)
    }

    /// Opens a login.
    ///
    /// # Errors
    /// ARE-0712 when too many are open.
    pub(in crate::server) fn open(
        &self,
        root: Root,
        account: AccountId,
        random: [&Nonce; 3],
        now_ms: u64,
    ) -> Result<Opened, Fault> {
        let mut inside = self.inside();
        inside.drop_those_over(now_ms);
        let mut own: Vec<_> = inside.logins.iter().filter(|(_, login)| login.account == account).collect();
        if own.len() >= PER_ACCOUNT_MAX {
            own.sort_by_key(|(_, login)| login.used_at_ms);
            let oldest = own[0].0.clone();
            inside.close(&oldest);
        } else if inside.logins.len() >= LOGINS_MAX {
            let message = format!("{LOGINS_MAX} logins are open");
            return Err(Fault::new(Code::ACCOUNT_LIMIT, message, "log out where you are done").retryable());
        }
        let [name, cookie, half] = random;
        let id: String = name[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        let cookie = URL_SAFE_NO_PAD.encode(cookie);
        let half = format!("{HALF_PREFIX}{id}_{}", URL_SAFE_NO_PAD.encode(half));
        let login = Login {
            cookie: Digest::of(&[cookie.as_bytes()]),
            half: Digest::of(&[half.as_bytes()]),
            root,
            account,
            opened_at_ms: now_ms,
            used_at_ms: now_ms,
            open: CancellationToken::new(),
        };
        inside.logins.insert(id.clone(), login);
        Ok(Opened { cookie: format!("{}={cookie}", cookie_name(&id)), id, half })
    }

    /// The login of which a request shows both halves.
    pub(in crate::server) fn recognise(&self, half: &str, headers: &HeaderMap, now_ms: u64) -> Option<Recognised> {
        let id = half.strip_prefix(HALF_PREFIX)?.split_once('_')?.0;
        let cookie = cookie(headers, &cookie_name(id))?;
        let mut inside = self.inside();
        let login = inside.logins.get_mut(id)?;
        let (cookie, half) = (Digest::of(&[cookie.as_bytes()]), Digest::of(&[half.as_bytes()]));
        // SECURITY: both are always compared, in constant time.
        let is_right = cookie.0.ct_eq(&login.cookie.0) & half.0.ct_eq(&login.half.0);
        if !bool::from(is_right) || login.ends_at_ms() <= now_ms {
            return None;
        }
        login.used_at_ms = login.used_at_ms.max(now_ms);
        Some(Recognised { id: id.to_owned(), root: login.root.clone(), open: login.open.clone() })
    }

    /// Ends a login and what it opened.
    pub(in crate::server) fn close(&self, id: &str) {
        self.inside().close(id);
    }

    /// Ends those that are over; when the next one is, if it is not used meanwhile.
    pub(in crate::server) fn expire(&self, now_ms: u64) -> Option<u64> {
        let mut inside = self.inside();
        inside.drop_those_over(now_ms);
        inside.logins.values().map(Login::ends_at_ms).min()
    }

    /// Cookies of logins that are no more, by name, for the browser to forget.
    pub(in crate::server) fn stale_cookies(&self, headers: &HeaderMap) -> Vec<String> {
        let inside = self.inside();
        let is_stale = |name: &&str| name.strip_prefix(COOKIE_PREFIX).is_some_and(|id| !inside.logins.contains_key(id));
        let is_name = |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        cookies(headers).map(|(name, _)| name).filter(is_stale).filter(is_name).map(str::to_owned).collect()
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn close(&mut self, id: &str) {
        if let Some(login) = self.logins.remove(id) {
            login.open.cancel();
        }
    }

    fn drop_those_over(&mut self, now_ms: u64) {
        let over = self.logins.iter().filter(|(_, login)| login.ends_at_ms() <= now_ms);
        for id in over.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.close(&id);
        }
    }
}

/// Name of the cookie that holds a login's other half.
pub(in crate::server) fn cookie_name(id: &str) -> String {
    format!("{COOKIE_PREFIX}{id}")
}

/// True for a text that is shaped like a page's half.
pub(in crate::server) fn is_half(credential: &str) -> bool {
    credential.starts_with(HALF_PREFIX)
}

/// The value of the one cookie of this name; none when it stands twice, because two readers might choose differently.
fn cookie<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let mut found = cookies(headers).filter(|(name, _)| *name == wanted);
    match (found.next(), found.next()) {
        (Some((_, value)), None) => Some(value),
        _ => None,
    }
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

#[cfg(test)]
mod tests;
