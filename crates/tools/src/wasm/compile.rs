//! From bytes to machine code, within bounds.
//!
//! Compilation cannot be interrupted. So what goes in is bounded first (see
//! [`inspect`](super::inspect)), it runs in a thread of its own, at most
//! [`AT_ONCE_MAX`] at a time, and whoever waits for it gives up at a deadline.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use are_core::error::{Code, Fault};
use tokio::sync::Semaphore;
use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use super::cache::Load;
use super::inspect;
use crate::text::short;

/// Compilations at a time, those included that nobody waits for any more.
pub(super) const AT_ONCE_MAX: usize = 2;
/// How long one may take. The largest accepted input takes a fraction of it on an idle core.
const DEADLINE: Duration = Duration::from_secs(60);
/// Bytes of the compiling thread's stack; the compiler recurses over nested blocks.
const STACK_BYTES: usize = 16 << 20;

/// What is compiled: a component or a core module.
pub(super) trait Compiled: Load + Send + 'static {
    /// Its word in names and messages.
    const KIND: &'static str;
    /// Compiles.
    fn new(engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Self>;
    /// The compiled code, as [`Load`] takes it.
    fn code(&self) -> wasmtime::Result<Vec<u8>>;
}

impl Compiled for Component {
    const KIND: &'static str = "component";

    fn new(engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Self> {
        Self::from_binary(engine, bytes)
    }

    fn code(&self) -> wasmtime::Result<Vec<u8>> {
        self.serialize()
    }
}

impl Compiled for Module {
    const KIND: &'static str = "module";

    fn new(engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Self> {
        Self::from_binary(engine, bytes)
    }

    fn code(&self) -> wasmtime::Result<Vec<u8>> {
        self.serialize()
    }
}

/// Compiles; the second value is what a cache keeps.
pub(super) fn compile<C: Compiled>(
    engine: &Engine,
    at_once: &Arc<Semaphore>,
    bytes: &[u8],
) -> Result<(C, Vec<u8>), Fault> {
    inspect::check(bytes).map_err(|why| refused(C::KIND, &why))?;
    let permit = Arc::clone(at_once).try_acquire_owned().map_err(|_| busy(C::KIND))?;
    let (sender, receiver) = mpsc::sync_channel(1);
    let (engine, bytes) = (engine.clone(), bytes.to_vec());
    let work = move || {
        // A panic of the compiler is this input's problem and nobody else's.
        let done = catch_unwind(AssertUnwindSafe(|| {
            let compiled = C::new(&engine, &bytes)?;
            let code = compiled.code()?;
            Ok::<_, wasmtime::Error>((compiled, code))
        }));
        drop(permit);
        // silent-ok: nobody waits any more.
        sender.send(done).ok();
    };
    let builder = thread::Builder::new().name("are-wasm-compile".to_owned()).stack_size(STACK_BYTES);
    builder.spawn(work).map_err(|error| refused(C::KIND, &format!("no thread can be started: {error}")))?;
    match receiver.recv_timeout(DEADLINE) {
        Ok(Ok(Ok(compiled))) => Ok(compiled),
        Ok(Ok(Err(error))) => Err(refused(C::KIND, &short(&format!("{error:#}")))),
        Ok(Err(_panic)) => Err(refused(C::KIND, "the compiler failed inside")),
        Err(_) => Err(refused(C::KIND, &format!("compiling it takes longer than {} s", DEADLINE.as_secs()))),
    }
}

fn busy(kind: &str) -> Fault {
    refused(kind, &format!("{AT_ONCE_MAX} others are being compiled")).retryable()
}

pub(super) fn refused(kind: &str, why: &str) -> Fault {
    Fault::new(
        Code::MANIFEST_INVALID,
        format!("the WebAssembly {kind} cannot be loaded: {why}"),
        "rebuild it, smaller where a limit is named, and put it there again",
    )
}
