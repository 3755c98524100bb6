//! Asks Cedar what the user's rules say of one call.
//!
//! Everything that does not change from call to call is made once. A call with
//! several objects is judged once for each; the caller takes the strictest.
//! Names come back sorted, so that the same call gives the same bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use are_core::body::Effect;
use are_core::ids::{AccountId, AgentName};
use cedar_policy::{
    Authorizer, Context as CedarContext, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, Policy,
    PolicySet, Request, Response, RestrictedExpression, Schema,
};

use super::check::Read;
use super::{BROKEN, object, words};
use crate::call::{Call, Context};
use crate::manifest::Manifest;

/// Bytes of an evaluation error that are told; Cedar repeats values in it.
const ERROR_BYTES_MAX: usize = 500;

/// Rules ready to be asked.
#[derive(Debug)]
pub(super) struct Compiled {
    policies: PolicySet,
    asks: BTreeMap<String, String>,
    authorizer: Authorizer,
    /// What a call does, with the groups it is in.
    actions: BTreeMap<Effect, Entity>,
    types: Types,
    /// True when a rule may speak of objects; else none are looked for.
    has_objects: bool,
    /// True when a rule may speak of all objects together.
    has_sets: bool,
}

#[derive(Debug)]
struct Types {
    account: EntityTypeName,
    action: EntityTypeName,
    agent: EntityTypeName,
    confidentiality: EntityTypeName,
    effect: EntityTypeName,
    integrity: EntityTypeName,
    lane: EntityTypeName,
    session: EntityTypeName,
    tool: EntityTypeName,
}

/// What the rules say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Matches {
    /// Matching `forbid`s.
    pub(super) forbids: BTreeSet<String>,
    /// What could not be evaluated, and why.
    pub(super) errors: BTreeMap<String, String>,
    /// Matching permits with `@ask`, and their reasons.
    pub(super) asks: BTreeMap<String, String>,
    /// Matching plain permits.
    pub(super) permits: BTreeSet<String>,
    /// True when no rule matches, for at least one object.
    pub(super) is_silent: bool,
}

/// Why the entities of a call could not be made.
type Broken = Box<dyn std::error::Error>;

impl Compiled {
    pub(super) fn new(read: Read, schema: &Schema) -> Result<Self, Broken> {
        // Asked of the parsed rule: its text could spell the attribute with escapes.
        let may_name =
            |policy: &Policy, word: &str| policy.to_json().map_or(true, |json| json.to_string().contains(word));
        let has_objects = read.policies.policies().any(|policy| may_name(policy, "object"));
        let has_sets = has_objects && read.policies.policies().any(|policy| may_name(policy, "objects"));
        let types = Types {
            account: "Account".parse()?,
            action: "Action".parse()?,
            agent: "Agent".parse()?,
            confidentiality: "Confidentiality".parse()?,
            effect: "Effect".parse()?,
            integrity: "Integrity".parse()?,
            lane: "Lane".parse()?,
            session: "Session".parse()?,
            tool: "Tool".parse()?,
        };
        let mut actions = BTreeMap::new();
        let known = schema.action_entities()?;
        for effect in words::EFFECTS {
            let name = words::effect(effect);
            let action = known.get(&uid(&types.action, name));
            actions.insert(effect, action.ok_or_else(|| format!("no action `{name}`"))?.clone());
        }
        let (policies, asks, authorizer) = (read.policies, read.asks, Authorizer::new());
        Ok(Self { policies, asks, authorizer, actions, types, has_objects, has_sets })
    }

    /// True when the rule of that name asks.
    pub(super) fn asks(&self, name: &str) -> bool {
        self.asks.contains_key(name)
    }

    /// What the rules say of a call. What cannot be asked is an error, hence a denial.
    pub(super) fn ask(&self, call: &Call, ctx: &Context<'_>, effect: Effect, is_contained: bool) -> Matches {
        let objects = if self.has_objects { object::of(call, ctx) } else { Ok(BTreeSet::new()) };
        match objects {
            Ok(objects) => self.ask_about(call, ctx, effect, is_contained, &objects),
            Err(limit) => Matches::broken(limit),
        }
    }

    /// The same for these objects instead of those that the call names.
    pub(super) fn ask_about(
        &self,
        call: &Call,
        ctx: &Context<'_>,
        effect: Effect,
        is_contained: bool,
        objects: &BTreeSet<String>,
    ) -> Matches {
        self.evaluate(call, ctx, effect, is_contained, objects)
            .unwrap_or_else(|error| Matches::broken(error.to_string()))
    }

    /// True when a rule may speak of objects.
    pub(super) const fn has_objects(&self) -> bool {
        self.has_objects
    }

    fn evaluate(
        &self,
        call: &Call,
        ctx: &Context<'_>,
        effect: Effect,
        is_contained: bool,
        objects: &BTreeSet<String>,
    ) -> Result<Matches, Broken> {
        let entities = self.entities(ctx.account, ctx.agent, ctx.manifest, effect)?;
        let mut matches = Matches::default();
        for request in self.requests(call, ctx, effect, is_contained, objects)? {
            matches.add(&self.authorizer.is_authorized(&request, &self.policies, &entities), &self.asks);
        }
        Ok(matches)
    }

