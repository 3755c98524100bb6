//! Logins at servers on a network, by OAuth as the protocol has it.
//!
//! A person agrees in their browser; what that brings is kept with the
//! operator's secrets: the token, bound to the server's host, and what renews
//! it, bound to the host that gave it. A token is given to one connection at a
//! time, on record, and renewed when it is about to end or is not taken any
//! more, once for all who wait. Every step goes through the one HTTP client.
//!
//! What the server said of a login last is remembered: the next one asks for
//! what it said.
//!
//! SOURCE: Model Context Protocol, revision 2025-11-25, "Authorization"; the
//! steps are those of `rmcp::transport::auth`.

mod begin;
mod courier;
mod store;
mod told;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use are_core::error::{Code, Fault};
use are_policy::address::Target;
use are_policy::logins::{LoginKeeper, LoginNames};
use are_policy::secrets::{Purpose, Value};
use rmcp::transport::AuthorizationManager;
use tokio::sync::SetOnce;
use tokio::time::{Duration, Instant, timeout};

use self::begin::Pending;
use self::courier::Courier;
use self::store::{Brought, Store, read_grant};
use super::noted::Challenge;
use super::spec::{Remote, invalid};
use crate::http::Http;

pub(super) use self::told::{named, needed, short_of};

/// How long finding out may take what renewing needs.
const RENEW_TIME: Duration = Duration::from_secs(60);
/// A token that ends in less is renewed before it is used.
const SPARE_TIME: Duration = Duration::from_secs(30);
/// Logins that are remembered although nobody uses them at the moment.
const REMEMBERED_MAX: usize = 512;
/// Bytes of what a server says about a login that are remembered.
const CHALLENGE_BYTES_MAX: usize = 2 << 10;
/// Name of the header that a token is sent in.
pub(super) const AUTHORIZATION: &str = "authorization";

/// Who keeps logins, once it is there.
pub(super) type Keeper = Arc<SetOnce<Arc<dyn LoginKeeper>>>;

/// All logins.
pub(super) struct Logins {
    http: Arc<Http>,
    keeper: Keeper,
    /// By name and address of the server.
    all: Mutex<BTreeMap<(String, String), Arc<Login>>>,
    /// Those that wait for a person, by name of the server.
    pending: Mutex<BTreeMap<String, Pending>>,
}

impl Logins {
    pub(super) fn new(http: Arc<Http>, keeper: Keeper) -> Self {
        Self { http, keeper, all: Mutex::default(), pending: Mutex::default() }
    }

    /// The login at a server, whether there is one or not. One that is sent a header of the same kind has none.
    pub(super) fn at(&self, server: &str, remote: &Remote) -> Result<Option<Arc<Login>>, Fault> {
        if remote.headers.keys().any(|name| name.eq_ignore_ascii_case(AUTHORIZATION)) {
            return Ok(None);
        }
        let mut all = lock(&self.all);
        let key = (server.to_owned(), remote.url.clone());
        if let Some(login) = all.get(&key) {
            return Ok(Some(Arc::clone(login)));
        }
        if all.len() >= REMEMBERED_MAX {
            all.retain(|_, login| Arc::strong_count(login) > 1);
        }
        let login = Arc::new(Login::new(server, remote, (Arc::clone(&self.http), Arc::clone(&self.keeper)))?);
        all.insert(key, Arc::clone(&login));
        Ok(Some(login))
    }

    /// Those at a server, at every address that it was reached at.
    fn of(&self, server: &str) -> Vec<Arc<Login>> {
        lock(&self.all).iter().filter(|((name, _), _)| name == server).map(|(_, login)| Arc::clone(login)).collect()
    }
}

/// A token in use.
#[derive(Clone)]
pub(super) struct Token {
    value: Arc<Value>,
    /// When it is to be renewed; `None` where that is not known.
    renew_at: Option<Instant>,
}

impl Token {
    fn new(value: Value, expires_in: Option<Duration>) -> Self {
        let usable = expires_in.map(usable);
        Self { value: Arc::new(value), renew_at: usable.and_then(|usable| Instant::now().checked_add(usable)) }
    }

