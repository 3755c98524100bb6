//! Asks the person behind the client about a call that waits for an answer.
//!
//! Only where the client shows forms (`elicitation`) and the token may approve:
//! its answer then counts as one given through any other door, for exactly the
//! bytes that were shown. Whoever answers elsewhere first withdraws the form. A
//! form that is put away without an answer leaves the call waiting.

use are_core::body::{Answer, Body};
use are_core::digest::Digest;
use are_core::ids::{ApprovalNo, SessionKey, ThreadId};
use are_core::journal::Entry;
use are_core::payload::Payload;
use are_engine::api::{Approve, Caller};
use are_engine::engine::Engine;
use rmcp::RoleServer;
use rmcp::model::{
    ClientResult, ElicitRequest, ElicitRequestParams, ElicitationAction, ElicitationSchema, ServerRequest,
};
use rmcp::service::{ElicitationMode, Peer, PeerRequestOptions, RequestHandle, ServiceError};
use serde_json::{Value, json};

use super::handler::Handler;
use crate::server::auth::{Principal, Scope};

/// Characters of arguments in a form; an approval through other doors shows all of them.
const ARGS_CHARS_MAX: usize = 4_000;
/// The field of the form, and what it may hold.
const FIELD: &str = "decision";
const ALLOW: &str = "allow_once";
const DENY: &str = "deny";

/// The person behind the client of one call.
pub(super) struct Person {
    engine: Engine,
    session: SessionKey,
    /// The person as the engine hears it; `None` when it cannot be asked.
    caller: Option<Caller>,
    peer: Peer<RoleServer>,
    asked: Option<Asked>,
}

/// A form that is shown.
struct Asked {
    approval: ApprovalNo,
    digest: Digest,
    form: RequestHandle<RoleServer>,
}

/// What came back: the approval it is about, and the answer if it was one.
pub(super) struct Word {
    approval: ApprovalNo,
    digest: Digest,
    decision: Option<Answer>,
}

impl Person {
    pub(super) fn new(
        handler: &Handler,
        principal: &Principal,
        context: &rmcp::service::RequestContext<RoleServer>,
        session: SessionKey,
    ) -> Self {
        let peer = context.peer.clone();
        let shows_forms = peer.supported_elicitation_modes().contains(&ElicitationMode::Form);
        let thread: Option<ThreadId> = "mcp".parse().ok();
        let may = shows_forms && principal.scopes.allow(Scope::Approve);
        let caller = thread.filter(|_| may).map(|thread| principal.caller(thread));
        Self { engine: handler.app.engine.clone(), session, caller, peer, asked: None }
    }

    /// Shows a form for an approval that is asked for, and takes it away when it was answered elsewhere.
    pub(super) async fn hear(&mut self, entry: &Entry) {
        let Entry::Record(record, payload) = entry else { return };
        match (&record.body, payload) {
            (Body::ApprovalRequested { approval, digest, .. }, Some(Payload::Shown { shown })) => {
                self.ask(*approval, *digest, shown).await;
            }
            (Body::ApprovalResolved { approval, .. } | Body::ApprovalWithdrawn { approval, .. }, _) => {
                let is_it = |asked: &mut Asked| asked.approval == *approval;
                if let Some(asked) = self.asked.take_if(is_it)
                    && let Err(error) = asked.form.cancel(Some("it was answered elsewhere".to_owned())).await
                {
                    tracing::debug!(%error, "a form was not taken away");
                }
            }
            _ => {}
        }
    }

    async fn ask(&mut self, approval: ApprovalNo, digest: Digest, shown: &str) {
        if self.caller.is_none() {
            return;
        }
        let Some(form) = form(shown) else { return };
        let request = ServerRequest::ElicitRequest(ElicitRequest::new(form));
        match self.peer.send_cancellable_request(request, PeerRequestOptions::no_options()).await {
            Ok(form) => self.asked = Some(Asked { approval, digest, form }),
            Err(error) => tracing::debug!(%error, "a form was not shown"),
        }
    }

    /// What the person says. Cancel-safe: an answer is either returned or still to come.
    pub(super) async fn answer(&mut self) -> Word {
        let Some(asked) = &mut self.asked else { return std::future::pending().await };
        let answer = (&mut asked.form.rx).await.unwrap_or(Err(ServiceError::TransportClosed));
        let word = Word { approval: asked.approval, digest: asked.digest, decision: decision(answer) };
        self.asked = None;
        word
    }

    /// Passes an answer on to whom waits for it.
    pub(super) async fn pass_on(&self, word: Word) {
        let (Some(caller), Some(decision)) = (&self.caller, word.decision) else { return };
        let answer = Approve { approval: word.approval, digest: word.digest, decision };
        if let Err(error) = self.engine.approve(caller, self.session, answer).await {
            // Somebody was quicker.
            tracing::debug!(%error, "an answer came too late");
        }
    }
}

/// The form for what an approval shows.
fn form(shown: &str) -> Option<ElicitRequestParams> {
    let shown: Value = serde_json::from_str(shown).ok()?;
    let args = shown["args"].to_string();
    let mut args_shown: String = args.chars().take(ARGS_CHARS_MAX).collect();
    if args_shown.len() < args.len() {
        args_shown.push_str("… (`are approval list` shows all)");
    }
    let text = |key: &str| shown[key].as_str().unwrap_or_default().to_owned();
    let message = format!("Allow `{}` {args_shown}?\n{}", text("tool"), text("why"));
    let schema = json!({
        "type": "object",
        "properties": {FIELD: {
            "type": "string",
            "title": "Decision",
            "description": "Allow exactly this call, once, or deny it",
            "oneOf": [{"const": ALLOW, "title": "Allow once"}, {"const": DENY, "title": "Deny"}],
        }},
        "required": [FIELD],
    });
    let requested_schema: ElicitationSchema = serde_json::from_value(schema).ok()?;
    Some(ElicitRequestParams::FormElicitationParams { meta: None, message, requested_schema })
}

/// The decision in an answer; whatever is not plainly an allowance or a dismissal denies.
fn decision(answer: Result<ClientResult, ServiceError>) -> Option<Answer> {
    let Ok(ClientResult::ElicitResult(result)) = answer else { return None };
    match result.action {
        ElicitationAction::Accept if result.content.as_ref().is_some_and(|content| content[FIELD] == ALLOW) => {
            Some(Answer::AllowOnce)
        }
        ElicitationAction::Accept | ElicitationAction::Decline => Some(Answer::Deny),
        // Put away, in this revision or a later one.
        _ => None,
    }
}
