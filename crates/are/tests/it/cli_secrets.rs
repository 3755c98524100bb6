//! `are secret` and where the master key comes from, through the built program.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::cli_stage::Stage;
use crate::fixture::Fixture;

const VALUE: &str = "s3cr3t-value-0123456789";
const KEY: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";
const OTHER: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";

async fn set(stage: &Stage, name: &str) {
    stage.run_with(&["secret", "set", name, "--to", "api.example.com", "--env", "deploy"], VALUE).await.exits(0);
}

async fn listed(stage: &Stage) -> Vec<Value> {
    let found = stage.run(&["secret", "list", "--json"]).await.exits(0).json();
    found["secrets"].as_array().expect("secrets").clone()
}

#[tokio::test]
async fn a_secret_is_set_from_stdin_or_a_variable_listed_without_its_value_and_deleted() {
    let mut stage = Stage::new().await;
    stage.run_with(&["secret", "set", "one", "--to", "API.example.com"], &format!("{VALUE}\n")).await.exits(0);
    stage.set("TOKEN_OF_TWO", "another-value-of-mine");
    stage.run(&["secret", "set", "two", "--env", "deploy", "--from-env", "TOKEN_OF_TWO"]).await.exits(0);
    let ran = stage.run(&["secret", "list"]).await.exits(0);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(
        lines[0].starts_with("NAME") && lines[1].starts_with("one") && lines[2].starts_with("two"),
        "{}",
        ran.stdout
    );
    assert!(lines[1].contains("api.example.com") && lines[2].contains("deploy") && lines[1].contains("good"));
    assert!(!ran.stdout.contains(VALUE) && !ran.stdout.contains("another-value"));
    let mode = std::fs::metadata(stage.data_dir().join("master.key")).expect("made").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = listed(&stage).await;
    stage.run(&["secret", "delete", "two"]).await.exits(0);
    let after = listed(&stage).await;
    assert_eq!((before.len(), after.len()), (2, 1));
    let gone = stage.run(&["secret", "delete", "two"]).await.exits(1);
    assert!(gone.stderr.starts_with("error[ARE-0802]"), "{}", gone.stderr);
}

