//! The engine, set up once a process: compiled, with its prelude evaluated.

use std::sync::{Arc, OnceLock};

use are_core::error::{Code, Fault};
use wasmtime::{Instance, InstancePre, Memory, Store, TypedFunc};

use super::image::{self, Image};
use super::link;
use super::siblings::Siblings;
use super::state::State;
use crate::wasm::engine::{Engine, Limits};

/// QuickJS-ng and `guest/shim.c`, as `build.rs` compiled them.
static QUICKJS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/quickjs.wasm"));

/// What scripts see, one function over the natives of the shim.
const PRELUDE: &str = concat!(
    "(function (native) { 'use strict';\n",
    include_str!("prelude/host.js"),
    include_str!("prelude/bytes.js"),
    include_str!("prelude/buffer.js"),
    include_str!("prelude/url.js"),
    include_str!("prelude/timers.js"),
    include_str!("prelude/fs.js"),
    include_str!("prelude/process.js"),
    include_str!("prelude/fetch.js"),
    include_str!("prelude/console.js"),
    include_str!("prelude/modules.js"),
    include_str!("prelude/door.js"),
    include_str!("prelude/globals.js"),
    "\nreturn door;\n})",
);

/// What the host enters a script for; the same list stands in `guest/shim.c`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Enter {
    Load = 0,
    Call = 1,
    Settle = 2,
    Tick = 3,
}

/// The engine for all scripts.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) engine: Engine,
    ready: OnceLock<Result<Ready, Fault>>,
}

/// Ready to evaluate and to run.
pub(super) struct Ready {
    loading: InstancePre<State>,
    calling: InstancePre<State>,
    /// Memory of a fresh instance.
    base: Vec<u8>,
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ready")
    }
}

/// An instance with its doors.
pub(super) struct Running {
    pub(super) store: Store<State>,
    memory: Memory,
    enter: TypedFunc<(u32, u32, u32), u32>,
}

impl Machine {
    pub(super) const fn new(engine: Engine) -> Self {
        Self { engine, ready: OnceLock::new() }
    }

    /// The engine, set up. Blocks the first time.
    pub(super) fn ready(&self) -> Result<&Ready, Fault> {
        self.ready.get_or_init(|| self.set_up()).as_ref().map_err(Clone::clone)
    }

    fn set_up(&self) -> Result<Ready, Fault> {
        let wasmtime = self.engine.wasmtime()?;
        let raw = self.engine.module(QUICKJS)?;
        let memory = evaluated_prelude(wasmtime, &raw).map_err(|error| broken(&error))?;
        let snapshot = image::with_memory(QUICKJS, &memory)
            .ok_or_else(|| broken(&wasmtime::Error::msg("the engine's module is of an unknown make")))?;
        let module = self.engine.module(&snapshot)?;
        let pre = |linker: wasmtime::Result<wasmtime::Linker<State>>| linker?.instantiate_pre(&module);
        let loading = pre(link::loading(wasmtime)).map_err(|error| broken(&error))?;
        let calling = pre(link::calling(wasmtime)).map_err(|error| broken(&error))?;
        let mut base = memory;
        base.resize(base.len().next_multiple_of(64 << 10), 0);
        Ok(Ready { loading, calling, base })
    }
}

impl Ready {
    /// An instance for evaluating a file.
    pub(super) fn to_load(&self, mut store: Store<State>) -> wasmtime::Result<Running> {
        let instance = self.loading.instantiate(&mut store)?;
        Running::of(store, &instance)
    }

    /// An instance for a call, on the memory that evaluating left.
    pub(super) async fn to_call(&self, mut store: Store<State>, image: &Image) -> wasmtime::Result<Running> {
        let instance = self.calling.instantiate_async(&mut store).await?;
        let mut running = Running::of(store, &instance)?;
        image.restore(running.memory, &mut running.store)?;
        Ok(running)
    }

    /// What evaluating a file has changed.
    pub(super) fn image_of(&self, running: &Running) -> Image {
        Image::between(&self.base, running.memory.data(&running.store))
    }
}

impl Running {
    fn of(mut store: Store<State>, instance: &Instance) -> wasmtime::Result<Self> {
        let enter = instance.get_typed_func(&mut store, "are_enter")?;
        let memory = memory_of(&mut store, instance)?;
        Ok(Self { store, memory, enter })
    }

    /// One step while a file is loaded; `None` when it had no memory left to say what became of it.
    pub(super) fn step_loading(&mut self, enter: Enter, text: String) -> wasmtime::Result<Option<Vec<u8>>> {
        let args = self.parcel(enter, 0, text);
        let is_done = self.enter.call(&mut self.store, args)?;
        Ok(self.report(is_done))
    }

    /// One step of a call.
    pub(super) async fn step(&mut self, enter: Enter, number: u32, text: String) -> wasmtime::Result<Option<Vec<u8>>> {
        let args = self.parcel(enter, number, text);
        let is_done = self.enter.call_async(&mut self.store, args).await?;
        Ok(self.report(is_done))
    }

    fn parcel(&mut self, enter: Enter, number: u32, text: String) -> (u32, u32, u32) {
        let parcel = text.into_bytes();
        // What is handed in is bounded far below; a wrong length would be refused when it is taken.
        let length = u32::try_from(parcel.len()).unwrap_or(u32::MAX);
        self.store.data_mut().parcel = parcel;
        self.store.data_mut().given = None;
        (enter as u32, number, length)
    }

    fn report(&mut self, is_done: u32) -> Option<Vec<u8>> {
        self.store.data_mut().given.take().filter(|_| is_done != 0)
    }
}

fn memory_of(store: &mut Store<State>, instance: &Instance) -> wasmtime::Result<Memory> {
    instance.get_memory(&mut *store, "memory").ok_or_else(|| wasmtime::Error::msg("the engine has no memory"))
}

/// The memory of an engine that has evaluated the prelude.
fn evaluated_prelude(engine: &wasmtime::Engine, module: &wasmtime::Module) -> wasmtime::Result<Vec<u8>> {
    let mut state = State::new(Limits::new(None), Arc::new(Siblings::default()), None);
    state.is_setting_up = true;
    state.parcel = PRELUDE.as_bytes().to_vec();
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.limits);
    // Ours, so that nothing has to be stopped.
    store.set_epoch_deadline(u64::MAX / 2);
    let instance = link::loading(engine)?.instantiate(&mut store, module)?;
    let init = instance.get_typed_func::<u32, u32>(&mut store, "are_init")?;
    if init.call(&mut store, u32::try_from(PRELUDE.len())?)? == 0 {
        let said = store.data_mut().given.take().unwrap_or_default();
        return Err(wasmtime::Error::msg(format!("its prelude fails: {}", String::from_utf8_lossy(&said))));
    }
    let memory = memory_of(&mut store, &instance)?;
    Ok(memory.data(&store).to_vec())
}

fn broken(error: &wasmtime::Error) -> Fault {
    tracing::error!(error = format!("{error:#}"), "the JavaScript engine cannot be set up");
    Fault::new(Code::TOOL_FAILED, "the JavaScript engine cannot be set up", "tell the user; other tools work")
}
