//! What the doors and the keeper of the log have recorded in the system session:
//! who was let in and who was not, and which key signs.

use std::sync::PoisonError;

use are_core::account::Via;
use are_core::body::Body;
use are_core::error::{Code, Fault};
use are_core::ids::AccountId;
use are_core::journal::Draft;
use are_core::payload::Payload;

use super::Engine;
use crate::api::Caller;

/// An account that was let in, several times told as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// The account.
    pub account: AccountId,
    /// By whose token, where that is another account's.
    pub via: Option<Via>,
    /// `local` or `network`.
    pub door: &'static str,
    /// Public id of its token.
    pub token: Option<String>,
    /// How often.
    pub times: u64,
}

/// Refusals for one reason, told as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The reason.
    pub code: Code,
    /// How often.
    pub times: u64,
    /// The first, in milliseconds since 1970.
    pub since_ms: u64,
    /// Where they came from, as far as it is told.
    pub addresses: Vec<String>,
    /// How many more places there were.
    pub more: u64,
}

impl Engine {
    /// The last key that the journal names to verify checkpoints with.
    #[must_use]
    pub fn signing_key(&self) -> Option<String> {
        self.inner.system.signing_key.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records a key that this process made.
    ///
    /// # Errors
    /// It could not be recorded.
    pub async fn note_signing_key(&self, vkey: String, lost: Option<String>) -> Result<(), Fault> {
        let body = Body::SigningKeyMade { vkey: vkey.clone(), lost };
        self.inner.system.append(self.inner.operator.clone(), body, None, Vec::new()).await?;
        self.knows(vkey);
        Ok(())
    }

    /// Records that another key signs from here on.
    ///
    /// # Errors
    /// It could not be recorded: the old one stays.
    pub async fn rotate_signing_key(&self, caller: &Caller, old: String, new: String) -> Result<(), Fault> {
        let body = Body::SigningKeyRotated { old, new: new.clone() };
        self.inner.system.append_for(caller, body, None, Vec::new()).await?;
        self.knows(new);
        Ok(())
    }

    /// Records who was let in and who was not; the caller folds what happens often.
    ///
    /// # Errors
    /// It could not be recorded.
    pub async fn note_access(&self, let_in: Vec<SignedIn>, refused: Vec<Refused>) -> Result<(), Fault> {
        let system = &self.inner.system;
        for SignedIn { account, via, door, token, times } in let_in {
            let body = Body::SignedIn { door: door.to_owned(), token, times };
            system.append_all((account, via), vec![Draft { turn: None, body, payload: None }], Vec::new()).await?;
        }
        let draft = |Refused { code, times, since_ms, addresses, more }| Draft {
            turn: None,
            body: Body::AccessRefused { code, times, since_ms },
            payload: Some(Payload::Clients { addresses, more }),
        };
        let drafts: Vec<Draft> = refused.into_iter().map(draft).collect();
        if drafts.is_empty() {
            return Ok(());
        }
        system.append_all((self.inner.operator.clone(), None), drafts, Vec::new()).await
    }

    fn knows(&self, vkey: String) {
        *self.inner.system.signing_key.lock().unwrap_or_else(PoisonError::into_inner) = Some(vkey);
    }
}
