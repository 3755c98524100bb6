//! What the planner is shown: the user's words of the turn and the declarations
//! of tools, and nothing else that the session knows.

use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::ToolName;
use are_core::model::{ModelRequest, Usage};
use are_policy::{planner, prices};

use super::{OUTPUT_SHARE, digest, offer, tokens};
use crate::machine::Env;
use crate::state::{State, Turn};

/// A request for a plan.
pub(crate) struct Planned {
    /// The request.
    pub(crate) request: ModelRequest,
    /// Its digest, as that of any request.
    pub(crate) digest: Digest,
    /// Estimated tokens of it and of its longest answer.
    pub(crate) reserved_tokens: u64,
    /// What these cost in millionths, where the model has a price.
    pub(crate) reserved_cost: Option<u64>,
}

/// Builds the request for a plan of what `words` ask for; `None` when there is nothing to plan.
///
/// # Errors
/// As those of any request: ARE-0409 when it does not fit, ARE-0707 when the budget does not cover it, ARE-0715 when that
/// limits money and the model has no price.
pub(crate) fn plan(state: &State, turn: &Turn, words: &str, env: &Env<'_>) -> Result<Option<Planned>, Fault> {
    if words.is_empty() {
        return Ok(None);
    }
    let (setting, info) = (env.setting, &env.setting.model);
    // A client's own tools run nothing here.
    let offered = offer::of(state, turn, env.tools, (info, false)).specs;
    let offered: Vec<&ToolName> =
        offered.iter().map(|spec| &spec.name).filter(|name| !turn.is_clients(name.as_str())).collect();
    let tools = planner::shown(offered.into_iter(), env.tools, words);
    if tools.is_empty() {
        return Ok(None);
    }
    let wanted = planner::ANSWER_TOKENS_MAX.min(info.output_tokens).min(info.context_tokens / OUTPUT_SHARE).max(1);
    let mut request = planner::request(info, words, &tools, wanted);
    let names: u64 = tools.iter().map(|manifest| manifest.name.as_str().len() as u64 + 3).sum();
    let used = request.messages.iter().map(tokens).sum::<u64>() + names / super::BYTES_PER_TOKEN;
    if used + wanted > info.context_tokens {
        return Err(Fault::new(
            Code::CONTEXT_TOO_LONG,
            format!(
                "the request for a plan needs about {used} tokens and `{}` takes {}",
                info.name, info.context_tokens
            ),
            "ask for less at once, choose a model with a larger context, or set `planner` to `off`",
        ));
    }
    let output = env.agent.budget.answer_tokens(&state.ledger, used, wanted)?;
    if setting.needs_price && setting.price.is_none() {
        return Err(prices::unknown(&info.name));
    }
    let priced = (info.name.as_str(), setting.price);
    request.output_tokens_max = env.agent.budget.affordable_tokens(&state.ledger, priced, used, output)?;
    let usage = Usage { input_tokens: used, output_tokens: request.output_tokens_max, ..Usage::default() };
    // None of the tools is one that it could call.
    let digest = digest(&request, env.tools.digest(), Some(Vec::new()), &[])?;
    let (reserved_tokens, reserved_cost) =
        (used + request.output_tokens_max, setting.price.map(|price| price.cost(usage)));
    Ok(Some(Planned { request, digest, reserved_tokens, reserved_cost }))
}
