//! What turns run under: rules, tools and agent, and what is recorded of them.
//!
//! Most of it is the same for every turn of an agent, so it is worked out once
//! and shared until the rules or the tools change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use are_core::account::Membership;
use are_core::body::Conditions;
use are_core::digest::Digest;
use are_core::error::Fault;
use are_core::ids::{AgentName, TurnNo};
use are_core::model::ModelInfo;
use are_core::store::Change;
use are_policy::budget::Budget;
use are_policy::manifest::ToolSet;
use are_policy::prices::Price;
use are_policy::rules::Rules;

use crate::adapt;
use crate::api::Agent;
use crate::context::Setting;
use crate::engine::Inner;
use crate::image;
use crate::machine::{Env, Pinned};
use crate::rights::Rights;
use crate::state::{Facts, State, Turn};

/// What an agent's turns have in common while rules and tools stay what they are.
struct Standing {
    rules: Arc<Rules>,
    /// All tools served, to notice a change.
    snapshot: Arc<ToolSet>,
    /// The agent as its file says, to notice a change.
    file: Arc<Agent>,
    /// The same within the rights of the session.
    agent: Agent,
    /// Those that the agent may use.
    tools: ToolSet,
    agent_object: Vec<u8>,
    agent_digest: Digest,
}

impl Standing {
    fn new(
        file: Arc<Agent>,
        (rights, session): (Option<&Rights>, Budget),
        rules: Arc<Rules>,
        snapshot: Arc<ToolSet>,
    ) -> Self {
        let mut agent = rights.map_or_else(|| file.as_ref().clone(), |rights| rights.of(&file));
        agent.budget = agent.budget.least(session);
        let is_narrow = agent.tools.is_some() || !agent.within.is_empty();
        let tools = if is_narrow { snapshot.narrowed(|tool| agent.may_use(tool)) } else { snapshot.as_ref().clone() };
        let agent_object = object(&agent);
        let agent_digest = Digest::of(&[&agent_object]);
        Self { rules, snapshot, file, agent, tools, agent_object, agent_digest }
    }

    fn holds(&self, file: &Arc<Agent>, rules: &Arc<Rules>, snapshot: &Arc<ToolSet>) -> bool {
        Arc::ptr_eq(&self.file, file) && Arc::ptr_eq(&self.rules, rules) && Arc::ptr_eq(&self.snapshot, snapshot)
    }
}

/// The standing of each agent; as many as there are agents in the configuration.
#[derive(Default)]
pub(crate) struct Standings(Mutex<HashMap<AgentName, Arc<Standing>>>);

impl Standings {
    fn of(&self, file: Arc<Agent>, session: Budget, rules: &Arc<Rules>, snapshot: Arc<ToolSet>) -> Arc<Standing> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(standing) = known.get(&file.name).filter(|standing| standing.holds(&file, rules, &snapshot)) {
            return Arc::clone(standing);
        }
        let standing = Arc::new(Standing::new(Arc::clone(&file), (None, session), Arc::clone(rules), snapshot));
        known.insert(file.name.clone(), Arc::clone(&standing));
        standing
    }
}

/// Conditions of a running turn, kept while nothing of them changes.
#[derive(Clone)]
pub(crate) struct Surroundings {
    turn: TurnNo,
    /// Models of the turn that could not answer.
    failed: usize,
    /// Whether it showed images.
    has_images: bool,
    /// Which of the models that an adaptive turn chooses from is to be asked.
    tier: usize,
    standing: Arc<Standing>,
    membership: Arc<Membership>,
    setting: Setting,
    conditions: Conditions,
}

