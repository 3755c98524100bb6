//! Random rules and calls against a reference evaluator of a few lines.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const TOOLS: [&str; 3] = ["fs_read", "fs_write", "mail"];
const ACCOUNTS: [&str; 2] = ["alice", "bob"];

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
        let conditions = conditions.join(" && ");
        format!(
            "@id(\"r{number}\") {head}(principal{account}, action{action}, resource{tool}) when {{ {conditions} }};"
        )
    }

    fn matches(&self, case: &Case<'_>, is_contained: bool) -> bool {
        self.account.is_none_or(|name| name == case.account)
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
    (kind, scope, conditions).prop_map(|(kind, (account, effect, tool), (untrusted_args, contained, approved))| Rule {
        kind,
        account,
        effect,
        tool,
        untrusted_args,
        contained,
        approved,
    })
}

fn case() -> impl Strategy<Value = Case<'static>> {
    let scope = (select(&ACCOUNTS[..]), select(&EFFECTS[..]), select(&TOOLS[..]));
    let integrity = select(vec![Integrity::User, Integrity::Untrusted]);
    (scope, integrity, any::<bool>(), any::<bool>()).prop_map(
        |((account, effect, tool), integrity, contained, approved)| {
            let mut case = Case::new(tool, effect);
            case.manifest.is_contained = contained;
            Case { account, args_integrity: integrity, is_approved: approved, ..case }
        },
    )
}

/// What should come out: forbid over ask over permit over profile; an approval lifts an ask.
fn reference(rules: &[Rule], case: &Case<'_>, profile: Profile) -> (Outcome, Vec<String>) {
    let reach = Reach::of(case.manifest.effect, Retry::AtMostOnce, case.manifest.is_contained);
    for (kind, outcome) in [(Kind::Forbid, Outcome::Deny), (Kind::Ask, Outcome::Ask), (Kind::Permit, Outcome::Allow)] {
        let matching = rules.iter().enumerate().filter(|(_, rule)| rule.kind == kind);
        let matching = matching.filter(|(_, rule)| rule.matches(case, reach.is_contained()));
        let mut names: Vec<_> = matching.map(|(number, _)| format!("r{number}")).collect();
        if names.is_empty() {
            continue;
        }
        let is_lifted = outcome == Outcome::Ask && case.is_approved;
        names.extend(is_lifted.then(|| "approval".to_owned()));
        names.sort();
        return (if is_lifted { Outcome::Allow } else { outcome }, names);
    }
    super::outcome(case, &bare(profile))
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
            let contained = Reach::of(case.manifest.effect, Retry::AtMostOnce, case.manifest.is_contained).is_contained();
            if set.iter().any(|rule| rule.kind == Kind::Forbid && rule.matches(case, contained)) {
                prop_assert_eq!(found.0, Outcome::Deny);
            }
        }
    }
}
