//! Accounts as others see them: what one is a member of, and who spoke for it.

use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, GroupName};

/// What an account is a member of at one moment: a decision holds while it stays the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Its groups, sorted, each once.
    pub groups: Vec<GroupName>,
    /// Rises with every change of the account, so that nothing granted before one holds after it.
    pub revision: u64,
}

impl Membership {
    /// True for an account that was never changed and is in no group.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.groups.is_empty() && self.revision == 0
    }
}

/// The token by which another account spoke for this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Via {
    /// Public id of the token.
    pub token: String,
    /// Whose token it is.
    pub account: AccountId,
}
