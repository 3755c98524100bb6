//! The log that a stranger can verify: records as leaves, a tree over them,
//! signed statements about the tree, and what checks all of it.
//!
//! [`keeper`] grows the tree behind the journal and signs checkpoints; [`live`]
//! checks a store, [`offline`] a file of lines, both by [`checker`]. Keys and
//! notes are C2SP signed notes, checkpoints C2SP checkpoints, proofs of
//! inclusion C2SP `tlog-proof`. The hashing is that of `tlog_tiles`.
//!
//! Nothing here decides anything, and nothing waits for it: without it the
//! journal is the same, only unsigned.

pub mod checker;
mod frames;
pub mod keeper;
pub mod key;
pub mod live;
pub mod note;
pub mod offline;
pub mod proof;

pub use checker::{Bad, Report};
pub use keeper::Auditor;
pub use key::{Key, VerifierKeys};
