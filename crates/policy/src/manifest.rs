//! What a tool's author declares: effect, retry, roles of arguments, labels of
//! outputs, limits. Whatever is not declared is the worst case.

mod set;

use std::collections::BTreeMap;

use are_core::body::{Effect, Retry};
use are_core::canonical::{Args, to_canonical};
use are_core::digest::Digest;
use are_core::ids::{SecretName, ToolName};
use are_core::label::{Confidentiality, Integrity, Label, Labels};
use are_core::model::{Example, ToolSpec};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::set::{Declaration, ToolSet};

/// Name of the tool that finds others. It is shown to a model only when it cannot be shown all of them.
pub const SEARCH: &str = "tool_search";
/// Name of the tool that begins another agent.
pub const SPAWN: &str = "agent_spawn";
/// Name of the tool that gives all of an earlier result. A model is shown it once results have been shortened.
pub const RESULT_READ: &str = "result_read";
/// Name of the call by which a running command reaches a place that the operator granted. No model is shown it.
pub const CONNECT: &str = "process_connect";
/// Labels of one result.
const LABELS_MAX: usize = 16_384;

/// Which kind of implementation runs the tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Part of the runtime.
    Builtin,
    /// A function that a WebAssembly component exports.
    Wasm,
    /// A function that a JavaScript module exports.
    Js,
    /// A command line template, run in the cage.
    Command,
    /// A request template.
    Http,
    /// Another agent, in a session of its own.
    Agent,
    /// A tool of a server that speaks the Model Context Protocol.
    Mcp,
}

/// What an argument means to the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Where something goes.
    Destination,
    /// What is acted upon.
    Selector,
    /// As whom.
    Identity,
    /// A credential.
    Credential,
    /// What is said or written.
    Content,
    /// How much.
    Amount,
    /// When.
    Time,
    /// A switch without reach.
    Option,
}

/// The label a manifest gives an output field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputLabel {
    /// Whose word it is.
    pub integrity: Integrity,
    /// Who may see it.
    pub confidentiality: Confidentiality,
}

impl Default for OutputLabel {
    fn default() -> Self {
        Self { integrity: Integrity::Untrusted, confidentiality: Confidentiality::Private }
    }
}

/// An effect that depends on one argument's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EffectBy {
    /// Name of the argument.
    pub arg: String,
    /// Effect by the argument's text; anything else is the tool's `effect`.
    pub map: BTreeMap<String, Effect>,
    /// Effect when the argument is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<Effect>,
}

/// Declaration of one argument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArgRule {
    /// What it means.
    pub role: Role,
}

/// Declared limits of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallLimits {
    /// Milliseconds from start to outcome.
    pub timeout_ms: u64,
    /// Bytes of its result.
    pub output_bytes: u64,
    /// Bytes of memory that its implementation may take; `None` is the lane's own limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self { timeout_ms: 30_000, output_bytes: are_core::limits::TOOL_STORED_BYTES_MAX as u64, memory_bytes: None }
    }
}

/// What a tool's implementation may use beside its arguments. Policy decides about each use all the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capabilities {
    /// Files of the workspace.
    #[serde(default, skip_serializing_if = "FileAccess::is_none")]
    pub fs: FileAccess,
    /// Hosts, as `example.com`, `*.example.com` or `example.com:8443`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<String>,
    /// Command lines, matched as `allow` matches them: element by element, a last `*` any further ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
    /// Secrets: the only ones that its calls may name, and, for a component, whose values it may ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretName>,
    /// Environment variables with their values; `secret:x` stands for the value of the secret `x`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

/// How far an implementation may use the files of the workspace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileAccess {
    /// Not at all.
    #[default]
    None,
    /// Reads.
    Read,
    /// Reads and changes.
    Write,
}

impl FileAccess {
    /// True for no access.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// What a tool is and what it may do to the world.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name.
    pub name: ToolName,
    /// What it does, for the model.
    pub description: String,
    /// Implementation.
    pub lane: Lane,
    /// Version of the implementation; part of the digest.
    pub version: String,
    /// JSON Schema of the arguments.
    pub schema: Value,
    /// One use of it, for small models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<Example>,
    /// The worst it does.
    pub effect: Effect,
    /// Milder effects by argument.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect_by: Option<EffectBy>,
    /// Whether it may be repeated.
    pub retry: Retry,
    /// Roles of arguments; an argument without one counts as a destination.
    #[serde(default)]
    pub args: BTreeMap<String, ArgRule>,
    /// Label of every output leaf that `output_fields` does not name.
    #[serde(default)]
    pub output_default: OutputLabel,
    /// Labels by JSON pointer, or by the name of a field at any depth.
    #[serde(default)]
    pub output_fields: BTreeMap<String, OutputLabel>,
    /// True when all it touches are workspace files, variables or memory.
    #[serde(default)]
    pub is_contained: bool,
    /// What its implementation may use; `None` declares nothing, so that policy alone decides about each use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// Limits.
    #[serde(default)]
    pub limits: CallLimits,
    /// Words of the user that ask for it, per language.
    #[serde(default)]
    pub intents: BTreeMap<String, Vec<String>>,
}

