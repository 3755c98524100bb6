//! What `are policy explain` tells: a call that was not made, decided as it
//! would be, with every step.

use are_core::body::{Effect, Outcome};
use are_core::canonical::Args;
use are_core::error::{Code, Fault};
use are_core::ids::{GroupName, SessionKey, ToolName};
use are_core::label::{Confidentiality, Integrity, Label};
use are_core::payload::Part;
use are_policy::call::{Call, Context};
use are_policy::flow::{self, Asked, Trust, View};
use are_policy::manifest::ToolSet;
use are_policy::rules::Rules;
use serde::Serialize;

/// A decision with its reasons.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    pub(super) decision: &'static str,
    pub(super) why: String,
    pub(super) say: String,
    pub(super) rules: Vec<String>,
    pub(super) permissions: Vec<String>,
    /// What the flow of information says, for a call with an effect, whether or not the rules needed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) flow: Option<Flow>,
}

/// The decision by flow.
#[derive(Debug, Serialize)]
pub(super) struct Flow {
    pub(super) decision: &'static str,
    pub(super) step: &'static str,
    pub(super) why: String,
    pub(super) asked: String,
    pub(super) values: Vec<TracedValue>,
}

/// An argument's value and what it rests on.
#[derive(Debug, Serialize)]
pub(super) struct TracedValue {
    pub(super) arg: String,
    pub(super) value: String,
    pub(super) trust: &'static str,
    pub(super) origin: String,
}

/// What a call that was not made is decided after.
pub(super) struct Conversation {
    pub(super) view: View,
    pub(super) in_view: Label,
}

impl Conversation {
    /// The user says `prompt` and hands over each text of `read`; `in_view` is what was in view before.
    pub(super) fn new(prompt: &str, read: &[String], mut in_view: Label) -> Self {
        let mut view = View::default();
        let user = Label::new(Integrity::User, Confidentiality::Private, "user");
        let words = Part::Text { text: prompt.to_owned() };
        view.hear(1, &[words], Integrity::User, |_| user.clone());
        for (text, number) in read.iter().zip(1..) {
            let label = Label::worst(&format!("read#{number}"));
            let name = format!("read-{number}");
            let part = Part::File { name, media_type: "text/plain".to_owned(), text: text.clone() };
            view.hear(1, &[part], Integrity::Untrusted, |_| label.clone());
            in_view = in_view.join(&label);
        }
        Self { view, in_view }
    }
}

/// Whoever asks for a call: what it says, what was read, and its groups, sorted.
pub(super) struct Asker<'a> {
    pub(super) prompt: &'a str,
    pub(super) read: &'a [String],
    pub(super) groups: &'a [GroupName],
    /// The tools that a planner found in what it says; `None` where no planner was asked.
    pub(super) plan: Option<&'a [String]>,
}

/// Decides about a call after the asker's words were said and each text was read.
pub(super) fn call(rules: &Rules, tools: &ToolSet, tool: &str, args: &Args, asker: &Asker<'_>) -> Result<Told, Fault> {
    let (manifest, tool_digest) = tools.get(tool).ok_or_else(|| unknown(tools, tool))?;
    let user = Label::new(Integrity::User, Confidentiality::Private, "user");
    let Conversation { mut view, in_view } = Conversation::new(asker.prompt, asker.read, user);
    if let Some(names) = asker.plan {
        view.plan(1, Some(&planned(tools, names)?));
    }
    let call = Call {
        session: SessionKey::SYSTEM,
        turn: 1,
        call: 1,
        parent: None,
        tool: tool.to_owned(),
        tool_digest,
        args: args.clone(),
    };
    let invalid = |_| Fault::new(Code::INTERNAL, "a constant name is invalid", "report this as a bug");
    let (account, agent) = ("operator".parse().map_err(invalid)?, "main".parse().map_err(invalid)?);
    let mut context = Context {
        account: &account,
        groups: asker.groups,
        agent: &agent,
        manifest,
        in_view: &in_view,
        args_label: &in_view,
        view: &view,
        tools,
        bound: &[],
        earlier: &[],
        parents: &[],
        narrowing: &are_policy::agent::NONE,
        is_approved: false,
    };
    let effect = manifest.effect_of(args);
    let label = flow::label_of(&context.question(&call, effect));
    context.args_label = &label;
    let decision = rules.decide(&call, &context);
    let by_flow = (effect != Effect::None).then(|| flow_of(&flow::decide(&context.question(&call, effect))));
    Ok(Told {
        decision: word(decision.outcome),
        why: decision.why,
        say: decision.say,
        rules: decision.rules,
        permissions: decision.permissions,
        flow: by_flow,
    })
}

/// The tools of a plan, where all of them exist; the plan of no tool is an empty name.
fn planned(tools: &ToolSet, names: &[String]) -> Result<Vec<ToolName>, Fault> {
    let names = names.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
    let found = |name| tools.get(name).map(|(manifest, _)| manifest.name.clone()).ok_or_else(|| unknown(tools, name));
    names.map(found).collect()
}

fn unknown(tools: &ToolSet, tool: &str) -> Fault {
    let names: Vec<_> = tools.iter().map(|(manifest, _)| manifest.name.as_str()).collect();
    let help = format!("tools: {}", names.join(", "));
    Fault::new(Code::TOOL_UNKNOWN, format!("there is no tool `{tool}`"), help)
}

fn flow_of(ruling: &flow::Ruling) -> Flow {
    let values = ruling.traced.iter().map(|traced| TracedValue {
        arg: traced.arg.clone(),
        value: traced.value.clone(),
        trust: trust(traced.trust),
        origin: traced.origin.clone(),
    });
    Flow {
        decision: word(ruling.outcome),
        step: ruling.step,
        why: ruling.why.clone(),
        asked: match &ruling.asked {
            Asked::Clearly(by) => format!("yes, by `{by}`"),
            Asked::Perhaps(by) => format!("perhaps: {by}"),
            Asked::Unclear(by) => format!("unclear what `{by}` means"),
            Asked::No => "no".to_owned(),
        },
        values: values.collect(),
    }
}

const fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Allow => "allow",
        Outcome::Ask => "ask",
        Outcome::Deny => "deny",
    }
}

const fn trust(trust: Trust) -> &'static str {
    match trust {
        Trust::Said => "your words",
        Trust::Vouched => "vouched for",
        Trust::Described => "the only one you described",
        Trust::Item => "an item of untrusted content",
        Trust::Pointed => "text of a source that you named",
        Trust::Prose => "text of another source",
        Trust::Nothing => "nobody's",
    }
}
