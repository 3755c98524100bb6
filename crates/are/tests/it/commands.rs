//! Commands in a turn, through the built program: tests of a repository run and mended, all of it undone.

use std::time::Duration;

use are_testkit::provider::Reply;
use are_testkit::run;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::cli_stage::Stage;

/// Longer than anything here takes on a busy machine; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(120);
const PROMPT: &str = "Run the tests of this repository and fix the failing one";

/// A repository with a test that fails, and how to mend it.
struct Repository {
    /// What must be there to run it.
    needs: &'static [&'static str],
    files: &'static [(&'static str, &'static str)],
    argv: &'static [&'static str],
    /// File, what is wrong in it and what is right.
    mend: (&'static str, &'static str, &'static str),
}

const REPOSITORIES: [Repository; 5] = [
    Repository {
        needs: &["python3"],
        files: &[
            ("adder/__init__.py", "def add(a, b):\n    return a - b\n"),
            (
                "tests/test_adder.py",
                "import pathlib, unittest\nfrom adder import add\n\nclass Adds(unittest.TestCase):\n    def test_add(self):\n        pathlib.Path('report/last').parent.mkdir(exist_ok=True)\n        pathlib.Path('report/last').write_text('ran')\n        self.assertEqual(add(2, 3), 5)\n",
            ),
            ("tests/__init__.py", ""),
        ],
        argv: &["python3", "-m", "unittest", "discover"],
        // Of another length: Python takes what it compiled for that of any file of the same length and second.
        mend: ("adder/__init__.py", "a - b", "a  + b"),
    },
    Repository {
        needs: &["python3", "pytest"],
        files: &[
            ("adder.py", "def add(a, b):\n    return a - b\n"),
            ("test_adder.py", "from adder import add\n\ndef test_add():\n    assert add(2, 3) == 5\n"),
        ],
        argv: &["pytest", "-q"],
        mend: ("adder.py", "a - b", "a  + b"),
    },
    Repository {
        needs: &["node", "npm"],
        files: &[
            ("package.json", r#"{"name": "adder", "version": "1.0.0", "scripts": {"test": "node --test"}}"#),
            ("adder.js", "module.exports = (a, b) => a - b;\n"),
            (
                "adder.test.js",
                "const test = require('node:test');\nconst assert = require('node:assert');\nconst add = require('./adder');\ntest('adds', () => assert.strictEqual(add(2, 3), 5));\n",
            ),
        ],
        argv: &["npm", "test"],
        mend: ("adder.js", "a - b", "a + b"),
    },
    Repository {
        needs: &["cargo"],
        files: &[
            ("Cargo.toml", "[package]\nname = \"adder\"\nversion = \"0.1.0\"\nedition = \"2021\"\n"),
            (
                "src/lib.rs",
                "pub fn add(a: i32, b: i32) -> i32 {\n    a - b\n}\n\n#[test]\nfn adds() {\n    assert_eq!(add(2, 3), 5);\n}\n",
            ),
        ],
        argv: &["cargo", "test"],
        mend: ("src/lib.rs", "a - b", "a  + b"),
    },
    Repository {
        needs: &["make", "cc"],
        files: &[
            ("Makefile", "test: check\n\t./check\n\ncheck: check.c adder.h\n\t$(CC) -o $@ check.c\n"),
            ("adder.h", "static int add(int a, int b) { return a - b; }\n"),
            ("check.c", "#include \"adder.h\"\nint main(void) { return add(2, 3) == 5 ? 0 : 1; }\n"),
        ],
        argv: &["make", "test"],
        mend: ("adder.h", "a - b", "a  + b"),
    },
];

/// A stage whose commands see this machine's toolchains, under the default profile; `None` without a cage.
async fn stage() -> Option<Stage> {
    let mut stage = Stage::new().await;
    let data_dir = stage.data_dir().display().to_string();
    // The configuration is looked for below this, and there is none.
    let nowhere = stage.home().join("nowhere").display().to_string();
    if let Some(home) = std::env::home_dir() {
        stage.set("HOME", &home.display().to_string());
    }
    let cache = stage.home().join(".cache").display().to_string();
    stage.set("XDG_CACHE_HOME", &cache);
    stage.set("ARE_DATA_DIR", &data_dir).set("XDG_CONFIG_HOME", &nowhere).set("ARE_POLICY", "contained");
    has_commands(&stage).await.then_some(stage)
}

pub(crate) async fn has_commands(stage: &Stage) -> bool {
    let doctor = stage.run(&["doctor", "--json"]).await;
    let findings = doctor.json()["findings"].clone();
    let findings = findings.as_array().expect("findings");
    let why = findings.iter().find(|one| one["text"].as_str().is_some_and(|text| text.contains("not served")));
    if let Some(why) = why {
        run::skip(why);
    }
    why.is_none()
}

fn is_here(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Every file of the project but what tools build, with its content; directories as such.
fn project(stage: &Stage) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![stage.project()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).expect("directory").flatten() {
            let name = entry.path().strip_prefix(stage.project()).expect("below").display().to_string();
            let is_built = ["target", "__pycache__", ".pytest_cache"].iter().any(|built| entry.file_name() == *built);
            if is_built {
                continue;
            }
            if entry.file_type().expect("kind").is_dir() {
                open.push(entry.path());
                found.push((name, "directory".to_owned()));
            } else {
                found.push((name, String::from_utf8_lossy(&std::fs::read(entry.path()).expect("file")).into_owned()));
            }
        }
    }
    found.sort();
    found
}

