//! Asks Cedar what the user's rules say of one call.
//!
//! Everything that does not change from call to call is made once. A call with
//! several objects is judged once for each; the caller takes the strictest.
//! Names come back sorted, so that the same call gives the same bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use are_core::body::Effect;
use are_core::ids::{AccountId, AgentName, GroupName};
use are_core::label::Label;
use cedar_policy::{
    Authorizer, Context as CedarContext, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicySet,
    Request, Response, RestrictedExpression, Schema,
};

use super::check::Read;
use super::typed::{self, Command, Host};
use super::{BROKEN, object, words};
use crate::call::{Call, Context};
use crate::manifest::Manifest;
use crate::secrets;

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
    looks: Looks,
}

/// What some rule may look at; all else is not made.
#[derive(Debug)]
struct Looks {
    /// Objects, paths, hosts.
    objects: bool,
    paths: bool,
    hosts: bool,
    secrets: bool,
    commands: bool,
    /// All objects together.
    sets: bool,
    /// Owners of sessions.
    owners: bool,
}

/// An object that is judged, with what it is in the rules' own terms.
#[derive(Debug)]
pub(super) struct Thing {
    object: String,
    /// Attributes of the context.
    attributes: Vec<(&'static str, RestrictedExpression)>,
    /// The path or host.
    entity: Option<Entity>,
}

#[derive(Debug)]
struct Types {
    account: EntityTypeName,
    action: EntityTypeName,
    agent: EntityTypeName,
    confidentiality: EntityTypeName,
    effect: EntityTypeName,
    group: EntityTypeName,
    host: EntityTypeName,
    integrity: EntityTypeName,
    lane: EntityTypeName,
    path: EntityTypeName,
    secret: EntityTypeName,
    session: EntityTypeName,
    tool: EntityTypeName,
}

/// What rules can speak about beside the call: the part of a context that outlives the decision.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) account: &'a AccountId,
    pub(super) groups: &'a [GroupName],
    pub(super) agent: &'a AgentName,
    pub(super) manifest: &'a Manifest,
    pub(super) in_view: &'a Label,
    pub(super) args_label: &'a Label,
    pub(super) is_approved: bool,
}

impl<'a> From<&Context<'a>> for Facts<'a> {
    fn from(ctx: &Context<'a>) -> Self {
        let Context { account, groups, agent, manifest, in_view, args_label, is_approved, .. } = *ctx;
        Self { account, groups, agent, manifest, in_view, args_label, is_approved }
    }
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

