//! Random rules and calls against a reference evaluator of a few lines.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const TOOLS: [&str; 3] = ["fs_read", "fs_write", "mail"];
const ACCOUNTS: [&str; 2] = ["alice", "bob"];
/// Ends in `*` where it stands for more than itself.
const PATTERNS: [&str; 5] = ["src/a", "src/*", ".git/*", "a", "*"];
/// Arguments, and what they name: as paths of the workspace, and taken as they are.
const ARGS: [(&str, &[&str], &[&str]); 7] = [
    ("{}", &[], &[]),
    (r#"{"path":"src/a"}"#, &["src/a"], &["src/a"]),
    (r#"{"path":"./src//b","text":".git/x"}"#, &["src/b"], &["./src//b"]),
    (r#"{"path":"x/../.git/x"}"#, &[".git/x"], &["x/../.git/x"]),
    (r#"{"path":["src/a",".git/x"]}"#, &["src/a", ".git/x"], &["src/a", ".git/x"]),
    (r#"{"other":"a","path":"src/b"}"#, &["src/b", "a"], &["src/b", "a"]),
    (r#"{"path":"/w/src/a"}"#, &["/w/src/a", "w/src/a", "src/a", "a"], &["/w/src/a"]),
];

/// A rule of the subset that the reference understands; `None` is unconstrained.
#[derive(Debug, Clone)]
struct Rule {
    kind: Kind,
    account: Option<&'static str>,
    effect: Option<Effect>,
    tool: Option<&'static str>,
    untrusted_args: Option<bool>,
    contained: Option<bool>,
    approved: Option<bool>,
    object: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Forbid,
    Ask,
    Permit,
}

impl Rule {
    fn text(&self, number: usize) -> String {
        let head = match self.kind {
            Kind::Forbid => "forbid",
            Kind::Ask => "@ask(\"why\") permit",
            Kind::Permit => "permit",
        };
        let account = self.account.map_or(String::new(), |name| format!(" in Account::\"{name}\""));
        let action = self.effect.map_or(String::new(), |effect| format!(" == Action::\"{}\"", words::effect(effect)));
        let tool = self.tool.map_or(String::new(), |name| format!(" == Tool::\"{name}\""));
        let mut conditions = vec!["true".to_owned()];
        let untrusted = "(context.args_integrity == Integrity::\"untrusted\")";
        conditions.extend(self.untrusted_args.map(|wanted| format!("{untrusted} == {wanted}")));
        conditions.extend(self.contained.map(|wanted| format!("context.is_contained == {wanted}")));
        conditions.extend(self.approved.map(|wanted| format!("context.is_approved == {wanted}")));
        let object = |pattern| format!("context has object && context.object like \"{pattern}\"");
        conditions.extend(self.object.map(object));
        let conditions = conditions.join(" && ");
        format!(
            "@id(\"r{number}\") {head}(principal{account}, action{action}, resource{tool}) when {{ {conditions} }};"
        )
    }

    /// Whether it matches the call where it acts upon `object`.
    fn matches(&self, case: &Case<'_>, is_contained: bool, object: Option<&str>) -> bool {
        let like = |pattern: &str| match (pattern.strip_suffix('*'), object) {
            (Some(start), Some(object)) => object.starts_with(start),
            (None, Some(object)) => object == pattern,
            (_, None) => false,
        };
        self.object.is_none_or(like)
            && self.account.is_none_or(|name| name == case.account)
            && self.effect.is_none_or(|effect| effect == case.manifest.effect)
            && self.tool.is_none_or(|name| name == case.manifest.name.as_str())
            && self.untrusted_args.is_none_or(|wanted| wanted == (case.args_integrity == Integrity::Untrusted))
            && self.contained.is_none_or(|wanted| wanted == is_contained)
            && self.approved.is_none_or(|wanted| wanted == case.is_approved)
    }
}

fn rule() -> impl Strategy<Value = Rule> {
    let kind = select(vec![Kind::Forbid, Kind::Ask, Kind::Permit]);
    let scope = (option::of(select(&ACCOUNTS[..])), option::of(select(&EFFECTS[..])), option::of(select(&TOOLS[..])));
    let conditions = (option::of(any::<bool>()), option::of(any::<bool>()), option::of(any::<bool>()));
    let object = option::of(select(&PATTERNS[..]));
    (kind, scope, conditions, object).prop_map(
        |(kind, (account, effect, tool), (untrusted_args, contained, approved), object)| Rule {
            kind,
            account,
            effect,
            tool,
            untrusted_args,
            contained,
            approved,
            object,
        },
    )
}

fn case() -> impl Strategy<Value = Case<'static>> {
    let scope = (select(&ACCOUNTS[..]), select(&EFFECTS[..]), select(&TOOLS[..]));
    let integrity = select(vec![Integrity::User, Integrity::Untrusted]);
    (scope, integrity, any::<bool>(), any::<bool>(), select(&ARGS[..])).prop_map(
        |((account, effect, tool), integrity, contained, approved, (args, ..))| {
            let mut case = Case::new(tool, effect);
            case.manifest.is_contained = contained;
            case.manifest.args.insert("path".to_owned(), ArgRule { role: Role::Selector });
            Case { account, args, args_integrity: integrity, is_approved: approved, ..case }
        },
    )
}

fn reach(case: &Case<'_>) -> Reach {
    Reach::of(case.manifest.effect, Retry::AtMostOnce, case.manifest.is_contained)
}

/// What the call acts upon; once without an object where it names none.
fn objects(case: &Case<'_>) -> Vec<Option<&'static str>> {
    let (_, plain, raw) = ARGS.into_iter().find(|(args, ..)| *args == case.args).unwrap();
    let named = if case.manifest.is_contained { plain } else { raw };
    if named.is_empty() { vec![None] } else { named.iter().copied().map(Some).collect() }
}

/// What should come out: forbid over ask over permit, one object's over another's, the profile where no rule
/// speaks of an object; an approval lifts an ask.
fn reference(rules: &[Rule], case: &Case<'_>, profile: Profile) -> (Outcome, Vec<String>) {
    let mut names: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for object in objects(case) {
        let matching = |kind| {
            let of_kind = rules.iter().enumerate().filter(move |(_, rule)| rule.kind == kind);
            let matching = of_kind.filter(|(_, rule)| rule.matches(case, reach(case).is_contained(), object));
            matching.map(|(number, _)| format!("r{number}")).collect::<BTreeSet<_>>()
        };
        let (forbids, asks, permits) = (matching(Kind::Forbid), matching(Kind::Ask), matching(Kind::Permit));
        if forbids.is_empty() && asks.is_empty() && permits.is_empty() {
            names.entry("silent").or_default();
        }
        for (word, found) in [("forbid", forbids), ("ask", asks), ("permit", permits)] {
            names.entry(word).or_default().extend(found);
        }
    }
    if !names["forbid"].is_empty() {
        return (Outcome::Deny, names["forbid"].iter().cloned().collect());
    }
    let (mut outcome, mut told) = match names["ask"].is_empty() {
        true => (Outcome::Allow, names["permit"].clone()),
        false => (Outcome::Ask, names["ask"].clone()),
    };
    if names.contains_key("silent") {
        let by_profile = super::outcome(&Case { is_approved: false, ..case.clone() }, &bare(profile));
        (outcome, told) = match (by_profile.0, outcome) {
            (Outcome::Allow, Outcome::Ask) => (outcome, told),
            (Outcome::Ask, Outcome::Ask) => (Outcome::Ask, told.into_iter().chain(by_profile.1).collect()),
            (by_profile_outcome, _) => (by_profile_outcome, by_profile.1.into_iter().collect()),
        };
    }
    if outcome == Outcome::Ask && case.is_approved {
        outcome = Outcome::Allow;
        told.insert("approval".to_owned());
    }
    (outcome, told.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn policy_never_permits_what_forbid_covers_and_agrees_with_the_reference(
        set in vec(rule(), 1..8),
        cases in vec(case(), 8),
        profile in select(&Profile::ALL[..]),
    ) {
        let text: String = set.iter().enumerate().map(|(number, rule)| rule.text(number)).collect();
        let rules = rules(profile, &text);
        for case in &cases {
            let found = outcome(case, &rules);
            prop_assert_eq!(&found, &reference(&set, case, profile));
            let contained = reach(case).is_contained();
            let is_forbidden = |object: &Option<&str>| {
                set.iter().any(|rule| rule.kind == Kind::Forbid && rule.matches(case, contained, *object))
            };
            if objects(case).iter().any(is_forbidden) {
                prop_assert_eq!(found.0, Outcome::Deny);
            }
        }
    }

    #[test]
    fn what_lies_below_is_judged_as_if_the_call_had_named_it(
        set in vec(rule(), 1..8),
        case in case(),
        profile in select(&Profile::ALL[..]),
    ) {
        let text: String = set.iter().enumerate().map(|(number, rule)| rule.text(number)).collect();
        let rules = rules(profile, &text);
        let below = case.decide(&rules).paths;
        let reaches_paths = case.manifest.is_contained && matches!(reach(&case), Reach::Nothing | Reach::Workspace);
        let has_objects = set.iter().any(|rule| rule.object.is_some());
        let tells_apart = profile == Profile::Contained && reach(&case) == Reach::Workspace && case.manifest.is_contained;
        prop_assert_eq!(below.are_silent(), !((reaches_paths && has_objects) || tells_apart));
        for (path, args) in [("src/a", ARGS[1].0), ("src/b", r#"{"path":"src/b"}"#), (".git/x", ARGS[3].0)] {
            let named = Case { args, ..case.clone() }.decide(&rules).outcome;
            prop_assert_eq!(below.allow(path), below.are_silent() || named == Outcome::Allow);
        }
    }
}
