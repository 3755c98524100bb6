//! Played decisions: a conversation that is told line by line and decided as
//! the engine decides it.
//!
//! Speaks the JSON lines of the AgentDojo worst-case replay: `session_start`
//! (the user's words, the tools with their metadata, and the `plan` that was
//! made of the words, where there is one), `tool_call`,
//! `ask_result`, `tool_result`, `session_end`. Nothing runs. Tools become
//! manifests, results are labelled as the registry labels them, and each call
//! goes through [`Rules::decide`]: the figures are those of the product.

use std::collections::BTreeMap;

use are_core::body::{Effect, Outcome, Retry};
use are_core::canonical::Args;
use are_core::ids::{AccountId, AgentName, SessionKey, ToolName};
use are_core::label::{Confidentiality, Integrity, Label, Labels, worst_of};
use are_core::payload::Part;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::call::{Call, Context};
use crate::flow::{self, View};
use crate::manifest::{ArgRule, CallLimits, Lane, Manifest, OutputLabel, Role, ToolSet};
use crate::rules::Rules;

/// Bytes of one line.
pub const LINE_BYTES_MAX: usize = 16 << 20;

/// Why a line was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not the JSON of a message.
    #[error("the line is no message of the replay: {0}")]
    Line(String),
    /// A tool cannot be declared.
    #[error("the tool `{0}` cannot be declared: {1}")]
    Tool(String, String),
    /// A message of a conversation came before its beginning.
    #[error("no session has begun")]
    NoSession,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Message {
    SessionStart {
        user_prompt: String,
        tools: Vec<Tool>,
        /// The tools that a planner found in the words.
        #[serde(default)]
        plan: Option<Vec<ToolName>>,
    },
    ToolCall {
        name: String,
        args: Value,
    },
    AskResult {
        approved: bool,
    },
    ToolResult {
        name: String,
        output: Option<String>,
        output_json: Option<Value>,
    },
    SessionEnd {},
}

#[derive(Debug, Deserialize)]
struct Tool {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    parameters: Value,
    effect: Effect,
    #[serde(default)]
    reads_untrusted: bool,
    #[serde(default)]
    output_labels: OutputLabels,
    #[serde(default)]
    output_private: bool,
    #[serde(default)]
    arg_roles: BTreeMap<String, Role>,
}

#[derive(Debug, Default, Deserialize)]
struct OutputLabels {
    default: Option<Integrity>,
    #[serde(default)]
    fields: BTreeMap<String, Integrity>,
}

/// Plays conversations under one set of rules.
#[derive(Debug)]
pub struct Replay {
    rules: Rules,
    account: AccountId,
    agent: AgentName,
    session: Option<Session>,
}

#[derive(Debug)]
struct Session {
    tools: ToolSet,
    /// Tools whose texts, unlike their fields, are anybody's.
    untrusted_texts: Vec<String>,
    view: View,
    in_view: Label,
    allowed: Vec<(String, Args)>,
    pending: Option<(String, Args)>,
    calls: u32,
}

impl Replay {
    /// Decides by `rules`.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        let constant = "both are valid names";
        let (Ok(account), Ok(agent)) = ("user".parse(), "main".parse()) else { unreachable!("{constant}") };
        Self { rules, account, agent, session: None }
    }

    /// Answers one line.
    ///
    /// # Errors
    /// The line is not understood; the conversation stays as it was.
    pub fn answer(&mut self, line: &str) -> Result<Value, Error> {
        let message: Message = serde_json::from_str(line).map_err(|error| Error::Line(error.to_string()))?;
        match message {
            Message::SessionStart { user_prompt, tools, plan } => {
                let mut session = Session::new(&user_prompt, &tools)?;
                session.view.plan(1, plan.as_deref());
                self.session = Some(session);
            }
            Message::SessionEnd {} => self.session = None,
            Message::ToolCall { name, args } => return self.decide(&name, &args),
            Message::AskResult { approved } => self.current()?.settle(approved),
            Message::ToolResult { name, output, output_json } => {
                self.current()?.take_in(&name, output.unwrap_or_default(), output_json);
            }
        }
        Ok(json!({ "ok": true }))
    }

    fn current(&mut self) -> Result<&mut Session, Error> {
        self.session.as_mut().ok_or(Error::NoSession)
    }

    fn decide(&mut self, name: &str, args: &Value) -> Result<Value, Error> {
        let session = self.session.as_mut().ok_or(Error::NoSession)?;
        let Some((manifest, tool_digest)) = session.tools.get(name) else {
            return Ok(json!({ "decision": "deny", "reason": format!("there is no tool `{name}`") }));
        };
        let args = Args::from_value(args).map_err(|error| Error::Line(error.to_string()))?;
        session.calls += 1;
        let call = Call {
            session: SessionKey::SYSTEM,
            turn: 1,
            call: session.calls,
            parent: None,
            tool: name.to_owned(),
            tool_digest,
            args: args.clone(),
        };
        let earlier: Vec<(&str, &Args)> = session.allowed.iter().map(|(tool, args)| (tool.as_str(), args)).collect();
        let mut context = Context {
            account: &self.account,
            groups: &[],
            agent: &self.agent,
            manifest,
            in_view: &session.in_view,
            args_label: &session.in_view,
            view: &session.view,
            tools: &session.tools,
            bound: &[],
            earlier: &earlier,
            parents: &[],
            narrowing: &crate::agent::NONE,
            is_approved: false,
        };
        let label = flow::label_of(&context.question(&call, manifest.effect));
        context.args_label = &label;
        let decision = self.rules.decide(&call, &context);
        let word = match decision.outcome {
            Outcome::Allow => "allow",
            Outcome::Ask => "ask",
            Outcome::Deny => "deny",
        };
        session.pending = Some((name.to_owned(), args));
        if decision.outcome == Outcome::Allow {
            session.settle(true);
        }
        Ok(json!({ "decision": word, "reason": decision.why, "rules": decision.rules, "say": decision.say }))
    }
}