pub(crate) async fn events(stage: &Stage) -> Vec<Value> {
    let key = stage.latest().await;
    stage.run(&["session", "events", "--json", &key]).await.exits(0).lines()
}

#[tokio::test]
async fn tests_are_run_mended_and_run_again_without_asking_and_undone() {
    for repository in &REPOSITORIES {
        if let Some(missing) = repository.needs.iter().find(|program| !is_here(program)) {
            run::absent(format!("{missing} is not here"));
            continue;
        }
        let Some(stage) = stage().await else { return };
        for (path, content) in repository.files {
            stage.write(&format!("project/{path}"), content);
        }
        let before = project(&stage);
        let (file, wrong, right) = repository.mend;
        let tests = || Reply::call("process_run", &json!({"argv": repository.argv}));
        stage.provider().script([
            Reply::call("fs_list", &json!({"path": "."})),
            Reply::call("fs_read", &json!({"path": file})),
            tests(),
            Reply::call("fs_edit", &json!({"path": file, "old": wrong, "new": right})),
            tests(),
            Reply::text(["mended"]),
        ]);
        let ran = stage.run(&["run", PROMPT]).await.exits(0);
        let events = events(&stage).await;
        let codes: Vec<&Value> = events.iter().filter_map(|event| event["result"].get("exit_code")).collect();
        assert!(
            codes.len() == 2 && *codes[0] != json!(0) && *codes[1] == json!(0),
            "{repository}: {events:#?}",
            repository = repository.argv.join(" ")
        );
        let asked = events.iter().filter(|event| event["type"] == "approval_requested").count();
        assert_eq!((ran.stdout.trim(), asked), ("mended", 0), "{}", ran.stderr);
        assert_ne!(project(&stage), before);
        stage.run(&["undo", "1", "--yes"]).await.exits(0);
        assert_eq!(project(&stage), before, "{}", repository.argv.join(" "));
        println!("{}: failed, mended, passed, undone", repository.argv.join(" "));
    }
}

#[tokio::test]
async fn what_a_command_changed_that_was_killed_with_the_server_is_undone_too() {
    let Some(mut stage) = stage().await else { return };
    stage.write("project/a.txt", "old\n");
    stage.write("project/gone.txt", "gone\n");
    let before = project(&stage);
    let workspace = stage.project().display().to_string();
    stage.set("ARE_WORKSPACE", &workspace);
    let shell = "echo new > a.txt; rm gone.txt; mkdir -p made/inner; echo x > made/inner/x; echo y > last; sleep 600";
    stage.provider().script([Reply::call("process_run", &json!({"shell": shell})), Reply::text(["done"])]);
    let mut serving = stage.serve(&[]).await;
    let client = stage.command(&["run", "Run it"]).spawn().expect("the program starts");
    let last_is_written = async {
        while !std::fs::read_to_string(stage.project().join("last")).is_ok_and(|text| text == "y\n") {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, last_is_written).await.expect("the last file in time");
    serving.child.kill().await.expect("killed");
    drop(client);
    let serving = stage.serve(&[]).await;
    let key = stage.latest().await;
    // The turn goes on by itself, and what the call came to is not known.
    let is_over = async {
        loop {
            let events = events(&stage).await;
            if events.iter().any(|event| event["type"] == "turn_completed") {
                return events;
            }
        }
    };
    let events = timeout(PATIENCE, is_over).await.expect("the turn's end in time");
    assert_eq!(events.iter().filter(|event| event["type"] == "tool_unknown").count(), 1, "{events:#?}");
    // What the user does since is not the command's.
    stage.write("project/mine.txt", "mine");
    let shown = stage.run(&["diff", &format!("{key}/1")]).await.exits(0).stdout;
    assert!(shown.contains("-old\n+new\n") && !shown.contains("mine.txt"), "{shown}");
    stage.run(&["undo", &format!("{key}/1"), "--yes"]).await.exits(0);
    std::fs::remove_file(stage.project().join("mine.txt")).expect("removed");
    assert_eq!(project(&stage), before);
    assert_eq!(serving.terminate().await, Some(0));
    let report = stage.run(&["session", "replay", &key, "--json"]).await.exits(0).json();
    assert_eq!(report["difference"], Value::Null, "{report}");
}

#[tokio::test]
async fn what_was_built_in_a_directory_goes_with_it_when_that_is_undone() {
    let Some(stage) = stage().await else { return };
    let before = project(&stage);
    let shell = "mkdir -p pkg/node_modules/x pkg/src/__pycache__; echo a > pkg/src/a; echo b > pkg/src/__pycache__/b; echo c > pkg/node_modules/x/c; mkdir -p .github/workflows; echo evil > .github/workflows/ci.yml";
    stage.provider().script([Reply::call("process_run", &json!({"shell": shell})), Reply::text(["done"])]);
    // Nobody asked for a CI file.
    stage.run(&["run", "Look around"]).await.exits(0);
    assert!(stage.project().join("pkg/src/a").exists());
    // What was put back leaves no hull behind.
    assert!(!stage.project().join(".github").exists(), "{:?}", project(&stage));
    stage.run(&["undo", "1", "--yes"]).await.exits(0);
    assert_eq!(project(&stage), before);
}
