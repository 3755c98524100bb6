//! The secrets of all accounts, sealed at rest, and what is known of them in memory.
//!
//! Each secret is sealed by a data key, and each data key by the master key,
//! which is never in the store. A seal binds whose secret it is, its name, the
//! key's id and where it may go, so that rows that somebody edits or exchanges
//! do not open. Without the master key everything else works; nothing is
//! written over until it is back.
//!
//! Values are opened when a session of the account begins, to be taken out of
//! its texts, and for each use. What was deleted or replaced stays known until
//! the process ends: answers that hold it may still be on their way.

mod master;
mod seal;
mod vault;

pub use master::{Master, MasterKeeper, MasterKey};
pub(crate) use vault::Vault;
