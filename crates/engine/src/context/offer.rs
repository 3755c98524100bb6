//! Which tools a request offers to the model.
//!
//! All of them, as long as they are few. Otherwise those of the runtime, those
//! that the session has used or found before, those that the user's words are
//! about, and those that this turn has found. In that order, so that a request
//! of a turn begins as the one before it did. A turn whose model called a tool
//! that there is not is offered only those that its words are about and those
//! that it used. A tool that is not offered can be called all the same by an
//! agent that may use it: this is about room, and decides nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use are_core::ids::ToolName;
use are_core::label::Integrity;
use are_core::model::{ModelInfo, ToolSpec};
use are_core::payload::Part;
use are_policy::manifest::{Lane, Manifest, RESULT_READ, SEARCH, ToolSet};
use are_policy::secrets::DISCLOSE;

use crate::state::{CallResult, State, Step, Turn};

/// Bytes of declarations up to which all tools are offered: about eight thousand tokens, which every model of the
/// day has room for.
const ALL_BYTES_MAX: u64 = 32 << 10;
/// Tools that are offered because the words of the turn are about them.
const MATCHED_MAX: usize = 12;
/// The same where few are to be offered: each that a small model sees costs it accuracy.
const NARROW_MAX: usize = 6;
/// Tools that are offered because they were used or found, the latest ones.
const KNOWN_MAX: usize = 24;

/// The tools of a request.
pub(super) struct Offer {
    pub(super) specs: Arc<[ToolSpec]>,
    pub(super) bytes: u64,
    /// Their names, when they are not all.
    pub(super) names: Option<Vec<ToolName>>,
}

/// Tokens of context from which on a model is offered agents to begin: a smaller one has no room for the answers, and
/// each tool that is declared to it costs it accuracy.
const AGENT_CONTEXT_TOKENS_MIN: u64 = 16_384;

fn is_offered(manifest: &Manifest, info: &ModelInfo) -> bool {
    manifest.lane != Lane::Agent || info.context_tokens >= AGENT_CONTEXT_TOKENS_MIN
}

/// What a request begins with as long as there are few tools.
#[must_use]
pub fn specs(tools: &ToolSet, info: &ModelInfo) -> Arc<[ToolSpec]> {
    if tools.iter().all(|(manifest, _)| is_offered(manifest, info)) {
        return Arc::clone(tools.specs());
    }
    let is_shown = |spec: &&ToolSpec| tools.get(spec.name.as_str()).is_some_and(|(one, _)| is_offered(one, info));
    tools.specs().iter().filter(is_shown).cloned().collect()
}

/// What to offer in the next request of `turn`, fewer of them where it is to be narrow: ours, but for those that the
/// client has its own of, and then the client's.
pub(super) fn of(state: &State, turn: &Turn, tools: &ToolSet, (info, is_narrow): (&ModelInfo, bool)) -> Offer {
    let own = &turn.asked.tools;
    let of_ours = |tools| of_ours(state, turn, tools, (info, is_narrow));
    if own.is_empty() {
        return of_ours(tools);
    }
    let has_both = own.iter().any(|spec| tools.get(spec.name.as_str()).is_some());
    let narrowed = has_both.then(|| tools.narrowed(|tool| !turn.is_clients(tool.as_str())));
    let ours = of_ours(narrowed.as_ref().unwrap_or(tools));
    let names = ours.specs.iter().chain(own).map(|spec| spec.name.clone()).collect();
    let bytes = ours.bytes + own.iter().map(are_policy::manifest::bytes_of).sum::<u64>();
    Offer { specs: ours.specs.iter().chain(own).cloned().collect(), bytes, names: Some(names) }
}

fn of_ours(state: &State, turn: &Turn, tools: &ToolSet, (info, is_narrow): (&ModelInfo, bool)) -> Offer {
    let few = if is_narrow { few(turn, tools, info) } else { None };
    // Before anything is cut there is nothing to read again.
    let is_cut = state.compactions.shortened() > 0 || turn.trimmed.calls > 0;
    let offer = few.unwrap_or_else(|| of_all(state, turn, tools, info));
    let Some((manifest, _)) = tools.get(RESULT_READ).filter(|_| is_cut) else {
        return offer;
    };
    // Last, so that what stands before it stays a prefix.
    let spec = manifest.spec();
    let bytes = offer.bytes + are_policy::manifest::bytes_of(&spec);
    let specs: Arc<[ToolSpec]> = offer.specs.iter().cloned().chain([spec]).collect();
    let names = Some(specs.iter().map(|spec| spec.name.clone()).collect());
    Offer { specs, bytes, names }
}

