//! What was consented to: the file `NAME.mcp`.
//!
//! It holds the values of variables and headers, so it is this user's alone. A
//! random text in it keeps its digest, which is told to everybody who may see
//! the tools, from being tried out against guessed values.

use are_core::body::{Effect, Retry};
use are_core::canonical::to_canonical;
use are_core::digest::{Digest, Nonce};
use are_core::error::{Code, Fault};
use rmcp::model::{Prompt, Tool};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::declared::{Declaration, digest};
use super::hints;
use super::spec::Spec;
use crate::registry::load::invalid;
use crate::registry::names::visible;
use crate::text::{plain, short};

/// Version of the format.
const FORMAT: u32 = 1;
/// Bytes of the file.
const BYTES_MAX: usize = 4 << 20;

/// What was consented to.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Consent {
    format: u32,
    nonce: String,
    pub(crate) server: Spec,
    /// Name and version that the server gave itself.
    pub(super) says: String,
    pub(super) tools: Vec<Agreed>,
    /// Whether it offers resources.
    #[serde(default)]
    pub(super) resources: bool,
    /// Prompts that it offered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) prompts: Vec<Offered>,
}

/// A tool as it was declared when somebody consented.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Agreed {
    /// The server's name for it.
    pub(crate) name: String,
    /// Digest of the whole declaration.
    pub(crate) digest: Digest,
    pub(crate) description: String,
    pub(super) schema: Value,
    pub(super) effect: Effect,
    pub(super) retry: Retry,
    /// The server's hints, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) hints: Vec<String>,
}

/// A prompt as it was offered.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Offered {
    pub(super) name: String,
    pub(super) description: String,
    /// Names of its arguments; optional ones end in `?`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) arguments: Vec<String>,
}

impl Consent {
    /// To all that was declared.
    pub(super) fn to(server: Spec, declared: &Declaration) -> Self {
        Self {
            format: FORMAT,
            nonce: String::new(),
            server,
            says: short(&visible(&declared.says)),
            tools: declared.tools.iter().map(Agreed::to).collect(),
            resources: declared.has_resources,
            prompts: declared.prompts.iter().map(Offered::of).collect(),
        }
    }

    /// Reads the file.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let help = "add the server again: `are mcp add`";
        if bytes.len() > BYTES_MAX {
            return Err(invalid(format!("it is larger than {BYTES_MAX} bytes"), help));
        }
        let consent: Self =
            serde_json::from_slice(bytes).map_err(|error| invalid(format!("it cannot be read: {error}"), help))?;
        if consent.format != FORMAT {
            return Err(invalid(format!("its format {} is not known", consent.format), "update the program"));
        }
        Ok(consent)
    }

    /// The file, with a random text of its own.
    pub(crate) fn sealed(&self, nonce: Nonce) -> Result<Vec<u8>, Fault> {
        let whole = Self { nonce: Digest(nonce).to_string(), ..self.clone() };
        let bytes = serde_json::to_vec_pretty(&whole)
            .map_err(|error| Fault::new(Code::INTERNAL, error.to_string(), "report this as a bug"))?;
        if bytes.len() > BYTES_MAX {
            let why = format!("what the server declares is larger than {BYTES_MAX} bytes");
            return Err(Fault::new(Code::SERVER_UNUSABLE, why, "use a server with fewer tools"));
        }
        Ok(bytes)
    }

    /// Digest of all of it but the random text.
    pub(crate) fn digest(&self) -> Digest {
        let whole = Self { nonce: String::new(), ..self.clone() };
        Digest::of(&[to_canonical(&whole).unwrap_or_default().as_bytes()])
    }

    /// Its tools.
    pub(crate) fn tools(&self) -> &[Agreed] {
        &self.tools
    }

    /// Name and version that the server gave itself.
    pub(crate) fn says(&self) -> &str {
        &self.says
    }

    /// Its prompts, a line each.
    pub(crate) fn prompts(&self) -> Vec<String> {
        self.prompts.iter().map(Offered::line).collect()
    }

    /// Tools of this consent that a later one does not have.
    pub(crate) fn gone(&self, later: &Self) -> Vec<String> {
        let is_gone = |agreed: &&Agreed| later.tools.iter().all(|other| other.name != agreed.name);
        self.tools.iter().filter(is_gone).map(|agreed| short(&plain(&agreed.name))).collect()
    }

    /// How a tool stands against an earlier consent.
    pub(crate) fn state(before: Option<&Self>, tool: &Agreed) -> &'static str {
        match before.and_then(|before| before.tools.iter().find(|agreed| agreed.name == tool.name)) {
            None => "new",
            Some(agreed) if agreed.digest == tool.digest => "same",
            Some(_) => "changed",
        }
    }
}

impl Agreed {
    fn to(tool: &Tool) -> Self {
        let (effect, retry) = hints::prefilled(tool.annotations.as_ref());
        let title = tool.title.as_deref().or(tool.annotations.as_ref().and_then(|hints| hints.title.as_deref()));
        let description = tool.description.as_deref().filter(|text| !text.trim().is_empty());
        Self {
            name: tool.name.to_string(),
            digest: digest(tool),
            description: visible(description.or(title).unwrap_or_default()),
            schema: Value::Object(tool.input_schema.as_ref().clone()),
            effect,
            retry,
            hints: hints::words(tool.annotations.as_ref()),
        }
    }
}

impl Offered {
    fn of(prompt: &Prompt) -> Self {
        let argument = |argument: &rmcp::model::PromptArgument| {
            let mark = if argument.required == Some(true) { "" } else { "?" };
            format!("{}{mark}", short(&plain(&argument.name)))
        };
        Self {
            name: prompt.name.clone(),
            description: short(&visible(prompt.description.as_deref().unwrap_or_default())),
            arguments: prompt.arguments.iter().flatten().take(16).map(argument).collect(),
        }
    }

    /// In a line.
    pub(super) fn line(&self) -> String {
        let arguments = self.arguments.join(", ");
        visible(&format!("{}({arguments}): {}", self.name, self.description))
    }
}
