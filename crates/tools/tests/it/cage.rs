//! Commands run, and everything that they try beside that comes to nothing.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use are_core::error::Code;
use are_policy::tools::{ToolOutcome, Tools};
use are_testkit::run;
use are_tools::CageOptions;
use are_tools::cage::Report;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::World;

/// Ways in which a cage is closed.
const PLACES: [bool; 2] = [true, false];

pub(crate) fn options(world: &World, has_namespaces: bool) -> CageOptions {
    CageOptions {
        supervisor: PathBuf::from(env!("CARGO_BIN_EXE_are-cage")),
        home: std::env::home_dir(),
        path: std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect(),
        has_namespaces,
        ..CageOptions::new(world.root.path().join("cache"))
    }
}

/// A world with commands; `None` where this machine allows no such cage, which was said.
pub(crate) async fn caged(mut world: World, has_namespaces: bool) -> Option<World> {
    let options = options(&world, has_namespaces);
    let report = Report::fresh(&options).await;
    let namespaces = report.layers().iter().any(|layer| layer.name == "namespaces" && layer.is_enforced);
    if !report.is_served() || namespaces != has_namespaces {
        run::skip(format!("no cage with namespaces = {has_namespaces}: {report:?}"));
        return None;
    }
    world.registry =
        std::mem::replace(&mut world.registry, World::new().registry).caged(options, &report).expect("caged");
    Some(world)
}

async fn worlds() -> Vec<(bool, World)> {
    let mut worlds = Vec::new();
    for has_namespaces in PLACES {
        worlds.extend(caged(World::new(), has_namespaces).await.map(|world| (has_namespaces, world)));
    }
    worlds
}

async fn sh(world: &World, script: &str) -> Value {
    world.ok("process_run", json!({"shell": script})).await
}

