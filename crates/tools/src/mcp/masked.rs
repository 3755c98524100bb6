//! Values that nobody but a server is to see, as they stand at the moment: a login that is renewed brings more of them.

use std::sync::{Arc, PoisonError, RwLock};

/// The values of one connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Masked(Arc<RwLock<Vec<String>>>);

impl Masked {
    pub(super) fn new(values: Vec<String>) -> Self {
        Self(Arc::new(RwLock::new(values)))
    }

    /// One more. Those before it stay: what was said of them can still be on its way.
    pub(super) fn add(&self, value: &str) {
        let is_known = self.0.read().unwrap_or_else(PoisonError::into_inner).iter().any(|known| known == value);
        if !is_known {
            self.0.write().unwrap_or_else(PoisonError::into_inner).push(value.to_owned());
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
