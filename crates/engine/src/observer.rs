//! Who looks at what is stored, for figures alone.

use are_core::ids::SessionKey;
use are_core::journal::Entry;

/// Is told of entries once they are stored.
pub trait Observer: Send + Sync {
    /// Entries of one session in their order, each with the bytes of its row. Called where the session works, so it
    /// must not wait for anything.
    fn stored(&self, session: SessionKey, entries: &[(usize, Entry)]);
}
