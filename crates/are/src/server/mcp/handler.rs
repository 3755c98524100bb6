//! What one MCP session answers.
//!
//! Each request speaks with the principal of its own HTTP request, so that
//! what a token may do is asked anew each time. The handler's state is the key
//! of the session behind it and the level that its client wants to hear.

#![expect(deprecated, reason = "logging is a part of the revisions that are spoken")]

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use are_core::canonical::Args;
use are_core::error::{Code, Fault};
use are_core::ids::{SessionKey, ThreadId};
use are_engine::api::{Caller, NewSession};
use rmcp::ErrorData;
use rmcp::RoleServer;
use rmcp::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, Implementation, ListResourceTemplatesResult, ListResourcesResult,
    ListToolsResult, LoggingLevel, PaginatedRequestParams, ProtocolVersion, ReadResourceRequestParams,
    ReadResourceResponse, ResourcesCapability, ServerCapabilities, ServerConfig, SetLevelRequestParams,
    ToolsCapability,
};
use rmcp::service::{NotificationContext, Peer, RequestContext};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::call::{self, Voice};
use super::sessions::Life;
use super::{resources, results, tools};
use crate::server::app::App;
use crate::server::auth::{Principal, Scope};

/// Where calls over MCP are spoken from.
const THREAD: &str = "mcp";
/// Calls of one MCP session in flight: one runs, some wait behind it.
const CALLS_MAX: usize = 32;
const INSTRUCTIONS: &str = "Tools of an Agent Runtime Engine. Each call is decided by its rules and recorded; one that \
    they ask a person about waits until it is answered. A denial says what would have to be said or changed.";

/// One MCP session.
pub(super) struct Handler {
    pub(super) app: Arc<App>,
    pub(super) life: Arc<Life>,
    new: NewSession,
    session: tokio::sync::Mutex<Option<SessionKey>>,
    level: Mutex<Option<LoggingLevel>>,
    calls: Semaphore,
}

impl Handler {
    /// `new` is how the session behind it begins.
    pub(super) fn new(app: &Arc<App>, life: &Arc<Life>, new: NewSession) -> Self {
        Self {
            app: app.clone(),
            life: life.clone(),
            new,
            session: tokio::sync::Mutex::default(),
            level: Mutex::default(),
            calls: Semaphore::new(CALLS_MAX),
        }
    }

    /// The session behind this one, begun when there is none yet.
    pub(super) async fn session(&self, caller: &Caller) -> Result<SessionKey, Fault> {
        let mut session = self.session.lock().await;
        if let Some(key) = *session {
            return Ok(key);
        }
        let key = self.app.engine.create(caller, self.new.clone()).await?;
        *session = Some(key);
        Ok(key)
    }

    /// Its user deleted it: the next call begins another.
    pub(super) async fn forget(&self, gone: SessionKey) {
        let mut session = self.session.lock().await;
        if *session == Some(gone) {
            *session = None;
        }
    }

