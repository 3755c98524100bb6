//! `are policy test FILE…`: cases of calls with the answer that is expected of the rules.
//!
//! A case is decided as the engine decides a call: the tool's declaration, its
//! schema, then [`Rules::decide`]. Nothing runs and nothing is recorded. The
//! files are TOML because people write them, with comments, beside `are.toml`;
//! a word that is not known is an error, so that no condition is dropped in
//! silence.

use std::path::Path;

use are_core::body::Outcome;
use are_core::canonical::Args;
use are_core::error::{Code, Fault};
use are_core::ids::{AccountId, AgentName, GroupName, SessionKey};
use are_core::label::{Confidentiality, Integrity, Label};
use are_policy::call::{Call, Context, Decision};
use are_policy::manifest::ToolSet;
use are_policy::rules::Rules;
use are_policy::schema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use toml::Spanned;

use super::super::Env;
use super::super::exit::{Exit, Failure, Outcome as Ended};
use super::super::explained;
use super::super::output::one_line;
use crate::config::keys::nearest;
use crate::config::{agents, files};
use crate::{server, wiring};

/// A test file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    case: Vec<Spanned<Case>>,
}

/// One call and what is expected.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(default)]
    name: String,
    account: Option<AccountId>,
    #[serde(default)]
    groups: Vec<GroupName>,
    agent: Option<AgentName>,
    tool: String,
    #[serde(default)]
    args: toml::Table,
    #[serde(default)]
    in_view: Levels,
    /// As bad as the worst in view, when it is not said.
    args_label: Option<Levels>,
    /// What the user says in the turn of the call.
    #[serde(default)]
    prompt: String,
    /// Texts from outside that the user handed over; each makes what is in view untrusted.
    #[serde(default)]
    read: Vec<String>,
    #[serde(default)]
    approved: bool,
    expect: Outcome,
    /// Exactly these, in any order; any when it is not said.
    rules: Option<Vec<String>>,
}

/// A label; what is not said is what a prompt of the user has.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Levels {
    integrity: Integrity,
    confidentiality: Confidentiality,
    origins: Vec<String>,
}

impl Default for Levels {
    fn default() -> Self {
        Self { integrity: Integrity::User, confidentiality: Confidentiality::Private, origins: Vec::new() }
    }
}

impl From<Levels> for Label {
    fn from(levels: Levels) -> Self {
        let Levels { integrity, confidentiality, origins } = levels;
        Self { integrity, confidentiality, origins }
    }
}

/// What became of a case, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Report {
    file: String,
    line: usize,
    name: String,
    passed: bool,
    expected: Expected,
    /// Absent when the call was refused before any decision.
    outcome: Option<Outcome>,
    rules: Vec<String>,
    why: String,
    say: String,
}

#[derive(Debug, Serialize)]
struct Expected {
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    rules: Option<Vec<String>>,
}

pub(super) fn test(env: &Env, paths: &[std::path::PathBuf], other: Option<&str>) -> Ended {
    let tools = wiring::tool_set(&env.config)?;
    let rules = other.map_or_else(|| env.rules(), |text| env.other_rules(text))?;
    let mut reports = Vec::new();
    for path in paths {
        let text = files::read_cases(&env.surroundings.absolute(path))?;
        for case in read(path, &text)? {
            let line = 1 + text.bytes().take(case.span().start).filter(|byte| *byte == b'\n').count();
            reports.push(run(path, line, case.into_inner(), &rules, &tools)?);
        }
    }
    let failed = reports.iter().filter(|report| !report.passed).count();
    if env.out.is_json {
        let summary = json!({"profile": rules.profile().as_str(), "policy": rules.digest(), "cases": reports.len(),
            "failed": failed, "results": reports});
        env.out.json(&summary)?;
    } else {
        for report in reports.iter().filter(|report| !report.passed) {
            tell(env, report)?;
        }
        env.out.say(&format!("{} cases, {failed} failed", reports.len()));
    }
    if failed > 0 { Err(Failure::Said(Exit::Failed)) } else { Ok(Exit::Done) }
}

fn read(path: &Path, text: &str) -> Result<Vec<Spanned<Case>>, Fault> {
    let help = "a case needs `tool` and `expect`; see the reference of `are policy test`";
    let File { case } = toml::from_str(text).map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| 1 + text.bytes().take(span.start).filter(|b| *b == b'\n').count());
        let message = format!("`{}` is no test file, line {line}: {}", path.display(), error.message());
        Fault::new(Code::POLICY_INVALID, message, help)
    })?;
    if case.is_empty() {
        return Err(Fault::new(Code::POLICY_INVALID, format!("`{}` holds no `[[case]]`", path.display()), help));
    }
    Ok(case)
}

