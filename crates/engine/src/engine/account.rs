//! What clients do with what belongs to an account: variables and tokens.

use are_core::body::{Body, Scope};
use are_core::error::{Code, Fault};
use are_core::ids::{SessionKey, VariableName};
use are_core::journal::Draft;
use are_core::label::{Confidentiality, Integrity, Label, Labels};
use are_core::limits::{VARIABLE_BYTES_MAX, VARIABLES_MAX};
use are_core::payload::{Bound, Payload};
use are_core::store::{Change, TokenRow, VariableRow};
use serde_json::Value;

use super::Engine;
use crate::actor::encoded;
use crate::api::Caller;
use crate::faults;

/// A variable about to be set or deleted.
pub(super) struct Setting {
    pub(super) name: VariableName,
    pub(super) value: Option<Bound>,
    pub(super) change: Change,
}

/// Whether `row` is a token that goes or was made with it, or with one that was.
pub(super) fn comes_from(rows: &[TokenRow], row: &TokenRow, goes: impl Fn(&str) -> bool) -> bool {
    let parent = |row: &&TokenRow| rows.iter().find(|other| Some(&other.id) == row.parent.as_ref());
    // Bounded, so that a circle in a store that somebody edited does not hold up the revocation.
    std::iter::successors(Some(row), parent).take(rows.len()).any(|row| goes(&row.id))
}

impl Engine {
    /// The variables of a session (its own first) and of the caller's account.
    ///
    /// # Errors
    /// The session is unknown, the store failed.
    pub async fn variables(&self, caller: &Caller, session: Option<SessionKey>) -> Result<Vec<VariableRow>, Fault> {
        if let Some(key) = session {
            self.owned_row(caller, key).await?;
        }
        self.inner.ports.store.variables(session, caller.account.clone()).await.map_err(faults::store)
    }

    /// Sets or deletes a variable of a session, or of the account when no session is named.
    ///
    /// # Errors
    /// The value is too large, there are too many, the session is unknown.
    pub async fn set_variable(
        &self,
        caller: &Caller,
        session: Option<SessionKey>,
        name: VariableName,
        value: Option<Value>,
    ) -> Result<(), Fault> {
        let scope = if session.is_some() { Scope::Session } else { Scope::Account };
        let value = value.map(|value| self.inner.vault.scrubber(&caller.account).clean_json(value));
        let existing = self.variables(caller, session).await?;
        let of_scope = existing.iter().filter(|row| row.scope == scope);
        let is_new = !of_scope.clone().any(|row| row.name == name);
        let too_long = value.as_ref().is_some_and(|value| value.to_string().len() > VARIABLE_BYTES_MAX);
        if too_long || (value.is_some() && is_new && of_scope.count() >= VARIABLES_MAX) {
            return Err(Fault::new(
                Code::VARIABLE_LIMIT,
                format!("a variable takes {VARIABLE_BYTES_MAX} bytes and there may be {VARIABLES_MAX}"),
                "delete some, or keep large values in files",
            ));
        }
        let label = Label::new(Integrity::User, Confidentiality::Private, "user");
        let bound = value.map(|value| Bound { value, labels: Labels::from([(String::new(), label)]) });
        let stored = bound.as_ref().map(encoded);
        let change = Change::Variable { scope, account: caller.account.clone(), name: name.clone(), value: stored };
        match session {
            Some(key) => self.set_session_variable(caller, key, Setting { name, value: bound, change }).await,
            None => {
                let labels = bound.as_ref().map(|bound| bound.labels.clone()).unwrap_or_default();
                let payload = Payload::Variable { name, value: bound.map(|bound| bound.value), labels };
                let body = Body::VariableSet { scope, call: None };
                self.inner.system.append_for(caller, body, Some(payload), vec![change]).await
            }
        }
    }

    /// All tokens, revoked ones too.
    ///
    /// # Errors
    /// The store failed.
    pub async fn tokens(&self) -> Result<Vec<TokenRow>, Fault> {
        self.inner.ports.store.tokens().await.map_err(faults::store)
    }

    /// Makes a token, in the journal too.
    ///
    /// # Errors
    /// The store failed.
    pub async fn create_token(&self, caller: &Caller, row: TokenRow) -> Result<(), Fault> {
        let scopes = row.scopes.split(',').map(str::to_owned).collect();
        let speaks_for = row.speaks_for.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect();
        let body = Body::TokenCreated {
            token: row.id.clone(),
            owner: row.account.clone(),
            scopes,
            parent: row.parent.clone(),
            speaks_for,
            expires_at_ms: row.expires_at_ms,
        };
        self.inner.system.append_for(caller, body, None, vec![Change::PutToken(row)]).await
    }

    /// Records that a one-time code for the console was made; `token` is what it stands for.
    ///
    /// # Errors
    /// The store failed.
    pub async fn record_login_offered(&self, caller: &Caller, token: Option<String>) -> Result<(), Fault> {
        self.inner.system.append_for(caller, Body::LoginOffered { token }, None, Vec::new()).await
    }

    /// Records that the console was logged in.
    ///
    /// # Errors
    /// The store failed.
    pub async fn record_login_opened(
        &self,
        caller: &Caller,
        login: String,
        token: Option<String>,
    ) -> Result<(), Fault> {
        self.inner.system.append_for(caller, Body::LoginOpened { login, token }, None, Vec::new()).await
    }

    /// Records that it was logged out.
    ///
    /// # Errors
    /// The store failed.
    pub async fn record_login_closed(&self, caller: &Caller, login: String) -> Result<(), Fault> {
        self.inner.system.append_for(caller, Body::LoginClosed { login }, None, Vec::new()).await
    }

    /// Takes scopes from a token, in the journal too; `scopes` are those that stay, comma-separated.
    ///
    /// # Errors
    /// ARE-0801 when there is no such token.
    pub async fn narrow_token(&self, caller: &Caller, id: &str, scopes: String) -> Result<(), Fault> {
        let rows = self.tokens().await?;
        let row = rows.into_iter().find(|row| row.id == id && !row.is_revoked).ok_or_else(faults::unknown_token)?;
        let body = Body::TokenNarrowed { token: id.to_owned(), scopes: scopes.split(',').map(str::to_owned).collect() };
        let change = Change::PutToken(TokenRow { scopes, ..row });
        self.inner.system.append_for(caller, body, None, vec![change]).await
    }

    /// Revokes a token and, with it, all that were made with it.
    ///
    /// # Errors
    /// ARE-0801 when there is no such token.
    pub async fn revoke_token(&self, caller: &Caller, id: &str) -> Result<(), Fault> {
        let rows = self.tokens().await?;
        if !rows.iter().any(|row| row.id == id && !row.is_revoked) {
            return Err(faults::unknown_token());
        }
        let gone = rows.iter().filter(|row| !row.is_revoked && comes_from(&rows, row, |one| one == id));
        let gone: Vec<_> = gone.map(|row| row.id.clone()).collect();
        let body =
            |token: &String| Draft { turn: None, body: Body::TokenRevoked { token: token.clone() }, payload: None };
        let drafts = gone.iter().map(body).collect();
        let changes = gone.into_iter().map(Change::RevokeToken).collect();
        self.inner.system.append_all((caller.account.clone(), caller.via.clone()), drafts, changes).await
    }
}
