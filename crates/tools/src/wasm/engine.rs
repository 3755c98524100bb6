//! The one WebAssembly engine of the process, shared by the component and the JavaScript lane.
//!
//! [`Engine::new`] costs nothing: wasmtime, the thread that counts epochs and
//! the code cache come into being at the first use. What a lane does with it:
//!
//! 1. At load: [`Engine::component`] or [`Engine::module`] gives compiled code,
//!    from the cache when it holds what this very engine wrote, else compiled
//!    in a thread of its own with a deadline. Blocking; call it where blocking
//!    is allowed. Instantiate lazily from an `InstancePre`, kept for all calls.
//! 2. For a call: [`Clock::of`] the call's time limit, then [`Engine::slot`],
//!    the right to be one of the [`CALLS_MAX`] instances that the pool holds.
//! 3. A fresh `Store` whose data holds [`Limits`] (`store.limiter(…)`), then
//!    [`arm`], after which guest code yields at each tick and traps when the
//!    clock is over; and then everything that runs guest code, instantiation
//!    too, inside one future given to [`drive`].
//!
//! A call that is over within a tick or two runs where it was asked for. One
//! that computes longer goes on in a blocking thread, so that no guest keeps
//! the runtime's own threads busy. Nothing here knows what is run.
//!
//! Guests run on stacks of their own, and so does what they call in the host.
//! Whatever is more than moving data, above all a further call, must be
//! awaited from a task of its own (see `calls::Calls::make`): the evaluation of
//! rules measures the stack that is left, and on a guest's it refuses all.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use are_core::error::{Code, Fault};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::component::Component;
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, Module, OptLevel, PoolingAllocationConfig};

use super::cache::Cache;
pub(crate) use super::clock::{Clock, arm, drive};
use super::compile::{self, Compiled};
pub(crate) use super::limits::Limits;
use super::ticker::Ticker;
pub(crate) use super::ticker::Ticking;

/// Calls that hold an instance at the same time; the pool is laid out for them, later ones wait within their own time.
pub(crate) const CALLS_MAX: u32 = 128;
/// Bytes of linear memory that a manifest can ask for, over all memories of a call.
pub(crate) const MEMORY_BYTES_MAX: usize = 256 << 20;
/// Bytes of linear memory of a call whose manifest asks for nothing.
pub(crate) const MEMORY_BYTES: usize = 64 << 20;
/// Elements of all tables of a call. A program has one per function that is called by pointer.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 65_536;
/// Core modules that a component is made of; what tools link is two to five.
pub(crate) const CORE_INSTANCES_MAX: u32 = 16;
/// Memories of a component; each reserves its own address space.
pub(crate) const MEMORIES_MAX: u32 = 4;
/// Tables of a component: one per module and one for the adapter between them.
pub(crate) const TABLES_MAX: u32 = 16;
/// Bytes of guest frames: deep enough for parsers, far from the end of the stack they run on.
const GUEST_STACK_BYTES: usize = 1 << 20;
/// Bytes of a call's stack; the second half is for what the guest calls in the host.
const STACK_BYTES: usize = 2 << 20;
/// Bytes of a used memory that are written back in place instead of being given back to the system, where the kernel
/// says which pages were written (`PAGEMAP_SCAN`, Linux 6.7): the next call then faults in no pages, which is most of
/// what a call of a script costs. Between calls a slot of the pool keeps so much at most.
const RESIDENT_BYTES: usize = 512 << 10;
/// The same where the kernel does not: so much is written back whether or not it was touched.
const RESIDENT_BYTES_BLIND: usize = 64 << 10;

/// A handle on the engine; all clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Engine(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    cache: Option<Cache>,
    checks: Checks,
    started: OnceLock<Result<Started, String>>,
    slots: Arc<Semaphore>,
    compiling: Arc<Semaphore>,
}

/// Whether guest code looks at the clock as it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checks {
    /// At each function's start and each turn of a loop.
    Everywhere,
    /// Never, so that a runaway guest holds its thread for ever. Only to measure what the looks cost.
    Nowhere,
}

struct Started {
    engine: wasmtime::Engine,
    ticker: Ticker,
}

impl std::fmt::Debug for Started {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Started")
    }
}

/// The right to hold one instance; epochs are counted while there is one.
#[derive(Debug)]
pub(crate) struct Slot {
    _permit: OwnedSemaphorePermit,
    _ticking: Ticking,
}

impl Engine {
    /// An engine that keeps compiled code in `cache`; without a directory everything is compiled anew.
    pub(crate) fn new(cache: Option<PathBuf>) -> Self {
        Self::checking(Checks::Everywhere, cache)
    }

    /// The same with guest code that looks at the clock as told.
    pub(crate) fn checking(checks: Checks, cache: Option<PathBuf>) -> Self {
        Self(Arc::new(Shared {
            cache: cache.map(Cache::new),
            checks,
            started: OnceLock::new(),
            slots: Arc::new(Semaphore::new(CALLS_MAX as usize)),
            compiling: Arc::new(Semaphore::new(compile::AT_ONCE_MAX)),
        }))
    }

