//! What `allow_always` keeps permits the call it was shown for and no other.

use super::super::kept::Asked;
use super::*;

fn kept(case: &Case<'_>, rules: &Rules, by: &[&str]) -> Option<String> {
    let by: Vec<String> = by.iter().map(|name| (*name).to_owned()).collect();
    case.with(|call, ctx| {
        let asked =
            Asked { account: ctx.account, agent: ctx.agent, manifest: ctx.manifest, in_view: ctx.in_view, rules: &by };
        rules.rule_to_keep(call, &asked)
    })
}

fn with_rule(text: &str) -> Rules {
    Rules::new(Profile::Ask, &[("approved.cedar".to_owned(), text.to_owned())]).unwrap()
}

/// A move within the workspace: two objects.
fn a_move(args: &'static str) -> Case<'static> {
    Case { args, ..Case::new("fs_move", Effect::Modify) }
}

#[test]
fn a_kept_rule_permits_its_call_with_other_content_and_nothing_beyond() {
    let write = |args| Case { args, ..Case::new("fs_write", Effect::Create) };
    let asked = write(r#"{"path":"a/../notes.txt","text":"one"}"#);
    let text = kept(&asked, &bare(Profile::Ask), &["profile:strict/contained-write"]).unwrap();
    let rules = with_rule(&text);
    let outcome = |case: &Case<'_>| case.decide(&rules).outcome;
    assert_eq!(outcome(&asked), Outcome::Allow);
    assert_eq!(outcome(&write(r#"{"path":"notes.txt","text":"two"}"#)), Outcome::Allow, "content is not bound");
    for args in [
        r#"{"path":"other.txt"}"#,
        r#"{"path":"notes.txt/x"}"#,
        r#"{"path":"/notes.txt"}"#,
        r#"{"path":["notes.txt","other.txt"]}"#,
        r#"{"file":"notes.txt"}"#,
        r#"{"text":"one"}"#,
    ] {
        assert_eq!(outcome(&write(args)), Outcome::Ask, "{args}");
    }
    let args = asked.args;
    assert_eq!(outcome(&Case { args, ..Case::new("fs_edit", Effect::Create) }), Outcome::Ask, "another tool");
    assert_eq!(outcome(&Case { args, ..Case::new("fs_write", Effect::Modify) }), Outcome::Ask, "another effect");
    assert_eq!(outcome(&Case { account: "bob", ..asked.clone() }), Outcome::Ask, "another account");
    assert_eq!(outcome(&Case { agent: "other", ..asked.clone() }), Outcome::Ask, "another agent");
    let mut changed = asked.clone();
    changed.manifest.version = "2".to_owned();
    assert_eq!(outcome(&changed), Outcome::Ask, "another declaration of the tool");
}

#[test]
fn several_objects_are_bound_together_and_in_their_places() {
    let asked = a_move(r#"{"from":"a","to":"b"}"#);
    let rules = with_rule(&kept(&asked, &bare(Profile::Ask), &[]).unwrap());
    assert_eq!(asked.decide(&rules).outcome, Outcome::Allow);
    for args in [r#"{"from":"b","to":"a"}"#, r#"{"from":"a","to":"a"}"#, r#"{"from":"a"}"#, r#"{"from":["a","b"]}"#] {
        assert_eq!(a_move(args).decide(&rules).outcome, Outcome::Ask, "{args}");
    }
    // An absolute path stands for its ends, and none of these alone is the path.
    let absolute = a_move(r#"{"from":"/x/y"}"#);
    let rules = with_rule(&kept(&absolute, &bare(Profile::Ask), &[]).unwrap());
    assert_eq!(absolute.decide(&rules).outcome, Outcome::Allow);
    assert_eq!(a_move(r#"{"from":"y"}"#).decide(&rules).outcome, Outcome::Ask);
}

#[test]
fn what_was_asked_about_with_nothing_untrusted_in_view_is_asked_about_again_when_there_is() {
    let asked = Case { args: r#"{"to":"bob"}"#, in_view: Integrity::User, ..Case::new("mail", Effect::Send) };
    let rules = with_rule(&kept(&asked, &bare(Profile::Ask), &[]).unwrap());
    assert_eq!(asked.decide(&rules).outcome, Outcome::Allow);
    assert_eq!(Case { in_view: Integrity::Untrusted, ..asked }.decide(&rules).outcome, Outcome::Ask);
}

#[test]
fn a_call_without_objects_is_kept_without_any() {
    let asked = Case::new("ping", Effect::Send);
    let rules = with_rule(&kept(&asked, &bare(Profile::Ask), &[]).unwrap());
    assert_eq!(asked.decide(&rules).outcome, Outcome::Allow);
    assert_eq!(Case { args: r#"{"to":"x"}"#, ..asked }.decide(&rules).outcome, Outcome::Ask);
}

#[test]
fn no_rule_is_offered_where_none_would_help_or_could_be_read() {
    let own = rules(Profile::Ask, "@id(\"mine\") @ask(\"why not\") permit(principal, action, resource);");
    let case = Case { args: r#"{"to":"x"}"#, ..Case::new("mail", Effect::Send) };
    assert_eq!(kept(&case, &own, &["mine"]), None, "a permit does not silence an own rule that asks");
    let long = format!(r#"{{"to":"{}"}}"#, "x".repeat(5_000));
    assert_eq!(kept(&Case { args: &long, ..case.clone() }, &bare(Profile::Ask), &[]), None);
    let many: Vec<String> = (0..70).map(|n| format!("\"{n}\"")).collect();
    let many = format!(r#"{{"to":[{}]}}"#, many.join(","));
    assert_eq!(kept(&Case { args: &many, ..case }, &bare(Profile::Ask), &[]), None);
}

#[test]
fn a_hostile_object_stays_a_text_of_the_rule() {
    for object in ["\\\"] || true };", "a\\nb", "\\u202Ex", "*", "\\u0000", "é\\u0301"] {
        let args = format!(r#"{{"to":"{object}"}}"#);
        let case = Case { args: &args, ..Case::new("mail", Effect::Send) };
        let text = kept(&case, &bare(Profile::Ask), &[]).unwrap();
        let rules = with_rule(&text);
        assert_eq!(case.decide(&rules).outcome, Outcome::Allow, "{text}");
        let other = Case { args: r#"{"to":"other"}"#, ..case.clone() };
        assert_eq!(other.decide(&rules).outcome, Outcome::Ask, "{text}");
        assert!(!text.contains('\u{202e}') && !text.contains('\0'), "what cannot be seen is written out: {text}");
    }
}

#[test]
fn the_same_call_gives_the_same_rule() {
    let case = a_move(r#"{"from":"a","to":"b"}"#);
    let once = kept(&case, &bare(Profile::Ask), &[]).unwrap();
    assert_eq!(kept(&case, &bare(Profile::Ask), &["profile:ask/x"]).unwrap(), once);
    assert!(once.starts_with("@id(\"approved-") && once.ends_with("};\n"), "{once}");
}

#[test]
fn a_kept_rule_is_for_the_secrets_that_were_shown_and_no_others() {
    let request = |args| {
        let mut case = Case { args, ..Case::new("http_request", Effect::NetworkRead) };
        case.manifest.is_contained = false;
        case
    };
    let with = |secret: &str| format!(r#"{{"url":"https://a.example/","text":"{secret}"}}"#);
    let (one, two, none) = (with("${secret:one}"), with("${secret:two}"), with("x"));
    for (asked, others) in [(&one, [&two, &none]), (&none, [&one, &two])] {
        let text = kept(&request(asked), &bare(Profile::Ask), &[]).unwrap();
        let rules = with_rule(&text);
        assert_eq!(request(asked).decide(&rules).outcome, Outcome::Allow, "{text}");
        for other in others {
            assert_eq!(request(other).decide(&rules).outcome, Outcome::Ask, "{text} {other}");
        }
    }
}
