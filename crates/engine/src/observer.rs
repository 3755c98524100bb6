//! Who looks at what is stored, for figures and traces alone.

use are_core::ids::SessionKey;
use are_core::journal::Entry;

use crate::state::State;

/// Is told of entries once they are stored.
pub trait Observer: Send + Sync {
    /// Entries of one session in their order, each with the bytes of its row, and what the session knows with them.
    /// Called where the session works, so it must not wait for anything.
    fn stored(&self, session: SessionKey, state: &State, entries: &[(usize, Entry)]);
}
