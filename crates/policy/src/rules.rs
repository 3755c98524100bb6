//! Decides whether a call may run: the user's Cedar rules first, then the profile.
//!
//! Promises: a matching `forbid` denies, whatever else holds; a rule that
//! cannot be evaluated denies; a permit with `@ask` asks; an approval lifts an
//! ask and nothing else. A decision depends on its arguments alone, so that a
//! replay regenerates it byte for byte; the rules themselves are kept as one
//! object under their digest.
//!
//! Does no I/O: callers read the files.
//!
//! SOURCE: Cutler et al., "Cedar: A New Language for Expressive, Fast, Safe,
//! and Analyzable Authorization" (2024).

mod allow;
mod capability;
mod cedar;
mod check;
mod guarded;
mod kept;
mod lint;
mod object;
mod paths;
mod profile;
mod text;
mod typed;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use are_core::body::{Effect, Outcome};
use are_core::canonical::{Args, parse_strict, to_canonical};
use are_core::digest::Digest;
use are_core::ids::ToolName;
use cedar_policy::Schema;
use serde::{Deserialize, Serialize};

pub use self::allow::{ALLOW_FILE, ALLOW_LINE_BYTES_MAX, AllowError, expand};
use self::cedar::{Compiled, Matches};
pub use self::check::{Diagnostic, FILE_BYTES_MAX, FILES_MAX, RULES_MAX, Severity};
pub use self::kept::Asked;
pub use self::paths::PathRules;
use self::profile::{Act, Reach, Stance};
pub use self::profile::{Profile, UnknownProfile};
pub use self::words::{EFFECTS, effect as effect_word};
use crate::call::{Call, Context, Decision, Parent};
use crate::manifest::{Manifest, ToolSet};
use crate::secrets;

/// The published schema that rules are checked against.
pub const SCHEMA: &str = include_str!("../schema.cedarschema");

/// Named in a decision that an approval lifted.
const APPROVAL: &str = "approval";
/// Named in a denial for which no rule could be asked.
const BROKEN: &str = "request";
/// Names that no `@id` may take.
const RESERVED: [&str; 2] = [APPROVAL, BROKEN];

/// Why rules are not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// The files have errors; mend them. Warnings stand among them.
    #[error("the rules are invalid: {}", first(.0))]
    Invalid(Vec<Diagnostic>),
    /// The stored object is not what [`Rules::object`] writes; the store is corrupt or newer.
    #[error("the stored rules are unreadable: {0}")]
    Object(String),
    /// Cedar refuses the built-in schema or its actions: a bug of this program.
    #[error("the built-in schema is unusable: {0}")]
    Schema(String),
}

fn first(found: &[Diagnostic]) -> String {
    let errors: Vec<_> = found.iter().filter(|finding| finding.severity == Severity::Error).collect();
    match errors.as_slice() {
        [] => String::new(),
        [only] => only.to_string(),
        [first, more @ ..] => format!("{first} (and {} more)", more.len()),
    }
}

/// What is stored: the profile and the files as they were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    files: BTreeMap<String, String>,
    profile: Profile,
    /// True when the decision by flow is switched off.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    without_flow: bool,
}

/// A profile and the user's rules, checked and ready to decide.
#[derive(Debug)]
pub struct Rules {
    source: Source,
    object: Vec<u8>,
    digest: Digest,
    /// `None` without any rule: Cedar is then never asked.
    compiled: Option<Arc<Compiled>>,
}

/// Findings in rule files, by file and line: all errors, or all warnings where there is none. Rules that no call
/// of `tools` can match are warned of.
///
/// # Errors
/// [`RulesError::Schema`] when the built-in schema is unusable.
pub fn check(files: &[(String, String)], tools: &ToolSet) -> Result<Vec<Diagnostic>, RulesError> {
    let files = match unique(files) {
        Ok(files) => files,
        Err(found) => return Ok(vec![found]),
    };
    let (read, mut found) = check::read(&files, &schema()?);
    found.extend(read.iter().flat_map(|read| lint::never(read, tools)));
    found.sort();
    found.truncate(check::DIAGNOSTICS_MAX);
    Ok(found)
}