/// The tools of a suite, as a model is offered them.
///
/// # Errors
/// One cannot be declared.
pub fn tool_set(tools: &[Value]) -> Result<ToolSet, Error> {
    let tools: Vec<Tool> = tools
        .iter()
        .map(|tool| Tool::deserialize(tool).map_err(|error| Error::Line(error.to_string())))
        .collect::<Result<_, _>>()?;
    declare(&tools)
}

fn declare(tools: &[Tool]) -> Result<ToolSet, Error> {
    let manifests: Vec<Manifest> = tools.iter().map(declared).collect::<Result<_, _>>()?;
    ToolSet::new(manifests).map_err(|name| Error::Tool(name.to_string(), "there are two of this name".to_owned()))
}

impl Session {
    fn new(prompt: &str, tools: &[Tool]) -> Result<Self, Error> {
        let set = declare(tools)?;
        let user = Label::new(Integrity::User, Confidentiality::Private, "user");
        let mut view = View::default();
        view.hear(1, &[Part::Text { text: prompt.to_owned() }], Integrity::User, |_| user.clone());
        let untrusted_texts = tools.iter().filter(|tool| tool.reads_untrusted).map(|tool| tool.name.clone()).collect();
        Ok(Self { tools: set, untrusted_texts, view, in_view: user, allowed: Vec::new(), pending: None, calls: 0 })
    }

    /// The pending call was allowed, by decision or by a person, or it was not.
    fn settle(&mut self, is_allowed: bool) {
        if let Some(call) = self.pending.clone().filter(|_| is_allowed) {
            self.allowed.push(call);
        }
    }

    fn take_in(&mut self, name: &str, text: String, value: Option<Value>) {
        let Some((manifest, _)) = self.tools.get(name) else { return };
        let origin = format!("{name}#{}", self.calls);
        let args = match self.pending.take() {
            Some((tool, args)) if tool == name => args,
            _ => return,
        };
        let (value, labels) = match value.filter(|value| !value.is_null()) {
            Some(value) => {
                let labels = manifest.labels(&value, &origin);
                (value, labels)
            }
            None => {
                let mut label = manifest.labels(&Value::Null, &origin);
                if self.untrusted_texts.iter().any(|tool| tool == name) {
                    label = Labels::from([(String::new(), Label::worst(&origin))]);
                }
                (Value::String(text), label)
            }
        };
        if let Some(worst) = worst_of(&labels) {
            self.in_view = self.in_view.join(&worst);
        }
        self.view.answer(name, &args, &value, &labels);
    }
}

fn declared(tool: &Tool) -> Result<Manifest, Error> {
    let confidentiality = if tool.output_private { Confidentiality::Private } else { Confidentiality::Public };
    let output = |integrity| OutputLabel { integrity, confidentiality };
    let fields = tool.output_labels.fields.iter().map(|(name, integrity)| (name.clone(), output(*integrity)));
    Ok(Manifest {
        name: tool
            .name
            .parse()
            .map_err(|error: are_core::ids::InvalidId| Error::Tool(tool.name.clone(), error.to_string()))?,
        description: tool.description.clone(),
        lane: Lane::Builtin,
        version: "1".to_owned(),
        schema: tool.parameters.clone(),
        example: None,
        effect: tool.effect,
        effect_by: None,
        retry: Retry::AtMostOnce,
        args: tool.arg_roles.iter().map(|(name, role)| (name.clone(), ArgRule { role: *role })).collect(),
        output_default: output(tool.output_labels.default.unwrap_or(Integrity::Untrusted)),
        output_fields: fields.collect(),
        is_contained: false,
        capabilities: None,
        limits: CallLimits::default(),
        intents: BTreeMap::new(),
    })
}