#[tokio::test]
async fn what_cannot_be_a_secret_is_refused_and_nothing_of_it_is_repeated() {
    let stage = Stage::new().await;
    let long = "x".repeat(9_000);
    for (args, value, code) in [
        (vec!["secret", "set", "s", "--to", "a.example"], "short", "ARE-0806"),
        (vec!["secret", "set", "s", "--to", "a.example"], long.as_str(), "ARE-0806"),
        (vec!["secret", "set", "s", "--to", "https://a.example"], VALUE, "ARE-0804"),
        (vec!["secret", "set", "s", "--to", "*.com"], VALUE, "ARE-0804"),
        (vec!["secret", "set", "s", "--env", "No Tool"], VALUE, "ARE-0804"),
        (vec!["secret", "set", "s"], VALUE, "ARE-0804"),
        (vec!["secret", "set", "not a name", "--to", "a.example"], VALUE, "ARE-0206"),
    ] {
        let ran = stage.run_with(&args, value).await;
        assert_ne!(ran.code, Some(0));
        assert!(ran.stderr.starts_with(&format!("error[{code}]")), "{args:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains(VALUE) && !ran.stderr.contains(&long), "{}", ran.stderr);
    }
    stage.run(&["secret", "set", "s", "--to", "a.example", "--from-env", "NOT_THERE"]).await.exits(3);
    // There is no way to put it on the command line.
    stage.run(&["secret", "set", "s", VALUE, "--to", "a.example"]).await.exits(2);
    assert!(listed(&stage).await.is_empty());
    assert!(!stage.data_dir().join("master.key").exists(), "made when the first is set");
}

#[tokio::test]
async fn a_body_that_is_wrong_is_not_repeated_by_the_door() {
    let are = Fixture::start().await;
    for body in [
        json!({"value": 1_234_567_890}),
        json!({"valeu": VALUE, "hosts": ["a.example"]}),
        json!({"value": VALUE, "hosts": VALUE}),
        json!({"value": [VALUE]}),
        json!([VALUE]),
        json!(VALUE),
        json!({"value": VALUE, "hosts": ["a.example"], "more": VALUE}),
    ] {
        let (status, answer) = are.api("PUT", "/api/secrets/s", Some(body.clone())).await;
        assert_eq!((status, &answer["code"]), (400, &json!("ARE-0206")), "{body}");
        assert!(!answer.to_string().contains(VALUE) && !answer.to_string().contains("1234567890"), "{answer}");
    }
    let good = json!({"value": VALUE, "hosts": ["a.example"]});
    let (_, reader) = are.token(&["read", "prompt"]).await;
    assert_eq!(are.api_as(&reader, "PUT", "/api/secrets/s", Some(good.clone())).await.0, 403);
    assert_eq!(are.api("PUT", "/api/secrets/s", Some(good)).await.0, 204);
    assert_eq!(are.api_as(&reader, "DELETE", "/api/secrets/s", None).await.0, 403);
    let (_, approver) = are.token(&["approve"]).await;
    assert_eq!(are.api_as(&approver, "POST", "/api/secrets/rotate-key", None).await.0, 403);
    let (_, one) = are.api_as(&reader, "GET", "/api/secrets", None).await;
    assert_eq!(one["secrets"][0]["hosts"], json!(["a.example"]));
    are.end().await;
}

#[tokio::test]
async fn a_wrong_or_missing_master_key_locks_the_secrets_and_nothing_else() {
    let mut stage = Stage::new().await;
    stage.set("ARE_MASTER_KEY", KEY);
    set(&stage, "one").await;
    let sealed = listed(&stage).await;
    for (name, value, says) in [
        ("ARE_MASTER_KEY", Some(OTHER), "environment ARE_MASTER_KEY"),
        ("ARE_MASTER_KEY", Some("correct horse battery staple"), "is no key of 32 bytes"),
        ("ARE_MASTER_KEY", None, "master.key"),
        ("ARE_MASTER_KEY_COMMAND", Some("exit 3"), "it failed"),
        ("ARE_MASTER_KEY_COMMAND", Some("printf ''"), "it prints nothing"),
        ("ARE_MASTER_KEY_COMMAND", Some("yes 0123456789 | head -c 20000"), "it prints more than"),
        ("ARE_MASTER_KEY_COMMAND", Some("echo hunter2hunter2"), "is no key of 32 bytes"),
    ] {
        stage.unset("ARE_MASTER_KEY");
        if let Some(value) = value {
            stage.set(name, value);
        }
        let found = listed(&stage).await;
        assert_eq!(found[0]["is_readable"], false, "{name} {value:?}");
        assert_eq!(found[0]["key"], sealed[0]["key"]);
        let refused = stage.run_with(&["secret", "set", "two", "--to", "a.example"], VALUE).await;
        assert!(
            refused.stderr.contains("error[ARE-0803]") && refused.stderr.contains(says),
            "{name}: {}",
            refused.stderr
        );
        assert!(!refused.stderr.contains("hunter2") && !refused.stderr.contains("battery"), "{}", refused.stderr);
        stage.run(&["secret", "rotate-key"]).await.exits(1);
        stage.run(&["secret", "rotate-key", "--master"]).await.exits(1);
        stage.run(&["run", "hello"]).await.exits(0);
        assert!(!stage.data_dir().join("master.key").exists(), "a second key would hide the first");
        stage.unset(name);
    }
    stage.set("ARE_MASTER_KEY_COMMAND", &format!("echo {KEY}"));
    assert_eq!(
        listed(&stage).await[0]["is_readable"],
        true,
        "the right key opens what it sealed, wherever it comes from"
    );
    stage.set("ARE_MASTER_KEY", KEY);
    let both = stage.run(&["secret", "list"]).await.exits(3);
    assert!(both.stderr.contains("error[ARE-0007]"), "{}", both.stderr);
}

#[tokio::test]
async fn keys_are_rotated_and_the_older_ones_are_not_needed_any_more() {
    let mut stage = Stage::new().await;
    set(&stage, "one").await;
    let file = stage.data_dir().join("master.key");
    let read = || std::fs::read_to_string(&file).expect("a key").lines().map(str::to_owned).collect::<Vec<_>>();
    let (first, before) = (read(), listed(&stage).await);
    stage.run(&["secret", "rotate-key"]).await.exits(0);
    let after = listed(&stage).await;
    assert_ne!(before[0]["key"], after[0]["key"]);
    assert_eq!((after[0]["is_readable"].clone(), read()), (json!(true), first.clone()));
    let rotated = stage.run(&["secret", "rotate-key", "--master", "--json"]).await.exits(0).json();
    assert_eq!((&rotated["secrets"], &rotated["left"]), (&json!(1), &json!(0)));
    let second = read();
    assert!(second.len() == 1 && second != first, "the older one is gone");
    assert_eq!(listed(&stage).await[0]["is_readable"], true);
    // To another source: the new key before the old one, rotate, and the old one can go.
    stage.set("ARE_MASTER_KEY", &format!("{KEY}\n{}", second[0]));
    std::fs::remove_file(&file).expect("it was there");
    stage.run(&["secret", "rotate-key"]).await.exits(0);
    let refused = stage.run(&["secret", "rotate-key", "--master"]).await.exits(1);
    assert!(refused.stderr.contains("error[ARE-0803]"), "{}", refused.stderr);
    stage.set("ARE_MASTER_KEY", KEY);
    assert_eq!(listed(&stage).await[0]["is_readable"], true);
}

/// A bus and a keyring of the test's own, unlocked.
struct Keyring {
    address: String,
    bus: Child,
    daemon: Child,
}

impl Keyring {
    async fn start(stage: &mut Stage) -> Self {
        let home = stage.home().join("desktop");
        std::fs::create_dir_all(&home).expect("a directory");
        let mut bus = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--nopidfile", "--print-address=1"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("a bus");
        let mut address = String::new();
        let stdout = bus.stdout.as_mut().expect("its output");
        BufReader::new(stdout).read_line(&mut address).await.expect("its address");
        stage.set("DBUS_SESSION_BUS_ADDRESS", address.trim());
        let mut daemon = Command::new("gnome-keyring-daemon")
            .args(["--unlock", "--foreground", "--components=secrets"])
            .env("DBUS_SESSION_BUS_ADDRESS", address.trim())
            .envs([("HOME", &home), ("XDG_DATA_HOME", &home), ("XDG_RUNTIME_DIR", &home)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("a keyring");
        let mut stdin = daemon.stdin.take().expect("its input");
        stdin.write_all(b"of the test").await.expect("the password");
        drop(stdin);
        Self { address: address.trim().to_owned(), bus, daemon }
    }

    async fn stop(mut self) {
        for child in [&mut self.daemon, &mut self.bus] {
            child.kill().await.expect("it ends");
        }
    }
}

#[tokio::test]
async fn a_keyring_keeps_the_master_key_makes_it_and_takes_a_new_one() {
    let mut stage = Stage::new().await;
    let keyring = Keyring::start(&mut stage).await;
    stage.set("ARE_MASTER_KEY", "keyring");
    set(&stage, "one").await;
    assert!(!stage.data_dir().join("master.key").exists(), "it is in the keyring alone");
    let sealed = listed(&stage).await;
    assert_eq!(sealed[0]["is_readable"], true);
    stage.run(&["secret", "rotate-key", "--master"]).await.exits(0);
    let rotated = listed(&stage).await;
    assert_eq!(rotated[0]["is_readable"], true);
    assert_ne!(rotated[0]["key"], sealed[0]["key"]);
    // Another store of the same user has a key of its own.
    let mut other = Stage::new().await;
    other.set("DBUS_SESSION_BUS_ADDRESS", &keyring.address);
    other.set("ARE_MASTER_KEY", "keyring");
    set(&other, "two").await;
    assert_eq!(listed(&stage).await[0]["is_readable"], true);
    keyring.stop().await;
    // What cannot be asked is not taken for an empty one, in which a second key would be made.
    assert_eq!(listed(&stage).await[0]["is_readable"], false);
    let refused = stage.run_with(&["secret", "set", "two", "--to", "a.example"], VALUE).await;
    let says = refused.stderr.contains("error[ARE-0803]") && refused.stderr.contains("the keyring");
    assert!(says, "{}", refused.stderr);
}