    /// One request per object, or one without.
    pub(super) fn requests(
        &self,
        call: &Call,
        ctx: &Context<'_>,
        effect: Effect,
        is_contained: bool,
        objects: &BTreeSet<String>,
    ) -> Result<Vec<Request>, Broken> {
        let types = &self.types;
        let (args, in_view) = (ctx.args_label, ctx.in_view);
        let size = i64::try_from(call.args.as_str().len()).unwrap_or(i64::MAX);
        let common = [
            ("args_integrity", constant(&types.integrity, words::integrity(args.integrity))),
            ("args_confidentiality", constant(&types.confidentiality, words::confidentiality(args.confidentiality))),
            ("in_view_integrity", constant(&types.integrity, words::integrity(in_view.integrity))),
            (
                "in_view_confidentiality",
                constant(&types.confidentiality, words::confidentiality(in_view.confidentiality)),
            ),
            ("args_bytes", RestrictedExpression::new_long(size)),
            ("is_contained", RestrictedExpression::new_bool(is_contained)),
            ("is_approved", RestrictedExpression::new_bool(ctx.is_approved)),
            ("session", constant(&types.session, &call.session.to_string())),
            ("tool_digest", RestrictedExpression::new_string(call.tool_digest.to_string())),
        ];
        let set = self.set_of(call, ctx, objects);
        let set = set.map(|set| ("objects", RestrictedExpression::new_set(set)));
        let request = |object: Option<&String>| -> Result<Request, Broken> {
            let object = object.map(|object| ("object", RestrictedExpression::new_string(object.clone())));
            let pairs = common.iter().cloned().chain(object).chain(set.clone());
            let pairs = pairs.map(|(key, value)| (key.to_owned(), value));
            let agent = uid(&types.agent, ctx.agent.as_str());
            let action = uid(&types.action, words::effect(effect));
            let tool = uid(&types.tool, ctx.manifest.name.as_str());
            Ok(Request::new(agent, action, tool, CedarContext::from_pairs(pairs)?, None)?)
        };
        if objects.is_empty() {
            return Ok(vec![request(None)?]);
        }
        objects.iter().map(|object| request(Some(object))).collect()
    }

    /// All objects of the call with their arguments. What is judged below a call's objects is not of this set.
    fn set_of(&self, call: &Call, ctx: &Context<'_>, objects: &BTreeSet<String>) -> Option<Vec<RestrictedExpression>> {
        if !self.has_sets || objects.is_empty() {
            return None;
        }
        // A call beyond the limits was denied before.
        let (of_call, named) = object::named(call, ctx.manifest).ok()?;
        (of_call == *objects).then(|| named.into_iter().map(RestrictedExpression::new_string).collect())
    }

    /// Who acts for whom, what the call does, and the tool.
    pub(super) fn entities(
        &self,
        account: &AccountId,
        agent: &AgentName,
        manifest: &Manifest,
        effect: Effect,
    ) -> Result<Entities, Broken> {
        let types = &self.types;
        let account = uid(&types.account, account.as_str());
        let agent = Entity::new_no_attrs(uid(&types.agent, agent.as_str()), HashSet::from([account.clone()]));
        let account = Entity::new_no_attrs(account, HashSet::new());
        let attributes = HashMap::from([
            ("name".to_owned(), RestrictedExpression::new_string(manifest.name.to_string())),
            ("effect".to_owned(), constant(&types.effect, words::effect(manifest.effect))),
            ("lane".to_owned(), constant(&types.lane, words::lane(manifest.lane))),
        ]);
        let tool = Entity::new(uid(&types.tool, manifest.name.as_str()), attributes, HashSet::new())?;
        let action = self.actions.get(&effect).cloned();
        Ok(Entities::from_entities([account, agent, tool].into_iter().chain(action), None)?)
    }
}

impl Matches {
    /// Nothing could be asked.
    fn broken(why: String) -> Self {
        Self { errors: BTreeMap::from([(BROKEN.to_owned(), cut(why))]), ..Self::default() }
    }

    fn add(&mut self, response: &Response, asks: &BTreeMap<String, String>) {
        for error in response.diagnostics().errors() {
            let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
            self.errors.insert(error.policy_id().to_string(), cut(error.inner().to_string()));
        }
        let mut names = response.diagnostics().reason().map(ToString::to_string).peekable();
        match response.decision() {
            Decision::Deny if names.peek().is_none() => self.is_silent = true,
            Decision::Deny => self.forbids.extend(names),
            Decision::Allow => {
                let (asking, plain): (Vec<_>, Vec<_>) = names.partition(|name| asks.contains_key(name));
                self.asks.extend(asking.into_iter().filter_map(|name| asks.get_key_value(&name)).map(own));
                self.permits.extend(plain);
            }
        }
    }
}

fn own((name, reason): (&String, &String)) -> (String, String) {
    (name.clone(), reason.clone())
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn constant(kind: &EntityTypeName, id: &str) -> RestrictedExpression {
    RestrictedExpression::new_entity_uid(uid(kind, id))
}

fn cut(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(ERROR_BYTES_MAX));
    message
}