    /// Wasmtime's own handle.
    pub(crate) fn wasmtime(&self) -> Result<&wasmtime::Engine, Fault> {
        self.started().map(|started| &started.engine)
    }

    /// Compiled code of a component. Blocks; bounded in time.
    pub(crate) fn component(&self, bytes: &[u8]) -> Result<Component, Fault> {
        self.load(bytes)
    }

    /// Compiled code of a core module. Blocks; bounded in time.
    pub(crate) fn module(&self, bytes: &[u8]) -> Result<Module, Fault> {
        self.load(bytes)
    }

    fn load<C: Compiled>(&self, bytes: &[u8]) -> Result<C, Fault> {
        let engine = self.wasmtime()?;
        let cached = self.0.cache.as_ref().and_then(|cache| cache.get(engine, bytes));
        if let Some(code) = cached {
            return Ok(code);
        }
        let (code, artefact) = compile::compile::<C>(engine, &self.0.compiling, bytes)?;
        if let Some(cache) = &self.0.cache {
            cache.put::<C>(engine, bytes, &artefact);
        }
        Ok(code)
    }

    /// Counts epochs while the guard lives, for guest code that is run to its end where it is called.
    pub(crate) fn count_epochs(&self) -> Result<Ticking, Fault> {
        Ok(self.started()?.ticker.enter())
    }

    /// Waits for the right to hold an instance, at most until the clock is over.
    pub(crate) async fn slot(&self, clock: &Clock) -> Result<Slot, Fault> {
        let ticking = self.started()?.ticker.enter();
        let permit = match Arc::clone(&self.0.slots).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => tokio::select! {
                // Cancel-safe: a permit that was not handed over stays in the semaphore.
                permit = Arc::clone(&self.0.slots).acquire_owned() => permit.map_err(|_| busy())?,
                () = clock.over() => return Err(busy()),
            },
        };
        Ok(Slot { _permit: permit, _ticking: ticking })
    }

    fn started(&self) -> Result<&Started, Fault> {
        self.0.started.get_or_init(|| start(self.0.checks)).as_ref().map_err(|why| {
            Fault::new(
                Code::TOOL_FAILED,
                format!("WebAssembly cannot be run on this machine: {why}"),
                "tell the user; other tools work",
            )
        })
    }
}

fn start(checks: Checks) -> Result<Started, String> {
    let pooled = wasmtime::Engine::new(&config(checks, InstanceAllocationStrategy::Pooling(pool())));
    let engine = pooled.or_else(|error| {
        // Where the address space is limited, the pool cannot be reserved; each instance is then mapped anew.
        tracing::warn!(%error, "no pool of WebAssembly instances, calls of such tools are slower");
        wasmtime::Engine::new(&config(checks, InstanceAllocationStrategy::OnDemand))
    });
    let engine = engine.map_err(|error| error.to_string())?;
    let ticker = Ticker::start(&engine).map_err(|error| error.to_string())?;
    Ok(Started { engine, ticker })
}

fn config(checks: Checks, allocation: InstanceAllocationStrategy) -> Config {
    let mut config = Config::new();
    config
        .allocation_strategy(allocation)
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(checks == Checks::Everywhere)
        .max_wasm_stack(GUEST_STACK_BYTES)
        .async_stack_size(STACK_BYTES)
        // Guests call one function at a time; without this a store is made in half the time.
        .concurrency_support(false)
        // Larger memories than the pool holds cannot be asked for, and 64-bit ones need a check at each access.
        .wasm_memory64(false)
        // The same guest gives the same answer on every machine.
        .relaxed_simd_deterministic(true);
    config
}

/// The pool: as many instances as [`CALLS_MAX`], each as large as the limits above allow.
///
/// What it reserves is address space, not memory: 4 GiB and a guard for each of `CALLS_MAX` × 2 memories, about
/// 1 TiB of the 128 that a process has, so that guest code needs no bounds checks. A call has one memory nearly
/// always; were all to use [`MEMORIES_MAX`], the later ones would be told that the pool is full.
fn pool() -> PoolingAllocationConfig {
    let resident =
        if PoolingAllocationConfig::is_pagemap_scan_available() { RESIDENT_BYTES } else { RESIDENT_BYTES_BLIND };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(CALLS_MAX)
        .total_stacks(CALLS_MAX)
        .total_memories(CALLS_MAX * 2)
        .total_core_instances(CALLS_MAX * 4)
        .total_tables(CALLS_MAX * 4)
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .max_memories_per_module(1)
        .max_tables_per_module(4)
        .max_memory_size(MEMORY_BYTES_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        .pagemap_scan(Enabled::Auto)
        .linear_memory_keep_resident(resident)
        .table_keep_resident(RESIDENT_BYTES_BLIND)
        .async_stack_keep_resident(RESIDENT_BYTES_BLIND);
    pool
}

fn busy() -> Fault {
    Fault::new(
        Code::TOOL_TIMEOUT,
        format!("{CALLS_MAX} calls of WebAssembly tools run already, and none ended in time"),
        "try again later",
    )
    .retryable()
}
