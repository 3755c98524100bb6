use are_core::body::{Effect, Outcome};
use serde_json::json;

use super::super::tests::Case;
use super::super::{Profile, Rules};
use super::*;

const ARGV_TOOL: &str = "process_run";

fn manifest(tool: &str) -> Manifest {
    let manifest = Case::new(tool, if tool == "http_request" { Effect::Send } else { Effect::Destructive }).manifest;
    let schema = match tool {
        ARGV_TOOL => json!({"type": "object", "properties": {"argv": {"type": "array"}, "shell": {"type": "string"}}}),
        _ => json!({"type": "object"}),
    };
    Manifest { is_contained: matches!(tool, ARGV_TOOL | "fs_write" | "fs_move"), schema, ..manifest }
}

fn tools() -> ToolSet {
    ToolSet::new([ARGV_TOOL, "fs_write", "fs_move", "http_request", "mail"].map(manifest)).unwrap()
}

fn rules(lines: &[&str]) -> Rules {
    let file = expand(lines.iter().copied(), &tools()).unwrap();
    Rules::new(Profile::Strict, &Vec::from_iter(file)).unwrap()
}

/// Whether one line permits the call.
fn permits(line: &str, args: &str) -> bool {
    let tool = line.split_whitespace().next().unwrap();
    let case = Case { args, ..Case::new(tool, Effect::None) };
    let decision = Case { manifest: manifest(tool), ..case }.decide(&rules(&[line]));
    let is_permitted = decision.outcome == Outcome::Allow;
    assert_eq!(is_permitted, decision.rules[0].starts_with("allow."), "{decision:?}");
    is_permitted
}

