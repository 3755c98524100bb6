//! For whom a token may speak beside its owner: fixed when it is made, never widened.

use std::collections::BTreeSet;
use std::fmt;

use are_core::error::{Code, Fault};
use are_core::ids::{AccountId, GroupName};

use crate::server::problem::invalid;

/// Groups and accounts that one token may speak for.
const SPEAKS_FOR_MAX: usize = 64;

/// Groups and single accounts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::server) struct Reach {
    groups: BTreeSet<GroupName>,
    accounts: BTreeSet<AccountId>,
}

impl Reach {
    /// Of these.
    ///
    /// # Errors
    /// There are too many.
    pub(in crate::server) fn new(
        groups: impl IntoIterator<Item = GroupName>,
        accounts: impl IntoIterator<Item = AccountId>,
    ) -> Result<Self, Fault> {
        let reach = Self { groups: groups.into_iter().collect(), accounts: accounts.into_iter().collect() };
        if reach.groups.len() + reach.accounts.len() > SPEAKS_FOR_MAX {
            let message = format!("a token can speak for {SPEAKS_FOR_MAX} groups and accounts");
            return Err(Fault::new(Code::ACCOUNT_LIMIT, message, "put the accounts into a group"));
        }
        Ok(reach)
    }

    /// As stored. What is not understood, from a newer version, reaches nobody.
    pub(super) fn parse(text: &str) -> Self {
        let mut reach = Self::default();
        for one in text.split(',') {
            match one.split_once(':') {
                Some(("group", name)) => reach.groups.extend(name.parse::<GroupName>()),
                Some(("account", name)) => reach.accounts.extend(name.parse::<AccountId>()),
                _ => {}
            }
        }
        reach
    }

    /// True when it reaches nobody.
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.accounts.is_empty()
    }

    /// True for an account that is named, or in a group that is.
    pub(super) fn covers(&self, account: &AccountId, groups: &[GroupName]) -> bool {
        self.accounts.contains(account) || groups.iter().any(|group| self.groups.contains(group))
    }

    /// Refuses what is not named here: whom the groups hold is another day's matter.
    pub(super) fn contains(&self, other: &Self) -> Result<(), Fault> {
        if other.groups.is_subset(&self.groups) && other.accounts.is_subset(&self.accounts) {
            return Ok(());
        }
        Err(invalid("this token may not speak for all of them", "name groups and accounts of its own list"))
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = self.groups.iter().map(|group| format!("group:{group}"));
        let accounts = self.accounts.iter().map(|account| format!("account:{account}"));
        f.write_str(&groups.chain(accounts).collect::<Vec<_>>().join(","))
    }
}
