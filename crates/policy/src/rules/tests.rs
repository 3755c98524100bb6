mod entities;
mod kept;
mod property;

use std::collections::BTreeMap;
use std::time::Instant;

use are_core::body::Retry;
use are_core::canonical::Args;
use are_core::ids::{AccountId, AgentName, SessionKey};
use are_core::label::{Confidentiality, Integrity, Label};
use serde_json::json;

use super::cedar::Facts;
use super::words::EFFECTS;
use super::*;
use crate::flow::View;
use crate::manifest::{ArgRule, CallLimits, Lane, Manifest, OutputLabel, Role, ToolSet};

/// One call with all that a decision sees; tests change fields.
#[derive(Debug, Clone)]
pub(super) struct Case<'a> {
    pub(super) manifest: Manifest,
    pub(super) args: &'a str,
    pub(super) account: &'static str,
    pub(super) groups: &'a [&'static str],
    pub(super) agent: &'static str,
    pub(super) args_integrity: Integrity,
    pub(super) in_view: Integrity,
    pub(super) is_approved: bool,
}

impl Case<'_> {
    pub(super) fn new(tool: &str, effect: Effect) -> Self {
        let manifest = Manifest {
            name: tool.parse().unwrap(),
            description: String::new(),
            lane: Lane::Builtin,
            version: "1".to_owned(),
            schema: json!({}),
            example: None,
            effect,
            effect_by: None,
            retry: Retry::AtMostOnce,
            args: BTreeMap::from([("text".to_owned(), ArgRule { role: Role::Content })]),
            output_default: OutputLabel::default(),
            output_fields: BTreeMap::new(),
            is_contained: true,
            capabilities: None,
            limits: CallLimits::default(),
            intents: BTreeMap::new(),
        };
        let (args_integrity, in_view) = (Integrity::Untrusted, Integrity::Untrusted);
        Self {
            manifest,
            args: "{}",
            account: "alice",
            groups: &[],
            agent: "main",
            args_integrity,
            in_view,
            is_approved: false,
        }
    }

    fn call(&self) -> Call {
        Call {
            session: SessionKey::SYSTEM,
            turn: 1,
            call: 1,
            parent: None,
            tool: self.manifest.name.to_string(),
            tool_digest: self.manifest.digest(),
            args: Args::parse(self.args).unwrap(),
        }
    }

    /// Decides about it as a call that the calls of `parents` make.
    pub(super) fn decide_within(&self, rules: &Rules, parents: &[Parent<'_>]) -> Decision {
        self.with(|call, ctx| rules.decide(call, &Context { parents, ..ctx.clone() }))
    }

    fn with<T>(&self, then: impl FnOnce(&Call, &Context<'_>) -> T) -> T {
        let (account, agent): (AccountId, AgentName) = (self.account.parse().unwrap(), self.agent.parse().unwrap());
        let groups: Vec<_> = self.groups.iter().map(|name| name.parse().unwrap()).collect();
        let args_label = Label::new(self.args_integrity, Confidentiality::Private, "fs_read#1");
        let in_view = Label::new(self.in_view, Confidentiality::Private, "fs_read#1");
        let ctx = Context {
            account: &account,
            groups: &groups,
            agent: &agent,
            manifest: &self.manifest,
            in_view: &in_view,
            args_label: &args_label,
            view: &View::default(),
            tools: &ToolSet::new([self.manifest.clone()]).unwrap(),
            bound: &[],
            earlier: &[],
            parents: &[],
            narrowing: &crate::agent::NONE,
            is_approved: self.is_approved,
        };
        then(&self.call(), &ctx)
    }

    pub(super) fn decide(&self, rules: &Rules) -> Decision {
        self.with(|call, ctx| rules.decide(call, ctx))
    }
}

fn rules(profile: Profile, text: &str) -> Rules {
    Rules::new(profile, &[("my.cedar".to_owned(), text.to_owned())]).unwrap()
}

fn bare(profile: Profile) -> Rules {
    Rules::new(profile, &[]).unwrap()
}

fn outcome(case: &Case<'_>, rules: &Rules) -> (Outcome, Vec<String>) {
    let decision = case.decide(rules);
    (decision.outcome, decision.rules)
}

fn names(rules: &[&str]) -> Vec<String> {
    rules.iter().map(|rule| (*rule).to_owned()).collect()
}

#[test]
fn profiles_decide_by_effect_reach_labels_and_approval() {
    use Outcome::{Allow, Ask, Deny};
    for effect in EFFECTS {
        for is_contained in [true, false] {
            for retry in [Retry::AtMostOnce, Retry::Transactional] {
                for (args_integrity, in_view) in [
                    (Integrity::User, Integrity::Untrusted),
                    (Integrity::Platform, Integrity::Platform),
                    (Integrity::Platform, Integrity::Untrusted),
                    (Integrity::Untrusted, Integrity::Untrusted),
                ] {
                    let base = Case::new("a_tool", effect);
                    let manifest = Manifest { is_contained, retry, ..base.manifest.clone() };
                    let case = Case { manifest, args_integrity, in_view, ..base };
                    let changes = matches!(effect, Effect::Create | Effect::Modify | Effect::Destructive);
                    let is_inside = changes && is_contained;
                    let is_clean = args_integrity <= Integrity::User || in_view < Integrity::Untrusted;
                    // Nobody asked for anything, so with untrusted content in view nobody is asked either.
                    let by_flow =
                        (if in_view == Integrity::Untrusted { Deny } else { Ask }, "flow:not-asked".to_owned());
                    let strict = match (effect == Effect::None, is_inside, retry) {
                        (true, ..) => (Allow, "profile:strict/no-effect".to_owned()),
                        (_, true, Retry::Transactional) if is_clean => (Allow, "profile:strict/own-state".to_owned()),
                        _ => by_flow.clone(),
                    };
                    let contained = match (effect == Effect::None, is_inside) {
                        (true, _) => (Allow, "profile:contained/no-effect".to_owned()),
                        (_, true) => (Allow, "profile:contained/inside".to_owned()),
                        _ => by_flow,
                    };
                    let place = match (effect == Effect::None, is_inside, retry) {
                        (true, ..) => "no-effect",
                        (_, true, Retry::Transactional) => "own-state",
                        (_, true, _) => "contained-write",
                        _ => "outside",
                    };
                    let ask = (if effect == Effect::None { Allow } else { Ask }, format!("profile:ask/{place}"));
                    let observed = case.decide(&bare(Profile::Observe));
                    assert_eq!((observed.outcome, observed.rules), (Allow, names(&["profile:observe"])));
                    assert_eq!(observed.would, (strict.0 != Allow).then_some(strict.0));

                    let approved = Case { is_approved: true, ..case.clone() };
                    for (profile, (before, rule)) in
                        [(Profile::Strict, strict), (Profile::Contained, contained), (Profile::Ask, ask)]
                    {
                        assert_eq!(outcome(&case, &bare(profile)), (before, vec![rule.clone()]));
                        let lifted = match before {
                            Ask => (Allow, vec!["approval".to_owned(), rule]),
                            Allow | Deny => (before, vec![rule]),
                        };
                        assert_eq!(outcome(&approved, &bare(profile)), lifted);
                    }
                }
            }
        }
    }
}

#[test]
fn a_guarded_path_counts_as_outside_the_cage() {
    for (path, expected) in [
        ("src/a", Outcome::Allow),
        (".git/config", Outcome::Deny),
        ("x/../.GIT/hooks/pre-commit", Outcome::Deny),
        ("/w/.github/workflows/ci.yml", Outcome::Deny),
        ("home/.bashrc", Outcome::Deny),
    ] {
        let args = format!(r#"{{"path":"{path}"}}"#);
        let case = Case { args: &args, ..Case::new("fs_write", Effect::Modify) };
        let decision = case.decide(&bare(Profile::Contained));
        assert_eq!(decision.outcome, expected, "{path}");
        assert!(decision.paths.allow("src/b") || expected == Outcome::Deny);
        assert!(!decision.paths.allow(".git/config"), "what lies below is guarded too");
    }
}

#[test]
fn a_decision_tells_everything_a_record_and_a_person_need() {
    let case = Case { args: r#"{"path":"a"}"#, ..Case::new("fs_write", Effect::Create) };
    let decision = case.decide(&bare(Profile::Ask));
    let expected = Decision {
        subject: case.call().subject(),
        outcome: Outcome::Ask,
        would: None,
        rules: names(&["profile:ask/contained-write"]),
        permissions: names(&["effect:create", "reach:workspace", "tool:fs_write"]),
        effect: Effect::Create,
        retry: Retry::AtMostOnce,
        label: Label::new(Integrity::Untrusted, Confidentiality::Private, "fs_read#1"),
        why: "`fs_write` (effect `create`) changes files of the workspace, and profile `ask` asks before every \
              effect; untrusted content is in view: fs_read#1"
            .to_owned(),
        say: "approve this call, or add the rule `permit(principal, action == Action::\"create\", resource == \
              Tool::\"fs_write\");`"
            .to_owned(),
        paths: PathRules::default(),
    };
    assert_eq!(decision, expected);
    let read = Case::new("fs_read", Effect::None).decide(&bare(Profile::Strict));
    assert_eq!((read.permissions, read.say), (names(&["tool:fs_read"]), String::new()));
}

#[test]
fn the_rule_that_an_ask_suggests_is_valid_and_allows_the_call() {
    for effect in EFFECTS.into_iter().filter(|effect| *effect != Effect::None) {
        let case = Case { in_view: Integrity::Platform, ..Case::new("a_tool", effect) };
        let say = case.decide(&bare(Profile::Strict)).say;
        let rule = say.split('`').nth(1).unwrap();
        assert_eq!(outcome(&case, &rules(Profile::Strict, rule)), (Outcome::Allow, names(&["my.cedar:policy0"])));
    }
}

#[test]
fn a_forbid_beats_permit_ask_approval_and_observe() {
    let text = r#"@id("never") forbid(principal, action, resource == Tool::"fs_delete");
        permit(principal, action, resource); @ask("x") permit(principal, action, resource);"#;
    for profile in Profile::ALL {
        let rules = rules(profile, text);
        for is_approved in [false, true] {
            let case = Case { is_approved, ..Case::new("fs_delete", Effect::Destructive) };
            let decision = case.decide(&rules);
            assert_eq!((decision.outcome, decision.rules), (Outcome::Deny, names(&["never"])));
            assert_eq!((decision.would, decision.why.as_str()), (None, "rule `never` forbids it"));
            assert!(decision.say.contains("no approval lifts this"));
            assert_ne!(outcome(&Case { is_approved, ..Case::new("fs_read", Effect::None) }, &rules).0, Outcome::Deny);
        }
    }
}

#[test]
fn a_rule_that_cannot_be_evaluated_denies_even_beside_a_permit_and_an_approval() {
    let overflow = "when { context.args_bytes + 9223372036854775807 > 0 }";
    for broken in ["permit", "forbid", "@ask(\"x\") permit"] {
        let head = broken.replace("permit", "@id(\"big\") permit").replace("forbid", "@id(\"big\") forbid");
        let text = format!("permit(principal, action, resource);\n{head}(principal, action, resource) {overflow};");
        for profile in Profile::ALL {
            let case = Case { is_approved: true, ..Case::new("fs_read", Effect::None) };
            let decision = case.decide(&rules(profile, &text));
            assert_eq!((decision.outcome, decision.rules), (Outcome::Deny, names(&["big"])));
            assert!(decision.why.starts_with("`big` could not be evaluated: integer overflow"), "{}", decision.why);
        }
    }
}

#[test]
fn an_ask_outweighs_a_plain_permit_and_an_approval_lifts_it() {
    let text = r#"permit(principal, action, resource);
        @ask("it costs") @id("costs") permit(principal, action == Action::"financial", resource);"#;
    for profile in Profile::ALL {
        let rules = rules(profile, text);
        let case = Case::new("pay", Effect::Financial);
        let decision = case.decide(&rules);
        assert_eq!((decision.outcome, decision.rules), (Outcome::Ask, names(&["costs"])));
        assert_eq!(decision.why, "rule `costs` asks: it costs");
        let approved = Case { is_approved: true, ..case };
        assert_eq!(outcome(&approved, &rules), (Outcome::Allow, names(&["approval", "costs"])));
        assert_eq!(outcome(&Case::new("mail", Effect::Send), &rules), (Outcome::Allow, names(&["my.cedar:policy0"])));
    }
}

#[test]
fn rules_speak_of_accounts_agents_tools_actions_labels_and_sessions() {
    let own_session = format!("context.session == Session::\"{}\"", SessionKey::SYSTEM);
    for (scope, condition, matches) in [
        (r#"principal in Account::"alice", action, resource"#, "true", true),
        (r#"principal in Account::"bob", action, resource"#, "true", false),
        (r#"principal == Agent::"main", action in Action::"call", resource"#, "true", true),
        (r#"principal == Agent::"other", action, resource"#, "true", false),
        (r#"principal, action in Action::"effect", resource"#, "true", true),
        (r#"principal, action == Action::"none", resource"#, "true", false),
        (r#"principal, action, resource == Tool::"mail""#, "true", true),
        (ANY, own_session.as_str(), true),
        (ANY, r#"context.session == Session::"x""#, false),
        (ANY, r#"context.args_integrity == Integrity::"untrusted""#, true),
        (ANY, r#"context.in_view_integrity == Integrity::"user""#, false),
        (ANY, r#"context.in_view_confidentiality == Confidentiality::"private""#, true),
        (ANY, r#"resource.effect == Effect::"send" && resource.lane == Lane::"builtin""#, true),
        (ANY, r#"resource.name like "ma*""#, true),
        (ANY, "context.is_contained || context.is_approved || context.args_bytes != 2", false),
    ] {
        let text = format!("forbid({scope}) when {{ {condition} }};");
        let (found, _) = outcome(&Case::new("mail", Effect::Send), &rules(Profile::Observe, &text));
        assert_eq!(found == Outcome::Deny, matches, "{text}");
    }
}

const ANY: &str = "principal, action, resource";

#[test]
fn every_object_is_judged_and_the_strictest_answer_counts() {
    let text = r#"
        @id("git") forbid(principal, action, resource) when { context has object && context.object like ".git/*" };
        @id("src") permit(principal, action, resource) when { context has object && context.object like "src/*" };
        @id("doc") @ask("docs") permit(principal, action, resource) when { context has object && context.object like "doc/*" };"#;
    let rules = rules(Profile::Ask, text);
    for (args, expected) in [
        (r#"{"path":"src/a"}"#, (Outcome::Allow, names(&["src"]))),
        (r#"{"path":"./src//b/../a"}"#, (Outcome::Allow, names(&["src"]))),
        (r#"{"path":"src/../.git/config"}"#, (Outcome::Deny, names(&["git"]))),
        (r#"{"from":"src/a","to":".git/config"}"#, (Outcome::Deny, names(&["git"]))),
        (r#"{"from":"src/a","to":["src/b",{"deep":".git/x"}]}"#, (Outcome::Deny, names(&["git"]))),
        (r#"{"from":"src/a","to":"src/b"}"#, (Outcome::Allow, names(&["src"]))),
        (r#"{"from":"src/a","to":"doc/b"}"#, (Outcome::Ask, names(&["doc"]))),
        (r#"{"from":"src/a","to":"b"}"#, (Outcome::Ask, names(&["profile:ask/contained-write"]))),
        (r#"{"from":"doc/a","to":"b"}"#, (Outcome::Ask, names(&["doc", "profile:ask/contained-write"]))),
        (r#"{"path":"/home/me/work/.git/config"}"#, (Outcome::Deny, names(&["git"]))),
        (r#"{"path":"/home/me/src/../work/./.git/config"}"#, (Outcome::Deny, names(&["git"]))),
        (r#"{"path":"/src/a"}"#, (Outcome::Ask, names(&["profile:ask/contained-write"]))),
        (r#"{"text":".git/x"}"#, (Outcome::Ask, names(&["profile:ask/contained-write"]))),
        ("{}", (Outcome::Ask, names(&["profile:ask/contained-write"]))),
    ] {
        let case = Case { args, ..Case::new("fs_move", Effect::Modify) };
        assert_eq!(outcome(&case, &rules), expected, "{args}");
    }
    // The profile allows what the rules leave open, but another object asks.
    let case = Case { args: r#"{"a":"doc/a","b":"b"}"#, ..Case::new("fs_read", Effect::None) };
    assert_eq!(outcome(&case, &rules), (Outcome::Ask, names(&["doc"])));
}

#[test]
fn too_many_or_too_long_objects_are_denied_only_where_a_rule_would_look_at_them() {
    let many =
        format!("{{\"to\":[{}]}}", (0..=object::OBJECTS_MAX).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
    let long = format!("{{\"to\":\"{}\"}}", "a".repeat(object::OBJECT_BYTES_MAX + 1));
    // The attribute's name is spelt with an escape.
    let text = r#"permit(principal, action, resource) when { context has object && context["o\u{62}ject"] like "*" };"#;
    let looks = rules(Profile::Observe, text);
    let blind = rules(Profile::Observe, "permit(principal, action, resource);");
    for args in [&many, &long] {
        let case = Case { args, ..Case::new("mail", Effect::Send) };
        assert_eq!(outcome(&case, &looks), (Outcome::Deny, names(&["request"])));
        assert_eq!(outcome(&case, &blind).0, Outcome::Allow);
    }
}

#[test]
fn a_declaration_of_another_tool_is_never_decided_by() {
    let case = Case { is_approved: true, ..Case::new("fs_read", Effect::None) };
    let call = Call { tool: "fs_delete".to_owned(), ..case.call() };
    let decision = case.with(|_, ctx| bare(Profile::Observe).decide(&call, ctx));
    assert_eq!((decision.outcome, decision.rules), (Outcome::Deny, names(&["request"])));
}

#[test]
fn requests_and_entities_conform_to_the_published_schema() {
    let text = r#"permit(principal, action, resource) when { context has path && context has host && context has url
        && context has argv && context.is_shell && context.secrets.isEmpty() && context has objects
        && context.session.owner == Account::"x" };"#;
    let rules = rules(Profile::Strict, text);
    let (compiled, schema) = (rules.compiled.as_ref().unwrap(), schema().unwrap());
    let objects = ["o", "a/b/../c", "https://[::1]:8080/x", "127.0.0.1", "example.org:1"];
    let objects = std::collections::BTreeSet::from(objects.map(str::to_owned));
    let check = |case: &Case<'_>, effect: Effect, label: &Label| {
        case.with(|call, ctx| {
            let ctx = Context { in_view: label, args_label: label, ..ctx.clone() };
            for objects in [&Default::default(), &objects] {
                let things = compiled.things(objects, &case.manifest).unwrap();
                for request in compiled.requests(call, &Facts::from(&ctx), effect, true, &things).unwrap() {
                    let (principal, action) = (request.principal().unwrap(), request.action().unwrap());
                    let (resource, context) = (request.resource().unwrap(), request.context().unwrap());
                    let (principal, resource, action) = (principal.clone(), resource.clone(), action.clone());
                    cedar_policy::Request::new(principal, action, resource, context.clone(), Some(&schema)).unwrap();
                }
                let entities = compiled.entities(call, &Facts::from(&ctx), effect, &things).unwrap();
                cedar_policy::Entities::from_entities(entities, Some(&schema)).unwrap();
            }
        });
    };
    let args = r#"{"argv":["a","b"],"shell":"x","text":"${secret:y}"}"#;
    for effect in EFFECTS {
        for integrity in [Integrity::System, Integrity::User, Integrity::Platform, Integrity::Untrusted] {
            for level in [Confidentiality::Public, Confidentiality::Private, Confidentiality::Secret] {
                for is_contained in [true, false] {
                    let mut case = Case { groups: &["dev", "staff"], args, ..Case::new("a_tool", effect) };
                    case.manifest.is_contained = is_contained;
                    check(&case, effect, &Label::new(integrity, level, "x"));
                }
            }
        }
    }
}

#[test]
fn the_words_of_rules_are_those_of_records() {
    for effect in EFFECTS {
        assert_eq!(json!(effect), words::effect(effect));
    }
    for integrity in [Integrity::System, Integrity::User, Integrity::Platform, Integrity::Untrusted] {
        assert_eq!(json!(integrity), words::integrity(integrity));
    }
    for level in [Confidentiality::Public, Confidentiality::Private, Confidentiality::Secret] {
        assert_eq!(json!(level), words::confidentiality(level));
    }
    assert_eq!(json!(Lane::Builtin), words::lane(Lane::Builtin));
    for profile in Profile::ALL {
        assert_eq!(json!(profile), profile.as_str());
        assert_eq!(profile.to_string().parse(), Ok(profile));
    }
}

#[test]
fn an_unknown_profile_is_refused_with_those_there_are() {
    for name in ["containd", "Strict", "", "none"] {
        let error = name.parse::<Profile>().unwrap_err().to_string();
        assert_eq!(
            error,
            format!("`{name}` is not a policy profile; choose one of `observe`, `contained`, `ask`, `strict`")
        );
    }
    assert!("x".repeat(10_000).parse::<Profile>().unwrap_err().to_string().len() < 200);
}

#[test]
fn rules_come_back_from_their_object_whatever_order_the_files_had() {
    let files = [("b.cedar", "permit(principal, action, resource);"), ("a.cedar", "// \"é\"\n")];
    let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
    let reversed = [files[1].clone(), files[0].clone()];
    let rules = Rules::new(Profile::Ask, &files).unwrap();
    assert_eq!(rules.object(), Rules::new(Profile::Ask, &reversed).unwrap().object());
    assert_eq!(rules.digest(), Digest::of(&[rules.object()]));
    assert_eq!(rules.files().map(|(name, _)| name).collect::<Vec<_>>(), ["a.cedar", "b.cedar"]);
    for rules in [rules, bare(Profile::Observe)] {
        let again = Rules::from_object(rules.object()).unwrap();
        assert_eq!(
            (again.object(), again.digest(), again.profile()),
            (rules.object(), rules.digest(), rules.profile())
        );
        let case = Case::new("mail", Effect::Send);
        assert_eq!(case.decide(&again), case.decide(&rules));
    }
    assert_ne!(bare(Profile::Ask).digest(), bare(Profile::Strict).digest());
}

#[test]
fn an_object_that_was_not_written_so_is_refused() {
    for bytes in [
        "",
        "{}",
        r#"{"files":{},"profile":"container"}"#,
        r#"{"files":{},"profile":"strict","more":1}"#,
        r#"{"files":{},"files":{},"profile":"strict"}"#,
        r#"{"profile":"strict","files":{}}"#,
        r#"{"files":{}, "profile":"strict"}"#,
        "{\"files\":{},\"profile\":\"strict\"}\n",
        "\u{0}",
    ] {
        assert!(matches!(Rules::from_object(bytes.as_bytes()), Err(RulesError::Object(_))), "{bytes}");
    }
    let invalid = Rules::from_object(br#"{"files":{"a.cedar":"permit"},"profile":"strict"}"#);
    assert!(matches!(invalid, Err(RulesError::Invalid(_))));
}

#[test]
fn the_same_call_gives_the_same_decision_however_often_the_rules_are_built() {
    let text: String = (0..20)
        .map(|n| {
            format!(
                "@id(\"r{n}\") {}(principal, action, resource) when {{ context.args_bytes + {n} > 0 }};",
                if n % 2 == 0 { "permit" } else { "forbid" }
            )
        })
        .chain((0..5).map(|n| {
            format!("permit(principal, action, resource) when {{ context.args_bytes + 9223372036854775807 > {n} }};")
        }))
        .collect();
    let case = Case { args: r#"{"to":["c","b","a"]}"#, ..Case::new("mail", Effect::Send) };
    let first = case.decide(&rules(Profile::Strict, &text));
    assert!(first.rules.is_sorted());
    assert_eq!(first.rules.len(), 15);
    for _ in 0..20 {
        assert_eq!(case.decide(&rules(Profile::Strict, &text)), first);
    }
}

/// Prints the figure; the machine under a test decides too much of it for an assertion.
#[test]
fn the_time_of_a_decision_is_printed() {
    let text: String = (0..20)
        .map(|n| {
            format!("permit(principal in Account::\"a{n}\", action == Action::\"send\", resource == Tool::\"t{n}\");")
        })
        .chain([r#"forbid(principal, action, resource) when { context has object && context.object like ".git/*" };"#
            .to_owned()])
        .collect();
    let typed: String = (0..20)
        .map(|n| format!("permit(principal in Group::\"g{n}\", action, resource == Tool::\"t{n}\");"))
        .chain([r#"forbid(principal, action, resource) when { context has path && context.path in Path::".git" };"#
            .to_owned()])
        .collect();
    let args = r#"{"path":"src/a/b/c/d.rs","text":"hello"}"#;
    let case = Case { args, groups: &["dev", "staff"], ..Case::new("fs_write", Effect::Create) };
    for (name, rules) in [
        ("no rules", bare(Profile::Strict)),
        ("21 rules", rules(Profile::Strict, &text)),
        ("21 rules, one about paths", rules(Profile::Strict, &typed)),
    ] {
        let mut times: Vec<_> = case.with(|call, ctx| {
            let timed = |_| {
                let start = Instant::now();
                assert_eq!(rules.decide(call, ctx).outcome, Outcome::Deny);
                start.elapsed()
            };
            (0..5000).map(timed).collect()
        });
        times.sort();
        println!("decision, {name}: p50 {:?}, p99 {:?}", times[2500], times[4950]);
    }
}

#[test]
fn rules_speak_of_the_secrets_that_a_call_names_and_of_those_that_its_tool_names_itself() {
    use Outcome::{Allow, Ask, Deny};
    let text = r#"
        permit(principal, action, resource);
        forbid(principal, action, resource) when { context.secrets.contains(Secret::"root") };
        @ask("a credential of production")
        permit(principal, action, resource) when { context.secrets.contains(Secret::"live") };
    "#;
    let rules = rules(Profile::Strict, text);
    let own = |name: &str| {
        let mut case = Case::new("wrapped", Effect::NetworkRead);
        case.manifest.lane = Lane::Http;
        case.manifest.is_contained = false;
        let secrets = vec![name.parse().unwrap()];
        case.manifest.capabilities = Some(crate::manifest::Capabilities { secrets, ..Default::default() });
        case
    };
    let named = |args| {
        let mut case = Case { args, ..Case::new("http_request", Effect::NetworkRead) };
        case.manifest.is_contained = false;
        case
    };
    for (case, expected) in [
        (named(r#"{"text": "none"}"#), Allow),
        (named(r#"{"text": "${secret:other}"}"#), Allow),
        (named(r#"{"text": {"deep": ["x ${secret:root} y"]}}"#), Deny),
        (named(r#"{"text": "${secret:live}"}"#), Ask),
        (own("other"), Allow),
        (own("root"), Deny),
        (own("live"), Ask),
    ] {
        let decision = case.decide(&rules);
        assert_eq!(decision.outcome, expected, "{} {}: {}", case.manifest.name, case.args, decision.why);
    }
}