impl Rules {
    /// Reads and checks `files` (name and text) under `profile`; their order does not matter.
    ///
    /// # Errors
    /// [`RulesError::Invalid`] with everything that is wrong, by file and line.
    pub fn new(profile: Profile, files: &[(String, String)]) -> Result<Self, RulesError> {
        let files = unique(files).map_err(|found| RulesError::Invalid(vec![found]))?;
        Self::from_source(Source { files, profile, without_flow: false })
    }

    /// The rules as [`object`](Self::object) wrote them.
    ///
    /// # Errors
    /// [`RulesError::Object`] when the bytes are anything else.
    pub fn from_object(bytes: &[u8]) -> Result<Self, RulesError> {
        let value = parse_strict(bytes).map_err(|error| RulesError::Object(error.to_string()))?;
        let source = serde_json::from_value(value).map_err(|error| RulesError::Object(error.to_string()))?;
        let rules = Self::from_source(source)?;
        if rules.object != bytes {
            return Err(RulesError::Object("the bytes are not canonical".to_owned()));
        }
        Ok(rules)
    }

    fn from_source(source: Source) -> Result<Self, RulesError> {
        let object = to_canonical(&source).map_err(|error| RulesError::Object(error.to_string()))?.into_bytes();
        let digest = Digest::of(&[&object]);
        if source.files.is_empty() {
            return Ok(Self { source, object, digest, compiled: None });
        }
        let schema = schema()?;
        let (read, found) = check::read(&source.files, &schema);
        let read = read.ok_or(RulesError::Invalid(found))?;
        let compiled = match read.policies.is_empty() {
            true => None,
            false => {
                let compiled = Compiled::new(read, &schema).map_err(|error| RulesError::Schema(error.to_string()))?;
                Some(Arc::new(compiled))
            }
        };
        Ok(Self { source, object, digest, compiled })
    }

    /// The profile.
    #[must_use]
    pub const fn profile(&self) -> Profile {
        self.source.profile
    }

    const fn stance(&self) -> Stance {
        Stance { profile: self.source.profile, has_flow: !self.source.without_flow }
    }

    /// The same rules without the decision by the flow of information: what it would decide asks. Labels are made and
    /// recorded all the same.
    ///
    /// # Errors
    /// None that [`new`](Self::new) has not found already.
    pub fn without_flow(self) -> Result<Self, RulesError> {
        Self::from_source(Source { without_flow: true, ..self.source })
    }

    /// The rule files, name and text, by name.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.source.files.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// Canonical bytes that hold all of it.
    #[must_use]
    pub fn object(&self) -> &[u8] {
        &self.object
    }

    /// SHA-256 of [`object`](Self::object): what a decision record names.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Decides about one call.
    #[must_use]
    pub fn decide(&self, call: &Call, ctx: &Context<'_>) -> Decision {
        let effect = ctx.manifest.effect_of(&call.args);
        let retry = ctx.manifest.retry_of(effect);
        let reach = Reach::of(effect, retry, ctx.manifest.is_contained);
        let verdict = if call.tool == ctx.manifest.name.as_str() {
            self.judge(call, ctx, effect, reach)
        } else {
            Verdict::deny([BROKEN.to_owned()], "the call and the declaration are of different tools".to_owned())
        };
        let verdict = verdict.lifted(ctx.is_approved).of(ctx.parents);
        Decision {
            subject: call.subject(),
            outcome: verdict.outcome,
            would: verdict.would,
            rules: sorted(verdict.rules),
            permissions: permissions(ctx.manifest, &call.args, effect, reach),
            effect,
            retry,
            label: ctx.args_label.clone(),
            why: verdict.why,
            say: verdict.say,
            paths: PathRules::new(self.compiled.as_ref(), self.profile(), call, ctx, (effect, reach), |is_guarded| {
                self.by_profiles(Act { call, ctx, effect, reach, is_guarded })
            }),
        }
    }

