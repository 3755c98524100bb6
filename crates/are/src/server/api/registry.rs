//! What there is to call: tools and models. And the tools' files, and calls without a model.

use std::path::PathBuf;
use std::sync::Arc;

use are_core::body::{Effect, Retry};
use are_core::canonical::Args;
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::{AgentName, RequestId};
use are_core::model::{Effort, ModelInfo};
use are_engine::api::{DirectCall, IfBusy, NewSession, Target};
use are_policy::manifest::{Lane, Manifest};
use are_policy::tools::{Problem as Reason, Shelved, ToolFile};
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Answer, Large, Place, Told, Who, created, json, parsed, session};
use crate::server::app::App;
use crate::server::problem::{Problem, invalid};

/// A tool in a list.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Tool {
    name: String,
    description: String,
    #[schema(value_type = String)]
    lane: Lane,
    /// The worst it does.
    #[schema(value_type = String)]
    effect: Effect,
    #[schema(value_type = String)]
    retry: Retry,
    /// Digest of the declaration; what an approval holds for.
    digest: String,
    /// The file that it comes from; `null` for a tool of the runtime.
    file: Option<String>,
}

/// A file, or a tool of one, that is not served.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct NotServed {
    file: String,
    why: String,
    help: String,
}

impl From<Reason> for NotServed {
    fn from(problem: Reason) -> Self {
        Self { file: problem.file, why: problem.why, help: problem.help }
    }
}

#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Tools {
    tools: Vec<Tool>,
    /// Digest of the whole set.
    digest: String,
    problems: Vec<NotServed>,
}

fn listed(app: &App, manifest: &Manifest, digest: Digest) -> Tool {
    Tool {
        file: app.engine.tool_file(manifest.name.as_str()),
        name: manifest.name.to_string(),
        description: manifest.description.clone(),
        lane: manifest.lane,
        effect: manifest.effect,
        retry: manifest.retry,
        digest: digest.to_string(),
    }
}

/// The tools served now.
#[utoipa::path(get, path = "/api/tools", responses((status = 200, body = Tools), (status = "default", body = Problem)))]
pub(in crate::server) async fn tools(State(app): State<Arc<App>>, _: Who) -> Answer {
    json(&standing(&app))
}

fn standing(app: &App) -> Tools {
    let set = app.engine.tools();
    Tools {
        tools: set.iter().map(|(manifest, digest)| listed(app, manifest, digest)).collect(),
        digest: set.digest().to_string(),
        problems: app.engine.tools_standing().problems.into_iter().map(NotServed::from).collect(),
    }
}

/// A tool's whole declaration.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Declared {
    digest: String,
    /// The file that it comes from; `null` for a tool of the runtime.
    file: Option<String>,
    /// The manifest.
    #[schema(value_type = serde_json::Value)]
    manifest: Manifest,
}

/// One tool.
#[utoipa::path(get, path = "/api/tools/{name}", params(("name" = String, Path)), responses((status = 200, body = Declared), (status = "default", body = Problem)))]
pub(in crate::server) async fn tool(State(app): State<Arc<App>>, _: Who, Place(name): Place<String>) -> Answer {
    let tools = app.engine.tools();
    let found = tools.get(&name).map(|(manifest, digest)| Declared {
        digest: digest.to_string(),
        file: app.engine.tool_file(&name),
        manifest: manifest.clone(),
    });
    json(&found.ok_or_else(|| {
        Fault::new(Code::TOOL_UNKNOWN, "there is no such tool", "`are tool list` shows what there is")
    })?)
}

/// A file of tools.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct File {
    /// Its name, such as `weather.toml`.
    name: String,
    /// Its bytes in base64.
    content: String,
    /// The manifest to lie beside it.
    manifest: Option<String>,
    /// True to replace another one of that name.
    #[serde(default)]
    replace: bool,
}

/// What a file brought.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Added {
    /// Names of its tools; empty when it was there already.
    tools: Vec<String>,
    /// False when the same file was there already.
    is_new: bool,
    /// Digest of the set that is served now.
    digest: String,
}

/// Adds a file of tools, or replaces one.
#[utoipa::path(post, path = "/api/tools", request_body = File, responses((status = 201, body = Added), (status = "default", body = Problem)))]
pub(in crate::server) async fn add(State(app): State<Arc<App>>, who: Who, told: Large<File>) -> Answer {
    let File { name, content, manifest, replace } = told.required()?;
    let bytes = STANDARD
        .decode(content.as_bytes())
        .map_err(|error| invalid(format!("`content` is not base64: {error}"), "encode the file's bytes"))?;
    let shelved = app.engine.add_tool(&who.caller, ToolFile { name: name.clone(), bytes, manifest }, replace).await?;
    let digest = app.engine.tools().digest().to_string();
    match shelved {
        Shelved::Written { tools } => {
            created(&Added { tools: tools.iter().map(ToString::to_string).collect(), is_new: true, digest })
        }
        Shelved::Same => json(&Added { tools: Vec::new(), is_new: false, digest }),
        Shelved::Differs { changes } => Err(Fault::new(
            Code::TOOL_EXISTS,
            format!("another `{name}` is there; replacing it changes:\n{}", changes.join("\n")),
            "look at what changes, then say `replace` (`are tool add --replace`); what was approved for it ends",
        )
        .into()),
    }
}

