//! What clients say on `are.v2`, read strictly: no duplicate keys, bounded
//! depth, no unknown fields, every value of its type and within its range.
//! A misspelt wish is an error that names it, not a silent default.

use std::path::PathBuf;

use are_core::body::{Answer, Rating};
use are_core::canonical::parse_strict;
use are_core::digest::Digest;
use are_core::error::Fault;
use are_core::ids::{AgentName, RequestId, SessionKey, ThreadId};
use are_core::label::Integrity;
use are_core::limits::PROMPT_PARTS_MAX;
use are_core::model::{self, Asked, Image, Shape};
use are_core::payload::Part;
use are_engine::api::{Approve, IfBusy, NewSession, Prompt};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::super::named;
use super::super::problem::invalid;

/// Bytes of a request's `id`, which is only repeated.
const ID_BYTES_MAX: usize = 128;
/// Bytes of a model's name.
const MODEL_BYTES_MAX: usize = 256;
/// Bytes of a feedback's note.
const NOTE_BYTES_MAX: usize = 16 << 10;
/// Highest temperature any provider knows.
const TEMPERATURE_MAX: f64 = 2.0;

/// A frame with the `id` that its answer repeats.
pub(in crate::server) struct Incoming {
    pub(in crate::server) id: Option<Value>,
    pub(in crate::server) frame: Result<ClientFrame, Fault>,
}

/// A request on the socket. Each may carry `id`, text or integer; the direct answer repeats it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(in crate::server) enum ClientFrame {
    /// Follow a session.
    Attach(Attach),
    /// Say something; without a session attached, in a new one.
    Prompt(Box<PromptFrame>),
    /// Say something while a turn runs: the model stops, hears it and goes on.
    Steer { turn: u32, content: Content },
    /// Rate a turn or note something about it.
    Feedback {
        turn: u32,
        #[schema(value_type = Option<String>)]
        rating: Option<Rating>,
        note: Option<String>,
    },
    /// Stop a turn.
    Cancel { turn: u32 },
    /// Answer an approval request: `allow_once`, `allow_session`, `allow_always` (needs the scope `admin`) or `deny`.
    Approve {
        approval: u32,
        /// Digest of what was shown.
        #[schema(value_type = String)]
        digest: Digest,
        #[schema(value_type = String)]
        decision: Answer,
    },
    /// Is anybody there?
    Ping {},
}

/// What to follow.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct Attach {
    /// Key of a session, or `new`.
    pub(in crate::server) session: String,
    /// The place this client speaks from.
    #[schema(value_type = Option<String>)]
    pub(in crate::server) thread: Option<ThreadId>,
    /// Agent of a new session.
    #[schema(value_type = Option<String>)]
    pub(in crate::server) agent: Option<AgentName>,
    /// Workspace of a new session; on the unix socket only.
    #[schema(value_type = Option<String>)]
    pub(in crate::server) workspace: Option<PathBuf>,
    /// Last entry the client has; the end when absent.
    pub(in crate::server) after: Option<u64>,
    /// Epoch the client knows.
    pub(in crate::server) epoch: Option<u32>,
    /// True when nobody sits at this client who could answer approvals, whatever its token may.
    #[serde(default)]
    pub(in crate::server) headless: bool,
}

/// A prompt with its wishes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct PromptFrame {
    /// The client's name for the request; the same one again is the same turn.
    #[schema(value_type = Option<String>)]
    request_id: Option<RequestId>,
    content: Content,
    /// `untrusted` when the text is not the user's own words.
    #[serde(default)]
    integrity: Voice,
    /// Whether what the prompt does not wish for may change as the turn goes; as the server is set up when absent.
    adaptive: Option<bool>,
    /// A wish: what the model does not take is changed or dropped, and `strategy` says so.
    effort: Option<Effort>,
    /// From 0 to 2.
    temperature: Option<f64>,
    /// A wish: makes chance repeatable, where there is a temperature and the model takes a seed.
    seed: Option<i64>,
    /// `provider:model` or a model's name.
    model: Option<String>,
    /// While a turn runs: `reject`, `queue` or `steer`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    if_busy: IfBusy,
    /// True to be heard although the prompt firewall may refuse it; recorded.
    #[serde(default)]
    allow_flagged: bool,
    /// Agent of the new session, when none is attached.
    #[schema(value_type = Option<String>)]
    agent: Option<AgentName>,
    /// Workspace of the new session, when none is attached; on the unix socket only.
    #[schema(value_type = Option<String>)]
    workspace: Option<PathBuf>,
    /// The place this client speaks from.
    #[schema(value_type = Option<String>)]
    thread: Option<ThreadId>,
}

/// Whose words a prompt is.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::server) enum Voice {
    /// The account's own.
    #[default]
    User,
    /// Anybody's.
    Untrusted,
}

/// How much a model shall think.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::server) enum Effort {
    Low,
    Medium,
    High,
    Xhigh,
    Max,
}

impl From<Effort> for model::Effort {
    fn from(effort: Effort) -> Self {
        match effort {
            Effort::Low => Self::Low,
            Effort::Medium => Self::Medium,
            Effort::High => Self::High,
            Effort::Xhigh => Self::Xhigh,
            Effort::Max => Self::Max,
        }
    }
}

