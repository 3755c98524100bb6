//! A file that was evaluated, and a call of one of its functions.

use std::sync::Arc;
use std::time::Duration;

use are_core::BoxFuture;
use are_core::error::Fault;
use are_core::label::Label;
use are_policy::gate::{Permit, Spent};
use are_policy::manifest::Manifest;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};
use wasmtime::{Store, Trap};

use super::faults::{self, Thrown};
use super::image::Image;
use super::machine::{Enter, Machine, Running};
use super::params::Params;
use super::siblings::Siblings;
use super::state::State;
use crate::lane::{Answer, Error, Room, Runs};
use crate::wasm::engine::{Clock, Limits, arm, drive};

/// Milliseconds for evaluating a file: it defines functions and does nothing else.
const LOAD_MS: u64 = 2_000;
/// Bytes of memory that evaluating a file leaves to be written into each instance.
const IMAGE_BYTES_MAX: usize = 8 << 20;
/// Functions of one file.
const EXPORTS_MAX: usize = 128;

/// A file, evaluated.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) machine: Arc<Machine>,
    pub(super) file: String,
    pub(super) siblings: Arc<Siblings>,
    image: Image,
}

/// A function that it exports.
#[derive(Debug, Deserialize)]
pub(super) struct Export {
    pub(super) name: String,
    /// Its text.
    pub(super) source: String,
    /// The line on which it begins.
    pub(super) line: Option<u32>,
}

/// What a step has come to, as the script gives it.
#[derive(Debug, Deserialize)]
struct Given<'a> {
    state: &'a str,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    error: Option<Thrown>,
    tick_ms: Option<u64>,
}

/// The same, as it must be.
enum Report<'a> {
    Done(&'a str),
    Failed(Thrown),
    Waiting { tick_ms: Option<u64> },
}

/// Why a call has no result.
pub(super) enum Halt {
    Failed(Error),
    /// The sandbox stopped it, because its time was over.
    Interrupted,
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault.into())
    }
}

impl<'a> Report<'a> {
    /// Reads it; `None` for what no prelude gives.
    fn read(given: &'a [u8]) -> Option<Self> {
        // silent-ok: whatever is wrong with it, the script has meddled with JSON.
        let given: Given<'a> = serde_json::from_slice(given).ok()?;
        match (given.state, given.value, given.error) {
            // serde takes `null` for none.
            ("done", value, _) => Some(Self::Done(value.map_or("null", RawValue::get))),
            ("failed", _, Some(error)) => Some(Self::Failed(error)),
            ("waiting", ..) => Some(Self::Waiting { tick_ms: given.tick_ms }),
            _ => None,
        }
    }
}

impl Script {
    /// Evaluates a file. Blocks; bounded in time and memory.
    pub(super) fn load(
        machine: Arc<Machine>,
        file: &str,
        source: &str,
        siblings: Siblings,
    ) -> Result<(Self, Vec<Export>), Fault> {
        let invalid = |why: &str| faults::unloadable(file, why);
        let ready = machine.ready()?;
        let siblings = Arc::new(siblings);
        let _ticking = machine.engine.count_epochs()?;
        let mut store =
            Store::new(machine.engine.wasmtime()?, State::new(Limits::new(None), Arc::clone(&siblings), None));
        store.limiter(|state| &mut state.limits);
        let until = std::time::Instant::now() + Duration::from_millis(LOAD_MS);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| {
            let is_over = std::time::Instant::now() >= until;
            Ok(if is_over { wasmtime::UpdateDeadline::Interrupt } else { wasmtime::UpdateDeadline::Continue(1) })
        });
        let mut running = ready.to_load(store).map_err(|error| invalid(&faults::trapped(&error, LOAD_MS)))?;
        let text = json!({"file": file, "source": source}).to_string();
        let given = running.step_loading(Enter::Load, text);
        let given = given.map_err(|error| invalid(&faults::trapped(&error, LOAD_MS)))?;
        let given = given.ok_or_else(|| invalid(faults::OUT_OF_MEMORY))?;
        let exports: Vec<Export> = match Report::read(&given) {
            Some(Report::Done(value)) => serde_json::from_str(value).map_err(|_| invalid(faults::MEDDLED))?,
            Some(Report::Failed(error)) => return Err(faults::not_evaluated(file, &error)),
            Some(Report::Waiting { .. }) | None => return Err(invalid(faults::MEDDLED)),
        };
        if exports.is_empty() {
            return Err(invalid("it exports no function: write `module.exports = { name(arg) { … } }`"));
        }
        if exports.len() > EXPORTS_MAX {
            return Err(invalid(&format!("it exports {} functions, and {EXPORTS_MAX} is the most", exports.len())));
        }
        let image = ready.image_of(&running);
        if image.written_bytes() > IMAGE_BYTES_MAX {
            return Err(invalid(&format!("evaluating it leaves more than {IMAGE_BYTES_MAX} bytes in memory")));
        }
        drop(running);
        Ok((Self { machine, file: file.to_owned(), siblings, image }, exports))
    }

    /// An instance of its own for one call.
    pub(super) async fn prepare(
        &self,
        memory_bytes: Option<u64>,
        clock: &Arc<Clock>,
        room: Room,
    ) -> Result<Running, Fault> {
        let state = State::new(Limits::new(memory_bytes), Arc::clone(&self.siblings), Some(room));
        let mut store = Store::new(self.machine.engine.wasmtime()?, state);
        store.limiter(|state| &mut state.limits);
        arm(&mut store, clock);
        let running = self.machine.ready()?.to_call(store, &self.image).await;
        running.map_err(|error| faults::unstarted(&self.file, &error))
    }
}

