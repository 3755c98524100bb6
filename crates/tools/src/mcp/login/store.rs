//! What a login brings, as two secrets: the token, and all that is needed to have it renewed.
//!
//! Both are kept by one save, what renews first: it may be good for one use,
//! while a token that is out of date is renewed.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use are_core::error::{Code, Fault};
use are_core::ids::SecretName;
use are_policy::address::Target;
use are_policy::logins::{Kept, LoginKeeper, LoginNames};
use are_policy::secrets::{BoundTo, Purpose, Value as Secret};
use rmcp::transport::auth::OAuthClientConfig;
use rmcp::transport::{AuthError, CredentialStore, StoredCredentials};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::Duration;

use super::{Token, lock, told};

/// Version of the format.
const FORMAT: u32 = 1;
/// What is kept of an answer that brings tokens, beside the token itself. Anything else is of no use here.
const KEPT_KEYS: [&str; 4] = ["token_type", "refresh_token", "expires_in", "scope"];
/// Stands for the token where it is not needed.
const NO_TOKEN: &str = "-";

/// Who this program is at the place that gives tokens.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Client {
    pub(super) id: String,
    /// True when a person named it; else it was registered for this login.
    pub(super) is_given: bool,
    /// What it was given there to prove itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) secret: Option<String>,
    /// The stored secret that it proves itself with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) named: Option<SecretName>,
}

impl Client {
    /// As the steps of a login need it.
    pub(super) async fn config(
        &self,
        redirect_uri: &str,
        keeper: &dyn LoginKeeper,
        giver: &Target,
    ) -> Result<OAuthClientConfig, Fault> {
        let mut config = OAuthClientConfig::new(self.id.clone(), redirect_uri);
        if let Some(name) = &self.named {
            config = config.with_client_secret(keeper.reveal(name, Purpose::Request(giver)).await?.expose());
        } else if let Some(secret) = &self.secret {
            config = config.with_client_secret(secret.clone());
        }
        Ok(config)
    }
}

/// What renews a token.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Grant {
    format: u32,
    pub(super) client: Client,
    pub(super) redirect_uri: String,
    /// Without the token.
    credentials: Value,
}

impl Grant {
    pub(super) async fn client(&self, keeper: &dyn LoginKeeper, giver: &Target) -> Result<OAuthClientConfig, Fault> {
        self.client.config(&self.redirect_uri, keeper, giver).await
    }

    pub(super) fn credentials(&self) -> Result<StoredCredentials, Fault> {
        let mut credentials = self.credentials.clone();
        if let Some(Value::Object(response)) = credentials.get_mut("token_response") {
            response.insert("access_token".to_owned(), NO_TOKEN.into());
        }
        serde_json::from_value(credentials).map_err(|_| unreadable())
    }

    /// What the login may do.
    pub(super) fn scopes(&self) -> Vec<String> {
        let scopes = self.credentials["granted_scopes"].as_array().into_iter().flatten();
        scopes.filter_map(|scope| scope.as_str().map(str::to_owned)).collect()
    }
}

/// What renews a token, for the place that gave it; `None` where there is none that was given there.
pub(super) async fn read_grant(
    keeper: &dyn LoginKeeper,
    name: &SecretName,
    giver: &Target,
) -> Result<Option<Grant>, Fault> {
    if !keeper.names().contains(name) {
        return Ok(None);
    }
    let value = match keeper.reveal(name, Purpose::Request(giver)).await {
        Ok(value) => value,
        // SECURITY: the server names another place than the one that the person logged in at.
        Err(fault) if fault.code == Code::SECRET_BOUND => return Ok(None),
        Err(fault) => return Err(fault),
    };
    let grant: Grant = serde_json::from_str(value.expose()).map_err(|_| unreadable())?;
    if grant.format != FORMAT {
        return Err(unreadable());
    }
    Ok(Some(grant))
}

/// Where what a login brings belongs.
pub(super) struct Brought {
    pub(super) names: LoginNames,
    /// The server.
    pub(super) target: Target,
    /// The place that gives tokens.
    pub(super) giver: Target,
    pub(super) client: Client,
    pub(super) redirect_uri: String,
}

/// The credentials of one login, for the steps of it.
#[derive(Clone)]
pub(super) struct Store(Arc<Inner>);

struct Inner {
    brought: Brought,
    keeper: Arc<dyn LoginKeeper>,
    current: Mutex<Option<StoredCredentials>>,
    /// The token that was kept last.
    token: Mutex<Option<Token>>,
    /// Why it was not kept: the steps hand on a text alone.
    fault: Mutex<Option<Fault>>,
}

impl Store {
    pub(super) fn new(brought: Brought, keeper: Arc<dyn LoginKeeper>, current: Option<StoredCredentials>) -> Self {
        let current = Mutex::new(current);
        Self(Arc::new(Inner { brought, keeper, current, token: Mutex::default(), fault: Mutex::default() }))
    }

    /// The token that was kept last.
    pub(super) fn token(&self) -> Option<Token> {
        lock(&self.0.token).clone()
    }

    /// What the login may do, once it is kept.
    pub(super) fn scopes(&self) -> Vec<String> {
        lock(&self.0.current).as_ref().map(|kept| kept.granted_scopes.clone()).unwrap_or_default()
    }

    /// What an error of the steps means.
    pub(super) fn fault(&self, error: &AuthError) -> Fault {
        lock(&self.0.fault).take().unwrap_or_else(|| told::of(error))
    }

