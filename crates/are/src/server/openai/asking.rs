//! From a request to the turn that it is.

use std::sync::Arc;

use are_core::error::{Code, Fault};
use are_core::ids::{RequestId, SessionKey, TurnNo};
use are_core::label::Integrity;
use are_core::model::{Asked, Effort, Shape, ToolSpec};
use are_engine::api::{Caller, IfBusy, NewSession, Prompt, Target};
use http::HeaderMap;
use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use serde_json::Value;
use tokio::sync::oneshot;

use super::error::Wrong;
use super::input::{self, Placed};
use super::models;
use super::names::Names;
use super::running::{Hearing, Running};
use crate::server::api::Who;
use crate::server::app::App;
use crate::server::wire;

/// The client's name for a request.
const KEY_HEADER: &str = "idempotency-key";

/// Where a turn takes place.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// In a session of its own.
    Fresh,
    /// At the end of a session.
    Session(SessionKey),
    /// After this turn of a session, in a fork of it where that has gone on since.
    After(SessionKey, TurnNo),
}

/// What is asked.
pub(super) struct Ask {
    pub(super) model: String,
    pub(super) placed: Vec<Placed>,
    pub(super) names: Names,
    pub(super) tools: Vec<ToolSpec>,
    pub(super) shape: Shape,
    pub(super) temperature_milli: Option<u32>,
    pub(super) effort: Option<Effort>,
    pub(super) place: Place,
    /// What is kept with the turn, for whoever looks its answer up.
    pub(super) echo: Value,
}

/// Begins the turn; returns when it is durable.
pub(super) async fn begin(app: &Arc<App>, who: &Who, headers: &HeaderMap, ask: Ask) -> Result<Running, Wrong> {
    // Whoever waits for this answer cannot answer approvals meanwhile.
    let caller = Caller { can_approve: false, ..who.caller.clone() };
    let Ask { model, placed, names, tools, shape, temperature_milli, effort, place, echo } = ask;
    let content = input::parts(placed, !matches!(place, Place::Fresh))?;
    let wish = wire::model_name(model).map_err(|fault| Wrong::of("model", fault))?;
    let prompt = Prompt {
        request_id: named(headers)?,
        content,
        integrity: Integrity::User,
        temperature_milli,
        effort,
        model: models::inner(wish),
        if_busy: IfBusy::Reject,
        is_direct: false,
        waits: false,
        // This interface has no word for it.
        allow_flagged: false,
        asked: Asked { tools, shape: shape.clone(), echo, trace: traced(app, headers), adaptive: None },
    };
    let begun = Beginning { app: app.clone(), caller, place, prompt, names, shape };
    let (tx, begun_there) = oneshot::channel();
    // On its own, so that a client that leaves just now does not leave a turn behind that nobody stops.
    app.tasks.spawn("begin a turn", async move {
        // silent-ok: the client left, and takes its turn with it.
        let _sent = tx.send(begun.run().await);
    });
    begun_there.await.map_err(|_| Fault::new(Code::INTERNAL, "the turn was not begun", "report this as a bug"))?
}

/// A turn that is about to begin.
struct Beginning {
    app: Arc<App>,
    caller: Caller,
    place: Place,
    prompt: Prompt,
    names: Names,
    shape: Shape,
}

impl Beginning {
    async fn run(self) -> Result<Running, Wrong> {
        let Self { app, caller, place, prompt, names, shape } = self;
        // A client that names its request comes back for the answer; any other has left for good.
        let is_cancelled_with_client = prompt.request_id.is_none();
        let target = target(&app, &caller, place, prompt.request_id.as_ref()).await?;
        let ack = app.engine.prompt(&caller, target, prompt).await.map_err(blamed)?;
        // From the record on that began it: it says when.
        let (_, tail) = app.engine.attach(&caller, ack.session, Some(ack.seq - 1), None).await?;
        let hearing = Hearing::new(ack.session, ack.turn, names, shape);
        Ok(Running::new(app, caller, tail, hearing, is_cancelled_with_client))
    }
}

async fn target(app: &App, caller: &Caller, place: Place, request_id: Option<&RequestId>) -> Result<Target, Fault> {
    let (session, after) = match place {
        Place::Fresh => return Ok(Target::New(NewSession::default())),
        Place::Session(session) => return Ok(Target::Session(session)),
        Place::After(session, turn) => (session, turn),
    };
    // Asked again, it is where it was asked first.
    if let Some(request_id) = request_id
        && let Some((taken, _)) = app.engine.taken(caller, request_id).await?
    {
        return Ok(Target::Session(taken));
    }
    let standing = app.engine.session(caller, session).await?;
    if standing.row.turns == after {
        return Ok(Target::Session(session));
    }
    if after > standing.row.turns {
        return Err(Fault::new(Code::SESSION_UNKNOWN, "there is no such answer to go on after", "name an earlier one"));
    }
    app.engine.fork(caller, session, Some(after)).await.map(Target::Session)
}

/// The client's name for the request, if it has one.
fn named(headers: &HeaderMap) -> Result<Option<RequestId>, Wrong> {
    let Some(key) = headers.get(KEY_HEADER) else { return Ok(None) };
    let key = key.to_str().ok().and_then(|key| key.parse().ok());
    let help = "send 1 to 128 visible ASCII characters";
    key.map(Some).ok_or_else(|| Wrong::at(KEY_HEADER, "the `Idempotency-Key` is not readable", help))
}

/// The client's span, which the turn is a part of, where spans are made here. One that is not readable is none, as the
/// standard has it.
fn traced(app: &App, headers: &HeaderMap) -> Option<String> {
    app.settings.telemetry.as_ref()?;
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers));
    let span = context.span().span_context().clone();
    let flags = u8::from(span.is_sampled());
    span.is_valid().then(|| format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id()))
}

/// A refused prompt, with the parameter that is the cause where it is known.
fn blamed(fault: Fault) -> Wrong {
    match fault.code {
        Code::TOOL_EXISTS => Wrong::of("tools", fault),
        Code::SESSION_UNKNOWN | Code::SESSION_BUSY => Wrong::of("conversation", fault),
        Code::PROMPT_TOO_LARGE | Code::PROMPT_REFUSED => Wrong::of("messages", fault),
        _ => fault.into(),
    }
}