    /// The text, for the one place that puts it in.
    pub(super) fn expose(&self) -> &str {
        self.value.expose()
    }
}

/// The login at one server, if there is one.
pub(super) struct Login {
    server: String,
    url: String,
    target: Target,
    names: LoginNames,
    http: Arc<Http>,
    keeper: Keeper,
    /// The token in use. Held by whoever renews it, so that nobody else does.
    token: tokio::sync::Mutex<Option<Token>>,
    /// What the server said of a login last.
    challenge: Mutex<Option<Challenge>>,
}

impl Login {
    fn new(server: &str, remote: &Remote, (http, keeper): (Arc<Http>, Keeper)) -> Result<Self, Fault> {
        let target = Target::parse(&remote.url).map_err(|refusal| invalid(refusal.to_string(), "add it again"))?;
        Ok(Self {
            server: server.to_owned(),
            url: remote.url.clone(),
            target,
            names: LoginNames::of(server, &remote.url)?,
            http,
            keeper,
            token: tokio::sync::Mutex::default(),
            challenge: Mutex::default(),
        })
    }

    async fn keeper(&self) -> &dyn LoginKeeper {
        self.keeper.wait().await.as_ref()
    }

    /// Whether there is one.
    pub(super) fn is_kept(&self) -> bool {
        self.keeper.get().is_some_and(|keeper| keeper.names().contains(&self.names.token))
    }

    /// Takes the token out for a new connection, which is recorded; the value, if there is a login.
    ///
    /// # Errors
    /// As [`Secrets::reveal`](are_policy::secrets::Secrets::reveal).
    pub(super) async fn attach(&self) -> Result<Option<Token>, Fault> {
        let keeper = self.keeper().await;
        let mut held = self.token.lock().await;
        if !keeper.names().contains(&self.names.token) {
            *held = None;
            return Ok(None);
        }
        let value = keeper.reveal(&self.names.token, Purpose::Request(&self.target)).await?;
        // Of one that is in use, it is known when it ends.
        if held.as_ref().is_none_or(|known| known.expose() != value.expose()) {
            *held = Some(Token::new(value, None));
        }
        Ok(held.clone())
    }

    /// The token for the next request; none where nobody is logged in.
    ///
    /// # Errors
    /// It has ended and could not be renewed.
    pub(super) async fn token(self: &Arc<Self>) -> Result<Option<Token>, Fault> {
        let held = self.token.lock().await.clone();
        match held {
            Some(token) if token.renew_at.is_some_and(|at| at <= Instant::now()) => self.renewed(token).await.map(Some),
            other => Ok(other),
        }
    }

    /// Another token in place of one that is not taken any more.
    ///
    /// # Errors
    /// ARE-0544 when only a person can get another one, ARE-0545 when it cannot be had at the moment.
    pub(super) async fn renewed(self: &Arc<Self>, old: Token) -> Result<Token, Fault> {
        // What renews may be good for one use. So once it is sent, what comes back is kept, whoever waits for it.
        let login = Arc::clone(self);
        let renewing = tokio::spawn(async move { login.renew(&old).await });
        renewing.await.map_err(|_| Fault::new(Code::INTERNAL, "renewing a login gave up", "report this as a bug"))?
    }

    async fn renew(&self, old: &Token) -> Result<Token, Fault> {
        let mut held = self.token.lock().await;
        match held.as_ref() {
            None => return Err(needed(&self.server)),
            // Somebody else has done it meanwhile.
            Some(token) if token.expose() != old.expose() => return Ok(token.clone()),
            Some(_) => {}
        }
        let late = || Fault::new(Code::LOGIN_FAILED, "renewing the login took too long", "try again later").retryable();
        let renewing = async {
            let (manager, store) = timeout(RENEW_TIME, Box::pin(self.found())).await.unwrap_or_else(|_| Err(late()))?;
            // From here on what renews may be spent, so this is not given up; the request has a time of its own.
            Box::pin(manager.refresh_token()).await.map_err(|error| store.fault(&error))?;
            store.token().ok_or_else(|| needed(&self.server))
        };
        match renewing.await {
            Ok(token) => {
                *held = Some(token.clone());
                Ok(token)
            }
            Err(fault) => {
                let fault = named(fault, &self.server);
                tracing::warn!(server = self.server, %fault, "a login at a server of tools is not renewed");
                self.keeper().await.failed(&self.server, &fault).await;
                Err(fault)
            }
        }
    }