fn run(path: &Path, line: usize, case: Case, rules: &Rules, tools: &ToolSet) -> Result<Report, Fault> {
    let (mut report, wanted) = (
        Report {
            file: path.display().to_string(),
            line,
            name: case.name.clone(),
            passed: false,
            expected: Expected { outcome: case.expect, rules: case.rules.clone().map(sorted) },
            outcome: None,
            rules: Vec::new(),
            why: String::new(),
            say: String::new(),
        },
        case.rules.clone().map(sorted),
    );
    match decide(case, rules, tools)? {
        Ok(decision) => {
            report.passed =
                decision.outcome == report.expected.outcome && wanted.is_none_or(|wanted| wanted == decision.rules);
            report.outcome = Some(decision.outcome);
            report.rules = decision.rules;
            report.why = decision.why;
            report.say = decision.say;
        }
        Err(fault) => (report.why, report.say) = (fault.message, fault.help),
    }
    Ok(report)
}

/// The decision, or why the engine would refuse the call without one.
fn decide(case: Case, rules: &Rules, tools: &ToolSet) -> Result<Result<Decision, Fault>, Fault> {
    let account = case.account.map_or_else(server::admin_account, Ok)?;
    let agent = case.agent.map_or_else(agents::main_name, Ok)?;
    let mut groups = case.groups;
    groups.sort();
    groups.dedup();
    let Some((manifest, tool_digest)) = tools.get(&case.tool) else {
        let known = nearest(&case.tool, tools.iter().map(|(manifest, _)| manifest.name.as_str()));
        let help =
            known.map_or_else(|| "`are tool list` lists them".to_owned(), |name| format!("did you mean `{name}`?"));
        return Ok(Err(Fault::new(Code::TOOL_UNKNOWN, format!("there is no tool `{}`", one_line(&case.tool)), help)));
    };
    let args = match json_of(toml::Value::Table(case.args)).map(|value| Args::from_value(&value)) {
        Ok(Ok(args)) => args,
        Ok(Err(error)) => return Ok(Err(Fault::new(Code::TOOL_ARGS, error.to_string(), "mend `args`"))),
        Err(what) => return Ok(Err(Fault::new(Code::TOOL_ARGS, what, "mend `args`"))),
    };
    if let Err(fault) = schema::validate(manifest, &args) {
        return Ok(Err(fault));
    }
    let call = Call { session: SessionKey::SYSTEM, turn: 1, call: 1, parent: None, tool: case.tool, tool_digest, args };
    let told = explained::Conversation::new(&case.prompt, &case.read, Label::from(case.in_view));
    let args_label = case.args_label.map_or_else(|| told.in_view.clone(), Label::from);
    let context = Context {
        account: &account,
        groups: &groups,
        agent: &agent,
        manifest,
        in_view: &told.in_view,
        args_label: &args_label,
        view: &told.view,
        tools,
        bound: &[],
        earlier: &[],
        parents: &[],
        narrowing: &are_policy::agent::NONE,
        is_approved: case.approved,
    };
    Ok(Ok(rules.decide(&call, &context)))
}

fn json_of(value: toml::Value) -> Result<Value, String> {
    Ok(match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => json!(number),
        toml::Value::Boolean(is_on) => is_on.into(),
        toml::Value::Array(items) => Value::Array(items.into_iter().map(json_of).collect::<Result<_, _>>()?),
        toml::Value::Table(fields) => {
            let field = |(key, value)| Ok::<_, String>((key, json_of(value)?));
            Value::Object(fields.into_iter().map(field).collect::<Result<_, _>>()?)
        }
        toml::Value::Datetime(date) => return Err(format!("the date {date} is no argument; write it as a text")),
    })
}

fn tell(env: &Env, report: &Report) -> Result<(), Failure> {
    let Report { file, line, name, expected, outcome, rules, why, say, .. } = report;
    let name = if name.is_empty() { String::new() } else { format!(" {}", one_line(name)) };
    env.out.line(&format!("FAILED {file}:{line}{name}"))?;
    let wanted = expected.rules.as_ref().map_or_else(String::new, |rules| format!(" by {}", listed(rules)));
    env.out.line(&format!("  expected: {}{wanted}", word(expected.outcome)))?;
    match outcome {
        Some(outcome) => env.out.line(&format!("  decided:  {} by {}", word(*outcome), listed(rules)))?,
        None => env.out.line("  decided:  nothing, the call is refused before")?,
    }
    env.out.line(&format!("  why:      {}", one_line(why)))?;
    if !say.is_empty() {
        env.out.line(&format!("  help:     {}", one_line(say)))?;
    }
    Ok(())
}

const fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Allow => "allow",
        Outcome::Ask => "ask",
        Outcome::Deny => "deny",
    }
}

fn listed(rules: &[String]) -> String {
    rules.iter().map(|rule| format!("`{}`", one_line(rule))).collect::<Vec<_>>().join(", ")
}

fn sorted(mut rules: Vec<String>) -> Vec<String> {
    rules.sort();
    rules.dedup();
    rules
}