impl Manifest {
    /// True when the operator's settings fix where it can lead, and its lane refuses everything else. Only the runtime's
    /// own tools can be so.
    #[must_use]
    pub fn is_granted(&self) -> bool {
        self.lane == Lane::Builtin && self.name.as_str() == CONNECT
    }

    /// The role of an argument; one that is not declared counts as a destination.
    #[must_use]
    pub fn role_of(&self, arg: &str) -> Role {
        self.args.get(arg).map_or(Role::Destination, |rule| rule.role)
    }

    /// The effect of a call with these arguments.
    #[must_use]
    pub fn effect_of(&self, args: &Args) -> Effect {
        let Some(by) = &self.effect_by else { return self.effect };
        match args.to_map().get(&by.arg) {
            None | Some(Value::Null) => by.absent.unwrap_or(self.effect),
            Some(Value::String(text)) => by.map.get(text).copied().unwrap_or(self.effect),
            Some(_) => self.effect,
        }
    }

    /// Labels of what the tool returned, by JSON pointer. A key of `output_fields` that begins with a slash is such a
    /// pointer, any other names a field at whatever depth; what is not there gets no label.
    #[must_use]
    pub fn labels(&self, value: &Value, origin: &str) -> Labels {
        let label = |output: &OutputLabel| Label::new(output.integrity, output.confidentiality, origin);
        let mut labels = Labels::from([(String::new(), label(&self.output_default))]);
        let (pointers, fields): (Vec<_>, Vec<_>) =
            self.output_fields.iter().partition(|(name, _)| name.starts_with('/'));
        let there = pointers.into_iter().filter(|(pointer, _)| value.pointer(pointer).is_some());
        labels.extend(there.map(|(pointer, output)| (pointer.clone(), label(output))));
        if !fields.is_empty() {
            let fields: BTreeMap<&str, Label> =
                fields.into_iter().map(|(name, one)| (name.as_str(), label(one))).collect();
            label_fields(value, &fields, &mut String::new(), &mut labels);
        }
        labels
    }

    /// The retry class of a call with this effect: `pure` holds only without effect.
    #[must_use]
    pub fn retry_of(&self, effect: Effect) -> Retry {
        if self.retry == Retry::Pure && effect != Effect::None { Retry::AtMostOnce } else { self.retry }
    }

    /// Digest over the whole declaration: another declaration is another tool.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.sealed().1
    }

    /// The whole declaration in canonical JSON, and the digest over it.
    fn sealed(&self) -> (String, Digest) {
        // A manifest holds no maps with non-string keys and no floats but in its schema, so encoding cannot fail;
        // were it to, the zero digest matches no approval.
        to_canonical(self).map_or((String::new(), Digest::ZERO), |text| {
            let digest = Digest::of(&[text.as_bytes()]);
            (text, digest)
        })
    }

    /// What the model is told.
    #[must_use]
    pub fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: self.name.clone(),
            description: self.description.clone(),
            schema: self.schema.clone(),
            example: self.example.clone(),
        }
    }
}

/// Labels every field of these names. Beyond the limit a field keeps the default, which is then joined with
/// what the field is declared to be.
fn label_fields(value: &Value, fields: &BTreeMap<&str, Label>, pointer: &mut String, labels: &mut Labels) {
    let mut step = |key: &str, value: &Value, label: Option<&Label>, labels: &mut Labels| {
        let length = pointer.len();
        pointer.push('/');
        pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
        match label {
            Some(label) if labels.len() < LABELS_MAX => {
                labels.insert(pointer.clone(), label.clone());
            }
            Some(label) => {
                if let Some(root) = labels.get_mut("") {
                    *root = root.join(label);
                }
            }
            None => {}
        }
        label_fields(value, fields, pointer, labels);
        pointer.truncate(length);
    };
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| step(key, value, fields.get(key.as_str()), labels)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| step(&at.to_string(), item, None, labels));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Bytes of a name, description and schema, for estimates.
#[must_use]
pub fn bytes_of(spec: &ToolSpec) -> u64 {
    let schema = serde_json::to_string(&spec.schema).map_or(0, |text| text.len());
    (spec.name.as_str().len() + spec.description.len() + schema) as u64
}

#[cfg(test)]
mod tests;