/// One function of a file, as a tool.
#[derive(Debug)]
pub(super) struct Tool {
    pub(super) script: Arc<Script>,
    export: String,
    params: Params,
    manifest: Manifest,
}

impl Tool {
    pub(super) fn new(script: &Arc<Script>, export: &str, params: Params, manifest: Manifest) -> Self {
        Self { script: Arc::clone(script), export: export.to_owned(), params, manifest }
    }

    /// What the script is told of a call. The arguments are put in as they were decided.
    pub(super) fn request(&self, args: &str) -> String {
        let quoted = |text: &str| Value::from(text).to_string();
        let (file, name) = (quoted(&self.script.file), quoted(&self.export));
        format!(r#"{{"file":{file},"name":{name},"params":{},"args":{args}}}"#, self.params.shown())
    }

    /// One call with these arguments, on an instance of its own.
    pub(super) async fn execute(&self, args: &str, room: Room) -> Result<(Value, Option<Label>), Error> {
        let clock = Clock::of(&room);
        let slot = self.script.machine.engine.slot(&clock).await?;
        let (script, latch) = (Arc::clone(&self.script), Arc::clone(&room.latch));
        let (request, memory_bytes) = (self.request(args), self.manifest.limits.memory_bytes);
        let output_bytes = self.output_bytes();
        let of_call = Arc::clone(&clock);
        let work = async move {
            let _slot = slot;
            let mut running = script.prepare(memory_bytes, &of_call, room).await?;
            run(&script.file, &mut running, request, output_bytes).await
        };
        match drive(&clock, work).await {
            Ok(Ok(ended)) => Ok(ended),
            Ok(Err(Halt::Failed(error))) => Err(error),
            Ok(Err(Halt::Interrupted)) | Err(_) => Err(latch.given_up(faults::too_late(&self.manifest))),
        }
    }

    fn output_bytes(&self) -> usize {
        usize::try_from(self.manifest.limits.output_bytes).unwrap_or(usize::MAX)
    }

    async fn answer(&self, permit: Permit, room: Room) -> Result<Answer, Error> {
        let spent = permit.spend();
        let (value, label) = self.execute(spent.args.as_str(), room).await?;
        Ok(self.labelled(value, label, &spent))
    }

    /// What the author declares holds for what the tool itself makes; what further calls brought is no better than it was.
    fn labelled(&self, value: Value, label: Option<Label>, spent: &Spent) -> Answer {
        let mut answer = Answer::from(value);
        if let Some(label) = label {
            let origin = format!("{}#{}", spent.tool, spent.call);
            let labels = self.manifest.labels(&answer.value, &origin);
            answer.labels = labels.into_iter().map(|(at, own)| (at, own.join(&label))).collect();
        }
        answer
    }
}

impl Runs for Tool {
    fn run(&self, permit: Permit, room: Room) -> BoxFuture<'_, Result<Answer, Error>> {
        Box::pin(self.answer(permit, room))
    }
}

/// Runs a call to its end, and everything that it has begun.
pub(super) async fn run(
    file: &str,
    running: &mut Running,
    request: String,
    output_bytes: usize,
) -> Result<(Value, Option<Label>), Halt> {
    let mut given = step(file, running, Enter::Call, 0, request).await?;
    loop {
        let tick_ms = match Report::read(&given) {
            Some(Report::Done(value)) => {
                let value = faults::result(file, value, output_bytes);
                finish(running).await;
                return Ok((value?, running.store.data_mut().label.take()));
            }
            Some(Report::Failed(error)) => {
                running.store.data_mut().drop_queued();
                finish(running).await;
                let has_refused = running.store.data().limits.has_refused();
                return Err(faults::thrown(file, &error, has_refused).into());
            }
            Some(Report::Waiting { tick_ms }) => tick_ms,
            None => return Err(faults::failed(file, faults::MEDDLED).into()),
        };
        if tick_ms.is_none() && !running.store.data().is_waiting() {
            return Err(faults::failed(file, "it waits for a promise that nothing can settle any more").into());
        }
        // A time beyond the call's own, which ends first, where the sum has no meaning.
        let far = Duration::from_secs(86_400);
        let due = Instant::now() + tick_ms.map_or(far, Duration::from_millis).min(far);
        let state = running.store.data_mut();
        let settled = tokio::select! {
            biased;
            // Cancel-safe: an answer is taken only when it is returned.
            settled = state.next_settled() => Some(settled),
            () = sleep_until(due) => None,
        };
        given = match settled {
            Some((number, text)) => step(file, running, Enter::Settle, number, text).await?,
            None => step(file, running, Enter::Tick, 0, String::new()).await?,
        };
    }
}

/// Waits for the further calls that nobody awaited, so that what was begun has an outcome.
async fn finish(running: &mut Running) {
    let state = running.store.data_mut();
    while state.is_waiting() {
        state.next_settled().await;
    }
}

async fn step(file: &str, running: &mut Running, enter: Enter, number: u32, text: String) -> Result<Vec<u8>, Halt> {
    let given = running.step(enter, number, text).await.map_err(|error| match error.downcast_ref() {
        Some(Trap::Interrupt) => Halt::Interrupted,
        _ => faults::failed(file, &faults::trapped(&error, LOAD_MS)).into(),
    })?;
    given.ok_or_else(|| faults::failed(file, faults::OUT_OF_MEMORY).into())
}
