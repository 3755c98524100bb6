//! A login in two steps, with a person between them.
//!
//! The first finds out where to log in and makes the address that the person
//! opens; the second takes the address that their browser was sent to. What
//! ties them together, one use each, stays in this process: whoever sees either
//! address can do nothing with it.

use std::sync::Arc;

use are_core::error::{Code, Fault};
use are_policy::address::Target;
use are_policy::logins::{LoggedIn, LoginBegun, LoginWish, is_of_login};
use rmcp::transport::auth::AuthorizationMetadataSource;
use rmcp::transport::{AuthError, AuthorizationManager};
use tokio::time::{Duration, Instant, timeout};
use url::Url;

use super::store::{Brought, Client, Grant, Store, read_grant};
use super::{Login, Logins, courier, lock, told};
use crate::mcp::noted::Challenge;
use crate::mcp::spec::Remote;
use crate::text::{plain, short};

/// How long a person has.
const PERSON_TIME: Duration = Duration::from_secs(10 * 60);
/// How long each step may take.
const STEP_TIME: Duration = Duration::from_secs(60);
/// Logins that wait for a person.
const PENDING_MAX: usize = 16;
/// Bytes of an address that a browser was sent to.
const CALLBACK_BYTES_MAX: usize = 8 << 10;
/// Bytes of where a browser is sent.
const REDIRECT_BYTES_MAX: usize = 2 << 10;
/// Scopes of one login.
const SCOPES_MAX: usize = 64;
/// Bytes of one scope.
const SCOPE_BYTES_MAX: usize = 256;
/// How this program calls itself where it registers.
const CLIENT_NAME: &str = "Agent Runtime Engine";

/// A login that waits for a person.
pub(super) struct Pending {
    login: Arc<Login>,
    manager: AuthorizationManager,
    store: Store,
    state: String,
    until: Instant,
}

impl Logins {
    /// Finds out where to log in at a server, and begins. `said` is what it said of a login when it was asked just now.
    pub(in crate::mcp) async fn begin(
        &self,
        wish: LoginWish,
        remote: &Remote,
        said: Option<Challenge>,
    ) -> Result<LoginBegun, Fault> {
        check(&wish)?;
        let login = self.at(&wish.name, remote)?.ok_or_else(|| {
            let help = "add it again without the header, then log in";
            Fault::new(Code::SERVER_INVALID, "the server is sent a header `Authorization` instead of a login", help)
        })?;
        let begun = timeout(STEP_TIME, Box::pin(login.begin(&wish, said))).await.map_err(|_| slow())?;
        let (pending, begun) = begun?;
        let mut waiting = lock(&self.pending);
        waiting.retain(|_, pending| pending.until > Instant::now());
        if waiting.len() >= PENDING_MAX && !waiting.contains_key(&wish.name) {
            let what = format!("{PENDING_MAX} logins wait for a person already");
            return Err(Fault::new(Code::LOGIN_FAILED, what, "finish one, or try again in ten minutes"));
        }
        // Whoever begins again has given up the one before.
        waiting.insert(wish.name, pending);
        Ok(begun)
    }

    /// Ends the login that was begun last at a server, with the address that the browser was sent to.
    pub(in crate::mcp) async fn finish(&self, server: &str, callback: &str) -> Result<LoggedIn, Fault> {
        let callback = Callback::read(callback)?;
        let pending = self.take(server, &callback.state)?;
        let code = callback.code?;
        // A renewal that is under way ends first: what it brings is of the login before.
        let mut held = pending.login.token.lock().await;
        let exchanging =
            pending.manager.exchange_code_for_token_with_issuer(&code, &callback.state, callback.issuer.as_deref());
        let exchanged = timeout(STEP_TIME, Box::pin(exchanging)).await.map_err(|_| slow())?;
        let brought = exchanged.map_err(|error| pending.store.fault(&error))?;
        let token = pending.store.token().ok_or_else(|| told::of(&AuthError::AuthorizationRequired))?;
        *held = Some(token);
        pending.login.satisfied();
        let answer = serde_json::to_value(&brought).unwrap_or_default();
        Ok(LoggedIn {
            scopes: pending.store.scopes(),
            expires_in_ms: answer["expires_in"].as_u64().map(|seconds| seconds.saturating_mul(1_000)),
            renews: answer["refresh_token"].is_string(),
        })
    }

