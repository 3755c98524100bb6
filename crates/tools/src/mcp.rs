//! Servers of tools that are reached by the Model Context Protocol.
//!
//! What a server declares is a stranger's word. It is served only after a
//! person saw it and consented to exactly that: the file `NAME.mcp` of the
//! folder of tools holds how the server is started or reached, and of each tool
//! the declaration with its digest. A model reads the consented words, never
//! others; a tool that the server declares otherwise is not served any more.
//!
//! A server is started or reached at its first use, once for all sessions, and
//! let go when nobody has used it for a while. A local one runs in the cage,
//! without a network and with a directory of its own; a remote one is reached
//! through the one HTTP client of all tools.
//!
//! SOURCE: Model Context Protocol, revision 2025-11-25.

mod call;
mod consent;
mod content;
mod declared;
mod filled;
mod handler;
mod hints;
mod import;
mod lines;
mod link;
mod loader;
mod login;
mod masked;
mod network;
mod noted;
mod remote;
mod runtime;
mod server;
mod spec;
mod stdio;
mod wire;

pub(crate) use self::consent::Consent;
pub(crate) use self::loader::Consented;
pub(crate) use self::runtime::{Runtime, nonce};
pub(crate) use self::server::Standing;
pub(crate) use self::spec::{Spec, check_name};

/// Ending of the files that hold what was consented to.
pub(crate) const ENDING: &str = "mcp";