    /// Finds out again where tokens come from, and takes out what renews, if that was given there.
    async fn found(&self) -> Result<(AuthorizationManager, Store), Fault> {
        let keeper = Arc::clone(self.keeper.wait().await);
        let mut manager = self.manager().await?;
        let found = manager.resolve_metadata().await.map_err(|error| told::of(&error))?;
        let giver = self.giver(&found.metadata.token_endpoint)?;
        manager.set_metadata(found.metadata);
        let Some(grant) = read_grant(keeper.as_ref(), &self.names.grant, &giver).await? else {
            return Err(needed(&self.server));
        };
        let client = grant.client(keeper.as_ref(), &giver).await?;
        let store = Store::new(self.brought(giver, &grant), keeper, Some(grant.credentials()?));
        manager.set_credential_store(store.clone());
        let is_known = manager.initialize_from_store().await.map_err(|error| store.fault(&error))?;
        if !is_known {
            return Err(needed(&self.server));
        }
        manager.configure_client(client).map_err(|error| told::of(&error))?;
        Ok((manager, store))
    }

    async fn manager(&self) -> Result<AuthorizationManager, Fault> {
        let courier = Arc::new(Courier::of(&self.http, &self.target).await?);
        AuthorizationManager::new_with_oauth_http_client(self.url.as_str(), courier)
            .await
            .map_err(|error| told::of(&error))
    }

    /// The place that gives tokens.
    fn giver(&self, token_endpoint: &str) -> Result<Target, Fault> {
        let target = Target::parse(token_endpoint).map_err(|refusal| {
            let what = format!("the server names a place to log in at that cannot be used: {refusal}");
            Fault::new(Code::LOGIN_FAILED, what, "tell whoever runs the server")
        })?;
        courier::check_is_private(&target)?;
        Ok(target)
    }

    fn brought(&self, giver: Target, grant: &store::Grant) -> Brought {
        Brought {
            names: self.names.clone(),
            target: self.target.clone(),
            giver,
            client: grant.client.clone(),
            redirect_uri: grant.redirect_uri.clone(),
        }
    }

    /// The server refuses a request for want of a login, or of one that may do more.
    pub(super) fn challenged(&self, header: &str, is_needed: bool) {
        // One that is longer is not what the protocol means; then it is found out anew.
        let header = if header.len() <= CHALLENGE_BYTES_MAX { header.to_owned() } else { String::new() };
        *lock(&self.challenge) = Some(Challenge { header, is_needed });
    }

    /// What the server said of a login last.
    pub(super) fn challenge(&self) -> Option<Challenge> {
        lock(&self.challenge).clone()
    }

    /// Somebody has logged in: this is what holds from here on.
    fn satisfied(&self) {
        *lock(&self.challenge) = None;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a token is used that lives so long. One that lives shortly is used for half of that, so that it is not
/// renewed for every request.
fn usable(whole: Duration) -> Duration {
    whole.saturating_sub(SPARE_TIME.min(whole / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_a_little_before_it_ends_and_a_short_one_after_half_its_life() {
        let seconds = |whole| usable(Duration::from_secs(whole)).as_secs();
        assert_eq!([3_600, 40, 1, 0].map(seconds), [3_570, 20, 0, 0]);
        let endless = Token::new(Value::new("a token".to_owned().into()), Some(Duration::MAX));
        assert_eq!(endless.renew_at, None, "what never ends need not be renewed");
        assert!(Token::new(Value::new("a token".to_owned().into()), None).renew_at.is_none());
    }
}
