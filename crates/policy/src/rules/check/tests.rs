use super::super::tests::Case;
use super::super::{Profile, Rules, RulesError};
use super::*;
use crate::manifest::ToolSet;

fn check(files: &[(String, String)]) -> Result<Vec<Diagnostic>, RulesError> {
    let tools = ToolSet::new([Case::new("fs_write", are_core::body::Effect::Create).manifest]).unwrap();
    super::super::check(files, &tools)
}

fn findings(text: &str) -> Vec<Diagnostic> {
    check(&[("a.cedar".to_owned(), text.to_owned())]).unwrap()
}

fn only(text: &str) -> Diagnostic {
    let mut found = findings(text);
    assert_eq!(found.len(), 1, "{found:?}");
    let finding = found.remove(0);
    // What `check` calls an error is what keeps the rules from being used.
    let is_usable = Rules::new(Profile::Strict, &[("a.cedar".to_owned(), text.to_owned())]).is_ok();
    assert_eq!(is_usable, finding.severity == Severity::Warning);
    finding
}

#[test]
fn sound_rules_have_no_findings() {
    let text = r#"
        @id("no-mail") forbid(principal, action == Action::"send", resource);
        @ask("writes") permit(principal in Account::"alice", action in Action::"effect", resource == Tool::"fs_write")
        when { context has object && context.object like "src/*" && context.args_integrity != Integrity::"untrusted" }
        unless { resource.lane != Lane::"builtin" || context.session == Session::"x" };"#;
    assert_eq!(findings(text), []);
    assert_eq!(findings(""), []);
}

#[test]
fn syntax_errors_name_file_line_and_what_was_expected() {
    let finding = only("permit(principal, action, resource);\n\npermit(principal,\n  action resource);");
    assert_eq!((finding.file.as_str(), finding.line, finding.severity), ("a.cedar", 4, Severity::Error));
    assert!(finding.message.contains("unexpected token `resource`"), "{finding}");
    assert!(finding.help.is_some_and(|help| help.contains("expected")));
}

