//! One call of a component's function.

use std::sync::Arc;

use are_core::BoxFuture;
use are_core::error::{Code, Fault};
use are_core::ids::ToolName;
use are_policy::gate::Permit;
use are_policy::manifest::{CallLimits, Capabilities, Manifest};
use serde_json::{Map, Value};
use wasmtime::component::{ComponentExportIndex, InstancePre, Val};
use wasmtime::{Store, Trap};
use wasmtime_wasi::I32Exit;

use super::calls::Calls;
use super::engine::{Clock, Engine, Slot, arm, drive};
use super::guest::Guest;
use super::shape::{Shape, Signature};
use super::value::{Budget, json, params};
use crate::lane::{Answer, Error, Room, Runs};
use crate::text::short;

/// Bytes that one crossing from the guest may take in the host. A list of bytes takes some forty times its size.
const CROSSING_BYTES_MAX: usize = 64 << 20;

/// A function of a component.
pub(super) struct Tool {
    name: ToolName,
    engine: Engine,
    pre: InstancePre<Guest>,
    export: ComponentExportIndex,
    signature: Signature,
    capabilities: Option<Capabilities>,
    limits: CallLimits,
}

/// How a guest ended.
struct Ended {
    result: wasmtime::Result<Option<Val>>,
    saved: Result<(), Fault>,
    has_refused: bool,
}

impl Tool {
    pub(super) fn new(
        engine: Engine,
        pre: InstancePre<Guest>,
        export: ComponentExportIndex,
        signature: Signature,
        manifest: &Manifest,
    ) -> Self {
        let (name, capabilities) = (manifest.name.clone(), manifest.capabilities.clone());
        Self { name, engine, pre, export, signature, capabilities, limits: manifest.limits }
    }

    /// Runs the function. Whatever it does beside computing is a call with a permit of its own.
    pub(super) async fn execute(&self, args: &Map<String, Value>, room: Room) -> Result<Answer, Error> {
        let clock = Clock::of(&room);
        let params = params(&self.signature, args).map_err(|why| {
            Fault::new(Code::TOOL_ARGS, why, format!("call `{}` again with arguments that fit its schema", self.name))
        })?;
        let slot = self.engine.slot(&clock).await?;
        let calls = Arc::new(Calls::new(&room, &self.name, self.capabilities.clone()));
        let guest = Guest::new(&calls, self.limits.memory_bytes, &calls.environment().await?);
        let work = guest_call(
            self.pre.clone(),
            self.export,
            params,
            self.signature.result.is_some(),
            guest,
            Arc::clone(&clock),
            slot,
        );
        match drive(&clock, work).await {
            Ok(ended) => self.answer(ended, &room),
            Err(_stopped) => Err(room.latch.given_up(self.timed_out())),
        }
    }

    fn answer(&self, ended: Ended, room: &Room) -> Result<Answer, Error> {
        let result = match ended.result {
            Ok(result) => result,
            Err(error) if !matches!(error.downcast_ref(), Some(I32Exit(0))) => {
                return Err(self.failed(&error, ended.has_refused, room));
            }
            // A program that ends itself well has done what it was asked for.
            Err(_) => {
                ended.saved?;
                return Ok(Value::Null.into());
            }
        };
        // A result that rests on a file that is not there would be a lie.
        ended.saved?;
        self.value(result.as_ref()).map(Answer::from).map_err(Error::from)
    }

