//! What every transport to a server is held to, whatever the server does.
//!
//! A server may ask and notify too. What it asks and has not been answered yet
//! is bounded: beyond that nothing more is read from it, so that one that asks
//! without listening waits, and nothing piles up here. One that sends without
//! end, more than any use explains, is cut off.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use are_core::error::{Code, Fault};
use rmcp::model::{JsonRpcMessage, RequestId, ServerJsonRpcMessage, ServerNotification};
use rmcp::service::{RoleClient, RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::handler::Fresh;
use crate::text::{plain, short};

/// Bytes of one message. What a tool returns is cut to less; a list of tools is not longer.
pub(super) const MESSAGE_BYTES_MAX: usize = 8 << 20;
/// Requests of the server that are not answered yet.
const OPEN_MAX: usize = 32;
/// Messages that may come at once.
const BURST_MESSAGES: u64 = 5_000;
/// Messages a second that may come for ever.
const MESSAGES_PER_SECOND: u64 = 1_000;

/// Why a connection ended, where the server is to blame. The first reason counts.
#[derive(Debug, Default)]
pub(super) struct Blame(Mutex<Option<String>>);

impl Blame {
    pub(super) fn put(&self, why: impl Into<String>) {
        self.lock().get_or_insert(why.into());
    }

    pub(super) fn get(&self) -> Option<String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A server that cannot be used as it is.
pub(super) fn broken(why: &str) -> Fault {
    Fault::new(
        Code::SERVER_UNUSABLE,
        format!("the server does not keep to the protocol: {}", short(&plain(why))),
        "tell the user; `are mcp list` shows how it stands",
    )
}

/// A bucket that fills with time and is emptied by what comes.
#[derive(Debug)]
struct Bucket {
    level: u64,
    filled: Instant,
}

impl Bucket {
    fn new() -> Self {
        Self { level: BURST_MESSAGES, filled: Instant::now() }
    }

    /// Takes one; false when there is none.
    fn take(&mut self, now: Instant) -> bool {
        let millis = u64::try_from(now.duration_since(self.filled).as_millis()).unwrap_or(u64::MAX);
        let more = millis.saturating_mul(MESSAGES_PER_SECOND) / 1_000;
        if more > 0 {
            self.level = self.level.saturating_add(more).min(BURST_MESSAGES);
            self.filled = now;
        }
        let has_one = self.level > 0;
        self.level = self.level.saturating_sub(1);
        has_one
    }
}

/// Requests of the server that wait for their answer.
#[derive(Debug, Default)]
struct Open {
    ids: Mutex<HashSet<RequestId>>,
    fewer: Notify,
}

impl Open {
    fn lock(&self) -> MutexGuard<'_, HashSet<RequestId>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self, id: &RequestId) {
        if self.lock().remove(id) {
            self.fewer.notify_waiters();
        }
    }

    /// Waits until one more may be asked. Cancel-safe: nothing is taken by waiting.
    async fn has_room(&self) {
        loop {
            let fewer = self.fewer.notified();
            tokio::pin!(fewer);
            fewer.as_mut().enable();
            if self.lock().len() < OPEN_MAX {
                return;
            }
            fewer.await;
        }
    }
}

/// A transport within bounds.
pub(super) struct Bounded<T> {
    inner: T,
    open: Arc<Open>,
    bucket: Bucket,
    fresh: Arc<Fresh>,
    blame: Arc<Blame>,
}

impl<T> Bounded<T> {
    pub(super) fn new(inner: T, fresh: Arc<Fresh>, blame: Arc<Blame>) -> Self {
        Self { inner, open: Arc::default(), bucket: Bucket::new(), fresh, blame }
    }

    fn note(&self, message: &ServerJsonRpcMessage) {
        match message {
            JsonRpcMessage::Request(request) => {
                self.open.lock().insert(request.id.clone());
            }
            JsonRpcMessage::Notification(notification) => match &notification.notification {
                // What it takes back is not answered any more.
                ServerNotification::CancelledNotification(cancelled) => {
                    if let Some(id) = &cancelled.params.request_id {
                        self.open.remove(id);
                    }
                }
                // Noted before anything that it says afterwards is seen, so that no call goes by what was before.
                ServerNotification::ToolListChangedNotification(_) => {
                    self.fresh.is_stale.store(true, Ordering::Release)
                }
                _ => {}
            },
            JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_) => {}
        }
    }
}

impl<T: Transport<RoleClient>> Transport<RoleClient> for Bounded<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let answered = match &item {
            JsonRpcMessage::Response(response) => Some(response.id.clone()),
            JsonRpcMessage::Error(error) => error.id.clone(),
            JsonRpcMessage::Request(_) | JsonRpcMessage::Notification(_) => None,
        };
        let (sending, open) = (self.inner.send(item), Arc::clone(&self.open));
        async move {
            let sent = sending.await;
            if let Some(id) = answered {
                open.remove(&id);
            }
            sent
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        self.open.has_room().await;
        let message = self.inner.receive().await?;
        if !self.bucket.take(Instant::now()) {
            self.blame.put(format!("it sends more than {MESSAGES_PER_SECOND} messages a second"));
            return None;
        }
        self.note(&message);
        Some(message)
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.inner.close().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_a_burst_and_then_what_time_fills() {
        let mut bucket = Bucket::new();
        let now = bucket.filled;
        assert!((0..BURST_MESSAGES).all(|_| bucket.take(now)));
        assert!(!bucket.take(now));
        let later = now + std::time::Duration::from_millis(10);
        assert_eq!((0..100).filter(|_| bucket.take(later)).count(), 10);
    }
}
