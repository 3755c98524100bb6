//! Whether a local model calls the tool that a prompt asks for, with the arguments it needs.
//!
//! Each prompt is asked once, alone and at temperature 0, with the builtin
//! tools on offer and the opening of a new session, so that the figure of one
//! build, model file and machine repeats. The opening's date is fixed for that.

use std::collections::BTreeMap;

use are_core::error::{Code, Fault};
use are_core::model::{Delta, Message, ModelRequest, Models, RawCall, Shape, ToolSpec};
use are_policy::manifest::{Lane, ToolSet};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::wire::lost;
use crate::config::agents;

/// The project's own prompts.
pub const PROMPTS: &str = include_str!("../../../../bench/calls/prompts.jsonl");
/// Prompts of one run; each takes a second or more.
const PROMPTS_MAX: usize = 1000;
/// The day of all runs, 2026-01-05: another date is another prompt.
const DAY_MS: u64 = 1_767_571_200_000;
/// Tokens of an answer: a call is short, and an answer in words is wrong after one.
const ANSWER_TOKENS_MAX: u64 = 160;

/// One prompt and the call that is right.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Prompt {
    lang: String,
    say: String,
    tool: String,
    /// By argument the values that are right.
    args: BTreeMap<String, Vec<Value>>,
}

/// What a model is asked.
#[derive(Debug)]
pub struct Prompts(Vec<Prompt>);

impl Prompts {
    /// From JSON lines.
    ///
    /// # Errors
    /// ARE-0002 when a line is no prompt, there is none, or there are more than a thousand.
    pub fn parse(data: &str) -> Result<Self, Fault> {
        let lines = data.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let prompts = lines
            .map(|(at, line)| {
                serde_json::from_str(line).map_err(|error| unusable(&format!("line {}: {error}", at + 1)))
            })
            .collect::<Result<Vec<Prompt>, Fault>>()?;
        match prompts.len() {
            0 => Err(unusable("there is none")),
            1..=PROMPTS_MAX => Ok(Self(prompts)),
            count => Err(unusable(&format!("there are {count}, more than {PROMPTS_MAX}"))),
        }
    }
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// `local:NAME` that was asked.
    pub model: String,
    /// Tools on offer.
    pub tools: usize,
    /// Right calls.
    pub right: usize,
    /// Prompts.
    pub total: usize,
    /// The same by language.
    pub languages: BTreeMap<String, Share>,
    /// Prompts that were answered otherwise.
    pub failures: Vec<Failure>,
}

/// How many of how many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// Right calls.
    pub right: usize,
    /// Prompts.
    pub total: usize,
}

/// A prompt and what came in place of the right call.
#[derive(Debug, Serialize)]
pub struct Failure {
    /// The prompt.
    pub say: String,
    /// The tool that it asks for.
    pub tool: String,
    /// The first call, or the words.
    pub answer: String,
}

/// Asks `models`' default each prompt.
///
/// # Errors
/// The model cannot be had, or fails.
pub async fn measure(models: &dyn Models, tools: &ToolSet, prompts: Prompts) -> Result<Report, Fault> {
    let opening = are_engine::context::opening(&agents::built_in()?, "UTC", DAY_MS);
    let info = models.resolve(None)?;
    let is_builtin =
        |spec: &&ToolSpec| tools.get(spec.name.as_str()).is_some_and(|(manifest, _)| manifest.lane == Lane::Builtin);
    let specs: Vec<ToolSpec> = are_engine::context::specs(tools, &info).iter().filter(is_builtin).cloned().collect();
    let specs: std::sync::Arc<[ToolSpec]> = specs.into();
    let mut report = Report {
        model: info.name.clone(),
        tools: specs.len(),
        right: 0,
        total: prompts.0.len(),
        languages: BTreeMap::new(),
        failures: Vec::new(),
    };
    for prompt in prompts.0 {
        let request = ModelRequest {
            model: info.name.clone(),
            messages: vec![opening.clone(), Message::User { text: prompt.say.clone() }],
            tools: specs.clone(),
            temperature_milli: Some(0),
            effort: None,
            output_tokens_max: ANSWER_TOKENS_MAX.min(info.output_tokens),
            shape: Shape::default(),
            goes_on: false,
        };
        let (words, call) = heard(models, request).await?;
        let is_right = call.as_ref().is_some_and(|call| prompt.is_met_by(call));
        report.right += usize::from(is_right);
        let share = report.languages.entry(prompt.lang.clone()).or_default();
        share.total += 1;
        share.right += usize::from(is_right);
        if !is_right {
            let answer = call.map_or(words, |call| format!("{} {}", call.name, call.arguments));
            report.failures.push(Failure { say: prompt.say, tool: prompt.tool, answer });
        }
    }
    Ok(report)
}

impl Prompt {
    fn is_met_by(&self, call: &RawCall) -> bool {
        let arguments = serde_json::from_str::<Map<String, Value>>(&call.arguments);
        // silent-ok: what is no object of arguments is a wrong call.
        let Ok(arguments) = arguments else { return false };
        let is_right = |(name, right): (&String, &Vec<Value>)| arguments.get(name).is_some_and(|it| right.contains(it));
        call.name == self.tool && self.args.iter().all(is_right)
    }
}

/// The words of an answer and its first call.
async fn heard(models: &dyn Models, request: ModelRequest) -> Result<(String, Option<RawCall>), Fault> {
    let mut stream = models.call(request);
    let (mut words, mut first) = (String::new(), None);
    while let Some(delta) = stream.next().await {
        match delta? {
            Delta::Text(text) => words.push_str(&text),
            Delta::Call(call) => first = first.or(Some(call)),
            Delta::End { .. } => return Ok((words, first)),
            Delta::Reasoning(_) | Delta::Progress { .. } => {}
        }
    }
    Err(lost("the model's answer ended early"))
}

fn unusable(what: &str) -> Fault {
    Fault::new(
        Code::CONFIG_INVALID,
        format!("the file holds no prompts with calls: {what}"),
        "write one object a line: {\"lang\": \"en\", \"say\": …, \"tool\": …, \"args\": {\"NAME\": [right values]}}",
    )
}