    async fn put(&self, credentials: StoredCredentials) -> Result<(), Fault> {
        let Inner { brought, keeper, .. } = self.0.as_ref();
        let kept = Split::of(&credentials)?;
        let grant = Grant {
            format: FORMAT,
            client: brought.client.clone(),
            redirect_uri: brought.redirect_uri.clone(),
            credentials: kept.rest,
        };
        let grant = serde_json::to_string(&grant).map_err(|_| unreadable())?;
        let secrets = vec![
            secret(&brought.names.grant, grant, &brought.giver)?,
            secret(&brought.names.token, kept.token.clone(), &brought.target)?,
        ];
        keeper.keep(secrets).await?;
        *lock(&self.0.token) = Some(Token::new(Secret::new(kept.token.into()), kept.expires_in));
        *lock(&self.0.current) = Some(credentials);
        Ok(())
    }

    async fn drop_all(&self) -> Result<(), Fault> {
        let Inner { brought: Brought { names, .. }, keeper, .. } = self.0.as_ref();
        let there = keeper.names();
        let ours = [&names.token, &names.grant].into_iter().filter(|name| there.contains(name)).cloned().collect();
        keeper.forget(ours).await?;
        *lock(&self.0.current) = None;
        Ok(())
    }

    fn failed(&self, fault: Fault) -> AuthError {
        let error = AuthError::CredentialStoreError(fault.code.to_string());
        *lock(&self.0.fault) = Some(fault);
        error
    }
}

/// A token, and the rest.
struct Split {
    token: String,
    expires_in: Option<Duration>,
    rest: Value,
}

impl Split {
    fn of(credentials: &StoredCredentials) -> Result<Self, Fault> {
        let mut rest = serde_json::to_value(credentials).map_err(|_| unreadable())?;
        let response = rest.get_mut("token_response").and_then(Value::as_object_mut);
        // Nothing but a bearer's token is ever sent.
        let is_bearer = |response: &Map<String, Value>| {
            response.get("token_type").and_then(Value::as_str).is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"))
        };
        let response = response.filter(|response| is_bearer(response)).ok_or_else(no_token)?;
        let Some(Value::String(token)) = response.remove("access_token") else { return Err(no_token()) };
        response.retain(|key, _| KEPT_KEYS.contains(&key.as_str()));
        let expires_in = response.get("expires_in").and_then(Value::as_u64).map(Duration::from_secs);
        Ok(Self { token, expires_in, rest })
    }
}

fn secret(name: &SecretName, value: String, place: &Target) -> Result<Kept, Fault> {
    let host = match (place.url.scheme(), place.port) {
        ("https", 443) => place.host.to_string(),
        (_, port) => format!("{}:{port}", place.host),
    };
    Ok(Kept { name: name.clone(), value: Secret::new(value.into()), bound_to: BoundTo::read(&[host], &[])? })
}

fn no_token() -> Fault {
    let what = "the place to log in at gave no token that can be used";
    Fault::new(Code::LOGIN_FAILED, what, "tell whoever runs the server")
}

fn unreadable() -> Fault {
    Fault::new(Code::LOGIN_FAILED, "what is kept of the login cannot be read", "log in again")
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, AuthError>> + Send + 'a>>;

// The trait is declared by a macro; these are the signatures that it makes.
impl CredentialStore for Store {
    fn load<'s, 'f>(&'s self) -> Boxed<'f, Option<StoredCredentials>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(std::future::ready(Ok(lock(&self.0.current).clone())))
    }

    fn save<'s, 'f>(&'s self, credentials: StoredCredentials) -> Boxed<'f, ()>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move { self.put(credentials).await.map_err(|fault| self.failed(fault)) })
    }

    fn clear<'s, 'f>(&'s self) -> Boxed<'f, ()>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move { self.drop_all().await.map_err(|fault| self.failed(fault)) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn credentials(response: &Value) -> StoredCredentials {
        let whole = json!({
            "client_id": "client", "token_response": response, "granted_scopes": ["read"],
            "token_received_at": 1, "issuer": "https://login.example",
        });
        serde_json::from_value(whole).expect("credentials")
    }

    #[test]
    fn a_token_is_kept_apart_and_nothing_that_is_of_no_use() {
        let response = json!({
            "access_token": "the token", "token_type": "Bearer", "expires_in": 60, "refresh_token": "what renews it",
            "scope": "read", "id_token": "who the person is",
        });
        let split = Split::of(&credentials(&response)).expect("a token");
        assert_eq!((split.token.as_str(), split.expires_in), ("the token", Some(Duration::from_secs(60))));
        let rest = split.rest.to_string();
        assert!(
            rest.contains("what renews it") && !rest.contains("the token") && !rest.contains("who the person"),
            "{rest}"
        );
        let client = Client { id: "client".to_owned(), is_given: false, secret: None, named: None };
        let grant =
            Grant { format: FORMAT, client, redirect_uri: "http://127.0.0.1/".to_owned(), credentials: split.rest };
        assert_eq!(grant.scopes(), ["read"]);
        let again = grant.credentials().expect("credentials");
        let response = serde_json::to_value(again.token_response).expect("JSON");
        assert_eq!(
            (&response["access_token"], &response["refresh_token"]),
            (&json!(NO_TOKEN), &json!("what renews it"))
        );
    }

    #[test]
    fn a_token_that_is_no_bearers_is_refused() {
        for response in [json!(null), json!({"access_token": "the token", "token_type": "mac"})] {
            assert_eq!(Split::of(&credentials(&response)).err().map(|fault| fault.code), Some(Code::LOGIN_FAILED));
        }
    }
}
