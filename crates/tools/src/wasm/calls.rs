//! The way of a running component to the runtime: child calls and live output, both counted.
//!
//! Everything a component does to the world goes through here, and from here
//! through the gate as a call of its own. The manifest narrows what is even
//! asked for; whether it is allowed the gate says each time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use are_core::error::{Code, Fault};
use are_core::ids::{SecretName, ToolName};
use are_core::limits::TOOL_OUTPUT_BYTES_MAX;
use are_policy::manifest::{Capabilities, FileAccess};
use are_policy::secrets::{DISCLOSE, Purpose, Secrets, Value as Secret, in_env};
use are_policy::tools::{Host, Output, OutputSink, ToolOutcome};
use serde_json::Value;
use wasmtime_wasi::runtime::spawn;

use crate::lane::{Latch, Room};

/// Further calls of one call. A component that reads a directory of sources makes some hundreds.
const CALLS_MAX: u32 = 1_000;
/// Bytes of output that may wait until somebody takes them.
const WAITING_BYTES_MAX: usize = 64 << 10;
/// Bytes of one piece of output.
const PIECE_BYTES_MAX: usize = 8 << 10;
/// What stands where output was cut off.
const CUT: &str = "\n[the rest of the output is left out]\n";

/// One call's access to the runtime.
pub(super) struct Calls {
    host: Arc<dyn Host>,
    latch: Arc<Latch>,
    left: AtomicU32,
    capabilities: Option<Capabilities>,
    secrets: Arc<dyn Secrets>,
    /// Name of the tool, as secrets are bound to it.
    tool: String,
    sink: OutputSink,
    output: Mutex<Waiting>,
}

struct Waiting {
    pieces: VecDeque<Output>,
    bytes: usize,
    left: usize,
}

impl Calls {
    pub(super) fn new(room: &Room, tool: &ToolName, capabilities: Option<Capabilities>) -> Self {
        Self {
            secrets: Arc::clone(&room.secrets),
            tool: tool.to_string(),
            host: Arc::clone(&room.host),
            latch: Arc::clone(&room.latch),
            left: AtomicU32::new(CALLS_MAX),
            capabilities,
            sink: Arc::clone(&room.output),
            output: Mutex::new(Waiting { pieces: VecDeque::new(), bytes: 0, left: TOOL_OUTPUT_BYTES_MAX }),
        }
    }

    /// What the manifest declares; `None` where it declares nothing and the gate alone decides.
    pub(super) const fn capabilities(&self) -> Option<&Capabilities> {
        self.capabilities.as_ref()
    }

    /// How far files may be asked for.
    pub(super) fn files(&self) -> FileAccess {
        self.capabilities.as_ref().map_or(FileAccess::Write, |declared| declared.fs)
    }

    /// A call that cannot change anything.
    pub(super) async fn ask(&self, tool: &str, args: Value) -> Result<Value, Fault> {
        self.count(tool)?;
        self.make(tool, args).await
    }

    /// A call that may: whoever gives up the calling call from now on does not know what has happened.
    pub(super) async fn act(&self, tool: &str, args: Value) -> Result<Value, Fault> {
        self.count(tool)?;
        self.latch.begin()?;
        self.make(tool, args).await
    }

    /// Makes the call in a task of its own, which ends when nobody waits for it any more.
    ///
    /// INVARIANT: what the host does never runs on a guest's stack. That is small, and code that asks how much stack
    /// is left, as the evaluation of rules does, takes it for an overflow: every decision would be a denial.
    async fn make(&self, tool: &str, args: Value) -> Result<Value, Fault> {
        let (host, tool) = (Arc::clone(&self.host), tool.to_owned());
        answer(spawn(async move { host.call(&tool, args).await }).await)
    }

    /// The value of a secret that the manifest names, after a call that asked for it.
    pub(super) async fn disclose(&self, name: &SecretName) -> Result<Secret, Fault> {
        self.act(DISCLOSE, serde_json::json!({ "name": name })).await?;
        self.value(name).await
    }

    /// The variables that the manifest gives the guest.
    pub(super) async fn environment(&self) -> Result<Vec<(String, Secret)>, Fault> {
        let mut variables = Vec::new();
        for (name, value) in self.capabilities.iter().flat_map(|declared| &declared.env) {
            let value = match in_env(value) {
                Some(Ok(secret)) => self.value(&secret).await?,
                Some(Err(_)) | None => Secret::new(value.clone().into()),
            };
            variables.push((name.clone(), value));
        }
        Ok(variables)
    }

    /// See [`make`](Self::make) for why in a task of its own.
    async fn value(&self, name: &SecretName) -> Result<Secret, Fault> {
        let (secrets, tool, name) = (Arc::clone(&self.secrets), self.tool.clone(), name.clone());
        spawn(async move { secrets.reveal(&name, Purpose::Guest(&tool)).await }).await
    }

    fn count(&self, tool: &str) -> Result<(), Fault> {
        let take = |left: u32| left.checked_sub(1);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).map(|_| ()).map_err(|_| {
            Fault::new(
                Code::TOOL_FAILED,
                format!("`{tool}` is not called: this call has made {CALLS_MAX} further calls, which is the most"),
                "ask for less at once",
            )
        })
    }

    /// Bytes that a stream takes now; `None` when nothing is taken any more.
    pub(super) fn output_room(&self) -> Option<usize> {
        let waiting = self.waiting();
        (waiting.left > 0).then(|| PIECE_BYTES_MAX.min(WAITING_BYTES_MAX.saturating_sub(waiting.bytes)))
    }

    /// Queues output; what is beyond the limit is cut off.
    pub(super) fn put(&self, stream: &'static str, text: &str) {
        let mut waiting = self.waiting();
        if text.is_empty() || waiting.left == 0 {
            return;
        }
        let end = text.floor_char_boundary(waiting.left.min(text.len()));
        let mut text = shown(&text[..end]);
        waiting.left = if end == waiting.left || text.is_empty() { 0 } else { waiting.left - end };
        if waiting.left == 0 {
            text.push_str(CUT);
        }
        waiting.bytes += text.len();
        waiting.pieces.push_back(Output { stream, text });
    }

    /// Hands the queued output on; a full channel makes it wait.
    pub(super) async fn hand_on(&self) {
        while let Some(piece) = self.next() {
            (self.sink)(piece).await;
        }
    }

    fn next(&self) -> Option<Output> {
        let mut waiting = self.waiting();
        let piece = waiting.pieces.pop_front()?;
        waiting.bytes -= piece.text.len();
        Some(piece)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(outcome: ToolOutcome) -> Result<Value, Fault> {
    match outcome {
        ToolOutcome::Completed { value, .. } => Ok(value),
        ToolOutcome::Failed { fault, .. } | ToolOutcome::Unknown { fault, .. } => Err(fault),
    }
}

/// Text that steers no terminal: control characters but line ends and tabs show as their pictures.
fn shown(text: &str) -> String {
    let picture = |c: char| match c {
        '\n' | '\t' => c,
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or(char::REPLACEMENT_CHARACTER),
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}' => char::REPLACEMENT_CHARACTER,
        other => other,
    };
    // A line end of two characters is one.
    text.replace("\r\n", "\n").chars().map(picture).collect()
}
