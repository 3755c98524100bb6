//! Groups, sessions, paths, hosts, secrets and command lines, as rules speak of them.

use super::*;

const ANY: &str = "principal, action, resource";

/// Whether `forbid(…) when { condition }` denies the call.
fn denies(case: &Case<'_>, scope: &str, condition: &str) -> bool {
    let text = format!("forbid({scope}) when {{ {condition} }};");
    outcome(case, &rules(Profile::Observe, &text)).0 == Outcome::Deny
}

#[test]
fn a_rule_for_a_group_holds_for_the_agents_of_its_accounts() {
    let case = Case { groups: &["dev", "staff"], ..Case::new("mail", Effect::Send) };
    for (group, matches) in [("dev", true), ("staff", true), ("alice", false), ("interns", false)] {
        assert_eq!(denies(&case, &format!("principal in Group::\"{group}\", action, resource"), "true"), matches);
        assert_eq!(denies(&case, ANY, &format!("context.session.owner in Group::\"{group}\"")), matches);
    }
    assert!(denies(&case, ANY, "context.session.owner == Account::\"alice\""));
    assert!(!denies(&Case { groups: &[], ..case }, "principal in Group::\"dev\", action, resource", "true"));
}

#[test]
fn a_path_is_in_its_directories_and_no_spelling_slips_past() {
    let write = |args| Case { args, ..Case::new("fs_write", Effect::Create) };
    for (args, directory, matches) in [
        (r#"{"path":"src/a.rs"}"#, "src", true),
        (r#"{"path":"src"}"#, "src", true),
        (r#"{"path":"src2/a.rs"}"#, "src", false),
        (r#"{"path":"x/../src/./deep//a.rs"}"#, "src", true),
        (r#"{"path":"src/../a.rs"}"#, "src", false),
        (r#"{"path":"a"}"#, ".", true),
        (r#"{"path":"../a"}"#, ".", false),
        (r#"{"path":"/home/me/work/src/a"}"#, "src", true),
        (r#"{"path":"/home/me/work/src/a"}"#, "/home/me", true),
        (r#"{"from":"a","to":"src/b"}"#, "src", true),
        (r#"{"paths":{"x/../src/a":1}}"#, "src", true),
        (r#"{"text":"src/a"}"#, "src", false),
        ("{}", ".", false),
    ] {
        let condition = format!("context has path && context.path in Path::\"{directory}\"");
        assert_eq!(denies(&write(args), ANY, &condition), matches, "{args} in {directory}");
    }
    assert!(denies(&write(r#"{"path":"a/.env"}"#), ANY, r#"context has path && context.path.name == ".env""#));
    assert!(denies(&write(r#"{"path":"./a"}"#), ANY, r#"context has path && context.path == Path::"a""#));
    let mut outside = write(r#"{"path":"src/a"}"#);
    outside.manifest.is_contained = false;
    assert!(!denies(&outside, ANY, "context has path"));
}

#[test]
fn every_path_of_a_call_must_be_permitted() {
    let text =
        r#"@id("src") permit(principal, action, resource) when { context has path && context.path in Path::"src" };"#;
    let rules = rules(Profile::Ask, text);
    let moved = |args| outcome(&Case { args, ..Case::new("fs_move", Effect::Modify) }, &rules);
    assert_eq!(moved(r#"{"from":"src/a","to":"src/b"}"#), (Outcome::Allow, names(&["src"])));
    assert_eq!(moved(r#"{"from":"src/a","to":"b"}"#).0, Outcome::Ask);
}

#[test]
fn a_rule_about_paths_holds_below_what_a_call_names() {
    let text = r#"forbid(principal, action, resource) when { context has path && context.path in Path::"a/secret" };"#;
    let case = Case { args: r#"{"path":"a"}"#, ..Case::new("fs_search", Effect::None) };
    let below = case.decide(&rules(Profile::Observe, text)).paths;
    assert!(!below.are_silent() && below.allow("a/b") && !below.allow("a/secret/x"));
    assert!(!below.allow(&vec!["d"; typed::PATH_PARTS_MAX + 1].join("/")));
}

#[test]
fn a_host_is_in_its_domains_with_any_port_and_in_any_spelling() {
    for (url, condition, matches) in [
        ("https://api.example.org/x", r#"context.host in Host::"example.org""#, true),
        ("https://API.EXAMPLE.ORG./x", r#"context.host in Host::"example.org""#, true),
        ("https://example.org.evil.test/", r#"context.host in Host::"example.org""#, false),
        ("https://badexample.org/", r#"context.host in Host::"example.org""#, false),
        ("https://example.org@evil.test/", r#"context.host in Host::"example.org""#, false),
        ("https://example.org/", r#"context.host == Host::"example.org:443""#, true),
        ("https://example.org:8443/", r#"context.host == Host::"example.org:443""#, false),
        ("https://example.org:8443/", r#"context.host in Host::"example.org""#, true),
        (
            "example.org:25",
            r#"context.host.name == "example.org" && context.host has port && context.host.port == 25"#,
            true,
        ),
        ("http://0x7f.1/", r#"context.host has ip && context.host.ip.isLoopback()"#, true),
        ("http://10.1.2.3/", r#"context.host has ip && context.host.ip.isInRange(ip("10.0.0.0/8"))"#, true),
        ("https://example.org/", "context.host has ip", false),
        ("https://example.org/a/../b", r#"context has url && context.url == "https://example.org/b""#, true),
        ("example.org", "context has url", false),
        ("bob", "true", false),
    ] {
        let args = json!({"url": url}).to_string();
        let mut case = Case { args: &args, ..Case::new("fetch", Effect::NetworkRead) };
        case.manifest.is_contained = false;
        assert_eq!(denies(&case, ANY, &format!("context has host && {condition}")), matches, "{url} {condition}");
        case.manifest.is_contained = true;
        assert!(!denies(&case, ANY, "context has host || context has url"));
    }
}

#[test]
fn rules_see_which_secrets_the_arguments_name() {
    let case = Case { args: r#"{"text":"Bearer ${secret:github}"}"#, ..Case::new("fetch", Effect::Send) };
    assert!(denies(&case, ANY, r#"context.secrets.contains(Secret::"github")"#));
    assert!(!denies(&case, ANY, r#"context.secrets.contains(Secret::"other")"#));
    let plain = Case { args: r#"{"text":"secret:github"}"#, ..case.clone() };
    assert!(denies(&plain, ANY, "context.secrets.isEmpty()") && !denies(&case, ANY, "context.secrets.isEmpty()"));
    let many: String = (0..=typed::SECRETS_MAX).map(|n| format!("${{secret:{n}}}")).collect();
    let args = json!({"text": many}).to_string();
    let many = Case { args: &args, ..case };
    let looks = rules(Profile::Observe, "permit(principal, action, resource) when { context.secrets.isEmpty() };");
    assert_eq!(outcome(&many, &looks), (Outcome::Deny, names(&["request"])));
    assert_eq!(outcome(&many, &rules(Profile::Observe, "permit(principal, action, resource);")).0, Outcome::Allow);
}

#[test]
fn rules_see_the_elements_of_a_command_line_and_whether_a_shell_reads_one() {
    let case = Case { args: r#"{"argv":["cargo","test","-p","x"]}"#, ..Case::new("run", Effect::Destructive) };
    assert!(denies(&case, ANY, r#"context has argv && context.argv has "0" && context.argv["0"] == "cargo""#));
    assert!(denies(&case, ANY, "context has argv && context.argv.count == 4"));
    assert!(!denies(&case, ANY, r#"context has argv && context.argv has "4""#));
    assert!(!denies(&case, ANY, "context.is_shell"));
    let shell = Case { args: r#"{"argv":["a"],"shell":""}"#, ..case };
    assert!(denies(&shell, ANY, "context.is_shell && context has argv"));
}