    fn judge(&self, call: &Call, ctx: &Context<'_>, effect: Effect, reach: Reach) -> Verdict {
        match capability::outside(call, ctx, reach) {
            None => self.judge_capable(call, ctx, effect, reach),
            Some(outside) => match &self.compiled {
                // A `forbid` is the better reason; a `permit` is none for more than the tool itself declares.
                Some(compiled) => {
                    let matches = compiled.ask(call, ctx, effect, reach.is_contained());
                    let by_user = by_rules(matches, &ctx.manifest.name, effect, || outside.clone());
                    if by_user.outcome == Outcome::Deny { by_user } else { outside }
                }
                None => outside,
            },
        }
    }

    fn judge_capable(&self, call: &Call, ctx: &Context<'_>, effect: Effect, reach: Reach) -> Verdict {
        let is_guarded = || ctx.manifest.is_contained && guarded::touches(call, ctx);
        let by_profile = || self.by_profiles(Act { call, ctx, effect, reach, is_guarded: is_guarded() });
        let Some(compiled) = &self.compiled else { return by_profile() };
        let of = |agent| {
            let matches = compiled.ask(call, &Context { agent, ..ctx.clone() }, effect, reach.is_contained());
            by_rules(matches, &ctx.manifest.name, effect, by_profile)
        };
        // What the rules refuse to an agent, no agent gets that it began.
        let above = ctx.narrowing.agents.iter().filter(|agent| *agent != ctx.agent);
        strictest(of(ctx.agent), above.map(of))
    }

    /// What the profile in force says, or a stricter one that the agent is held to.
    fn by_profiles(&self, act: Act<'_>) -> Verdict {
        let own = act.ctx.narrowing.profiles.iter().filter(|profile| **profile != self.profile());
        let of = |profile: &Profile| Stance { profile: *profile, ..self.stance() }.judge(act);
        strictest(self.stance().judge(act), own.map(of))
    }
}

/// The strictest of several verdicts, the first of those that are equally strict.
fn strictest(first: Verdict, others: impl Iterator<Item = Verdict>) -> Verdict {
    let strictness = |verdict: &Verdict| match verdict.outcome {
        Outcome::Allow => 0,
        Outcome::Ask => 1,
        Outcome::Deny => 2,
    };
    others.fold(first, |worst, other| if strictness(&other) > strictness(&worst) { other } else { worst })
}

/// An outcome with its reasons, before it is bound to a call.
#[derive(Debug, Clone)]
struct Verdict {
    outcome: Outcome,
    would: Option<Outcome>,
    rules: Vec<String>,
    why: String,
    say: String,
}

impl Verdict {
    fn new(outcome: Outcome, rules: impl IntoIterator<Item = String>, why: String, say: String) -> Self {
        Self { outcome, would: None, rules: rules.into_iter().collect(), why, say }
    }

    fn allow(rule: &str, why: impl Into<String>) -> Self {
        Self::new(Outcome::Allow, [rule.to_owned()], why.into(), String::new())
    }

    fn ask(rule: &str, why: String, say: String) -> Self {
        Self::new(Outcome::Ask, [rule.to_owned()], why, say)
    }

    fn deny(rules: impl IntoIterator<Item = String>, why: String) -> Self {
        let say = "no approval lifts this; it holds until the rules are changed".to_owned();
        Self::new(Outcome::Deny, rules, why, say)
    }

