//! Whether the store can still be trusted, known to all its threads.

use are_core::BoxFuture;
use are_core::store::StoreError;
use tokio::sync::watch;

/// Failed or not; once failed, for good.
#[derive(Debug)]
pub(super) struct Health {
    reason: watch::Sender<Option<String>>,
}

impl Health {
    pub(super) fn new() -> Self {
        Self { reason: watch::Sender::new(None) }
    }

    /// The store has failed; the first reason is kept.
    pub(super) fn fail(&self, reason: String) -> StoreError {
        let is_first = self.reason.send_if_modified(|current| {
            let is_first = current.is_none();
            current.get_or_insert_with(|| reason.clone());
            is_first
        });
        if is_first {
            tracing::error!(%reason, "the store failed; nothing more is written");
        }
        StoreError::Failed(reason)
    }

    /// The reason of the failure as an error.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        match self.reason.borrow().as_ref() {
            Some(reason) => Err(StoreError::Failed(reason.clone())),
            None => Ok(()),
        }
    }

    /// What a caller hears when the thread that should answer is gone.
    pub(super) fn gone(&self) -> StoreError {
        self.check().err().unwrap_or_else(|| StoreError::Failed("the store is closed".to_owned()))
    }

    /// Resolves with the reason of the failure, or never.
    pub(super) fn failed(&self) -> BoxFuture<'static, String> {
        let mut reason = self.reason.subscribe();
        Box::pin(async move {
            if let Ok(found) = reason.wait_for(Option::is_some).await
                && let Some(found) = found.as_ref()
            {
                return found.clone();
            }
            // The store is gone without having failed.
            std::future::pending().await
        })
    }
}