    /// The level from which on the client wants to hear.
    fn level(&self) -> Option<LoggingLevel> {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call in its turn; as many as [`CALLS_MAX`] at once.
    async fn call(
        &self,
        principal: &Principal,
        (tool, args): (&str, Value),
        context: &RequestContext<RoleServer>,
    ) -> Result<call::Ended, Fault> {
        let _place = self.calls.try_acquire().map_err(|_| {
            let help = "wait for one to end";
            Fault::new(Code::PENDING_LIMIT, format!("{CALLS_MAX} calls of this MCP session are in flight"), help)
                .retryable()
        })?;
        let args = Args::from_value(&args).map_err(|error| {
            Fault::new(Code::TOOL_ARGS, format!("the arguments cannot be read: {error}"), "send one JSON object")
        })?;
        let tool = tool.parse().map_err(|_| results::unknown_tool())?;
        let voice = Voice::new(context, self.level());
        call::make(self, principal, (tool, args), context, voice).await
    }
}

/// Who asks, by the HTTP request that the message came in.
fn principal(context: &RequestContext<RoleServer>) -> Result<Principal, ErrorData> {
    let parts = context.extensions.get::<http::request::Parts>();
    parts.and_then(|parts| parts.extensions.get::<Principal>()).cloned().ok_or_else(|| {
        let fault = Fault::new(Code::INTERNAL, "the request has no principal", "report this as a bug");
        results::error(&fault)
    })
}

/// The same, when it has a scope.
fn allowed(context: &RequestContext<RoleServer>, scope: Scope) -> Result<Principal, ErrorData> {
    let principal = principal(context)?;
    principal.require(scope).map_err(|fault| results::error(&fault))?;
    Ok(principal)
}

/// The caller that the engine hears. It approves nothing by calling, nor does its waiting count as somebody who could:
/// whoever speaks over MCP is as a rule a model.
pub(super) fn caller(principal: &Principal) -> Result<Caller, Fault> {
    let thread: ThreadId =
        THREAD.parse().map_err(|_| Fault::new(Code::INTERNAL, "the thread has no name", "report this as a bug"))?;
    Ok(Caller { can_approve: false, can_administer: false, ..principal.caller(thread) })
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let mut capabilities = ServerCapabilities::default();
        let mut changing = ToolsCapability::default();
        changing.list_changed = Some(true);
        capabilities.tools = Some(changing);
        capabilities.logging = Some(serde_json::Map::new());
        capabilities.resources = resources::are_there(&self.app).then(ResourcesCapability::default);
        let implementation = Implementation::new("are", env!("CARGO_PKG_VERSION")).with_title("Agent Runtime Engine");
        ServerConfig::new(capabilities)
            .with_protocol_version(ProtocolVersion::V_2025_11_25)
            .with_server_info(implementation)
            .with_instructions(INSTRUCTIONS)
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(super::versions())
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        let changes = self.app.engine.tools_changes();
        self.app.tasks.spawn("mcp changes", tell_changes(changes, context.peer, self.life.clone()));
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        allowed(&context, Scope::Read)?;
        let cursor = request.and_then(|request| request.cursor);
        tools::page(&self.app.engine.offered_tools(), cursor.as_deref()).map_err(|fault| results::error(&fault))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let principal = allowed(&context, Scope::Prompt)?;
        if self.app.engine.offered_tools().get(&request.name).is_none() {
            return Err(results::error(&results::unknown_tool()));
        }
        let args = Value::Object(request.arguments.unwrap_or_default());
        let result = match self.call(&principal, (&request.name, args), &context).await {
            Ok(ended) => results::of(ended),
            Err(fault) => results::failed(&fault, None),
        };
        Ok(result.into())
    }

    async fn set_level(
        &self,
        request: SetLevelRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner) = Some(request.level);
        Ok(())
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        allowed(&context, Scope::Read)?;
        resources::list(&self.app)
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        allowed(&context, Scope::Read)?;
        resources::templates(&self.app)
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let principal = allowed(&context, Scope::Prompt)?;
        let wanted = resources::wanted(&self.app, &request.uri)?;
        let ended = self.call(&principal, (resources::READER, wanted.args()), &context).await;
        match ended.map(|ended| ended.outcome) {
            Ok(Ok(called)) => wanted.contents(&request.uri, &called.value),
            Ok(Err(fault)) | Err(fault) => Err(results::error(&fault)),
        }
    }
}

/// Tells the client of each change of the tools until its session is over.
async fn tell_changes(
    mut changes: tokio::sync::watch::Receiver<are_core::digest::Digest>,
    peer: Peer<RoleServer>,
    life: Arc<Life>,
) {
    loop {
        // Both only wait, for a change of a `watch` and for a cancelled token.
        tokio::select! {
            () = life.ended.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
        }
        if let Err(error) = peer.notify_tool_list_changed().await {
            tracing::debug!(%error, "an MCP client was not told of changed tools");
            return;
        }
    }
}
