//! One call of a server's tool, resource or prompt.

use std::sync::Arc;

use are_core::BoxFuture;
use are_core::body::{Effect, Retry};
use are_core::error::{Code, Fault};
use are_policy::gate::Permit;
use are_policy::manifest::{CallLimits, Manifest};
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, ClientRequest, ErrorCode, GetPromptRequest, GetPromptRequestParams,
    ListResourcesRequest, PaginatedRequestParams, ReadResourceRequest, ReadResourceRequestParams, ServerResult,
};
use rmcp::service::ServiceError;
use serde_json::{Map, Value, json};

use super::content::{self, Under};
use super::link::{Link, failure, unsendable};
use super::login::named;
use super::server::Server;
use super::wire::broken;
use crate::lane::{Answer, Error, Room, Runs};
use crate::text::{plain, short};

/// What is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// A tool, by the server's name for it.
    Tool(String),
    /// The list of resources.
    Resources,
    /// What a resource holds.
    Resource,
    /// What a prompt says.
    Prompt,
}

/// A tool of a server.
pub(super) struct Call {
    server: Arc<Server>,
    what: What,
    limits: CallLimits,
    /// Whether it does no harm to have been called without knowing what came of it.
    is_repeatable: bool,
}

impl Call {
    pub(super) fn new(server: Arc<Server>, what: What, manifest: &Manifest) -> Self {
        let is_reading = matches!(manifest.effect, Effect::None | Effect::NetworkRead);
        let is_repeatable = is_reading || manifest.retry != Retry::AtMostOnce;
        Self { server, what, limits: manifest.limits, is_repeatable }
    }

    async fn perform(&self, tool: &str, args: Map<String, Value>, room: &Room) -> Result<Answer, Error> {
        let link = self.server.link(&room.workspace, room.deadline).await?;
        if let What::Tool(name) = &self.what {
            self.server.check(name, &link, room.deadline).await?;
        }
        let request = self.request(args)?;
        if !self.is_repeatable {
            room.latch.begin()?;
        }
        let answer = match link.ask(request, &room.output).await {
            Ok(answer) => answer,
            Err(error) => return Err(self.failed(&error, &link).await),
        };
        self.server.succeeded();
        let secrets = link.masked.all();
        let under = Under { limits: &self.limits, secrets: &secrets, tool, artifact_room: room.artifact_room };
        self.answer(answer, &under)
    }

    fn request(&self, mut args: Map<String, Value>) -> Result<ClientRequest, Fault> {
        let mut text = |name: &str| match args.remove(name) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        Ok(match &self.what {
            What::Tool(name) => {
                let params = CallToolRequestParams::new(name.clone()).with_arguments(args);
                ClientRequest::CallToolRequest(CallToolRequest::new(params))
            }
            What::Resources => {
                let cursor = Some(text("cursor")).filter(|cursor| !cursor.is_empty());
                let params = PaginatedRequestParams::default().with_cursor(cursor);
                ClientRequest::ListResourcesRequest(ListResourcesRequest::with_param(params))
            }
            What::Resource => {
                let params = ReadResourceRequestParams::new(text("uri"));
                ClientRequest::ReadResourceRequest(ReadResourceRequest::new(params))
            }
            What::Prompt => {
                let mut params = GetPromptRequestParams::new(text("name"));
                params.arguments = match args.remove("arguments") {
                    Some(Value::Object(arguments)) => Some(arguments),
                    _ => None,
                };
                ClientRequest::GetPromptRequest(GetPromptRequest::new(params))
            }
        })
    }

    fn answer(&self, answer: ServerResult, under: &Under<'_>) -> Result<Answer, Error> {
        match (&self.what, answer) {
            (What::Tool(_), ServerResult::CallToolResult(result)) => {
                if result.is_error == Some(true) {
                    let words = content::of_failure(&result, under.secrets);
                    let help = "change the call as it says, or try another way";
                    return Err(Fault::new(Code::TOOL_FAILED, format!("the tool failed: {words}"), help).into());
                }
                Ok(content::of_call(result, under))
            }
            // Nothing at all is an answer too.
            (What::Tool(_), ServerResult::EmptyResult(_)) => Ok(json!({}).into()),
            (What::Tool(_), ServerResult::CustomResult(result)) => match content::salvaged(result.0) {
                Some(result) => self.answer(ServerResult::CallToolResult(result), under),
                None => Err(self.after_sending(broken("it answers something else than it was asked"))),
            },
            (What::Resources, ServerResult::ListResourcesResult(result)) => {
                let resource = |resource: rmcp::model::Resource| {
                    json!({
                        "uri": resource.uri,
                        "name": resource.name,
                        "description": resource.description,
                        "mime_type": resource.mime_type,
                    })
                };
                let mut listed: Vec<Value> = result.resources.into_iter().map(resource).collect();
                let room = usize::try_from(self.limits.output_bytes).unwrap_or(usize::MAX).saturating_sub(1 << 10);
                let mut bytes = 0;
                let fits = listed.iter().take_while(|one| {
                    bytes += one.to_string().len() + 1;
                    bytes <= room
                });
                let kept = fits.count();
                let is_cut = kept < listed.len();
                listed.truncate(kept);
                let next = result.next_cursor.filter(|cursor| cursor.len() <= 1 << 10);
                Ok(json!({"resources": listed, "next_cursor": next, "truncated": is_cut}).into())
            }
            (What::Resource, ServerResult::ReadResourceResult(result)) => Ok(content::of_resource(result, under)),
            (What::Prompt, ServerResult::GetPromptResult(result)) => Ok(content::of_prompt(result, under)),
            _ => Err(self.after_sending(broken("it answers something else than it was asked"))),
        }
    }

    async fn failed(&self, error: &ServiceError, link: &Link) -> Error {
        match error {
            // The server says itself that it came to nothing.
            ServiceError::McpError(error) => {
                let words = content::scrubbed(&short(&plain(&error.message)), &link.masked.all());
                let code = match error.code {
                    ErrorCode::INVALID_PARAMS => Code::TOOL_ARGS,
                    _ => Code::TOOL_FAILED,
                };
                let help = "change the call as it says, or try another way";
                Fault::new(code, format!("the server refuses: {words}"), help).into()
            }
            ServiceError::TransportSend(error) => match unsendable(error) {
                (fault, false) => {
                    self.server.refuses(&fault).await;
                    Error::Failed(named(fault, &self.server.name))
                }
                (fault, true) => self.after_sending(fault),
            },
            ServiceError::TransportClosed => {
                let fault = link.ended().await.unwrap_or_else(|| failure(error));
                self.after_sending(fault)
            }
            other => self.after_sending(failure(other)),
        }
    }

    /// A failure after the server may have begun.
    fn after_sending(&self, mut fault: Fault) -> Error {
        fault.message = format!("the server `{}`: {}", self.server.name, fault.message);
        if self.is_repeatable {
            return Error::Failed(fault.retryable());
        }
        fault.code = Code::TOOL_OUTCOME_UNKNOWN;
        fault.retryable = false;
        fault.help = "it may or may not have happened: find out before calling it again".to_owned();
        Error::Unknown(fault)
    }
}

impl Runs for Call {
    fn run(&self, permit: Permit, room: Room) -> BoxFuture<'_, Result<Answer, Error>> {
        Box::pin(async move {
            // A program that made the call reads the bytes itself.
            let artifact_room = if permit.call().parent.is_some() { 0 } else { room.artifact_room };
            let spent = permit.spend();
            self.perform(&spent.tool, spent.args.to_map(), &Room { artifact_room, ..room }).await
        })
    }
}