    /// Names the call that makes this one: nobody asked for it by its own name.
    fn of(mut self, parents: &[Parent<'_>]) -> Self {
        if let Some(parent) = parents.first() {
            self.why = format!("called by `{}`: {}", parent.manifest.name, self.why);
        }
        self
    }

    /// With an approval an ask becomes an allow; nothing else changes.
    fn lifted(mut self, is_approved: bool) -> Self {
        if is_approved && self.outcome == Outcome::Ask {
            self.outcome = Outcome::Allow;
            self.rules.push(APPROVAL.to_owned());
            self.why = format!("a person approved exactly this call, which was asked about because: {}", self.why);
            self.say.clear();
        }
        self
    }
}

/// The strictest of what the rules say; the profile speaks where they are silent.
fn by_rules(matches: Matches, tool: &ToolName, effect: Effect, by_profile: impl FnOnce() -> Verdict) -> Verdict {
    let Matches { forbids, errors, asks, permits, is_silent } = matches;
    if !forbids.is_empty() || !errors.is_empty() {
        let mut reasons: Vec<_> = forbids.iter().map(|rule| format!("rule `{rule}` forbids it")).collect();
        reasons.extend(errors.iter().map(|(rule, error)| format!("`{rule}` could not be evaluated: {error}")));
        return Verdict::deny(forbids.into_iter().chain(errors.into_keys()), reasons.join("; "));
    }
    let by_user = if asks.is_empty() {
        let why = format!("permitted by {}", listed(permits.iter()));
        Verdict::new(Outcome::Allow, permits, why, String::new())
    } else {
        let why = asks.iter().map(|(rule, reason)| format!("rule `{rule}` asks: {reason}")).collect::<Vec<_>>();
        Verdict::new(Outcome::Ask, asks.into_keys(), why.join("; "), say_allow(tool, words::effect(effect)))
    };
    if !is_silent {
        return by_user;
    }
    let mut verdict = by_profile();
    match (verdict.outcome, by_user.outcome) {
        (Outcome::Allow, Outcome::Ask) => return by_user,
        (Outcome::Ask, Outcome::Ask) => {
            verdict.rules.extend(by_user.rules);
            verdict.why = format!("{}; {}", verdict.why, by_user.why);
        }
        (Outcome::Allow | Outcome::Ask, Outcome::Allow | Outcome::Deny) | (Outcome::Deny, _) => {}
    }
    verdict
}

/// What would get an asked call through.
fn say_allow(tool: &ToolName, effect: &str) -> String {
    format!(
        "approve this call, or add the rule \
         `permit(principal, action == Action::\"{effect}\", resource == Tool::\"{tool}\");`"
    )
}

/// The rights a call uses: its tool, its secrets and, unless it only reads, its effect and how far that reaches.
fn permissions(manifest: &Manifest, args: &Args, effect: Effect, reach: Reach) -> Vec<String> {
    let reach = match reach {
        Reach::Nothing => None,
        Reach::OwnState => Some("reach:own_state"),
        Reach::Workspace => Some("reach:workspace"),
        Reach::Outside => Some("reach:outside"),
    };
    let effect = reach.map(|_| format!("effect:{}", words::effect(effect)));
    let secrets = secrets::of_call(manifest, args).into_iter().map(|name| format!("secret:{name}"));
    let tool = format!("tool:{}", manifest.name);
    effect.into_iter().chain(reach.map(str::to_owned)).chain(secrets).chain([tool]).collect()
}

fn listed<'a>(rules: impl Iterator<Item = &'a String>) -> String {
    rules.map(|rule| format!("`{rule}`")).collect::<Vec<_>>().join(", ")
}

fn sorted(mut rules: Vec<String>) -> Vec<String> {
    rules.sort();
    rules.dedup();
    rules
}

fn unique(files: &[(String, String)]) -> Result<BTreeMap<String, String>, Diagnostic> {
    let mut unique = BTreeMap::new();
    for (file, text) in files {
        if unique.insert(file.clone(), text.clone()).is_some() {
            return Err(Diagnostic {
                file: file.clone(),
                line: 1,
                severity: Severity::Error,
                message: "two files have this name".to_owned(),
                help: Some("rename one".to_owned()),
            });
        }
    }
    Ok(unique)
}

fn schema() -> Result<Schema, RulesError> {
    SCHEMA.parse().map_err(|error: cedar_policy::CedarSchemaError| RulesError::Schema(error.to_string()))
}

#[cfg(test)]
mod tests;
