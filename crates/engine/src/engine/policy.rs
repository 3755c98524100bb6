//! The rules in force, and how others take their place while the engine runs.
//!
//! One change at a time: it is recorded in the system session first, with the
//! object that decisions will name, and then holds from the next decision on.
//! Rules that cannot be used change nothing but what is said of them. Reading
//! and writing files is the caller's, who passes finished rules in.

use std::sync::{Arc, Mutex, PoisonError};

use are_core::BoxFuture;
use are_core::body::Body;
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::{AccountId, ApprovalNo, SessionKey};
use are_core::store::Change;
use are_policy::rules::{Profile, Rules};
use tokio::sync::watch;

use super::{Engine, Inner};
use crate::machine;

/// Writes one rule beside the others and reads them all.
pub type RuleKeeper = Arc<dyn Fn(String) -> BoxFuture<'static, Result<Rules, Fault>> + Send + Sync>;

/// What is in force, and what is not.
#[derive(Debug, Clone)]
pub struct PolicyStanding {
    /// The profile.
    pub profile: Profile,
    /// Digest of the rules in force.
    pub digest: Digest,
    /// Rule files in force.
    pub files: usize,
    /// True when `allow_always` can keep rules.
    pub keeps_rules: bool,
    /// Why the files as they are now are not in force.
    pub refused: Option<Fault>,
}

/// Changes of the rules, one after the other.
pub(crate) struct Keeper {
    turn: tokio::sync::Mutex<()>,
    refused: Mutex<Option<Fault>>,
    changed: watch::Sender<()>,
}

impl Default for Keeper {
    fn default() -> Self {
        Self { turn: tokio::sync::Mutex::default(), refused: Mutex::default(), changed: watch::Sender::new(()) }
    }
}

impl Keeper {
    /// Sees every change from here on.
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Wakes whoever waits for a decision to be made anew.
    pub(crate) fn tell(&self) {
        self.changed.send_replace(());
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, Option<Fault>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Takes rules that were read from files; false when they are those in force.
    ///
    /// # Errors
    /// The change could not be recorded, so that it does not hold.
    pub async fn set_rules(&self, rules: Rules) -> Result<bool, Fault> {
        let _one = self.inner.policy.turn.lock().await;
        self.inner.swap(rules, &self.inner.operator, None).await
    }

    /// Says that the files hold no usable rules; those in force stay. Recorded once for each reason.
    ///
    /// # Errors
    /// It could not be recorded.
    pub async fn refuse_rules(&self, fault: Fault) -> Result<(), Fault> {
        let inner = &self.inner;
        let _one = inner.policy.turn.lock().await;
        if inner.policy.refused().as_ref() == Some(&fault) {
            return Ok(());
        }
        let payload = machine::failure(&fault, machine::system_label(), None);
        let body = Body::PolicyRefused { policy: inner.rules.load().digest() };
        *inner.policy.refused() = Some(fault);
        inner.system.append(inner.operator.clone(), body, Some(payload), Vec::new()).await
    }

    /// What is in force, and what is not.
    #[must_use]
    pub fn policy(&self) -> PolicyStanding {
        let rules = self.inner.rules.load();
        PolicyStanding {
            profile: rules.profile(),
            digest: rules.digest(),
            files: rules.files().count(),
            keeps_rules: self.inner.settings.rule_keeper.is_some(),
            refused: self.inner.policy.refused().clone(),
        }
    }
}

impl Inner {
    /// Keeps the rule of an `allow_always` and puts it in force; the digest of the rules with it.
    pub(crate) async fn keep_rule(
        &self,
        rule: String,
        by: &AccountId,
        session: SessionKey,
        approval: ApprovalNo,
    ) -> Result<Digest, Fault> {
        let Some(keeper) = &self.settings.rule_keeper else { return Err(not_offered()) };
        let _one = self.policy.turn.lock().await;
        let rules = keeper(rule).await?;
        let digest = rules.digest();
        self.swap(rules, by, Some((session, approval))).await?;
        Ok(digest)
    }

    async fn swap(
        &self,
        rules: Rules,
        by: &AccountId,
        answer: Option<(SessionKey, ApprovalNo)>,
    ) -> Result<bool, Fault> {
        let (old, new) = (self.rules.load().digest(), rules.digest());
        if old != new {
            let source = if answer.is_some() { "approval" } else { "files" }.to_owned();
            let (answered_in, approval) = answer.unzip();
            let body = Body::PolicyChanged { old, new, source, answered_in, approval };
            let object = Change::PutObject(new, rules.object().to_vec());
            self.system.append(by.clone(), body, None, vec![object]).await?;
            self.remember_objects(std::iter::once(new));
            self.rules.store(Arc::new(rules));
            tracing::info!(%old, %new, account = %by, "other rules are in force");
        }
        *self.policy.refused() = None;
        if old != new {
            self.policy.tell();
        }
        Ok(old != new)
    }
}

/// `allow_always` where no rule was shown.
pub(crate) fn not_offered() -> Fault {
    Fault::new(
        Code::RULE_NOT_KEPT,
        "`allow_always` was not offered for this approval",
        "answer `allow_once` or `allow_session`; `are doctor` says whether rules can be kept here",
    )
}
