//! The one place that spawns: every task has a name and is awaited at shutdown.

use std::future::Future;
use std::time::Duration;

use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

/// The server's tasks.
#[derive(Debug, Clone, Default)]
pub(super) struct Tasks(TaskTracker);

impl Tasks {
    /// Runs `task` until it ends.
    pub(super) fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        // PERF: a span is only worth its memory (one per idle socket) where somebody looks at it.
        if tracing::enabled!(tracing::Level::DEBUG) {
            self.0.spawn(task.instrument(tracing::debug_span!("task", name)));
        } else {
            self.0.spawn(task);
        }
    }

    /// Waits for all tasks; returns how many were left after `patience`.
    pub(super) async fn finish(&self, patience: Duration) -> usize {
        self.0.close();
        match tokio::time::timeout(patience, self.0.wait()).await {
            Ok(()) => 0,
            Err(_) => self.0.len(),
        }
    }
}