#[test]
fn unknown_attributes_actions_types_and_words_are_refused_where_they_stand() {
    for (condition, part, help) in [
        ("context.colour == 1", "attribute `colour`", None),
        (r#"context.args_integrity == Integrity::"untrustd""#, "untrustd", Some("untrusted")),
        (r#"principal in Team::"interns""#, "Team", None),
        (r#"context.object like "x""#, "object", Some("has")),
        ("context.args_bytes == true", "type", None),
    ] {
        let finding = only(&format!("permit(principal, action, resource)\nwhen {{\n{condition} }};"));
        assert_eq!((finding.line, finding.severity), (3, Severity::Error), "{finding}");
        assert!(finding.message.contains(part), "{finding}");
        if let Some(help) = help {
            assert!(finding.help.clone().is_some_and(|text| text.contains(help)), "{finding:?}");
        }
    }
    let finding = only("\npermit(principal, action == Action::\"sned\", resource);");
    assert_eq!(finding.line, 2);
    assert!(finding.help.is_some_and(|help| help.contains("send")));
}

#[test]
fn what_would_weaken_a_rule_in_silence_is_refused() {
    let rule = "(principal, action, resource);";
    for (text, part) in [
        (format!("@aks(\"why\") permit{rule}"), "unknown annotation `@aks`"),
        (format!("@ask(\"why\") forbid{rule}"), "`@ask` stands on a `forbid`"),
        (format!("@ask permit{rule}"), "no usable reason"),
        (format!("@ask(\"  \") permit{rule}"), "no usable reason"),
        (format!("@ask(\"a\\nb\") permit{rule}"), "no usable reason"),
        (format!("@id(\"x\") permit{rule} @id(\"x\") forbid{rule}"), "two rules are called `x`"),
        (format!("@id(\"approval\") permit{rule}"), "not a rule name"),
        (format!("@id(\"profile:strict\") permit{rule}"), "not a rule name"),
        (format!("@id(\"\") permit{rule}"), "not a rule name"),
        ("permit(principal == ?principal, action, resource);".to_owned(), "a template never applies"),
    ] {
        let finding = only(&text);
        assert_eq!((finding.line, finding.severity), (1, Severity::Error), "{text}");
        assert!(finding.message.contains(part), "{text}: {finding}");
    }
}

#[test]
fn a_rule_that_can_never_match_is_a_warning() {
    let finding = only("\nforbid(principal, action, resource) when { false };");
    assert_eq!((finding.line, finding.severity), (2, Severity::Warning));
}

#[test]
fn file_names_sizes_and_numbers_are_bounded() {
    let rule = "permit(principal, action, resource);";
    for name in ["", "a", "a.txt", "../a.cedar", ".a.cedar", "a b.cedar", &format!("{}.cedar", "a".repeat(64))] {
        let found = check(&[(name.to_owned(), rule.to_owned())]).unwrap();
        assert_eq!(found.len(), 1, "{name}");
    }
    let two = vec![("a.cedar".to_owned(), rule.to_owned()); 2];
    assert_eq!(check(&two).unwrap()[0].message, "two files have this name");
    assert!(only(&" ".repeat(FILE_BYTES_MAX + 1)).message.contains("larger"));
    assert_eq!(findings(&" ".repeat(FILE_BYTES_MAX)), []);
    assert_eq!(findings(&rule.repeat(RULES_MAX)), []);
    assert!(only(&rule.repeat(RULES_MAX + 1)).message.contains("more than 512 rules"));
    let two = ["a.cedar", "b.cedar"].map(|name| (name.to_owned(), rule.repeat(RULES_MAX / 2 + 1)));
    assert!(check(&two).unwrap()[0].message.contains("512 rules"));
}

#[test]
fn hostile_texts_are_refused_with_bounded_findings_on_a_small_stack() {
    let texts = [
        "(".repeat(FILE_BYTES_MAX),
        "a && ".repeat(FILE_BYTES_MAX / 5),
        "\"".repeat(FILE_BYTES_MAX),
        "permit(principal,action,resource) when{".to_owned() + &"[".repeat(60_000),
        "@".repeat(FILE_BYTES_MAX),
        "permit ".repeat(FILE_BYTES_MAX / 7),
        ";".repeat(FILE_BYTES_MAX),
        "\u{202e}\u{0}é".repeat(8000),
    ];
    let small = std::thread::Builder::new().stack_size(512 << 10);
    let found = small.spawn(move || texts.map(|text| findings(&text).len())).unwrap().join().unwrap();
    assert!(found.iter().all(|count| (1..=DIAGNOSTICS_MAX).contains(count)), "{found:?}");
}

#[test]
fn the_most_complex_rule_that_is_accepted_works_on_a_small_stack() {
    let chain = vec!["context.is_approved"; OPERATORS_FIT].join(" || ");
    let nest = format!("{}context.is_approved{}", "(".repeat(30), ")".repeat(30));
    let tests = "if context.is_approved then false else ".repeat(40);
    let text = format!(
        "permit(principal, action, resource) when {{ {chain} }}; forbid(principal, action, resource) when {{ {nest} \
         && ({tests} false) }};"
    );
    let small = std::thread::Builder::new().stack_size(1 << 20);
    let found = small.spawn(move || findings(&text)).unwrap().join().unwrap();
    assert!(found.iter().all(|finding| finding.severity == Severity::Warning), "{found:?}");
}

/// `||` and the dot before each operand are three operator characters.
const OPERATORS_FIT: usize = text::OPERATORS_MAX as usize / 3 - 1;

#[test]
fn all_findings_are_told_sorted_and_the_error_names_the_first() {
    let text = "permit(principal, action, resource) when { context.b };\npermit(principal, action, resource) when { context.a };";
    let found = findings(text);
    assert_eq!(found.iter().map(|finding| finding.line).collect::<Vec<_>>(), [1, 2]);
    let error = Rules::new(Profile::Ask, &[("a.cedar".to_owned(), text.to_owned())]).unwrap_err();
    assert!(matches!(&error, RulesError::Invalid(listed) if *listed == found));
    assert!(error.to_string().starts_with("the rules are invalid: a.cedar:1: "), "{error}");
    assert!(error.to_string().ends_with("(and 1 more)"), "{error}");
}