    fn value(&self, result: Option<&Val>) -> Result<Value, Fault> {
        let mut budget = Budget(usize::try_from(self.limits.output_bytes).unwrap_or(usize::MAX));
        let too_large = |why: String| self.fault(why, "ask for less");
        let mut value = |shape: Option<&Shape>, val: Option<&Val>| match (shape, val) {
            (Some(shape), Some(val)) => json(shape, val, &mut budget),
            _ => Ok(Value::Null),
        };
        let shape = self.signature.result.as_ref().map(|noted| &noted.shape);
        match (shape, result) {
            (Some(Shape::Result(ok, _)), Some(Val::Result(Ok(val)))) => {
                value(ok.as_ref().map(|noted| &noted.shape), val.as_deref()).map_err(too_large)
            }
            (Some(Shape::Result(_, err)), Some(Val::Result(Err(val)))) => {
                let told = value(err.as_ref().map(|noted| &noted.shape), val.as_deref()).map_err(too_large)?;
                Err(self.fault(format!("`{}` failed: {}", self.name, said(&told)), "see what it says"))
            }
            _ => value(shape, result).map_err(too_large),
        }
    }

    /// A guest that did not return.
    fn failed(&self, error: &wasmtime::Error, has_refused: bool, room: &Room) -> Error {
        let name = &self.name;
        if let Some(I32Exit(code)) = error.downcast_ref() {
            return self.fault(format!("`{name}` exited with {code}"), "see what it wrote").into();
        }
        let (why, help) = match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => return room.latch.given_up(self.timed_out()),
            Some(Trap::StackOverflow) => (format!("`{name}` called itself too deeply"), "ask for something smaller"),
            Some(_) | None if has_refused => {
                (format!("`{name}` needs more memory than it may have: {}", told(error)), "ask for something smaller")
            }
            _ => (format!("`{name}` failed: {}", told(error)), "try other arguments; tell the user"),
        };
        self.fault(why, help).into()
    }

    fn timed_out(&self) -> Fault {
        Fault::new(
            Code::TOOL_TIMEOUT,
            format!("`{}` took longer than it may and was stopped", self.name),
            "ask for less at once, or try again later",
        )
        .retryable()
    }

    fn fault(&self, why: String, help: &str) -> Fault {
        Fault::new(Code::TOOL_FAILED, why, help)
    }
}

impl Runs for Tool {
    fn run(&self, permit: Permit, room: Room) -> BoxFuture<'_, Result<Answer, Error>> {
        Box::pin(async move { self.execute(&permit.spend().args.to_map(), room).await })
    }
}

/// Runs the guest in a store of its own, from its start functions to its last write.
async fn guest_call(
    pre: InstancePre<Guest>,
    export: ComponentExportIndex,
    params: Vec<Val>,
    has_result: bool,
    guest: Guest,
    clock: Arc<Clock>,
    slot: Slot,
) -> Ended {
    // Held until the store is gone, wherever this runs by then.
    let _slot = slot;
    let mut store = Store::new(pre.engine(), guest);
    store.limiter(|guest| &mut guest.limits);
    store.set_hostcall_fuel(CROSSING_BYTES_MAX);
    arm(&mut store, &clock);
    let result = invoke(&pre, &export, &params, has_result, &mut store).await;
    let has_refused = store.data().limits.has_refused();
    let is_done = match &result {
        Ok(_) => true,
        Err(error) => matches!(error.downcast_ref(), Some(I32Exit(0))),
    };
    let saved = store.data_mut().end(is_done).await;
    Ended { result, saved, has_refused }
}

async fn invoke(
    pre: &InstancePre<Guest>,
    export: &ComponentExportIndex,
    params: &[Val],
    has_result: bool,
    store: &mut Store<Guest>,
) -> wasmtime::Result<Option<Val>> {
    let instance = pre.instantiate_async(&mut *store).await?;
    let function = instance.get_func(&mut *store, export);
    let function = function.ok_or_else(|| wasmtime::Error::msg("the function is not there"))?;
    let mut results = vec![Val::Bool(false); usize::from(has_result)];
    function.call_async(&mut *store, params, &mut results).await?;
    Ok(results.pop())
}

/// An error value of the guest as a sentence.
fn said(value: &Value) -> String {
    match value {
        Value::Null => "it gave no reason".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The innermost cause; the frames above it are addresses in the guest.
fn told(error: &wasmtime::Error) -> String {
    short(&error.root_cause().to_string())
}
