//! Random rules, lines of `allow` and calls against a reference evaluator of a few lines.
//!
//! The reference shares no code with the decision but the profiles: what a call
//! names stands in tables, and rules are matched as data, not as Cedar.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;

/// Sets of rules, and calls decided by each: 100,000 calls.
const SETS: u32 = 1000;
const CALLS: usize = 100;

const TOOLS: [&str; 4] = ["fs_read", "fs_write", "mail", "run"];
const ACCOUNTS: [&str; 2] = ["alice", "bob"];
const GROUPS: [&str; 2] = ["dev", "staff"];
const AGENTS: [&str; 2] = ["main", "helper"];
const SECRETS: [&str; 2] = ["github", "mail"];
/// Ends in `*` where it stands for more than itself.
const PATTERNS: [&str; 5] = ["src/a", "src/*", ".git/*", "a", "*"];
const DIRECTORIES: [&str; 5] = ["src", "src/a", ".git", "docs", "."];
const DOMAINS: [&str; 5] = ["org", "example.org", "api.example.org", "example.org:8080", "10.0.0.1"];

/// What an argument names in a contained tool: its paths; in any other: itself, its host and whole address.
#[derive(Debug, Clone, Copy)]
struct Name {
    text: &'static str,
    paths: &'static [&'static str],
    host: Option<(&'static str, Option<u16>)>,
    url: Option<&'static str>,
}

