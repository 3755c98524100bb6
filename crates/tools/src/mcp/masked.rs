//! Values that nobody but a server is to see, as they stand at the moment: a login that is renewed brings more of them.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

/// Tokens of a login that are remembered: a server could ask for another one with every request.
const TOKENS_MAX: usize = 8;

/// The values of one connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Masked(Arc<RwLock<Values>>);

#[derive(Debug, Default)]
struct Values {
    given: Vec<String>,
    tokens: VecDeque<String>,
}

impl Masked {
    pub(super) fn new(given: Vec<String>) -> Self {
        Self(Arc::new(RwLock::new(Values { given, tokens: VecDeque::new() })))
    }

    /// One more token. The last ones before it stay: what was said of them can still be on its way.
    pub(super) fn add(&self, token: &str) {
        let mut values = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if values.given.iter().chain(&values.tokens).any(|known| known == token) {
            return;
        }
        if values.tokens.len() >= TOKENS_MAX {
            values.tokens.pop_front();
        }
        values.tokens.push_back(token.to_owned());
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<String> {
        let values = self.0.read().unwrap_or_else(PoisonError::into_inner);
        values.given.iter().chain(&values.tokens).cloned().collect()
    }
}
