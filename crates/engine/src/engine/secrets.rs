//! What clients do with secrets, and how calls come by their values.
//!
//! A change is recorded in the system session together with the row that it
//! seals; a use is recorded there, durably, before the value is given. Records
//! name a secret and its key, never a value or a digest of one.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use are_core::BoxFuture;
use are_core::account::Via;
use are_core::body::Body;
use are_core::error::{Code, Fault};
use are_core::ids::{AccountId, CallNo, SecretName, SessionKey};
use are_core::journal::Draft;
use are_core::store::Change;
use are_policy::logins::LoginKeeper;
use are_policy::secrets::{BoundTo, Purpose, Secrets, Value};
use futures_util::FutureExt as _;
use zeroize::Zeroizing;

use super::{Engine, Inner};
use crate::api::Caller;
use crate::faults;
use crate::secrets::MasterKey;

/// A secret as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretView {
    /// Its name.
    pub name: String,
    /// Where it may go.
    pub bound_to: BoundTo,
    /// Id of the key that seals it.
    pub key: String,
    /// False while the key is missing.
    pub is_readable: bool,
    /// When it was first set, milliseconds since 1970.
    pub created_at_ms: u64,
    /// When it was last set, milliseconds since 1970.
    pub updated_at_ms: u64,
}

/// What sealing all secrets anew came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// Id of the data key that seals them.
    pub key: String,
    /// Id of the master key that seals that one.
    pub master: String,
    /// Secrets that were sealed anew, of all accounts.
    pub secrets: usize,
    /// Secrets that do not open, and stay under their old key.
    pub left: usize,
}

impl Engine {
    /// The caller's secrets, by name, without their values.
    #[must_use]
    pub fn secrets(&self, caller: &Caller) -> Vec<SecretView> {
        let rows = self.inner.vault.list(&caller.account);
        let view = |(row, is_readable): (are_core::store::SealedRow, bool)| SecretView {
            name: row.name,
            bound_to: serde_json::from_str(&row.bound_to).unwrap_or_default(),
            key: row.key,
            is_readable,
            created_at_ms: row.created_at_ms,
            updated_at_ms: row.updated_at_ms,
        };
        rows.into_iter().map(view).collect()
    }

    /// Sets a secret of the caller's account, anew or in place of the one of that name. Makes the master key where
    /// there never was one.
    ///
    /// # Errors
    /// ARE-0806 too short, too long or too many, ARE-0803 the keys are not there, the store failed.
    pub async fn set_secret(
        &self,
        caller: &Caller,
        name: SecretName,
        value: Zeroizing<String>,
        bound_to: BoundTo,
    ) -> Result<(), Fault> {
        self.inner.set_secret((caller.account.clone(), caller.via.clone()), name, value, bound_to).await
    }

    /// Deletes a secret of the caller's account.
    ///
    /// # Errors
    /// ARE-0802 when there is none of that name, the store failed.
    pub async fn delete_secret(&self, caller: &Caller, name: SecretName) -> Result<(), Fault> {
        self.inner.delete_secret((caller.account.clone(), caller.via.clone()), name).await
    }

    /// Seals the secrets of all accounts by a new data key under the master key in use; with `has_new_master` under
    /// a new master key, where this process keeps it. Whenever it is cut short, every secret still opens.
    ///
    /// # Errors
    /// ARE-0803 the keys are not there, or the master key cannot be changed from here; the store failed.
    pub async fn rotate_secrets(&self, caller: &Caller, has_new_master: bool) -> Result<Rotated, Fault> {
        let inner = &self.inner;
        let _one = inner.vault.turn.lock().await;
        // A new master key beside secrets that none opens would only hide the one that is missing.
        if let Some(fault) = inner.vault.closed() {
            return Err(fault);
        }
        if has_new_master || inner.vault.needs_master() {
            inner.new_master().await?;
        }
        let (now_ms, clock) = (inner.ports.clock.now_ms(), &inner.ports.clock);
        let resealing = inner.vault.resealing(now_ms, || clock.random())?;
        let appends = resealing.appends();
        let last = appends.len() - 1;
        for (index, (rows, changes)) in appends.into_iter().enumerate() {
            let gone = if index == last { resealing.gone.clone() } else { Vec::new() };
            let body = Body::SecretKeyChanged {
                gone: gone.clone(),
                key: resealing.key.clone(),
                master: resealing.master.clone(),
            };
            inner.system.append_for(caller, body, None, changes).await?;
            inner.vault.take_in_resealed(rows);
            inner.vault.drop_keys(&gone);
        }
        // Nothing is sealed by the older ones any more; the file, where there is one, need not hold them.
        if resealing.left == 0 {
            self.keep_master_alone().await;
        }
        Ok(Rotated {
            key: resealing.key.clone(),
            master: resealing.master.clone(),
            secrets: resealing.count(),
            left: resealing.left,
        })
    }

    /// The operator's own secrets, for what the process that runs the engine starts by itself, such as a server of
    /// tools, with the logins at such. Whoever holds them keeps no engine alive.
    #[must_use]
    pub fn operator_secrets(&self) -> Arc<dyn LoginKeeper> {
        Arc::new(OfOperator(Arc::downgrade(&self.inner)))
    }