const fn name(text: &'static str, paths: &'static [&'static str]) -> Name {
    Name { text, paths, host: None, url: None }
}

const NAMES: [Name; 13] = [
    name("src/a", &["src/a"]),
    name("./src//b", &["src/b"]),
    name("x/../.git/x", &[".git/x"]),
    name("/w/src/a", &["/w/src/a", "w/src/a", "src/a", "a"]),
    name("../src/a", &["../src/a"]),
    name("docs/deep/n.md", &["docs/deep/n.md"]),
    name("src", &["src"]),
    name("bob", &["bob"]),
    Name {
        text: "https://api.example.org/docs/a",
        paths: &["https:/api.example.org/docs/a"],
        host: Some(("api.example.org", Some(443))),
        url: Some("https://api.example.org/docs/a"),
    },
    Name {
        text: "http://EXAMPLE.org:8080/x/../docs/",
        paths: &["http:/EXAMPLE.org:8080/docs"],
        host: Some(("example.org", Some(8080))),
        url: Some("http://example.org:8080/docs/"),
    },
    Name {
        text: "https://example.org@evil.test/docs/a",
        paths: &["https:/example.org@evil.test/docs/a"],
        host: Some(("evil.test", Some(443))),
        url: Some("https://example.org@evil.test/docs/a"),
    },
    Name { text: "example.org", paths: &["example.org"], host: Some(("example.org", None)), url: None },
    Name { text: "10.0.0.1:22", paths: &["10.0.0.1:22"], host: Some(("10.0.0.1", Some(22))), url: None },
];
const ARGVS: [&[&str]; 5] =
    [&[], &["cargo"], &["cargo", "test"], &["cargo", "test", "src/a"], &["cargo", "build", "test"]];

/// A line of `allow`, and what it says.
#[derive(Debug, Clone, Copy)]
struct Line {
    text: &'static str,
    tool: &'static str,
    says: Says,
}

#[derive(Debug, Clone, Copy)]
enum Says {
    /// Elements, and whether more may follow.
    Argv(&'static [&'static str], bool),
    Path(&'static str),
    Below(&'static str),
    Ends(&'static str),
    Host(&'static str),
    Subdomains(&'static str),
    Url(&'static str),
    Object(&'static str),
}

const LINES: [Line; 11] = [
    Line { text: "run cargo test *", tool: "run", says: Says::Argv(&["cargo", "test"], true) },
    Line { text: "run cargo test", tool: "run", says: Says::Argv(&["cargo", "test"], false) },
    Line { text: "run cargo *", tool: "run", says: Says::Argv(&["cargo"], true) },
    Line { text: "fs_write src/*", tool: "fs_write", says: Says::Below("src") },
    Line { text: "fs_write ./src/a", tool: "fs_write", says: Says::Path("src/a") },
    Line { text: "fs_read *.md", tool: "fs_read", says: Says::Ends(".md") },
    Line { text: "mail example.org", tool: "mail", says: Says::Host("example.org") },
    Line { text: "mail *.example.org", tool: "mail", says: Says::Subdomains("example.org") },
    Line { text: "mail 10.0.0.1", tool: "mail", says: Says::Host("10.0.0.1") },
    Line {
        text: "mail https://api.example.org/docs/*",
        tool: "mail",
        says: Says::Url("https://api.example.org/docs/"),
    },
    Line { text: "mail bob", tool: "mail", says: Says::Object("bob") },
];

/// What the lines are declared for. A tool of a random call may be declared otherwise; a line's rule then matches
/// nothing that the call has not got.
fn declared() -> ToolSet {
    ToolSet::new(TOOLS.map(|tool| {
        let mut manifest = Case::new(tool, Effect::Send).manifest;
        manifest.is_contained = tool != "mail";
        if tool == "run" {
            manifest.schema = json!({"type": "object", "properties": {"argv": {"type": "array"}}});
        }
        manifest
    }))
    .unwrap()
}

/// A rule of the subset that the reference understands.
#[derive(Debug, Clone)]
struct Rule {
    kind: Kind,
    principal: Option<(&'static str, &'static str)>,
    effect: Option<Effect>,
    tool: Option<&'static str>,
    conditions: Vec<Condition>,
    /// True when it cannot be evaluated where all else matches.
    is_broken: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Forbid,
    Ask,
    Permit,
}

#[derive(Debug, Clone, Copy)]
enum Condition {
    UntrustedArgs(bool),
    Contained(bool),
    Approved(bool),
    Object(&'static str),
    PathIn(&'static str),
    Path(&'static str),
    NoPath,
    HostIn(&'static str),
    Host(&'static str),
    Url(&'static str),
    Secret(&'static str),
    NoSecret,
    Argv(usize, &'static str),
    Count(usize),
    Shell(bool),
    Owner(&'static str),
}

impl Condition {
    fn text(self) -> String {
        match self {
            Self::UntrustedArgs(wanted) => {
                format!("(context.args_integrity == Integrity::\"untrusted\") == {wanted}")
            }
            Self::Contained(wanted) => format!("context.is_contained == {wanted}"),
            Self::Approved(wanted) => format!("context.is_approved == {wanted}"),
            Self::Object(pattern) => format!("context has object && context.object like \"{pattern}\""),
            Self::PathIn(directory) => format!("context has path && context.path in Path::\"{directory}\""),
            Self::Path(path) => format!("context has path && context.path == Path::\"{path}\""),
            Self::NoPath => "!(context has path)".to_owned(),
            Self::HostIn(domain) => format!("context has host && context.host in Host::\"{domain}\""),
            Self::Host(id) => format!("context has host && context.host == Host::\"{id}\""),
            Self::Url(start) => format!("context has url && context.url like \"{start}*\""),
            Self::Secret(name) => format!("context.secrets.contains(Secret::\"{name}\")"),
            Self::NoSecret => "context.secrets.isEmpty()".to_owned(),
            Self::Argv(at, text) => {
                format!("context has argv && context.argv has \"{at}\" && context.argv[\"{at}\"] == \"{text}\"")
            }
            Self::Count(count) => format!("context has argv && context.argv.count == {count}"),
            Self::Shell(wanted) => format!("context.is_shell == {wanted}"),
            Self::Owner(group) => format!("context.session.owner in Group::\"{group}\""),
        }
    }

    fn holds(self, call: &Random, object: Option<&Judged>) -> bool {
        let path = object.and_then(|object| object.path);
        let host = object.and_then(|object| object.host);
        match self {
            Self::UntrustedArgs(wanted) => wanted == (call.integrity == Integrity::Untrusted),
            Self::Contained(wanted) => wanted == call.stays_within(),
            Self::Approved(wanted) => wanted == call.is_approved,
            Self::Object(pattern) => object.is_some_and(|object| match pattern.strip_suffix('*') {
                Some(start) => object.text.starts_with(start),
                None => object.text == pattern,
            }),
            Self::PathIn(directory) => path.is_some_and(|path| path == directory || is_below(path, directory)),
            Self::Path(wanted) => path == Some(wanted),
            Self::NoPath => path.is_none(),
            Self::HostIn(domain) => host.is_some_and(|host| belongs(host, domain)),
            Self::Host(id) => host.is_some_and(|host| shown(host) == id),
            Self::Url(start) => object.and_then(|object| object.url).is_some_and(|url| url.starts_with(start)),
            Self::Secret(name) => call.secrets.contains(&name),
            Self::NoSecret => call.secrets.is_empty(),
            Self::Argv(at, text) => call.argv.is_some_and(|argv| argv.get(at) == Some(&text)),
            Self::Count(count) => call.argv.is_some_and(|argv| argv.len() == count),
            Self::Shell(wanted) => wanted == call.is_shell,
            Self::Owner(group) => call.groups.contains(&group),
        }
    }
}

fn is_below(path: &str, directory: &str) -> bool {
    match directory {
        "." => path != "." && !path.starts_with('/') && !path.starts_with("../"),
        _ => path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/')),
    }
}

fn shown((host, port): (&str, Option<u16>)) -> String {
    port.map_or(host.to_owned(), |port| format!("{host}:{port}"))
}

fn belongs(host: (&str, Option<u16>), domain: &str) -> bool {
    let is_number = host.0.ends_with(|last: char| last.is_ascii_digit());
    shown(host) == domain || host.0 == domain || (!is_number && host.0.ends_with(&format!(".{domain}")))
}

impl Rule {
    fn text(&self, number: usize) -> String {
        let head = match self.kind {
            Kind::Forbid => "forbid",
            Kind::Ask => "@ask(\"why\") permit",
            Kind::Permit => "permit",
        };
        let principal = match self.principal {
            None => String::new(),
            Some(("Agent", name)) => format!(" == Agent::\"{name}\""),
            Some((kind, name)) => format!(" in {kind}::\"{name}\""),
        };
        let action = self.effect.map_or(String::new(), |effect| format!(" == Action::\"{}\"", words::effect(effect)));
        let tool = self.tool.map_or(String::new(), |name| format!(" == Tool::\"{name}\""));
        let mut conditions = vec!["true".to_owned()];
        conditions.extend(self.conditions.iter().map(|condition| condition.text()));
        conditions.extend(self.is_broken.then(|| "context.args_bytes + 9223372036854775807 > 0".to_owned()));
        let conditions = conditions.join(" && ");
        format!(
            "@id(\"r{number}\") {head}(principal{principal}, action{action}, resource{tool}) when {{ {conditions} }};"
        )
    }

    /// Whether it speaks of the call where it acts upon `object`.
    fn speaks(&self, call: &Random, object: Option<&Judged>) -> bool {
        let is_who = |(kind, name)| match kind {
            "Agent" => call.agent == name,
            "Account" => call.account == name,
            _ => call.groups.contains(&name),
        };
        self.principal.is_none_or(is_who)
            && self.effect.is_none_or(|effect| effect == call.effect)
            && self.tool.is_none_or(|name| name == call.tool)
            && self.conditions.iter().all(|condition| condition.holds(call, object))
    }
}

impl Line {
    fn speaks(&self, call: &Random, object: Option<&Judged>) -> bool {
        let path = object.and_then(|object| object.path);
        let host = object.and_then(|object| object.host);
        call.tool == self.tool
            && match self.says {
                Says::Argv(elements, is_open) => {
                    let fits = |argv: &[&str]| argv.starts_with(elements) && (is_open || argv.len() == elements.len());
                    !call.is_shell && call.argv.is_some_and(fits)
                }
                Says::Path(wanted) => path == Some(wanted),
                Says::Below(directory) => path.is_some_and(|path| is_below(path, directory)),
                Says::Ends(end) => path.is_some_and(|path| is_below(path, ".") && path.ends_with(end)),
                Says::Host(name) => host.is_some_and(|host| host.0 == name),
                Says::Subdomains(name) => host.is_some_and(|host| host.0 != name && belongs(host, name)),
                Says::Url(start) => object.and_then(|object| object.url).is_some_and(|url| url.starts_with(start)),
                Says::Object(text) => object.is_some_and(|object| object.text == text),
            }
    }
}

/// A call, with all that a rule can ask of it.
#[derive(Debug, Clone)]
struct Random {
    account: &'static str,
    groups: Vec<&'static str>,
    agent: &'static str,
    tool: &'static str,
    effect: Effect,
    is_contained: bool,
    integrity: Integrity,
    is_approved: bool,
    names: Vec<Name>,
    argv: Option<&'static [&'static str]>,
    is_shell: bool,
    secrets: Vec<&'static str>,
}

/// One object as a rule sees it.
#[derive(Debug)]
struct Judged {
    text: &'static str,
    path: Option<&'static str>,
    host: Option<(&'static str, Option<u16>)>,
    url: Option<&'static str>,
}

impl Random {
    fn stays_within(&self) -> bool {
        match self.effect {
            Effect::None => true,
            Effect::Create | Effect::Modify | Effect::Destructive => self.is_contained,
            Effect::NetworkRead | Effect::Send | Effect::Share | Effect::Financial | Effect::Credential => false,
        }
    }

    fn args(&self) -> String {
        let text: String = self.secrets.iter().map(|name| format!("${{secret:{name}}} ")).collect();
        let named: Vec<_> = self.names.iter().map(|name| name.text).collect();
        let mut args = json!({"named": named, "text": text});
        if let Some(argv) = self.argv {
            args["argv"] = json!(argv);
        }
        if self.is_shell {
            args["shell"] = json!(null);
        }
        args.to_string()
    }

    fn with<T>(&self, then: impl FnOnce(&Case<'_>) -> T) -> T {
        let args = self.args();
        let groups: Vec<&'static str> = self.groups.clone();
        let mut case = Case::new(self.tool, self.effect);
        case.manifest.is_contained = self.is_contained;
        case.manifest.args.insert("named".to_owned(), ArgRule { role: Role::Selector });
        // Without a role its elements would be objects.
        case.manifest.args.insert("argv".to_owned(), ArgRule { role: Role::Content });
        let (account, agent) = (self.account, self.agent);
        let (args_integrity, is_approved) = (self.integrity, self.is_approved);
        then(&Case { args: &args, groups: &groups, account, agent, args_integrity, is_approved, ..case })
    }

    /// What is judged; once without an object where none is named.
    fn judged(&self) -> Vec<Option<Judged>> {
        let mut all: Vec<_> = match self.is_contained {
            true => {
                let paths = self.names.iter().flat_map(|name| name.paths);
                paths.map(|path| Some(Judged { text: path, path: Some(path), host: None, url: None })).collect()
            }
            false => {
                let one = |name: &Name| Judged { text: name.text, path: None, host: name.host, url: name.url };
                self.names.iter().map(one).map(Some).collect()
            }
        };
        if all.is_empty() {
            all.push(None);
        }
        all
    }
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        any::<bool>().prop_map(Condition::UntrustedArgs),
        any::<bool>().prop_map(Condition::Contained),
        any::<bool>().prop_map(Condition::Approved),
        select(&PATTERNS[..]).prop_map(Condition::Object),
        select(&DIRECTORIES[..]).prop_map(Condition::PathIn),
        select(&DIRECTORIES[..]).prop_map(Condition::Path),
        Just(Condition::NoPath),
        select(&DOMAINS[..]).prop_map(Condition::HostIn),
        select(&DOMAINS[..]).prop_map(Condition::Host),
        select(vec!["https://", "https://api.example.org/", "http://example.org:8080/docs"]).prop_map(Condition::Url),
        select(&SECRETS[..]).prop_map(Condition::Secret),
        Just(Condition::NoSecret),
        (0..3_usize, select(vec!["cargo", "test"])).prop_map(|(at, text)| Condition::Argv(at, text)),
        (0..4_usize).prop_map(Condition::Count),
        any::<bool>().prop_map(Condition::Shell),
        select(&GROUPS[..]).prop_map(Condition::Owner),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    let kind = select(vec![Kind::Forbid, Kind::Ask, Kind::Permit, Kind::Permit]);
    let principal = option::of(prop_oneof![
        select(&ACCOUNTS[..]).prop_map(|name| ("Account", name)),
        select(&GROUPS[..]).prop_map(|name| ("Group", name)),
        select(&AGENTS[..]).prop_map(|name| ("Agent", name)),
    ]);
    let scope = (principal, option::weighted(0.3, select(&EFFECTS[..])), option::of(select(&TOOLS[..])));
    (kind, scope, vec(condition(), 0..3), prop::bool::weighted(0.05)).prop_map(
        |(kind, (principal, effect, tool), conditions, is_broken)| Rule {
            kind,
            principal,
            effect,
            tool,
            conditions,
            is_broken,
        },
    )
}

fn call() -> impl Strategy<Value = Random> {
    let who = (select(&ACCOUNTS[..]), subsequence(GROUPS.to_vec(), 0..=2), select(&AGENTS[..]));
    let what = (select(&TOOLS[..]), select(&EFFECTS[..]), any::<bool>());
    let how = (select(vec![Integrity::User, Integrity::Untrusted]), prop::bool::weighted(0.2));
    let command = (option::of(select(&ARGVS[..])), prop::bool::weighted(0.2));
    let names = (vec(select(&NAMES[..]), 0..4), subsequence(SECRETS.to_vec(), 0..=2));
    (who, what, how, command, names).prop_map(
        |(
            (account, groups, agent),
            (tool, effect, is_contained),
            (integrity, is_approved),
            (argv, is_shell),
            (names, secrets),
        )| Random {
            account,
            groups,
            agent,
            tool,
            effect,
            is_contained,
            integrity,
            is_approved,
            names,
            argv,
            is_shell,
            secrets,
        },
    )
}

/// What the rules and lines are, by name.
type Named<'a> = (&'a [Rule], &'a [(String, Line)]);

/// What should come out: a forbid or an error over ask over permit, one object's over another's, the profile where
/// no rule speaks of an object; an approval lifts an ask.
fn reference((rules, lines): Named<'_>, call: &Random, profile: Profile) -> (Outcome, Vec<String>) {
    let (mut denies, mut asks, mut permits) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut is_silent = false;
    for object in call.judged() {
        let object = object.as_ref();
        let mut speaks = false;
        for (number, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.speaks(call, object)) {
            speaks |= !rule.is_broken;
            let told = match rule.kind {
                _ if rule.is_broken => &mut denies,
                Kind::Forbid => &mut denies,
                Kind::Ask => &mut asks,
                Kind::Permit => &mut permits,
            };
            told.insert(format!("r{number}"));
        }
        for (name, _) in lines.iter().filter(|(_, line)| line.speaks(call, object)) {
            speaks = true;
            permits.insert(name.clone());
        }
        is_silent |= !speaks;
    }
    if !denies.is_empty() {
        return (Outcome::Deny, denies.into_iter().collect());
    }
    let (mut outcome, mut told) = if asks.is_empty() { (Outcome::Allow, permits) } else { (Outcome::Ask, asks) };
    if is_silent {
        let by_profile = call.with(|case| super::outcome(&Case { is_approved: false, ..case.clone() }, &bare(profile)));
        (outcome, told) = match (by_profile.0, outcome) {
            (Outcome::Allow, Outcome::Ask) => (outcome, told),
            (Outcome::Ask, Outcome::Ask) => (Outcome::Ask, told.into_iter().chain(by_profile.1).collect()),
            (by_profile_outcome, _) => (by_profile_outcome, by_profile.1.into_iter().collect()),
        };
    }
    if outcome == Outcome::Ask && call.is_approved {
        outcome = Outcome::Allow;
        told.insert("approval".to_owned());
    }
    (outcome, told.into_iter().collect())
}

/// The rules as the product makes them, and the names that the lines were given.
fn built(set: &[Rule], lines: &[Line], profile: Profile) -> (Rules, Vec<(String, Line)>) {
    let text: String = set.iter().enumerate().map(|(number, rule)| rule.text(number)).collect();
    let allowed = expand(lines.iter().map(|line| line.text), &declared()).unwrap();
    let id_of = |line: &Line| {
        let text = &allowed.as_ref().unwrap().1;
        let (_, after) = text.split_once(&format!("// {}\n@id(\"", line.text)).unwrap();
        (after.split('"').next().unwrap().to_owned(), *line)
    };
    let named = lines.iter().map(id_of).collect();
    let files: Vec<_> = [("my.cedar".to_owned(), text)].into_iter().chain(allowed.clone()).collect();
    (Rules::new(profile, &files).unwrap(), named)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: SETS, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn policy_never_permits_what_forbid_covers_and_agrees_with_the_reference(
        set in vec(rule(), 1..8),
        lines in subsequence(LINES.to_vec(), 0..=4),
        calls in vec(call(), CALLS),
        profile in select(&Profile::ALL[..]),
    ) {
        let (rules, lines) = built(&set, &lines, profile);
        for call in &calls {
            let found = call.with(|case| outcome(case, &rules));
            prop_assert_eq!(&found, &reference((&set, &lines), call, profile), "{:?}", call);
            let is_forbidden = |object: &Option<Judged>| {
                set.iter().any(|rule| rule.kind == Kind::Forbid && rule.speaks(call, object.as_ref()))
            };
            if call.judged().iter().any(is_forbidden) {
                prop_assert_eq!(found.0, Outcome::Deny);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_lies_below_is_judged_as_if_the_call_had_named_it(
        set in vec(rule(), 1..8),
        call in call(),
        profile in select(&Profile::ALL[..]),
    ) {
        let (rules, _) = built(&set, &[], profile);
        let (below, reach) = call.with(|case| {
            let reach = Reach::of(case.manifest.effect, Retry::AtMostOnce, case.manifest.is_contained);
            (case.decide(&rules).paths, reach)
        });
        let reaches_paths = call.is_contained && matches!(reach, Reach::Nothing | Reach::Workspace);
        let is_typed = |condition: &Condition| {
            !matches!(
                condition,
                Condition::UntrustedArgs(_) | Condition::Contained(_) | Condition::Approved(_) | Condition::Secret(_)
                    | Condition::NoSecret | Condition::Argv(..) | Condition::Count(_) | Condition::Shell(_)
                    | Condition::Owner(_)
            )
        };
        let has_objects = set.iter().flat_map(|rule| &rule.conditions).any(is_typed);
        let tells_apart = profile == Profile::Contained && reach == Reach::Workspace;
        prop_assert_eq!(below.are_silent(), !((reaches_paths && has_objects) || tells_apart));
        for name in NAMES.iter().filter(|name| name.paths.len() == 1 && name.url.is_none()) {
            let named = Random { names: vec![*name], ..call.clone() }.with(|case| case.decide(&rules).outcome);
            prop_assert_eq!(below.allow(name.paths[0]), below.are_silent() || named == Outcome::Allow);
        }
    }
}