    /// Forgets the login at a server, at every address that it was reached at; false when there is none.
    pub(in crate::mcp) async fn end(&self, server: &str) -> Result<bool, Fault> {
        lock(&self.pending).remove(server);
        let Some(keeper) = self.keeper.get() else { return Ok(false) };
        let logins = self.of(server);
        let mut held = Vec::with_capacity(logins.len());
        for login in &logins {
            // A renewal that is under way would keep what it brings after all was forgotten.
            held.push(login.token.lock().await);
        }
        let ours: Vec<_> = keeper.names().into_iter().filter(|name| is_of_login(server, name)).collect();
        let is_there = !ours.is_empty();
        keeper.forget(ours).await?;
        held.iter_mut().for_each(|token| **token = None);
        Ok(is_there)
    }

    /// The login that waits, once: another state leaves it waiting.
    fn take(&self, server: &str, state: &str) -> Result<Pending, Fault> {
        let mut waiting = lock(&self.pending);
        waiting.retain(|_, pending| pending.until > Instant::now());
        let is_it = waiting.get(server).is_some_and(|pending| {
            // SECURITY: who guesses it would have their login taken for the person's.
            bool::from(subtle::ConstantTimeEq::ct_eq(pending.state.as_bytes(), state.as_bytes()))
        });
        let taken = if is_it { waiting.remove(server) } else { None };
        taken.ok_or_else(|| {
            let what = "no login waits for that answer: it was used, is too late, or is another one's";
            Fault::new(Code::LOGIN_FAILED, what, "begin it again: `are mcp login`")
        })
    }
}

impl Login {
    async fn begin(
        self: &Arc<Self>,
        wish: &LoginWish,
        said: Option<Challenge>,
    ) -> Result<(Pending, LoginBegun), Fault> {
        let keeper = Arc::clone(self.keeper.wait().await);
        let mut manager = self.manager().await?;
        let header = said.as_ref().map(|said| said.header.as_str()).filter(|header| !header.is_empty());
        let found = manager.resolve_metadata_from_challenge(header).await.map_err(|error| told::of(&error))?;
        let is_asked = said.is_some() || self.is_kept();
        if !is_asked && found.source == AuthorizationMetadataSource::LegacyEndpointFallback {
            let what = "the server asks for no login, and says nothing about one";
            return Err(Fault::new(Code::LOGIN_FAILED, what, "`are mcp add` adds it as it is"));
        }
        // The protocol has clients refuse metadata that says nothing of it; the SDK goes on.
        if found.source.is_discovered() && found.metadata.code_challenge_methods_supported.is_none() {
            return Err(told::of(&AuthError::PkceUnsupported));
        }
        let giver = self.giver(&found.metadata.token_endpoint)?;
        let places = [Some(&found.metadata.authorization_endpoint), found.metadata.registration_endpoint.as_ref()];
        let mut is_one_host = true;
        // What is no address at all is found out where it is used.
        for place in places.into_iter().flatten().filter_map(|place| Target::parse(place).ok()) {
            courier::check_is_private(&place)?;
            is_one_host &= place.host == giver.host;
        }
        manager.set_metadata(found.metadata);
        let before = read_grant(keeper.as_ref(), &self.names.grant, &giver).await?;
        let scopes = scopes(wish, before.as_ref(), &manager).await;
        let words: Vec<&str> = scopes.iter().map(String::as_str).collect();
        let client = match client(wish, before.as_ref()) {
            Some(client) => {
                let config = client.config(&wish.redirect_uri, keeper.as_ref(), &giver).await?;
                manager.configure_client(config).map_err(|error| told::of(&error))?;
                client
            }
            // SECURITY: a server that names the page of one place and has codes sent to another could register us as a
            // program that is known there, and redeem what the person agreed to.
            None if !is_one_host => {
                let what = "the pages to register and to log in at are not of the host that gives tokens";
                let help = "register with that place yourself, and name what it gave: `--client-id`";
                return Err(Fault::new(Code::LOGIN_FAILED, what, help));
            }
            None => {
                let registered = manager.register_client(CLIENT_NAME, &wish.redirect_uri, &words).await;
                let config = registered.map_err(|error| told::of(&error))?;
                Client { id: config.client_id, is_given: false, secret: config.client_secret, named: None }
            }
        };
        let brought = Brought {
            names: self.names.clone(),
            target: self.target.clone(),
            giver,
            client,
            redirect_uri: wish.redirect_uri.clone(),
        };
        let store = Store::new(brought, keeper, None);
        manager.set_credential_store(store.clone());
        let url = manager.get_authorization_url(&words).await.map_err(|error| told::of(&error))?;
        let state = shown_to_a_person(&url)?;
        let begun = LoginBegun {
            url,
            state: state.clone(),
            scopes,
            expires_in_ms: u64::try_from(PERSON_TIME.as_millis()).unwrap_or(u64::MAX),
        };
        let until = Instant::now() + PERSON_TIME;
        Ok((Pending { login: Arc::clone(self), manager, store, state, until }, begun))
    }
}

