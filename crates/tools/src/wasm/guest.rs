//! What one call's store holds, and what its guest finds when it imports.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use are_core::error::Fault;
use are_policy::secrets::Value as Secret;
use wasmtime::Engine;
use wasmtime::component::{Component, HasSelf, Linker, LinkerInstance, ResourceTable, ResourceType, types};
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::p2::bindings::{cli, random};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, IoError};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::bindings::{are, wasi};
use super::calls::Calls;
use super::engine::Limits;
use super::files::File;
use super::http::Hooks;
use super::stdio::Stream;

/// Handles that a guest holds at a time: files, streams, requests, and what it waits for.
const HANDLES_MAX: usize = 256;
/// Random bytes given at a time.
const RANDOM_BYTES_MAX: u64 = 64 << 10;
/// Interfaces of WASI that are answered with an error because nothing of them is given.
const SOCKETS: &str = "wasi:sockets/";

/// The data of a call's store; dropped with it.
pub(super) struct Guest {
    pub(super) limits: Limits,
    pub(super) table: ResourceTable,
    pub(super) calls: Arc<Calls>,
    /// Files that are open, or changed and not written yet.
    pub(super) open_files: Vec<Arc<File>>,
    /// Bytes of these.
    pub(super) held_bytes: Arc<AtomicUsize>,
    /// Why a file that was closed could not be written.
    pub(super) unsaved: Option<Fault>,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
    streams: [Stream; 2],
}

impl Guest {
    pub(super) fn new(calls: &Arc<Calls>, memory_bytes: Option<u64>, environment: &[(String, Secret)]) -> Self {
        let streams = [Stream::new(calls, "stdout"), Stream::new(calls, "stderr")];
        let mut wasi = WasiCtx::builder();
        let [stdout, stderr] = &streams;
        wasi.stdout(stdout.clone()).stderr(stderr.clone()).max_random_size(RANDOM_BYTES_MAX);
        for (name, value) in environment {
            wasi.env(name, value.expose());
        }
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES_MAX);
        Self {
            limits: Limits::new(memory_bytes),
            table,
            calls: Arc::clone(calls),
            open_files: Vec::new(),
            held_bytes: Arc::default(),
            unsaved: None,
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            hooks: Hooks(Arc::clone(calls)),
            streams,
        }
    }

    /// Hands on what was said, and writes what a guest that did its work has changed; the error is of a file that
    /// could not be written.
    pub(super) async fn end(&mut self, is_done: bool) -> Result<(), Fault> {
        let mut saved = self.unsaved.take().map_or(Ok(()), Err);
        for file in std::mem::take(&mut self.open_files).into_iter().filter(|_| is_done) {
            if saved.is_ok() {
                saved = file.save(&self.calls).await;
            }
        }
        self.streams.iter().for_each(Stream::end);
        self.calls.hand_on().await;
        saved
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

/// All that a component can import.
pub(super) fn linker(engine: &Engine, component: &Component) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    let l = &mut linker;
    // Streams, polling, clocks, random numbers, standard streams, requests.
    wasmtime_wasi_http::p2::add_to_linker_async(l)?;
    cli::exit::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::environment::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::terminal_input::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::terminal_output::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::terminal_stdin::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::terminal_stdout::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::terminal_stderr::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    random::insecure::add_to_linker::<Guest, WasiRandom>(l, |guest| guest.wasi.random())?;
    random::insecure_seed::add_to_linker::<Guest, WasiRandom>(l, |guest| guest.wasi.random())?;
    // What the runtime does itself.
    wasi::filesystem::types::add_to_linker::<Guest, HasSelf<Guest>>(l, |guest| guest)?;
    wasi::filesystem::preopens::add_to_linker::<Guest, HasSelf<Guest>>(l, |guest| guest)?;
    are::host::types::add_to_linker::<Guest, HasSelf<Guest>>(l, |guest| guest)?;
    are::host::command::add_to_linker::<Guest, HasSelf<Guest>>(l, |guest| guest)?;
    are::host::variable::add_to_linker::<Guest, HasSelf<Guest>>(l, |guest| guest)?;
    are::host::secret::add_to_linker::<Guest, HasSelf<Guest>>(l, |guest| guest)?;
    are::host::memory::add_to_linker::<Guest, HasSelf<Guest>>(l, |guest| guest)?;
    are::host::log::add_to_linker::<Guest, HasSelf<Guest>>(l, |guest| guest)?;
    for (name, import) in component.component_type().imports(engine) {
        if let (true, types::ComponentItem::ComponentInstance(instance)) = (name.starts_with(SOCKETS), import.ty) {
            without_sockets(&mut l.instance(name)?, &instance, engine)?;
        }
    }
    Ok(linker)
}

struct NoSocket;

/// Many compilers import sockets whether a program uses them or not; using one ends the call.
fn without_sockets(
    linker: &mut LinkerInstance<'_, Guest>,
    interface: &types::ComponentInstance,
    engine: &Engine,
) -> wasmtime::Result<()> {
    for (name, export) in interface.exports(engine) {
        match export.ty {
            types::ComponentItem::ComponentFunc(_) => {
                let told = format!("there are no sockets (`{name}`); use `wasi:http`");
                linker.func_new(name, move |_, _, _, _| Err(wasmtime::Error::msg(told.clone())))?;
            }
            types::ComponentItem::Resource(_) => {
                linker.resource(name, resource_of(name), |_, _| Ok(()))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Sockets' interfaces name some resources again that are those of `wasi:io`; a component that uses both says so.
fn resource_of(name: &str) -> ResourceType {
    match name {
        "pollable" => ResourceType::host::<DynPollable>(),
        "input-stream" => ResourceType::host::<DynInputStream>(),
        "output-stream" => ResourceType::host::<DynOutputStream>(),
        "error" => ResourceType::host::<IoError>(),
        _ => ResourceType::host::<NoSocket>(),
    }
}

/// Imports through which nothing outside the call is reached.
const HARMLESS: [&str; 5] = ["wasi:io/", "wasi:clocks/", "wasi:random/", "wasi:cli/", "are:host/log@"];

/// True when a component, by what it imports, can do nothing but compute.
pub(super) fn only_computes(engine: &Engine, component: &Component) -> bool {
    let is_harmless = |name: &str| HARMLESS.iter().any(|prefix| name.starts_with(prefix));
    component.component_type().imports(engine).all(|(name, import)| {
        // A type alone is no way to anything.
        is_harmless(name) || matches!(import.ty, types::ComponentItem::Type(_))
    })
}
