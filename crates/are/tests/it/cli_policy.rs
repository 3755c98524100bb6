//! `allow` in the settings, and `are policy check` and `test`, through the built program.

use are_testkit::provider::Reply;
use serde_json::{Value, json};

use crate::cli_stage::Stage;

const SETTINGS: &str = ".config/are/are.toml";

fn ask_for(stage: &Stage, path: &str) {
    let call = Reply::call("fs_write", &json!({"path": path, "content": "x"}));
    stage.provider().script([call, Reply::text(["done"])]);
}

#[tokio::test]
async fn a_line_of_allow_lets_a_call_run_and_a_replay_needs_only_what_was_stored() {
    let mut stage = Stage::new().await;
    stage.set("ARE_POLICY", "ask");
    stage.write(SETTINGS, "allow = [\"fs_write docs/*\"]\n");
    stage.write("project/docs/old.txt", "old");
    ask_for(&stage, "./docs/../docs/a,b.txt");
    stage.run(&["run", "write it"]).await.exits(0);
    assert!(stage.project().join("docs/a,b.txt").is_file());
    let permitted = stage.latest().await;

    ask_for(&stage, "docs/../b.txt");
    stage.run(&["run", "write it"]).await.exits(4);
    assert!(!stage.project().join("b.txt").exists());

    // The lines are stored with the rules: the recorded decision does not change with the settings.
    stage.write(SETTINGS, "");
    let report = stage.run(&["session", "replay", "--json", &permitted]).await.exits(0).json();
    assert_eq!(report["difference"], Value::Null);
    stage.run(&["session", "replay", "--policy", "ask", &permitted]).await.exits(6);
    stage.write(SETTINGS, "allow = [\"fs_write docs/*\"]\n");
    stage.run(&["session", "replay", "--policy", "ask", &permitted]).await.exits(0);
}

#[tokio::test]
async fn the_rules_in_force_show_what_each_line_became() {
    let mut stage = Stage::new().await;
    stage.write(SETTINGS, "allow = [\"fs_write docs/a,b/*\", \"http_request docs.example.org\"]\n");
    let shown = stage.run(&["policy", "show"]).await.exits(0).stdout;
    let rule = "// fs_write docs/a,b/*\n@id(\"allow.fs_write.";
    assert!(shown.contains("// are.toml.cedar\n") && shown.contains(rule), "{shown}");
    assert!(shown.contains("context.host.name == \"docs.example.org\""), "{shown}");
    stage.run(&["policy", "check"]).await.exits(0);
    let settings = stage.run(&["config", "show", "--origin", "--json"]).await.exits(0).json();
    assert_eq!(settings["allow"]["value"], "fs_write docs/a,b/*, http_request docs.example.org");

    stage.set("ARE_ALLOW", "fs_write a/*, fs_delete b.txt");
    let shown = stage.run(&["policy", "show", "--json"]).await.exits(0).json();
    let text = shown["files"]["are.toml.cedar"].as_str().expect("a rule file");
    assert_eq!(text.matches("@id").count(), 2, "{text}");
    assert!(text.contains("Path::\"a\"") && text.contains("Path::\"b.txt\""), "{text}");
}

#[tokio::test]
async fn a_line_of_allow_that_is_no_rule_stops_everything_with_what_to_write() {
    let stage = Stage::new().await;
    for (setting, said, help) in [
        ("[\"fs_wirte docs/*\"]", "names the tool `fs_wirte`, which does not exist", "did you mean `fs_write`?"),
        ("[\"*\"]", "would permit every tool", "begin with the name of one tool"),
        ("[\"fs_write *\"]", "would permit everything that `fs_write` can do", "resource == Tool::\"fs_write\""),
        ("[\"fs_write\"]", "does not say what `fs_write` may do", "`fs_write docs/*`"),
        ("[\"\"]", "is empty", "drop it"),
    ] {
        stage.write(SETTINGS, &format!("allow = {setting}\n"));
        for verb in [&["policy", "show"][..], &["policy", "check"], &["config", "check"], &["run", "x"], &["start"]] {
            let ran = stage.run(verb).await.exits(3);
            let is_told = ran.stderr.starts_with("error[ARE-0605]") && ran.stderr.contains(said);
            assert!(is_told && ran.stderr.contains(help) && ran.stderr.contains("are.toml"), "{}", ran.stderr);
        }
    }
    for setting in ["\"fs_write docs/*\"", "[1]", "[\"fs_write a\\nfs_write b\"]"] {
        stage.write(SETTINGS, &format!("allow = {setting}\n"));
        let ran = stage.run(&["config", "check"]).await.exits(3);
        assert!(ran.stderr.starts_with("error[ARE-0002]") && ran.stderr.contains("`allow`"), "{}", ran.stderr);
    }
}