#[test]
fn a_command_line_is_matched_element_by_element() {
    for (pattern, argv, matches) in [
        ("cargo test *", json!(["cargo", "test"]), true),
        ("cargo test *", json!(["cargo", "test", "-p", "x y"]), true),
        ("cargo   test\t*", json!(["cargo", "test", "*"]), true),
        ("cargo test *", json!(["cargo", "testing"]), false),
        ("cargo test *", json!(["cargo test"]), false),
        ("cargo test *", json!(["cargo", "build", "test"]), false),
        ("cargo test *", json!(["/tmp/cargo", "test"]), false),
        ("cargo test *", json!(["cargo"]), false),
        ("cargo test *", json!([]), false),
        ("cargo test *", json!(["cargo", ["test"]]), false),
        ("cargo test *", json!("cargo test"), false),
        ("cargo test", json!(["cargo", "test"]), true),
        ("cargo test", json!(["cargo", "test", "x"]), false),
        // Anywhere but at the end a `*` stands for itself.
        ("cargo t*st", json!(["cargo", "test"]), false),
        ("cargo t*st", json!(["cargo", "t*st"]), true),
        ("cargo * x", json!(["cargo", "test", "x"]), false),
        ("cargo test*", json!(["cargo", "tests"]), false),
        ("ls é", json!(["ls", "é"]), true),
        (". *", json!([".", "x"]), true),
        ("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 *", json!((1..=20).map(|n| n.to_string()).collect::<Vec<_>>()), true),
        ("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16", json!((1..=20).map(|n| n.to_string()).collect::<Vec<_>>()), false),
    ] {
        let line = format!("{ARGV_TOOL} {pattern}");
        assert_eq!(permits(&line, &json!({"argv": argv}).to_string()), matches, "{line} {argv}");
        for shell in [json!("cargo test"), json!(true), json!(false), json!(null)] {
            let args = json!({"argv": argv, "shell": shell}).to_string();
            assert!(!permits(&line, &args), "a shell never matches: {line} {args}");
        }
    }
    assert!(!permits("process_run cargo test *", r#"{"shell":"cargo test x"}"#));
    assert!(!permits("process_run cargo test *", "{}"));
}

#[test]
fn a_path_is_matched_in_its_plain_form() {
    for (pattern, path, matches) in [
        ("docs/*", "docs/a.md", true),
        ("docs/*", "docs/deep/a.md", true),
        ("docs/*", "./docs//x/../a.md", true),
        ("./docs/x/../*", "docs/a.md", true),
        ("docs/*", "docs", false),
        ("docs/*", "docs/../src/a", false),
        ("docs/*", "docs2/a", false),
        ("docs/*", "../docs/a", false),
        ("docs/*", "/home/me/work/docs/a", false),
        ("docs/a.md", "docs/a.md", true),
        ("docs/a.md", "docs/a.md/b", false),
        ("docs", "docs", true),
        ("docs", "docs/a", false),
        ("docs/*.md", "docs/x/a.md", true),
        ("docs/*.md", "docs/a.txt", false),
        ("*.md", "a/b.md", true),
        ("*.md", "../b.md", false),
        ("docs/**", "docs/a", true),
        ("my notes/*", "my notes/a", true),
        (r#"a"b\c/*"#, r#"a"b\c/d"#, true),
    ] {
        let args = json!({"path": path}).to_string();
        assert_eq!(permits(&format!("fs_write {pattern}"), &args), matches, "{pattern} {path}");
    }
    assert!(permits("fs_move docs/*", r#"{"from":"docs/a","to":"docs/b"}"#));
    assert!(!permits("fs_move docs/*", r#"{"from":"docs/a","to":"b"}"#));
    assert!(!permits("fs_move docs/*", r#"{"from":"docs/a","to":{"docs/../b":1}}"#));
    assert!(!permits("fs_write docs/*", "{}"));
}

#[test]
fn an_address_is_matched_by_host_domain_or_beginning() {
    for (pattern, object, matches) in [
        ("example.org", "https://example.org/x", true),
        ("example.org", "https://EXAMPLE.org.:8443/", true),
        ("Example.org.", "http://example.org/", true),
        ("example.org", "https://api.example.org/", false),
        ("example.org", "https://example.org.evil.test/", false),
        ("example.org", "https://example.org@evil.test/", false),
        ("example.org:443", "https://example.org/", true),
        ("example.org:443", "http://example.org/", false),
        ("*.example.org", "https://api.example.org/", true),
        ("*.example.org", "https://example.org/", false),
        ("*.example.org", "https://badexample.org/", false),
        ("10.0.0.1", "http://0xa000001/", true),
        ("https://example.org/docs/*", "https://example.org/docs/a?b", true),
        ("https://example.org/docs/*", "https://example.org/docs/../admin", false),
        ("https://example.org/docs/*", "https://example.org/docs/%2e%2e/admin", false),
        ("https://example.org/docs/*", "http://example.org/docs/a", false),
        ("https://example.org/docs/*", "https://example.org:8443/docs/a", false),
        ("https://EXAMPLE.org:443/docs/*", "https://example.org/docs/a", true),
        ("https://example.org", "https://example.org/", true),
        ("https://example.org", "https://example.org/x", false),
    ] {
        let args = json!({"url": object}).to_string();
        assert_eq!(permits(&format!("http_request {pattern}"), &args), matches, "{pattern} {object}");
    }
    assert!(permits("mail alice@example.org", r#"{"to":["alice@example.org"]}"#));
    assert!(!permits("mail alice@example.org", r#"{"to":["alice@example.org","bob@example.org"]}"#));
}

#[test]
fn a_line_that_says_nothing_everything_or_nonsense_is_refused_with_what_to_write() {
    let long = format!("fs_write {}", "a".repeat(ALLOW_LINE_BYTES_MAX));
    let many = format!("process_run {}", "x ".repeat(ARGV_NAMED_MAX + 1));
    for (line, problem, help) in [
        ("", "is empty", "`fs_write docs/*`"),
        ("  ", "is empty", "`fs_write docs/*`"),
        ("*", "every tool", "`observe`"),
        ("fs_* docs/*", "every tool", "one tool"),
        ("fs_write", "does not say what", "`fs_write docs/*`"),
        ("process_run", "does not say what", "`process_run cargo test *`"),
        ("http_request", "does not say what", "`http_request docs.example.org`"),
        (
            "fs_write *",
            "everything that `fs_write` can do",
            "permit(principal, action, resource == Tool::\"fs_write\");",
        ),
        ("fs_write ./*", "everything", "`fs_write docs/*`"),
        ("process_run *", "everything", "`process_run cargo test *`"),
        ("process_run * *", "everything", "`process_run cargo test *`"),
        ("http_request **", "everything", "`http_request docs.example.org`"),
        ("fs_write /etc/*", "leaves the workspace", "`fs_write docs/*`"),
        ("fs_write docs/../../*", "leaves the workspace", "as seen from the workspace"),
        ("process_run git commit -m \"a b\"", "quotes", "context.argv"),
        ("http_request https://*.example.org/x", "`*` in its host", "`http_request *.example.org`"),
        ("http_request https://exam*/x", "`*` in its host", "host"),
        ("http_request example.org/docs/*", "`*` where none", "https://example.org/docs/*"),
        ("http_request example.org/docs", "without a scheme", "`http_request https://example.org/docs`"),
        ("http_request *.", "everything", "`http_request docs.example.org`"),
        ("http_request *.a b", "no domain", "`http_request *.example.org`"),
        ("http_request *.1.2.3.4", "no domain", "`http_request *.example.org`"),
        ("http_request https://a@b.example/", "not a whole address", "https://example.org/docs/*"),
        ("mail *@example.org", "`*` where none", "*.example.org"),
        ("fs_write a\u{7}", "control character", "Cedar"),
        (&long, "longer than", "Cedar"),
        (&many, "more than 16 elements", " *"),
    ] {
        match expand([line], &tools()) {
            Err(AllowError::Line { problem: said, help: helped, .. }) => {
                assert!(said.contains(problem) && helped.contains(help), "{line:?}: {said}; {helped}");
            }
            other => panic!("{line:?}: {other:?}"),
        }
    }
    let unknown = AllowError::UnknownTool { line: "fs_wirte docs/*".to_owned(), tool: "fs_wirte".to_owned() };
    assert_eq!(expand(["fs_wirte docs/*"], &tools()), Err(unknown));
}

#[test]
fn a_rule_is_named_after_its_line_wherever_it_stands_and_comes_back_from_the_stored_object() {
    let lines = ["fs_write docs/*", "http_request example.org", "process_run cargo test *"];
    let (name, text) = expand(lines, &tools()).unwrap().unwrap();
    assert_eq!(name, ALLOW_FILE);
    let ids = |text: &str| {
        let mut ids: Vec<_> = text.lines().filter(|line| line.starts_with("@id")).map(str::to_owned).collect();
        ids.sort();
        ids
    };
    let again = ["process_run  cargo test *", "fs_write docs/*", "http_request example.org", "fs_write docs/*"];
    assert_eq!(ids(&text), ids(&expand(again, &tools()).unwrap().unwrap().1));
    assert_eq!(ids(&text).len(), 3);
    let first = "// fs_write docs/*\n@id(\"allow.fs_write.d293aa433c\")\npermit(principal, action, resource == Tool::\"fs_write\")\n\
         when { context has path && context.path in Path::\"docs\" && context.path != Path::\"docs\" };\n";
    assert!(text.starts_with(first), "{text}");
    let rules = rules(&lines);
    assert_eq!(Rules::from_object(rules.object()).unwrap().files().collect::<Vec<_>>(), [(ALLOW_FILE, text.as_str())]);
    assert_eq!(expand([], &tools()), Ok(None));
}

#[test]
fn what_the_lines_become_has_no_findings_and_a_forbid_still_wins() {
    let lines = ["fs_write docs/*", "fs_write *.md", "http_request *.example.org", "mail bob", "process_run ls *"];
    let file = expand(lines, &tools()).unwrap().unwrap();
    assert_eq!(super::super::check(std::slice::from_ref(&file), &tools()).unwrap(), []);
    let forbid = ("a.cedar".to_owned(), "@id(\"no\") forbid(principal, action, resource);".to_owned());
    let rules = Rules::new(Profile::Strict, &[file, forbid]).unwrap();
    let case = Case { args: r#"{"path":"docs/a"}"#, ..Case::new("fs_write", Effect::Create) };
    assert_eq!(case.decide(&rules).outcome, Outcome::Deny);
}