fn all(value: &Value) -> String {
    format!("{}{}", value["stdout"].as_str().unwrap_or_default(), value["stderr"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn a_command_runs_with_arguments_input_and_directory() {
    for (place, world) in worlds().await {
        world.write("sub/a.txt", "content");
        let run =
            world.ok("process_run", json!({"argv": ["cat", "a.txt", "-"], "cwd": "sub", "stdin": " and input"})).await;
        assert_eq!((&run["exit_code"], &run["stdout"]), (&json!(0), &json!("content and input")), "{place} {run}");
        let run = sh(&world, "echo out; echo err >&2; echo 'a  b' > made.txt; exit 3").await;
        assert_eq!((&run["exit_code"], &run["stdout"], &run["stderr"]), (&json!(3), &json!("out\n"), &json!("err\n")));
        assert_eq!(world.read("made.txt"), "a  b\n");
        let run = sh(&world, "kill -9 $$").await;
        assert_eq!((&run["exit_code"], &run["signal"]), (&Value::Null, &json!(9)));
        let run = world.ok("process_run", json!({"argv": ["cat"]})).await;
        assert_eq!((&run["exit_code"], &run["stdout"]), (&json!(0), &json!("")), "no input is an end at once");
        let fault = world.fault("process_run", json!({"argv": ["no-such-program"]})).await;
        assert_eq!(fault.code, Code::TOOL_FAILED, "{fault}");
    }
}

#[tokio::test]
async fn nothing_survives_the_deadline() {
    for (place, world) in worlds().await {
        let marker = world.path("alive");
        // A daemon that left its session and ignores what it can.
        let script = "trap '' TERM HUP INT; (setsid sh -c 'trap \"\" TERM HUP; while :; do echo x >> alive; sleep 0.01; done' &) ; while :; do sleep 1; done";
        let began = Instant::now();
        let run = world.ok("process_run", json!({"shell": script, "timeout_ms": 400})).await;
        let took = began.elapsed();
        assert_eq!(run["timed_out"], json!(true), "{place} {run}");
        assert!(marker.exists(), "{place} {run}");
        let size = marker.metadata().expect("marker").len();
        // Whatever was alive would have written many times meanwhile.
        let later = Instant::now() + Duration::from_millis(200);
        while Instant::now() < later {
            tokio::task::yield_now().await;
        }
        assert_eq!(marker.metadata().expect("marker").len(), size, "{place}: something lives on");
        println!("namespaces {place}: deadline at 400 ms, all over after {took:?}");
    }
}

#[tokio::test]
async fn what_a_command_leaves_behind_dies_with_it() {
    for (place, world) in worlds().await {
        let run = sh(
            &world,
            "(setsid sh -c 'while :; do echo x >> alive; sleep 0.01; done' >/dev/null 2>&1 &); sleep 0.1; echo done",
        )
        .await;
        assert_eq!(run["stdout"], json!("done\n"), "{place} {run}");
        let size = world.path("alive").metadata().expect("marker").len();
        let later = Instant::now() + Duration::from_millis(200);
        while Instant::now() < later {
            tokio::task::yield_now().await;
        }
        assert_eq!(world.path("alive").metadata().expect("marker").len(), size, "{place}: something lives on");
    }
}

#[tokio::test]
async fn a_call_that_is_given_up_leaves_nothing_running() {
    for (place, world) in worlds().await {
        let args = json!({"shell": "while :; do echo x >> alive; sleep 0.01; done"});
        let call = world.registry.run(world.permit("process_run", &args), world.place());
        assert!(tokio::time::timeout(Duration::from_millis(500), call).await.is_err(), "{place}");
        let size = world.path("alive").metadata().expect("marker").len();
        let later = Instant::now() + Duration::from_millis(200);
        while Instant::now() < later {
            tokio::task::yield_now().await;
        }
        assert_eq!(world.path("alive").metadata().expect("marker").len(), size, "{place}: something lives on");
    }
}

#[tokio::test]
async fn toolchains_work() {
    for (place, world) in worlds().await {
        world.write("m.c", "#include <stdio.h>\nint main(void){puts(\"from c\");}\n");
        world.write("Makefile", "all:\n\tcc m.c -o m && ./m\n");
        world.write("Cargo.toml", "[package]\nname = \"x\"\nversion = \"0.1.0\"\nedition = \"2021\"\n");
        world.write("src/lib.rs", "#[test]\nfn two() { assert_eq!(1 + 1, 2) }\n");
        for (tool, script, expected) in [
            ("cc", "make", "from c"),
            (
                "python3",
                "python3 -c 'import json,tempfile,subprocess,multiprocessing; print(json.dumps({\"a\":subprocess.check_output([\"echo\",\"hi\"]).decode()}))'",
                "hi",
            ),
            (
                "node",
                "node -e 'console.log(require(\"os\").tmpdir(), require(\"child_process\").execSync(\"echo hi\").toString())'",
                "hi",
            ),
            (
                "git",
                "git init -q . && git add m.c && git -c user.name=a -c user.email=a@b commit -q -m one && git log --oneline",
                "one",
            ),
            ("cargo", "cargo test 2>&1", "1 passed"),
        ] {
            if sh(&world, &format!("command -v {tool}")).await["exit_code"] != json!(0) {
                run::absent(format!("{tool} is not here"));
                continue;
            }
            let run = sh(&world, script).await;
            assert!(all(&run).contains(expected) && run["exit_code"] == json!(0), "{place} {tool}: {run}");
        }
    }
}

#[derive(Deserialize)]
struct Cases {
    case: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    /// Ends with status 0 when the attack worked.
    #[serde(default)]
    shell: Option<String>,
    #[serde(default)]
    python: Option<String>,
}

/// What a command that attacks is up against, beside its workspace.
fn outside(world: &World) -> PathBuf {
    let outside = world.root.path().join("outside");
    std::fs::create_dir_all(&outside).expect("outside");
    std::fs::write(outside.join("secret"), "secret").expect("secret");
    outside
}

#[tokio::test]
async fn no_attack_gets_out() {
    let text = include_str!("../../../../tests/attacks/commands.toml");
    let cases: Cases = toml::from_str(text).expect("attacks");
    let abstract_name = format!("are-test-{}", std::process::id());
    let address = <std::os::unix::net::SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(
        abstract_name.as_bytes(),
    );
    let address = address.expect("address");
    let _listens = std::os::unix::net::UnixListener::bind_addr(&address).expect("abstract socket");
    let tcp = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("listener");
    let mut count = 0;
    let mut broken = Vec::new();
    for (place, world) in worlds().await {
        let outside = outside(&world);
        let socket = outside.join("socket");
        let _socket = std::os::unix::net::UnixListener::bind(&socket).expect("socket");
        // One that was left open for children, as a careless library would.
        let leaked = std::fs::File::open(outside.join("secret")).expect("secret");
        rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).expect("leak");
        std::os::unix::fs::symlink(&outside, world.path("link")).expect("link");
        let setup = format!(
            "OUTSIDE='{}'\nPID={}\nABSTRACT='{abstract_name}'\nPORT={}\nexport OUTSIDE PID ABSTRACT PORT\n",
            outside.display(),
            std::process::id(),
            tcp.local_addr().expect("address").port(),
        );
        for case in &cases.case {
            let body = match (&case.shell, &case.python) {
                (Some(shell), None) => shell.clone(),
                (None, Some(python)) => {
                    world.write("attack.py", python);
                    "python3 attack.py".to_owned()
                }
                _ => panic!("{}: shell or python", case.name),
            };
            let script = format!("{setup}if ( {body}\n ) ; then echo GOT-OUT; else echo HELD; fi");
            let run = world.run("process_run", json!({"shell": script, "timeout_ms": 20_000})).await;
            count += 1;
            let ToolOutcome::Completed { value, .. } = &run else {
                broken.push(format!("{} ({place}): {run:?}", case.name));
                continue;
            };
            let is_held = all(value).contains("HELD") || value.get("stopped").is_some();
            if all(value).contains("GOT-OUT") || !is_held {
                broken.push(format!("{} (namespaces {place}): {value}", case.name));
            }
            assert!(!outside.join("written").exists(), "{}: wrote outside", case.name);
        }
    }
    println!("{count} attacks, {} got out", broken.len());
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Runs a command as a server would, for [`a_server_that_is_killed_leaves_no_process`] to kill.
#[tokio::test]
async fn server_to_be_killed() {
    let Some(root) = std::env::var_os("ARE_TEST_KILLED") else { return };
    let mut world = World::new();
    world.root = tempfile::Builder::new().disable_cleanup(true).tempdir_in(root).expect("directory");
    std::fs::create_dir(world.root.path().join("ws")).expect("workspace");
    let has_namespaces = std::env::var_os("ARE_TEST_HOST").is_none();
    let Some(world) = caged(world, has_namespaces).await else { return };
    sh(&world, "trap '' TERM HUP; (setsid sh -c 'while :; do echo x >> ../ws/alive; sleep 0.01; done' &); sleep 600")
        .await;
}

#[test]
fn a_server_that_is_killed_leaves_no_process() {
    for has_namespaces in PLACES {
        let root = tempfile::tempdir().expect("directory");
        let mut command = std::process::Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "cage::server_to_be_killed", "--nocapture"]).env("ARE_TEST_KILLED", root.path());
        if !has_namespaces {
            command.env("ARE_TEST_HOST", "1");
        }
        let mut server = command.spawn().expect("server");
        let find = || {
            let dirs = std::fs::read_dir(root.path()).expect("directory").flatten();
            dirs.map(|dir| dir.path().join("ws/alive")).find(|path| path.exists())
        };
        let alive = loop {
            if let Some(alive) = find() {
                break alive;
            }
            if server.try_wait().expect("server").is_some() {
                run::skip("the server had no cage");
                return;
            }
            std::thread::yield_now();
        };
        server.kill().expect("killed");
        server.wait().expect("gone");
        // Within 100 ms everything is dead; what lived on would write ten times as often meanwhile.
        let size = || alive.metadata().expect("file").len();
        let end = Instant::now() + Duration::from_millis(100);
        while Instant::now() < end {
            std::thread::yield_now();
        }
        let after = size();
        let end = Instant::now() + Duration::from_millis(300);
        while Instant::now() < end {
            std::thread::yield_now();
        }
        assert_eq!(size(), after, "namespaces {has_namespaces}: something lives on");
    }
}

#[tokio::test]
async fn a_command_that_takes_too_much_is_stopped() {
    for (place, world) in worlds().await {
        if !place && rustix::process::geteuid().is_root() {
            // Nothing but watching limits the superuser's processes there, which a busy machine may be too slow for.
            run::absent("no fork bomb is tried as the superuser without namespaces");
            continue;
        }
        let bomb = "b() { b | b & }; b; sleep 20";
        let began = Instant::now();
        let run = world.ok("process_run", json!({"shell": bomb, "timeout_ms": 10_000})).await;
        println!("namespaces {place}: fork bomb over after {:?}: {}", began.elapsed(), run["stopped"]);
        assert!(began.elapsed() < Duration::from_secs(15), "{place}");
        let bomb = "python3 -c '\nimport os\nfor _ in range(8):\n  if os.fork() == 0:\n    x = bytearray(1 << 30)\n    import time; time.sleep(600)\nimport time; time.sleep(600)'";
        // A busy machine takes its time to hand out so much; the test takes no longer than that.
        let run = world.ok("process_run", json!({"shell": bomb, "timeout_ms": 300_000})).await;
        assert_eq!(run["stopped"], json!("it took more memory than it may"), "{place} {run}");
    }
}

#[tokio::test]
async fn the_environment_is_the_cages_own() {
    for (place, world) in worlds().await {
        let run = sh(&world, "env | cut -d= -f1 | sort | tr '\\n' ' '").await;
        let names = run["stdout"].as_str().expect("text").to_owned();
        for name in names.split_whitespace() {
            let known =
                ["PATH", "HOME", "TMPDIR", "LANG", "TERM", "USER", "LOGNAME", "SHELL", "PWD", "OLDPWD", "_", "SHLVL"];
            let toolchain = ["CARGO_HOME", "RUSTUP_HOME", "PYENV_ROOT", "RBENV_ROOT", "VOLTA_HOME", "GOMODCACHE"];
            let set = [
                "CARGO_NET_OFFLINE",
                "GIT_TERMINAL_PROMPT",
                "GOPROXY",
                "GOTOOLCHAIN",
                "NO_UPDATE_NOTIFIER",
                "PIP_DISABLE_PIP_VERSION_CHECK",
            ];
            assert!(known.iter().chain(&toolchain).chain(&set).any(|one| *one == name), "{place}: {name} in {names}");
        }
    }
}

#[tokio::test]
async fn without_a_layer_that_is_required_no_command_is_served() {
    let world = World::new();
    let options = CageOptions { required: vec!["namespaces".to_owned()], ..self::options(&world, false) };
    let report = Report::fresh(&options).await;
    assert!(!report.is_served());
    let why = report.refusal().expect("a reason");
    // Where not even the weaker cage holds, that is the reason.
    let is_said = why.contains("`cage_require` names `namespaces`") && why.contains("switched off");
    assert!(is_said || report.layers().iter().all(|layer| layer.name != "seccomp" || !layer.is_enforced), "{why}");
    let none = CageOptions { required: vec!["landlock".to_owned()], ..options };
    assert!(Report::fresh(&none).await.refusal().is_none_or(|why| !why.contains("cage_require")));
}