#[tokio::test]
async fn rules_that_no_call_can_match_are_warned_of() {
    let stage = Stage::new().await;
    let text = "forbid(principal, action, resource == Tool::\"http_request\")\n\
                when { context has path && context.path in Path::\"src\" };\n";
    stage.write("rules/r.cedar", text);
    let rules = stage.home().join("rules").display().to_string();
    let found = stage.run(&["policy", "check", &rules]).await.exits(0).stdout;
    assert!(found.starts_with("warning: r.cedar:1: no call of `http_request` has a `context.path`"), "{found}");
    let found = stage.run(&["policy", "check", "--json", &rules]).await.exits(0).json();
    assert_eq!(found["findings"][0]["severity"], "warning");
}

const RULES: &str = r#"
@id("no-git") forbid(principal, action, resource) when { context has path && context.path in Path::".git" };
@id("interns") forbid(principal in Group::"interns", action == Action::"network_read", resource);
@id("docs") @ask("reads the vendor's documentation")
permit(principal, action == Action::"network_read", resource)
when { context has host && context.host in Host::"example.org" };
@id("build") permit(principal == Agent::"builder", action, resource)
when { context has path && context.path in Path::"build" && context.in_view_integrity != Integrity::"untrusted" };
@id("doubt") @ask("untrusted content is in view") permit(principal == Agent::"builder", action, resource)
when { context.in_view_integrity == Integrity::"untrusted" };
"#;

const CASES: &str = r#"
# Whatever the spelling.
[[case]]
name = "nothing touches .git"
tool = "fs_write"
args = { path = "x/../.git/config", content = "" }
approved = true
expect = "deny"
rules = ["no-git"]

[[case]]
name = "interns stay inside"
account = "ida"
groups = ["staff", "interns"]
tool = "http_request"
args = { url = "https://docs.example.org/" }
expect = "deny"
rules = ["interns"]

[[case]]
tool = "http_request"
args = { url = "https://docs.example.org/" }
expect = "ask"

[[case]]
tool = "http_request"
args = { url = "https://docs.example.org/" }
approved = true
expect = "allow"
rules = ["docs", "approval"]

[[case]]
agent = "builder"
tool = "fs_write"
args = { path = "build/a", content = "" }
expect = "allow"
rules = ["build"]
"#;