impl Surroundings {
    /// Those of `turn` of a session in `state`, under `rules` and for an account with `membership`; `None` while `before`
    /// still holds.
    pub(crate) fn of(
        inner: &Inner,
        (rules, membership): (&Arc<Rules>, &Arc<Membership>),
        (state, turn): (&State, &Turn),
        facts: &Facts,
        before: Option<&Self>,
    ) -> Result<Option<Self>, Fault> {
        let file = match inner.agent(&facts.agent) {
            Ok(file) => file,
            // Calls that run come to their ends first; the next request finds out that the agent is gone.
            Err(fault) => match before.filter(|before| before.turn == turn.no && turn.is_running()) {
                Some(before) => Arc::clone(&before.standing.file),
                None => return Err(fault),
            },
        };
        let snapshot = inner.ports.tools.snapshot();
        let limits = inner.limiter.limits();
        let session = limits.session;
        let standing = match &facts.rights {
            None => inner.standings.of(file, session, rules, snapshot),
            // Rights are one session's own.
            Some(rights) => match before.filter(|before| before.standing.holds(&file, rules, &snapshot)) {
                Some(before) => Arc::clone(&before.standing),
                None => Arc::new(Standing::new(file, (Some(rights), session), Arc::clone(rules), snapshot)),
            },
        };
        let agent = &standing.agent;
        let tiers = tiers(inner, turn, agent);
        let tier = adapt::of_tiers(state, turn, &tiers, &agent.budget).tier;
        let has_images = image::are_in(turn);
        if let Some(before) = before
            && (before.turn, before.failed, before.tier) == (turn.no, turn.failed.len(), tier)
            && before.has_images == has_images
            && Arc::ptr_eq(&before.standing, &standing)
        {
            if Arc::ptr_eq(&before.membership, membership) || before.membership == *membership {
                return Ok(None);
            }
            return Ok(Some(Self { membership: Arc::clone(membership), ..before.clone() }));
        }
        let with = |model: ModelInfo| Setting {
            price: inner.settings.prices.of(&model),
            needs_price: limits.limits_money(model.name.split_once(':').map_or("", |(provider, _)| provider)),
            loop_after: limits.loop_after,
            model,
            tz: inner.settings.tz.clone(),
            engine: inner.settings.version.clone(),
            keeps_rules: inner.settings.rule_keeper.is_some(),
            compacts: inner.settings.compaction,
            plans: inner.settings.plans,
            tiers: tiers.clone(),
        };
        // A turn stays with its model, whatever other turns find out about it meanwhile, until it is asked otherwise.
        let is_same = |before: &&Self| (before.turn, before.failed, before.tier) == (turn.no, turn.failed.len(), tier);
        let kept = before.filter(is_same).map(|before| before.setting.model.name.as_str());
        let wish = turn.model.as_deref().or(agent.model.as_deref());
        let candidates = if tiers.is_empty() { models(inner, turn, wish) } else { Ok(from_tier(&tiers, tier)) };
        let setting = match candidates.map(|models| next_model(inner, models, &turn.failed, kept)) {
            Ok(model) => with(model),
            // A direct call needs none, so it must not fail where none can be had.
            Err(_) if turn.is_direct => with(no_model()),
            // Calls that run come to their ends first; the next request finds out that there is no model.
            Err(fault) => match before.filter(|before| before.turn == turn.no && turn.is_running()) {
                Some(before) => before.setting.clone(),
                None => return Err(fault),
            },
        };
        let conditions = Conditions {
            agent: standing.agent_digest,
            policy: standing.rules.digest(),
            tools: standing.tools.digest(),
            setting: Digest::of(&[&object(&setting)]),
        };
        let membership = Arc::clone(membership);
        Ok(Some(Self {
            turn: turn.no,
            failed: turn.failed.len(),
            has_images,
            tier,
            standing,
            membership,
            setting,
            conditions,
        }))
    }

    /// True while rules and membership are these.
    pub(crate) fn hold(&self, rules: Digest, membership: Option<&Arc<Membership>>) -> bool {
        self.conditions.policy == rules && membership.is_some_and(|now| *now == self.membership)
    }

    /// The agent, within the rights of the session.
    pub(crate) fn agent(&self) -> &Agent {
        &self.standing.agent
    }

    /// What the model costs, where that is known.
    pub(crate) const fn price(&self) -> Option<Price> {
        self.setting.price
    }

    /// As the machine sees them, with what the open step was asked under.
    pub(crate) fn env<'a>(&'a self, pinned: Option<&'a Pinned>, now_ms: u64) -> Env<'a> {
        Env {
            agent: &self.standing.agent,
            rules: &self.standing.rules,
            tools: &self.standing.tools,
            setting: &self.setting,
            conditions: &self.conditions,
            membership: &self.membership,
            // Where they say the same, one of them is enough.
            pinned: pinned.filter(|pinned| !pinned.is_of(&self.conditions)),
            now_ms,
        }
    }

    /// True when a model is left for the turn after `model`, too, has failed.
    pub(crate) fn has_another_model(&self, inner: &Inner, turn: &Turn, model: &str) -> bool {
        self.models(inner, turn).iter().any(|left| left.name != model && !turn.failed.contains(&left.name))
    }