    async fn keep_master_alone(&self) {
        let vault = &self.inner.vault;
        let (keys, Some(keeper)) = (vault.master_alone(), vault.keeper()) else { return };
        match keeper(keys.clone()).await {
            Ok(()) => vault.set_master(keys),
            Err(fault) => tracing::warn!(%fault, "older master keys stay beside the one in use"),
        }
    }
}

/// The secrets that one call was decided with.
pub(crate) struct OfCall {
    pub(crate) inner: Arc<Inner>,
    pub(crate) account: AccountId,
    pub(crate) call: (SessionKey, CallNo),
    /// `None` for what the runtime starts by itself.
    pub(crate) named: Option<BTreeSet<SecretName>>,
}

impl Secrets for OfCall {
    fn reveal<'a>(&'a self, name: &'a SecretName, purpose: Purpose<'a>) -> BoxFuture<'a, Result<Value, Fault>> {
        async move {
            // SECURITY: what was decided, shown and recorded named these secrets, and a lane gets no other.
            if self.named.as_ref().is_some_and(|named| !named.contains(name)) {
                let help = "write `${secret:NAME}` in the arguments of the call, so that it is decided about";
                let message = format!("the call was not decided with the secret `{name}`");
                return Err(Fault::new(Code::SECRET_BOUND, message, help));
            }
            let opened = self.inner.vault.open(&self.account, name)?;
            opened.bound_to.check(name, purpose)?;
            let (session, call) = self.call;
            let body =
                Body::SecretUsed { name: name.clone(), purpose: purpose.as_str().to_owned(), used_in: session, call };
            self.inner.system.append(self.account.clone(), body, None, Vec::new()).await?;
            Ok(Value::new(opened.value))
        }
        .boxed()
    }
}

/// What the operator's own processes may be given.
pub(super) struct OfOperator(pub(super) Weak<Inner>);

impl Secrets for OfOperator {
    fn reveal<'a>(&'a self, name: &'a SecretName, purpose: Purpose<'a>) -> BoxFuture<'a, Result<Value, Fault>> {
        async move {
            let Some(inner) = self.0.upgrade() else { return Err(faults::stopping()) };
            let account = inner.operator.clone();
            OfCall { inner, account, call: (SessionKey::SYSTEM, 0), named: None }.reveal(name, purpose).await
        }
        .boxed()
    }
}

/// Who changes a secret: the account that it is of, and by whose token.
type Who = (AccountId, Option<Via>);

impl Inner {
    /// Sets a secret, anew or in place of the one of that name; makes the master key where there never was one.
    pub(super) async fn set_secret(
        &self,
        who: Who,
        name: SecretName,
        value: Zeroizing<String>,
        bound_to: BoundTo,
    ) -> Result<(), Fault> {
        let _one = self.vault.turn.lock().await;
        self.vault.admit(&who.0, &name, &value)?;
        if self.vault.needs_master() {
            self.new_master().await?;
        }
        let (now_ms, clock) = (self.ports.clock.now_ms(), &self.ports.clock);
        let rows = self.vault.sealed((&who.0, &name), &value, &bound_to, now_ms, || clock.random())?;
        let key = rows.last().map(|row| row.key.clone()).unwrap_or_default();
        let changes = rows.iter().cloned().map(Change::PutSealed).collect();
        self.record_secret(who, Body::SecretSet { name, key }, changes).await?;
        self.vault.take_in(rows);
        Ok(())
    }

    pub(super) async fn delete_secret(&self, who: Who, name: SecretName) -> Result<(), Fault> {
        let _one = self.vault.turn.lock().await;
        let (account, own) = (who.0.clone(), self.vault.list(&who.0));
        if !own.iter().any(|(row, _)| row.name == name.as_str()) {
            // The same for another account's as for what nobody has.
            let help = "`are secret list` shows those there are";
            return Err(Fault::new(Code::SECRET_UNKNOWN, "there is no such secret", help));
        }
        let change = Change::DropSealed(Some(account.clone()), name.to_string());
        self.record_secret(who, Body::SecretDeleted { name: name.clone() }, vec![change]).await?;
        self.vault.forget(&account, &[name]);
        Ok(())
    }

    async fn record_secret(&self, who: Who, body: Body, changes: Vec<Change>) -> Result<(), Fault> {
        self.system.append_all(who, vec![Draft { turn: None, body, payload: None }], changes).await
    }

    /// Makes a master key and keeps it before the others, durably, before anything is sealed by it.
    async fn new_master(&self) -> Result<(), Fault> {
        let key = MasterKey::new(Zeroizing::new(self.ports.clock.random()));
        let (keys, keeper) = self.vault.with_master(key)?;
        keeper(keys.clone()).await?;
        self.vault.set_master(keys);
        Ok(())
    }

    /// Drops all secrets of an account: the changes to append, and the names to forget afterwards.
    pub(super) fn dropped_secrets(&self, account: &AccountId) -> (Vec<Change>, Vec<SecretName>) {
        let names: Vec<SecretName> =
            self.vault.list(account).into_iter().filter_map(|(row, _)| row.name.parse().ok()).collect();
        let drop = |name: &SecretName| Change::DropSealed(Some(account.clone()), name.to_string());
        (names.iter().map(drop).collect(), names)
    }
}