/// What the login is to be allowed to do: what the person says, else what the login before could do, and what the
/// server asks for now.
async fn scopes(wish: &LoginWish, before: Option<&Grant>, manager: &AuthorizationManager) -> Vec<String> {
    if !wish.scopes.is_empty() {
        return wish.scopes.clone();
    }
    let mut scopes = before.map(Grant::scopes).unwrap_or_default();
    for scope in manager.select_initial_scopes(&[]).await {
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    scopes.truncate(SCOPES_MAX);
    scopes
}

/// Who this program is there, where a person has said so, now or before.
fn client(wish: &LoginWish, before: Option<&Grant>) -> Option<Client> {
    let said = wish.client.as_ref().map(|client| Client {
        id: client.id.clone(),
        is_given: true,
        secret: None,
        named: client.secret.clone(),
    });
    said.or_else(|| before.map(|grant| grant.client.clone()).filter(|client| client.is_given))
}

fn check(wish: &LoginWish) -> Result<(), Fault> {
    let wrong = |what: &str, help: &str| Err(Fault::new(Code::REQUEST_INVALID, what, help));
    let redirect = Target::parse(&wish.redirect_uri).ok().filter(|_| wish.redirect_uri.len() <= REDIRECT_BYTES_MAX);
    if redirect.is_none_or(|redirect| courier::check_is_private(&redirect).is_err()) {
        return wrong("that is no place to send a browser to", "name a place on loopback, or one over https");
    }
    // SOURCE: RFC 6749, appendix A.4.
    let is_scope = |scope: &String| {
        let is_plain = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        (1..=SCOPE_BYTES_MAX).contains(&scope.len()) && scope.bytes().all(is_plain)
    };
    if wish.scopes.len() > SCOPES_MAX || !wish.scopes.iter().all(is_scope) {
        return wrong("that is no list of scopes", "name each as the server does, one after the other");
    }
    let is_id =
        |id: &str| (1..=REDIRECT_BYTES_MAX).contains(&id.len()) && id.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
    if wish.client.as_ref().is_some_and(|client| !is_id(&client.id)) {
        return wrong("that is no id of a client", "give the one that the place to log in at gave");
    }
    Ok(())
}

/// What comes back with a person's answer. The address that they open is a stranger's.
fn shown_to_a_person(url: &str) -> Result<String, Fault> {
    let unusable = || {
        let what = "the server names a page to log in at that cannot be used";
        Fault::new(Code::LOGIN_FAILED, what, "tell whoever runs the server")
    };
    let target = Target::parse(url).map_err(|_| unusable())?;
    courier::check_is_private(&target)?;
    let state = target.url.query_pairs().find(|(key, _)| key == "state");
    state.map(|(_, state)| state.into_owned()).ok_or_else(unusable)
}

/// The address that a browser was sent to.
struct Callback {
    state: String,
    /// What brings the token, or why there is none.
    code: Result<String, Fault>,
    issuer: Option<String>,
}

impl Callback {
    fn read(address: &str) -> Result<Self, Fault> {
        let none = || {
            let what = "that is not the address that the browser was sent to";
            Fault::new(Code::REQUEST_INVALID, what, "copy all of it, from `http` to the end")
        };
        if address.len() > CALLBACK_BYTES_MAX {
            return Err(none());
        }
        let url = Url::parse(address.trim()).map_err(|_| none())?;
        let part = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        let code = match (part("code"), part("error")) {
            (Some(code), None) => Ok(code),
            (_, Some(error)) => {
                let why = part("error_description").map(|why| format!(": {why}")).unwrap_or_default();
                let what = format!("the login was refused there ({})", short(&plain(&format!("{error}{why}"))));
                Err(Fault::new(Code::LOGIN_FAILED, what, "begin it again once that is settled: `are mcp login`"))
            }
            (None, None) => return Err(none()),
        };
        Ok(Self { state: part("state").ok_or_else(none)?, code, issuer: part("iss") })
    }
}

fn slow() -> Fault {
    let what = "the server or the place to log in at did not answer in time";
    Fault::new(Code::LOGIN_FAILED, what, "try again later").retryable()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_that_a_browser_was_sent_to_is_read_or_refused_without_being_repeated() {
        let read = Callback::read(" http://127.0.0.1:1/callback?code=a%20b&state=s&iss=https%3A%2F%2Flogin.example\n");
        let read = read.expect("an address");
        assert_eq!((read.state.as_str(), read.code.expect("a code")), ("s", "a b".to_owned()));
        assert_eq!(read.issuer.as_deref(), Some("https://login.example"));
        let refused = Callback::read("http://127.0.0.1:1/?error=access_denied&error_description=no%1b[2J&state=s");
        let fault = refused.expect("an address").code.expect_err("refused");
        assert!(fault.message.contains("access_denied") && !fault.message.contains('\u{1b}'), "{fault}");
        let long = format!("http://127.0.0.1/?state=s&code={}", "x".repeat(CALLBACK_BYTES_MAX));
        for wrong in ["", "code=hush&state=s", "http://127.0.0.1/", "http://127.0.0.1/?code=hush", &long] {
            let fault = Callback::read(wrong).err().expect(wrong);
            assert!(fault.code == Code::REQUEST_INVALID && !fault.message.contains("hush"), "{fault}");
        }
    }

    #[test]
    fn a_wish_names_a_private_place_to_return_to_and_scopes_that_are_some() {
        let wish = |redirect_uri: &str, scopes: &[&str]| LoginWish {
            name: "far".to_owned(),
            server: None,
            redirect_uri: redirect_uri.to_owned(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            client: None,
        };
        for right in
            ["http://127.0.0.1:4711/callback", "http://localhost:1/", "http://[::1]:1/", "https://example.com/x"]
        {
            assert_eq!(check(&wish(right, &["read", "files:write"])), Ok(()), "{right}");
        }
        for wrong in ["", "http://example.com/", "ftp://127.0.0.1/", "http://127.0.0.1@example.com/", "127.0.0.1"] {
            assert_eq!(check(&wish(wrong, &[])).expect_err(wrong).code, Code::REQUEST_INVALID);
        }
        for wrong in ["", "a b", "a\"b", "\u{e9}", "a\nb"] {
            assert!(check(&wish("http://127.0.0.1:1/", &[wrong])).is_err(), "{wrong:?}");
        }
    }
}