    /// The turn's model, where neither it nor one that may answer in its place can be shown images.
    pub(crate) fn blind(&self, inner: &Inner, turn: &Turn) -> Option<String> {
        let sees = self.setting.model.takes_images || self.models(inner, turn).iter().any(|model| model.takes_images);
        (!sees).then(|| self.setting.model.name.clone())
    }

    fn models(&self, inner: &Inner, turn: &Turn) -> Vec<ModelInfo> {
        let wish = turn.model.as_deref().or(self.standing.agent.model.as_deref());
        match self.setting.tiers.as_slice() {
            [] => models(inner, turn, wish).unwrap_or_default(),
            tiers => tiers.to_vec(),
        }
    }

    /// What a step that is asked now stays under.
    pub(crate) fn pin(&self) -> Pinned {
        Pinned {
            agent: self.standing.agent.clone(),
            tools: self.standing.tools.clone(),
            setting: self.setting.clone(),
            conditions: self.conditions.clone(),
        }
    }

    /// What records name by digest and the store does not have yet, with the bytes.
    pub(crate) fn new_objects(&self, inner: &Inner) -> Vec<Change> {
        let Conditions { agent, policy, tools, setting } = self.conditions;
        let bytes = |digest: Digest| match digest {
            _ if digest == agent => self.standing.agent_object.clone(),
            _ if digest == policy => self.standing.rules.object().to_vec(),
            _ if digest == tools => self.standing.tools.object(),
            _ => object(&self.setting),
        };
        inner.unknown([agent, policy, tools, setting]).map(|digest| Change::PutObject(digest, bytes(digest))).collect()
    }
}

/// Models that a turn may be answered by, the wished one first.
fn models(inner: &Inner, turn: &Turn, wish: Option<&str>) -> Result<Vec<ModelInfo>, Fault> {
    let first = inner.ports.models.resolve(wish)?;
    Ok(seeing(turn, std::iter::once(first).chain(inner.ports.models.fallbacks(wish)).collect()))
}

/// Of these the ones that can be shown what a turn shows; all, where none can, so that one of them is named as the one
/// that cannot.
fn seeing(turn: &Turn, mut models: Vec<ModelInfo>) -> Vec<ModelInfo> {
    if image::are_in(turn) && models.iter().any(|model| model.takes_images) {
        models.retain(|model| model.takes_images);
    }
    models
}

/// The models that an adaptive turn chooses from, cheapest first; none for one that does not, or that wishes for a model.
fn tiers(inner: &Inner, turn: &Turn, agent: &Agent) -> Vec<ModelInfo> {
    if !adapt::is_adaptive(turn) || turn.model.is_some() || agent.model.is_some() {
        return Vec::new();
    }
    // One that is gone is not chosen; the next request finds out where none is left.
    let tiers = inner.settings.adaptive.tiers.iter();
    seeing(turn, tiers.filter_map(|tier| inner.ports.models.resolve(Some(tier)).ok()).collect())
}

/// The chosen tier, and behind it those that answer when it cannot: abler ones first, then the cheaper ones.
fn from_tier(tiers: &[ModelInfo], tier: usize) -> Vec<ModelInfo> {
    let (cheaper, from) = tiers.split_at(tier.min(tiers.len()));
    from.iter().chain(cheaper.iter().rev()).cloned().collect()
}

/// The one that is `kept`, else the first that has neither failed in this turn nor rests, else the first that has not
/// failed, else the first.
fn next_model(inner: &Inner, mut models: Vec<ModelInfo>, failed: &[String], kept: Option<&str>) -> ModelInfo {
    let now_ms = inner.ports.clock.now_ms();
    let is_left = |model: &ModelInfo| !failed.contains(&model.name);
    let is_kept = |model: &ModelInfo| is_left(model) && kept == Some(model.name.as_str());
    let is_awake = |model: &ModelInfo| is_left(model) && !inner.resting.rests(&model.name, now_ms);
    let next = models.iter().position(is_kept).or_else(|| models.iter().position(is_awake));
    let next = next.or_else(|| models.iter().position(is_left)).unwrap_or(0);
    models.swap_remove(next)
}

/// Stands in the records of a turn that asks no model.
fn no_model() -> ModelInfo {
    ModelInfo {
        name: "none".to_owned(),
        context_tokens: 0,
        output_tokens: 0,
        takes_temperature: false,
        efforts: Vec::new(),
        is_either: false,
        takes_images: false,
        is_local: true,
        continues: false,
    }
}

/// The bytes under whose digest something is stored.
fn object(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