#[tokio::test]
async fn cases_that_come_out_as_expected_are_counted_and_those_that_do_not_are_told() {
    let stage = Stage::new().await;
    stage.write("rules/r.cedar", RULES);
    stage.write("project/good.toml", CASES);
    let rules = stage.home().join("rules").display().to_string();
    let ran = stage.run(&["policy", "test", "good.toml", "--policy", &rules]).await.exits(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", "5 cases, 0 failed\n"));

    let explain = |group: &'static str| {
        let args =
            ["http_request", r#"{"url":"https://docs.example.org/"}"#, "--group", group, "--policy", rules.as_str()];
        [&["policy", "explain", "--json"], args.as_slice()].concat()
    };
    let told = stage.run(&explain("interns")).await.exits(0).json();
    assert_eq!((&told["decision"], &told["rules"]), (&json!("deny"), &json!(["interns"])), "{told}");
    let told = stage.run(&explain("staff")).await.exits(0).json();
    assert_eq!(told["decision"], "ask", "{told}");
    let refused = stage.run(&explain("no group")).await.exits(1);
    assert!(refused.stderr.contains("group"), "{}", refused.stderr);

    let bad = r#"
[[case]]
name = "untrusted content may build"
agent = "builder"
tool = "fs_write"
args = { path = "build/a", content = "" }
in_view = { integrity = "untrusted", origins = ["http_request#1"] }
expect = "allow"

[[case]]
tool = "http_request"
args = { url = "https://docs.example.org/" }
expect = "ask"
rules = ["build", "docs"]

[[case]]
tool = "fs_wirte"
expect = "deny"

[[case]]
tool = "fs_write"
args = { path = 7 }
expect = "deny"
"#;
    stage.write("project/bad.toml", bad);
    let args = ["policy", "test", "good.toml", "bad.toml", "--policy", &rules];
    let ran = stage.run(&args).await.exits(1);
    assert_eq!(ran.stderr, "9 cases, 4 failed\n");
    insta::assert_snapshot!("cases_that_fail", ran.stdout);

    let report = stage.run(&[&args[..], &["--json"]].concat()).await.exits(1).json();
    assert_eq!((&report["cases"], &report["failed"], &report["profile"]), (&json!(9), &json!(4), &json!("strict")));
    let passed: Vec<_> = report["results"].as_array().into_iter().flatten().map(|one| &one["passed"]).collect();
    assert_eq!(passed, [true, true, true, true, true, false, false, false, false].map(Value::Bool).each_ref());
    assert_eq!(report["results"][5]["expected"], json!({"outcome": "allow"}));
    assert_eq!(report["results"][5]["outcome"], "ask");
    assert_eq!(report["results"][5]["line"], 2);
    assert_eq!(report["results"][7]["outcome"], Value::Null);
}

#[tokio::test]
async fn cases_are_decided_by_the_rules_in_force_with_the_lines_of_allow() {
    let mut stage = Stage::new().await;
    stage.set("ARE_POLICY", "ask");
    let case = "[[case]]\ntool = \"fs_write\"\nargs = { path = \"docs/a\", content = \"\" }\nexpect = \"allow\"\n";
    stage.write("project/cases.toml", case);
    stage.run(&["policy", "test", "cases.toml"]).await.exits(1);
    stage.write(SETTINGS, "allow = [\"fs_write docs/*\"]\n");
    stage.run(&["policy", "test", "cases.toml"]).await.exits(0);
    stage.run(&["policy", "test", "cases.toml", "--policy", "observe"]).await.exits(0);
}

#[tokio::test]
async fn a_test_file_that_is_none_is_refused_with_its_line() {
    let stage = Stage::new().await;
    for (text, said) in [
        ("[[case]]\ntool = \"fs_read\"\nexpect = \"alow\"\n", "line 3: unknown variant `alow`"),
        ("[[case]]\ntool = \"fs_read\"\nexpect = \"deny\"\naproved = true\n", "unknown field `aproved`"),
        ("[[case]]\nexpect = \"deny\"\n", "missing field `tool`"),
        ("[[cases]]\n", "unknown field `cases`"),
        ("", "holds no `[[case]]`"),
        ("x", "line 1"),
    ] {
        stage.write("project/cases.toml", text);
        let ran = stage.run(&["policy", "test", "cases.toml"]).await.exits(3);
        assert!(ran.stderr.starts_with("error[ARE-0605]") && ran.stderr.contains(said), "{}", ran.stderr);
    }
    let ran = stage.run(&["policy", "test", "none.toml"]).await.exits(3);
    assert!(ran.stderr.contains("cannot read the test file"), "{}", ran.stderr);
    stage.run(&["policy", "test"]).await.exits(2);
}

/// Blocks of one kind on the reference page.
fn blocks(kind: &str) -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/policy.md");
    let page = std::fs::read_to_string(path).expect("the page");
    let begin = format!("```{kind}\n");
    page.split(&begin).skip(1).filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_examples_of_the_reference_are_valid_and_its_cases_come_out_as_it_says() {
    let stage = Stage::new().await;
    let (rules, files) = (blocks("cedar"), blocks("toml"));
    assert_eq!((rules.len(), files.len()), (3, 2));
    for (number, text) in rules.iter().enumerate() {
        stage.write(&format!("rules/r{number}.cedar"), text);
    }
    stage.write(SETTINGS, &files[0]);
    stage.write("project/cases.toml", &files[1]);
    let rules = stage.home().join("rules").display().to_string();
    let found = stage.run(&["policy", "check", &rules, "--json"]).await.exits(0).json();
    assert_eq!(found["findings"], json!([]));
    stage.run(&["policy", "show"]).await.exits(0);
    stage.run(&["policy", "test", "cases.toml", "--policy", &rules]).await.exits(0);
}
