//! A room with nothing in it, for guests that are only measured.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use are_core::BoxFuture;
use are_core::clock::Clock;
use are_core::digest::Nonce;
use are_core::error::{Code, Fault};
use are_core::label::{Confidentiality, Integrity, Label};
use are_policy::pauses::Pauses;
use are_policy::secrets::NoSecrets;
use are_policy::tools::{Host, Memories, Memory, ToolOutcome};
use serde_json::Value;
use tokio::time::Instant;

use super::{Latch, Room};

/// A room in which a call has this much time, and nobody answers.
pub(crate) fn room(limit: Duration) -> Room {
    Room {
        workspace: PathBuf::new(),
        variables: Arc::default(),
        label: Label::new(Integrity::Platform, Confidentiality::Public, "bench"),
        deadline: Instant::now() + limit,
        pauses: Pauses::new(Arc::new(Nobody)),
        latch: Arc::new(Latch::default()),
        changes: Arc::default(),
        kept: None,
        output: Arc::new(|_| Box::pin(std::future::ready(()))),
        host: Arc::new(Nobody),
        memories: Arc::new(Nobody),
        artifact_room: 0,
        secrets: Arc::new(NoSecrets),
        environment: Arc::default(),
        work: Arc::default(),
    }
}

/// Answers no call, remembers nothing and never pauses.
pub(crate) struct Nobody;

impl Host for Nobody {
    fn call<'a>(&'a self, tool: &'a str, _: Value) -> BoxFuture<'a, ToolOutcome> {
        let fault = Fault::new(Code::TOOL_UNKNOWN, format!("`{tool}` is not served"), "go on without it");
        let label = Label::new(Integrity::Platform, Confidentiality::Public, "bench");
        Box::pin(std::future::ready(ToolOutcome::Failed { fault, label }))
    }
}

impl Memories for Nobody {
    fn search(&self, _: String, _: usize) -> BoxFuture<'_, Result<Vec<Memory>, Fault>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn count(&self) -> BoxFuture<'_, Result<usize, Fault>> {
        Box::pin(std::future::ready(Ok(0)))
    }
}

impl Clock for Nobody {
    fn now_ms(&self) -> u64 {
        0
    }

    fn sleep(&self, ms: u64) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(Duration::from_millis(ms)))
    }

    fn random(&self) -> Nonce {
        [0; 32]
    }
}
