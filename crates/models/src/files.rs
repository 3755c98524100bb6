//! Model files: which there are, where they come from, whether one may be opened.
//!
//! Promise: a path that [`locate`] returns names a regular file that is whole.
//! For a listed model that means its size and SHA-256 are the manifest's; for a
//! file of the user's own, that its GGUF header is sound and not cut off. A file
//! is hashed once; afterwards its inode, size and time of change vouch for it.
//! An interrupted [`pull`] leaves nothing under a final name.
//!
//! Not promised: that nobody exchanges the file between the check and its
//! opening. The models directory belongs to the user, as the program does.
//!
//! This module, [`pip`] excepted, is the only one of the crate that touches the
//! file system; [`pip`] alone starts a process.

mod catalog;
mod gguf;
mod host;
mod hub;
mod locate;
mod pip;
mod pull;
pub mod sealed;
mod sink;
pub mod trials;
mod verified;
mod wheel;

pub use catalog::{Catalog, Entry, Mirror};
pub use host::{file_size, memory_available, thread_siblings};
pub use locate::{Installed, Presence, list, locate, remove};
pub use pull::{Progress, Reporter, pull};