/// What was removed.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Removed {
    file: String,
}

/// Removes a file of tools, by its name or by that of one of its tools.
#[utoipa::path(delete, path = "/api/tools/{name}", params(("name" = String, Path)), responses((status = 200, body = Removed), (status = "default", body = Problem)))]
pub(in crate::server) async fn remove(State(app): State<Arc<App>>, who: Who, Place(name): Place<String>) -> Answer {
    json(&Removed { file: app.engine.remove_tool(&who.caller, name).await? })
}

/// Reads the files of tools again, now.
#[utoipa::path(post, path = "/api/registry/reload", responses((status = 200, body = Tools), (status = "default", body = Problem)))]
pub(in crate::server) async fn reload(State(app): State<Arc<App>>, _: Who) -> Answer {
    app.engine.reload_tools().await?;
    json(&standing(&app))
}

/// A call to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct Call {
    /// The arguments.
    #[serde(default)]
    args: serde_json::Map<String, serde_json::Value>,
    /// The session; a new one when absent.
    session: Option<String>,
    /// Agent of a new session.
    #[schema(value_type = Option<String>)]
    agent: Option<AgentName>,
    /// Workspace of a new session; on the unix socket only.
    #[schema(value_type = Option<String>)]
    workspace: Option<PathBuf>,
    /// The client's name for it.
    #[schema(value_type = Option<String>)]
    request_id: Option<RequestId>,
}

/// What a call came to.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct CallResult {
    session: String,
    turn: u32,
    call: u32,
    /// What the tool returned.
    result: serde_json::Value,
    /// Labels of its leaves, by JSON pointer.
    labels: serde_json::Value,
}

/// Calls a tool, as a turn of its own. To call it is to ask for it.
#[utoipa::path(post, path = "/api/tools/{name}/call", params(("name" = String, Path)), request_body = Call, responses((status = 200, body = CallResult), (status = "default", body = Problem)))]
pub(in crate::server) async fn call(
    State(app): State<Arc<App>>,
    who: Who,
    Place(name): Place<String>,
    told: Told<Call>,
) -> Answer {
    let Call { args, session: key, agent, workspace, request_id } = told.required()?;
    let tool = parsed(&name)?;
    let args = Args::from_value(&serde_json::Value::Object(args))
        .map_err(|error| invalid(format!("the arguments cannot be read: {error}"), "send one JSON object"))?;
    let target = match key {
        Some(_) if agent.is_some() || workspace.is_some() => {
            return Err(invalid("`agent` and `workspace` are for a new session", "leave them out").into());
        }
        Some(key) => Target::Session(session(&key)?),
        None => Target::New(app.new_session(&who.principal, NewSession { agent, workspace })?),
    };
    let call = DirectCall { target, request_id, tool, args, if_busy: IfBusy::Reject, waits: false };
    let called = app.engine.call_tool(&who.caller, call).await?;
    json(&CallResult {
        session: called.session.to_string(),
        turn: called.turn,
        call: called.call,
        result: called.value,
        labels: serde_json::to_value(&called.labels).unwrap_or_default(),
    })
}

/// A model.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Model {
    /// `provider:model`.
    name: String,
    context_tokens: u64,
    output_tokens: u64,
    /// False where the model refuses a temperature.
    takes_temperature: bool,
    /// True where it can be shown images.
    takes_images: bool,
    /// Levels of effort that it takes, least first.
    efforts: Vec<&'static str>,
    /// True when nothing leaves the machine.
    is_local: bool,
}

impl From<ModelInfo> for Model {
    fn from(info: ModelInfo) -> Self {
        let ModelInfo {
            name, context_tokens, output_tokens, takes_temperature, takes_images, efforts, is_local, ..
        } = info;
        let efforts = efforts.into_iter().map(Effort::word).collect();
        Self { name, context_tokens, output_tokens, takes_temperature, takes_images, efforts, is_local }
    }
}

#[derive(Serialize, ToSchema)]
pub(in crate::server) struct ModelList {
    models: Vec<Model>,
}

/// Models that can be called now.
#[utoipa::path(get, path = "/api/models", responses((status = 200, body = ModelList), (status = "default", body = Problem)))]
pub(in crate::server) async fn models(State(app): State<Arc<App>>, _: Who) -> Answer {
    json(&ModelList { models: app.engine.models().into_iter().map(Model::from).collect() })
}
