//! What a call of a component costs, without the gate.
//!
//! Runs components that import nothing, one of them part of the program, so that
//! there is nothing to decide: they can neither read nor change anything.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use are_core::error::{Code, Fault};
use serde_json::{Map, json};

use super::component::Components;
use super::engine::{Checks, Engine};
use super::run::Tool;
use crate::lane::bare::room;

const GUEST: &[u8] = include_bytes!("bench/guest.wasm");
/// How long one call may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long one run of a kernel may take, whatever its size.
const KERNEL_TIMEOUT: Duration = Duration::from_secs(60);

/// The component, loaded.
pub struct Guest {
    echo: Arc<Tool>,
    spin: Arc<Tool>,
}

impl Guest {
    /// Loads it on a new engine, compiled or from the code kept in `cache`.
    ///
    /// # Errors
    /// WebAssembly cannot be run here.
    pub fn load(cache: Option<&Path>) -> Result<Self, Fault> {
        let mut tools =
            Components::new(cache.map(PathBuf::from)).functions(Path::new("bench.wasm"), GUEST, &|_, made| Ok(made))?;
        let mut take = |name: &str| {
            let at = tools.iter().position(|(manifest, _)| manifest.name.as_str() == name);
            at.map(|at| Arc::new(tools.swap_remove(at).1)).ok_or_else(|| wrong("a function is missing"))
        };
        Ok(Self { echo: take("bench_echo")?, spin: take("bench_spin")? })
    }

    /// One call in a fresh store: a text in, the same text out.
    ///
    /// # Errors
    /// The call failed.
    pub async fn call(&self) -> Result<Duration, Fault> {
        let args = Map::from_iter([("text".to_owned(), json!("hello"))]);
        let (begun, room) = (Instant::now(), room(TIMEOUT));
        let answer = self.echo.execute(&args, room).await;
        let took = begun.elapsed();
        match answer {
            Ok(answer) if answer.value == "hello" => Ok(took),
            Ok(_) => Err(wrong("it gave back something else")),
            Err(crate::lane::Error::Failed(fault) | crate::lane::Error::Unknown(fault)) => Err(fault),
        }
    }

    /// A call that never ends by itself, given up after `limit`: how much later it stood still.
    pub async fn stop(&self, limit: Duration) -> Duration {
        let begun = Instant::now();
        // The outcome is the time-out that is measured.
        drop(self.spin.execute(&Map::new(), room(limit)).await);
        begun.elapsed().saturating_sub(limit)
    }
}

/// A component that exports `run: func(size: u32) -> string` and imports nothing: one of `bench/kernels`.
pub struct Kernel {
    run: Arc<Tool>,
}

impl Kernel {
    /// Loads it on a new engine, compiled or from the code kept in `cache`; `is_unchecked` without the looks at the
    /// clock that stop a guest, as it could run in a process that is killed instead.
    ///
    /// # Errors
    /// It is no such component.
    pub fn load(bytes: &[u8], cache: Option<&Path>, is_unchecked: bool) -> Result<Self, Fault> {
        let checks = if is_unchecked { Checks::Nowhere } else { Checks::Everywhere };
        let mut tools = Components::on(Engine::checking(checks, cache.map(PathBuf::from))).functions(
            Path::new("kernel.wasm"),
            bytes,
            &|_, made| Ok(made),
        )?;
        let at = tools.iter().position(|(manifest, _)| manifest.name.as_str() == "kernel_run");
        let at = at.ok_or_else(|| {
            Fault::new(Code::TOOL_FAILED, "the component exports no `run`", "name one of `bench/kernels`")
        })?;
        Ok(Self { run: Arc::new(tools.swap_remove(at).1) })
    }

    /// One run in a fresh store: what it answered, and how long it took.
    ///
    /// # Errors
    /// It failed, or the answer is no text.
    pub async fn run(&self, size: u32) -> Result<(String, Duration), Fault> {
        let args = Map::from_iter([("size".to_owned(), json!(size))]);
        let (begun, room) = (Instant::now(), room(KERNEL_TIMEOUT));
        let answer = self.run.execute(&args, room).await;
        let took = begun.elapsed();
        match answer {
            Ok(answer) => match answer.value.as_str() {
                Some(text) => Ok((text.to_owned(), took)),
                None => Err(wrong("its answer is no text")),
            },
            Err(crate::lane::Error::Failed(fault) | crate::lane::Error::Unknown(fault)) => Err(fault),
        }
    }
}

fn wrong(why: &str) -> Fault {
    Fault::new(Code::TOOL_FAILED, format!("the benchmark's component does not work: {why}"), "report this as a bug")
}

#[cfg(test)]
mod tests;
