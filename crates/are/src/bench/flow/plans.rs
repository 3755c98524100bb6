//! What a model plans for the tasks of a suite: asked once a task, with the
//! task's prompt and the suite's tools, as the engine asks it.

use std::collections::BTreeMap;
use std::time::Instant;

use are_core::error::Fault;
use are_core::ids::ToolName;
use are_core::model::{Delta, ModelInfo, Models, StopReason, Usage};
use are_policy::{flow, planner, replay};
use futures_util::StreamExt as _;
use serde::Serialize;

use super::suite::Suite;
use super::unusable;
use crate::bench::sample::Sample;

/// The plans for the tasks of a suite.
#[derive(Debug)]
pub struct Plans {
    /// By prompt; `None` where the model's answer was no plan.
    by_prompt: BTreeMap<String, Option<Vec<ToolName>>>,
    figures: Figures,
}

/// What the plans are like.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// `provider:model` that was asked.
    pub model: String,
    /// Tasks for which it answered with a plan; the others are decided as without one.
    pub plans: usize,
    /// Of these, plans that name every tool with an effect which the task needs.
    pub complete: usize,
    /// Tools that a plan names, on average, and those with an effect that the suite has.
    pub named: f64,
    /// See `named`.
    pub of_tools: usize,
    /// Median and 99th percentile of the time of one plan, in seconds.
    pub seconds: (f64, f64),
    /// Tokens that it read and wrote for all of them, as far as it said.
    pub tokens: (u64, u64),
}

impl Plans {
    /// Asks `models` for the plan of each task.
    ///
    /// # Errors
    /// The suite declares a tool that cannot be, or the model could not be had: figures in which it failed would be those
    /// without a planner.
    pub async fn of(suite: &Suite, models: &dyn Models) -> Result<Self, Fault> {
        let info = models.resolve(None)?;
        let tools = replay::tool_set(&suite.tools).map_err(|error| unusable(&error.to_string()))?;
        let offered: Vec<ToolName> = tools.iter().map(|(manifest, _)| manifest.name.clone()).collect();
        let (mut by_prompt, mut times, mut tokens) = (BTreeMap::new(), Vec::new(), (0, 0));
        let (mut complete, mut of_tools) = (0, 0);
        for task in &suite.user_tasks {
            let words = flow::own_words(&task.prompt);
            let shown = planner::shown(offered.iter(), &tools, &words);
            of_tools = shown.len();
            let request = planner::request(&info, &words, &shown, answer_tokens(&info));
            let begun = Instant::now();
            let (text, stop_reason, usage) = heard(models, request.clone()).await?;
            times.push(begun.elapsed());
            tokens = (tokens.0 + usage.input_tokens, tokens.1 + usage.output_tokens);
            let plan = (stop_reason == StopReason::Stop).then(|| planner::read(&text, &request)).flatten();
            let needed = |plan: &Vec<ToolName>| {
                let mut acting = task.calls.iter().filter(|call| suite.has_effect(&call.name));
                acting.all(|call| plan.iter().any(|name| name.as_str() == call.name))
            };
            complete += usize::from(plan.as_ref().is_some_and(needed));
            by_prompt.insert(task.prompt.clone(), plan);
        }
        let made: Vec<usize> = by_prompt.values().flatten().map(Vec::len).collect();
        let times = Sample::new(times);
        let seconds = |share| times.percentile(share) / 1e6;
        let figures = Figures {
            model: info.name,
            plans: made.len(),
            complete,
            named: made.iter().sum::<usize>() as f64 / made.len().max(1) as f64,
            of_tools,
            seconds: (seconds(0.5), seconds(0.99)),
            tokens,
        };
        Ok(Self { by_prompt, figures })
    }

    /// The plan for a prompt.
    pub(super) fn of_prompt(&self, prompt: &str) -> Option<&[ToolName]> {
        self.by_prompt.get(prompt)?.as_deref()
    }

    /// What the plans are like.
    pub(super) fn figures(&self) -> &Figures {
        &self.figures
    }
}

/// As many as the engine allows.
fn answer_tokens(info: &ModelInfo) -> u64 {
    planner::ANSWER_TOKENS_MAX.min(info.output_tokens).max(1)
}

/// The whole answer of a model.
async fn heard(
    models: &dyn Models,
    request: are_core::model::ModelRequest,
) -> Result<(String, StopReason, Usage), Fault> {
    let mut stream = models.call(request);
    let mut text = String::new();
    while let Some(delta) = stream.next().await {
        match delta? {
            Delta::Text(piece) => text.push_str(&piece),
            Delta::End { stop_reason, usage } => return Ok((text, stop_reason, usage)),
            Delta::Reasoning(_) | Delta::Call(_) | Delta::Progress { .. } => {}
        }
    }
    Err(crate::bench::wire::lost("the planner's answer ended early"))
}