/// Those that the turn's words are about and those that it used; nothing where these are none.
fn few(turn: &Turn, tools: &ToolSet, info: &ModelInfo) -> Option<Offer> {
    let mut chosen = Chosen { tools, names: Vec::new(), taken: BTreeSet::new() };
    let found = tools.vocabulary().find(&words(turn));
    let is_shown = |name: &&ToolName| tools.get(name.as_str()).is_some_and(|(one, _)| is_offered(one, info));
    for name in found.iter().filter(is_shown).take(NARROW_MAX) {
        chosen.take(name.as_str());
    }
    chosen.take_latest(known(turn));
    (!chosen.names.is_empty()).then(|| chosen.offer())
}

fn of_all(state: &State, turn: &Turn, tools: &ToolSet, info: &ModelInfo) -> Offer {
    if tools.spec_bytes() <= ALL_BYTES_MAX && !tools.iter().all(|(manifest, _)| is_offered(manifest, info)) {
        let specs = specs(tools, info);
        let names = specs.iter().map(|spec| spec.name.clone()).collect();
        let bytes = specs.iter().map(are_policy::manifest::bytes_of).sum();
        return Offer { specs, bytes, names: Some(names) };
    }
    if tools.spec_bytes() <= ALL_BYTES_MAX {
        return Offer { specs: Arc::clone(tools.specs()), bytes: tools.spec_bytes(), names: None };
    }
    let mut chosen = Chosen { tools, names: Vec::new(), taken: BTreeSet::new() };
    let is_ours =
        |manifest: &Manifest| matches!(manifest.lane, Lane::Builtin | Lane::Agent) && is_offered(manifest, info);
    for (manifest, _) in tools.iter().filter(|(manifest, _)| is_ours(manifest)) {
        chosen.take(manifest.name.as_str());
    }
    let earlier = state.turns().filter(|earlier| earlier.no < turn.no);
    chosen.take_latest(earlier.flat_map(known).collect());
    for name in tools.vocabulary().find(&words(turn)).iter().take(MATCHED_MAX) {
        chosen.take(name.as_str());
    }
    chosen.take_latest(known(turn));
    chosen.offer()
}

struct Chosen<'a> {
    tools: &'a ToolSet,
    names: Vec<ToolName>,
    taken: BTreeSet<ToolName>,
}

impl Chosen<'_> {
    fn offer(self) -> Offer {
        let found = self.names.iter().filter_map(|name| self.tools.get(name.as_str()));
        let specs: Arc<[ToolSpec]> = found.map(|(manifest, _)| manifest.spec()).collect();
        let bytes = specs.iter().map(are_policy::manifest::bytes_of).sum();
        Offer { specs, bytes, names: Some(self.names) }
    }

    fn take(&mut self, name: &str) {
        if let Some((manifest, _)) = self.tools.get(name)
            && ![DISCLOSE, RESULT_READ].contains(&name)
            && self.taken.insert(manifest.name.clone())
        {
            self.names.push(manifest.name.clone());
        }
    }

    fn take_latest(&mut self, names: Vec<&str>) {
        // The first mention of each counts, so that the order stays what it was.
        let mut seen = BTreeSet::new();
        let names: Vec<&str> = names.into_iter().filter(|name| seen.insert(*name)).collect();
        for name in &names[names.len().saturating_sub(KNOWN_MAX)..] {
            self.take(name);
        }
    }
}

/// Tools that a turn has used or found, in order.
fn known(turn: &Turn) -> Vec<&str> {
    let mut names = Vec::new();
    for step in &turn.steps {
        let Step::Call(call) = step else { continue };
        match &call.result {
            Some(CallResult::Completed { value, .. }) if call.tool == SEARCH => {
                let found = value["tools"].as_array().into_iter().flatten();
                names.extend(found.filter_map(|tool| tool["name"].as_str()));
            }
            _ => names.push(call.tool.as_str()),
        }
    }
    names
}

/// What the user says in a turn.
fn words(turn: &Turn) -> String {
    let said = turn.content.iter().flatten().filter(|_| turn.integrity == Integrity::User);
    let steered = turn.steps.iter().filter_map(|step| match step {
        Step::Steer { content, integrity: Integrity::User } => Some(content),
        Step::Steer { .. } | Step::Model(_) | Step::Call(_) => None,
    });
    let texts = said.chain(&turn.renewed).chain(steered.flatten()).filter_map(|part| match part {
        Part::Text { text } => Some(text.as_str()),
        Part::File { .. } | Part::Image(_) | Part::Exchange { .. } => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}