/// Text, or parts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "`content` must be a text or a list of parts: {\"type\":\"text\",\"text\":…} or {\"type\":\"file\",\"name\":…,\"media_type\":…,\"data\":…}"
)]
pub(in crate::server) enum Content {
    /// The user's words.
    Text(String),
    /// Words and files.
    Parts(#[serde(deserialize_with = "named::objects")] Vec<WirePart>),
}

/// One part.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(in crate::server) enum WirePart {
    /// The user's words.
    Text { text: String },
    /// A text file; always untrusted.
    File {
        #[serde(default)]
        name: String,
        media_type: String,
        /// The text itself.
        data: String,
    },
    /// A PNG, JPEG, GIF or WebP; always untrusted.
    Image {
        media_type: String,
        /// Its bytes in base64, with padding.
        data: String,
    },
}

impl Content {
    /// As the engine hears it.
    pub(in crate::server) fn into_parts(self) -> Result<Vec<Part>, Fault> {
        let parts = match self {
            Self::Text(text) => vec![Part::Text { text }],
            Self::Parts(parts) if parts.len() > PROMPT_PARTS_MAX => {
                return Err(super::super::problem::too_large(
                    format!("`content` has more than {PROMPT_PARTS_MAX} parts"),
                    "send fewer parts",
                ));
            }
            Self::Parts(parts) => parts.into_iter().map(WirePart::into_part).collect::<Result<_, _>>()?,
        };
        let says_something = |part: &Part| match part {
            Part::Text { text } => !text.trim().is_empty(),
            Part::File { .. } | Part::Image(_) | Part::Exchange { .. } => true,
        };
        if parts.iter().any(says_something) {
            return Ok(parts);
        }
        Err(invalid("`content` says nothing", "send some text"))
    }
}

impl WirePart {
    fn into_part(self) -> Result<Part, Fault> {
        match self {
            Self::Text { text } => Ok(Part::Text { text }),
            Self::Image { media_type, data } => Ok(Part::Image(Image { media_type, data: data.into() })),
            Self::File { name, media_type, data } => {
                let is_name = |text: &str| text.len() <= MODEL_BYTES_MAX && !text.chars().any(char::is_control);
                if is_name(&name) && is_name(&media_type) {
                    return Ok(Part::File { name, media_type, text: data });
                }
                Err(invalid("a file's `name` or `media_type` is too long or holds control characters", "shorten it"))
            }
        }
    }
}

impl PromptFrame {
    /// The engine's prompt, the new session it would begin, and where the client speaks from.
    pub(in crate::server) fn into_parts(self) -> Result<(Prompt, NewSession, Option<ThreadId>), Fault> {
        let prompt = Prompt {
            request_id: self.request_id,
            content: self.content.into_parts()?,
            integrity: match self.integrity {
                Voice::User => Integrity::User,
                Voice::Untrusted => Integrity::Untrusted,
            },
            temperature_milli: self.temperature.map(temperature_milli).transpose()?,
            effort: self.effort.map(Into::into),
            model: self.model.map(model_name).transpose()?,
            if_busy: self.if_busy,
            is_direct: false,
            waits: false,
            allow_flagged: self.allow_flagged,
            asked: Asked {
                adaptive: self.adaptive,
                shape: Shape { seed: self.seed, ..Shape::default() },
                ..Asked::default()
            },
        };
        Ok((prompt, NewSession { agent: self.agent, workspace: self.workspace }, self.thread))
    }
}

impl ClientFrame {
    /// The answer in an `approve` frame.
    pub(in crate::server) fn approval(approval: u32, digest: Digest, decision: Answer) -> Approve {
        Approve { approval, digest, decision }
    }
}

/// A temperature in thousandths.
pub(in crate::server) fn temperature_milli(temperature: f64) -> Result<u32, Fault> {
    if (0.0..=TEMPERATURE_MAX).contains(&temperature) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and 2000 by the check above"
        )]
        return Ok((temperature * 1000.0).round() as u32);
    }
    Err(invalid("`temperature` is out of range", "send a number from 0 to 2"))
}

/// A model's name.
pub(in crate::server) fn model_name(name: String) -> Result<String, Fault> {
    if name.is_empty() || name.len() > MODEL_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(invalid("`model` is no model's name", "send `provider:model`; `are model list` shows them"));
    }
    Ok(name)
}

/// A note within its limit.
pub(in crate::server) fn note(text: String) -> Result<String, Fault> {
    if text.len() > NOTE_BYTES_MAX {
        return Err(super::super::problem::too_large(
            format!("`note` is longer than {NOTE_BYTES_MAX} bytes"),
            "shorten it",
        ));
    }
    Ok(text)
}

/// `new`, or a key.
pub(in crate::server) fn session_key(text: &str) -> Result<Option<SessionKey>, Fault> {
    if text == "new" {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| invalid("`session` is neither a UUID nor `new`", "`are session list` shows the keys"))
}

/// Reads one message.
pub(in crate::server) fn read(text: &str) -> Incoming {
    let help = "see `/api/ws-schema.json` for the frames";
    let refuse = |id, message: String| Incoming { id, frame: Err(invalid(message, help)) };
    let mut value = match parse_strict(text.as_bytes()) {
        Ok(value) => value,
        Err(error) => return refuse(None, error.to_string()),
    };
    let Some(fields) = value.as_object_mut() else {
        return refuse(None, "a request is a JSON object".to_owned());
    };
    let id = fields.remove("id");
    let is_id = match &id {
        None | Some(Value::Number(_)) => true,
        Some(Value::String(text)) => text.len() <= ID_BYTES_MAX,
        Some(_) => false,
    };
    if !is_id {
        return refuse(None, format!("`id` must be a number or a text of at most {ID_BYTES_MAX} bytes"));
    }
    match named::read(value) {
        Ok(frame) => Incoming { id, frame: Ok(frame) },
        Err(error) => refuse(id, error.to_string()),
    }
}