/// What an object adds to the context and to the entities.
type Typed = (Vec<(&'static str, RestrictedExpression)>, Option<Entity>);
/// Why the entities of a call could not be made.
type Broken = Box<dyn std::error::Error>;

impl Compiled {
    pub(super) fn new(read: Read, schema: &Schema) -> Result<Self, Broken> {
        let looks = Looks::of(&read.policies);
        let types = Types {
            account: "Account".parse()?,
            action: "Action".parse()?,
            agent: "Agent".parse()?,
            confidentiality: "Confidentiality".parse()?,
            effect: "Effect".parse()?,
            group: "Group".parse()?,
            host: "Host".parse()?,
            integrity: "Integrity".parse()?,
            lane: "Lane".parse()?,
            path: "Path".parse()?,
            secret: "Secret".parse()?,
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
        Ok(Self { policies, asks, authorizer, actions, types, looks })
    }

    /// True when the rule of that name asks.
    pub(super) fn asks(&self, name: &str) -> bool {
        self.asks.contains_key(name)
    }

    /// What the rules say of a call. What cannot be asked is an error, hence a denial.
    pub(super) fn ask(&self, call: &Call, ctx: &Context<'_>, effect: Effect, is_contained: bool) -> Matches {
        let objects = if self.looks.objects { object::of(call, ctx) } else { Ok(BTreeSet::new()) };
        match objects {
            Ok(objects) => self.ask_about(call, &Facts::from(ctx), effect, is_contained, &objects),
            Err(limit) => Matches::broken(limit),
        }
    }

    /// The same for these objects instead of those that the call names.
    pub(super) fn ask_about(
        &self,
        call: &Call,
        ctx: &Facts<'_>,
        effect: Effect,
        is_contained: bool,
        objects: &BTreeSet<String>,
    ) -> Matches {
        self.evaluate(call, ctx, effect, is_contained, objects)
            .unwrap_or_else(|error| Matches::broken(error.to_string()))
    }

    /// True when a rule may speak of objects.
    pub(super) const fn has_objects(&self) -> bool {
        self.looks.objects
    }

    fn evaluate(
        &self,
        call: &Call,
        ctx: &Facts<'_>,
        effect: Effect,
        is_contained: bool,
        objects: &BTreeSet<String>,
    ) -> Result<Matches, Broken> {
        let things = self.things(objects, ctx.manifest)?;
        let entities = self.entities(call, ctx, effect, &things)?;
        let mut matches = Matches::default();
        for request in self.requests(call, ctx, effect, is_contained, &things)? {
            matches.add(&self.authorizer.is_authorized(&request, &self.policies, &entities), &self.asks);
        }
        Ok(matches)
    }

    /// One request per object, or one without.
    pub(super) fn requests(
        &self,
        call: &Call,
        ctx: &Facts<'_>,
        effect: Effect,
        is_contained: bool,
        things: &[Thing],
    ) -> Result<Vec<Request>, Broken> {
        let types = &self.types;
        let mut common = self.common(call, ctx, is_contained)?;
        let set = self.set_of(call, ctx, things).map(RestrictedExpression::new_set);
        common.extend(set.map(|set| ("objects", set)));
        let request = |thing: Option<&Thing>| -> Result<Request, Broken> {
            let object = thing.map(|thing| ("object", RestrictedExpression::new_string(thing.object.clone())));
            let typed = thing.iter().flat_map(|thing| thing.attributes.iter().cloned());
            let pairs = common.iter().cloned().chain(object).chain(typed).map(|(key, value)| (key.to_owned(), value));
            let agent = uid(&types.agent, ctx.agent.as_str());
            let action = uid(&types.action, words::effect(effect));
            let tool = uid(&types.tool, ctx.manifest.name.as_str());
            Ok(Request::new(agent, action, tool, CedarContext::from_pairs(pairs)?, None)?)
        };
        if things.is_empty() {
            return Ok(vec![request(None)?]);
        }
        things.iter().map(|thing| request(Some(thing))).collect()
    }

    /// The attributes of the context that do not depend on the object.
    fn common(
        &self,
        call: &Call,
        ctx: &Facts<'_>,
        is_contained: bool,
    ) -> Result<Vec<(&'static str, RestrictedExpression)>, Broken> {
        let types = &self.types;
        let (args, in_view) = (ctx.args_label, ctx.in_view);
        let size = i64::try_from(call.args.as_str().len()).unwrap_or(i64::MAX);
        let mut common = vec![
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
        // PERF: what no rule looks at is left out: secrets and owners cost 3 of 31 µs.
        if self.looks.secrets {
            let mut named = typed::secrets(&call.args)?;
            named.extend(secrets::of_call(ctx.manifest, &call.args).into_iter().map(|name| name.to_string()));
            let secrets = named.iter().map(|name| constant(&types.secret, name));
            common.push(("secrets", RestrictedExpression::new_set(secrets)));
        }
        let command = if self.looks.commands { Some(Command::of(&call.args)) } else { None };
        let is_shell = command.as_ref().map(|command| RestrictedExpression::new_bool(command.is_shell));
        common.extend(is_shell.map(|is_shell| ("is_shell", is_shell)));
        if let Some((count, first)) = command.and_then(|command| command.argv) {
            let count = ("count".to_owned(), RestrictedExpression::new_long(i64::try_from(count)?));
            let text = |(at, element): (usize, String)| (at.to_string(), RestrictedExpression::new_string(element));
            let fields = first.into_iter().enumerate().map(text).chain([count]);
            common.push(("argv", RestrictedExpression::new_record(fields)?));
        }
        Ok(common)
    }

    /// All objects of the call with their arguments. What is judged below a call's objects is not of this set.
    fn set_of(&self, call: &Call, ctx: &Facts<'_>, things: &[Thing]) -> Option<Vec<RestrictedExpression>> {
        if !self.looks.sets || things.is_empty() {
            return None;
        }
        // A call beyond the limits was denied before.
        let (of_call, named) = object::named(call, ctx.manifest).ok()?;
        let is_whole = of_call.iter().eq(things.iter().map(|thing| &thing.object));
        is_whole.then(|| named.into_iter().map(RestrictedExpression::new_string).collect())
    }

    /// The objects of a contained tool as paths, those of any other as addresses.
    pub(super) fn things(&self, objects: &BTreeSet<String>, manifest: &Manifest) -> Result<Vec<Thing>, Broken> {
        let thing = |object: &String| {
            let (attributes, entity) = match manifest.is_contained {
                true if self.looks.paths => self.path(object)?,
                false if self.looks.hosts => self.host(object)?,
                true | false => (Vec::new(), None),
            };
            Ok(Thing { object: object.clone(), attributes, entity })
        };
        objects.iter().map(thing).collect()
    }

    fn path(&self, object: &str) -> Result<Typed, Broken> {
        let kind = &self.types.path;
        let path = object::plain_path(object);
        let parents = typed::directories(&path)?.into_iter().map(|directory| uid(kind, directory)).collect();
        let name = RestrictedExpression::new_string(typed::file_name(&path).to_owned());
        let entity = Entity::new(uid(kind, &path), HashMap::from([("name".to_owned(), name)]), parents)?;
        Ok((vec![("path", constant(kind, &path))], Some(entity)))
    }

    fn host(&self, object: &str) -> Result<Typed, Broken> {
        let Some(host) = Host::read(object) else { return Ok((Vec::new(), None)) };
        let (kind, id) = (&self.types.host, host.id());
        let parents = host.domains().iter().map(|domain| uid(kind, domain)).collect();
        let name = ("name".to_owned(), RestrictedExpression::new_string(host.name()));
        let port = host.port.map(|port| ("port".to_owned(), RestrictedExpression::new_long(port.into())));
        let ip = host.ip().map(|ip| ("ip".to_owned(), RestrictedExpression::new_ip(ip.to_string())));
        let entity = Entity::new(uid(kind, &id), [name].into_iter().chain(port).chain(ip).collect(), parents)?;
        let url = host.url.map(|url| ("url", RestrictedExpression::new_string(url)));
        Ok(([("host", constant(kind, &id))].into_iter().chain(url).collect(), Some(entity)))
    }

    /// Who acts for whom and where, what the call does, the tool, and what it acts upon.
    pub(super) fn entities(
        &self,
        call: &Call,
        ctx: &Facts<'_>,
        effect: Effect,
        things: &[Thing],
    ) -> Result<Entities, Broken> {
        let (types, manifest) = (&self.types, ctx.manifest);
        let owner = uid(&types.account, ctx.account.as_str());
        let agent = Entity::new_no_attrs(uid(&types.agent, ctx.agent.as_str()), HashSet::from([owner.clone()]));
        let groups = ctx.groups.iter().map(|group| uid(&types.group, group.as_str())).collect();
        let account = Entity::new_no_attrs(owner.clone(), groups);
        let session = match self.looks.owners {
            true => {
                let owner = HashMap::from([("owner".to_owned(), RestrictedExpression::new_entity_uid(owner))]);
                Some(Entity::new(uid(&types.session, &call.session.to_string()), owner, HashSet::new())?)
            }
            false => None,
        };
        let attributes = HashMap::from([
            ("name".to_owned(), RestrictedExpression::new_string(manifest.name.to_string())),
            ("effect".to_owned(), constant(&types.effect, words::effect(manifest.effect))),
            ("lane".to_owned(), constant(&types.lane, words::lane(manifest.lane))),
        ]);
        let tool = Entity::new(uid(&types.tool, manifest.name.as_str()), attributes, HashSet::new())?;
        let action = self.actions.get(&effect).cloned();
        // Two objects can be one place.
        let places: BTreeMap<_, _> =
            things.iter().filter_map(|thing| thing.entity.as_ref()).map(|entity| (entity.uid(), entity)).collect();
        let some = session.into_iter().chain(action).chain(places.into_values().cloned());
        let all = [account, agent, tool].into_iter().chain(some);
        Ok(Entities::from_entities(all, None)?)
    }
}

impl Looks {
    /// Asked of the parsed rules: their text could spell an attribute with escapes. One word too many costs time only.
    fn of(policies: &PolicySet) -> Self {
        let texts: Option<Vec<String>> =
            policies.policies().map(|policy| policy.to_json().ok().map(|json| json.to_string())).collect();
        let names = |word: &str| texts.as_ref().is_none_or(|texts| texts.iter().any(|text| text.contains(word)));
        let (paths, hosts) = (names("path"), names("host") || names("url"));
        Self {
            objects: paths || hosts || names("object"),
            paths,
            hosts,
            secrets: names("secrets"),
            commands: names("argv") || names("is_shell"),
            sets: names("objects"),
            owners: names("owner"),
        }
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
