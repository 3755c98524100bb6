//! Control groups of commands: what the kernel limits, what is left of them, and the cage where there are none.
//!
//! Where no group can be made here, that is said, and only the cage without them is tested.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use are_testkit::run;
use are_tools::CageOptions;
use are_tools::cage::{Layer, Report};
use serde_json::{Value, json};

use crate::cage::{caged, options};
use crate::support::World;

/// Longer than anything here takes on a busy machine; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(60);
/// What one command may take.
const MEMORY_BYTES: u64 = 4 << 30;
const PROCESSES: u64 = 512;
/// How deep a group lies below the mounted trees at most, as far as anybody looks.
const DEPTH: usize = 16;

fn cgroup(report: &Report) -> Layer {
    report.layers().into_iter().find(|layer| layer.name == "cgroup").expect("the layer")
}

/// Worlds whose commands are in control groups, and how the kernel was asked; none where it cannot be, which was said.
async fn worlds() -> Vec<(bool, World, String)> {
    let mut worlds = Vec::new();
    for has_namespaces in [true, false] {
        let world = World::new();
        let layer = cgroup(&Report::fresh(&options(&world, has_namespaces)).await);
        if !layer.is_enforced {
            run::absent(format!("commands are in no control group (namespaces {has_namespaces}): {}", layer.text));
            continue;
        }
        worlds.extend(caged(world, has_namespaces).await.map(|world| (has_namespaces, world, layer.text)));
    }
    worlds
}

/// All groups that servers made for commands, of any installation.
fn groups() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![(PathBuf::from("/sys/fs/cgroup"), 0)];
    while let Some((dir, depth)) = open.pop() {
        // One that is gone meanwhile has nothing in it.
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            if entry.file_name().to_string_lossy().starts_with("are-") {
                found.push(entry.path());
            } else if depth < DEPTH {
                open.push((entry.path(), depth + 1));
            }
        }
    }
    found
}

/// The groups in which a process is whose command line holds a word.
fn groups_of(word: &str) -> Vec<PathBuf> {
    let has_word = |pid: &str| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.windows(word.len()).any(|part| part == word.as_bytes())
    };
    let holds =
        |dir: &PathBuf| fs::read_to_string(dir.join("cgroup.procs")).is_ok_and(|pids| pids.lines().any(has_word));
    groups().into_iter().filter(holds).collect()
}

/// Looks again and again until it is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "not in time: {what}");
        tokio::task::yield_now().await;
    }
}

/// What a limit's file says, in the groups that have it.
fn limits(groups: &[PathBuf], names: [&str; 2]) -> Vec<u64> {
    let read = |dir: &PathBuf| names.iter().find_map(|name| fs::read_to_string(dir.join(name)).ok());
    groups.iter().filter_map(read).map(|text| text.trim().parse().expect("a number")).collect()
}

/// A word that stands in one command line only.
fn word(world: &World) -> String {
    format!("mark-{}", world.root.path().file_name().expect("name").to_string_lossy())
}

#[tokio::test]
async fn a_command_has_a_group_of_its_own_with_its_limits_and_it_goes_with_it() {
    for (place, world, _) in worlds().await {
        let word = word(&world);
        // Not the last command, or the shell would become it and lose its name.
        let argv = json!({"argv": ["/bin/sh", "-c", "cat /proc/self/cgroup; echo ready; sleep 600; true", word]});
        let id = world.ok("process_start", argv).await["id"].clone();
        let read = world.ok("process_read", json!({"id": id, "wait_ms": 20_000})).await;
        let groups = groups_of(&word);
        assert_eq!(limits(&groups, ["memory.max", "memory.limit_in_bytes"]), [MEMORY_BYTES], "{place} {groups:?}");
        assert_eq!(limits(&groups, ["pids.max"; 2]), [PROCESSES + u64::from(place)], "{place} {groups:?}");
        let ours = format!("-{}-", std::process::id());
        assert!(groups.iter().all(|group| group.to_string_lossy().contains(&ours)), "{place} {groups:?}");
        if place {
            let seen = read["output"].as_str().expect("text");
            assert!(!seen.contains("are-"), "what it sees of groups begins with its own: {seen}");
        }
        world.ok("process_stop", json!({"id": id})).await;
        until("the groups are removed", || groups.iter().all(|group| !group.exists())).await;
    }
}

#[tokio::test]
async fn many_small_processes_are_held_to_the_memory_of_one() {
    for (place, world, text) in worlds().await {
        let bomb = "
import os, time
for _ in range(450):
    if os.fork() == 0:
        held = bytearray(12 << 20)
        time.sleep(600)
        os._exit(0)
time.sleep(600)
";
        world.write("bomb.py", bomb);
        // A busy machine takes its time to hand out so much; the test takes no longer than that.
        let run = world.ok("process_run", json!({"argv": ["python3", "bomb.py"], "timeout_ms": 300_000})).await;
        assert_eq!(run["stopped"], json!("it took more memory than it may"), "{place} {run}");
        if text.contains("version 1") {
            let most = run["memory_bytes_max"].as_u64().expect("counted");
            assert!(most > MEMORY_BYTES / 2 && most <= MEMORY_BYTES, "{place} {run}");
        }
        let run = world.ok("process_run", json!({"shell": "echo still here"})).await;
        assert_eq!(
            (&run["stdout"], run.get("stopped")),
            (&json!("still here\n"), None),
            "{place}: the next one is not"
        );
    }
}

#[tokio::test]
async fn a_command_gets_no_more_processes_than_it_may_have() {
    for (place, world, _) in worlds().await {
        let bomb = "
import os, sys, time
made = 0
while made < 2000:
    try:
        if os.fork() == 0:
            time.sleep(600)
            os._exit(0)
    except OSError as error:
        print(made, error.errno)
        sys.exit(0)
    made += 1
print(made, 0)
";
        world.write("bomb.py", bomb);
        let run = world.ok("process_run", json!({"argv": ["python3", "bomb.py"]})).await;
        let said: Vec<u64> = run["stdout"].as_str().expect("text").split_whitespace().flat_map(str::parse).collect();
        let [made, error] = said[..] else { panic!("{place} {run}") };
        assert!(made > 0 && made < PROCESSES, "{place} {run}");
        assert_eq!(error, u64::from(rustix::io::Errno::AGAIN.raw_os_error().unsigned_abs()), "{place} {run}");
        // Where the kernel also counts the processes of a user, that may come first.
        if rustix::process::geteuid().is_root() {
            assert_eq!(run["held_back"], json!("it wanted more processes than it may have"), "{place} {run}");
        }
        let run = world.ok("process_run", json!({"shell": "true"})).await;
        assert_eq!(run.get("held_back"), None, "{place}: the next one has all of its own");
    }
}

/// Runs a command as a server would, for [`what_a_killed_server_left_is_removed_and_nothing_else`] to kill.
#[tokio::test]
async fn server_to_leave_groups() {
    let Some(root) = std::env::var_os("ARE_TEST_LEAVING") else { return };
    let mut world = World::new();
    world.root = tempfile::Builder::new().disable_cleanup(true).tempdir_in(root).expect("directory");
    fs::create_dir(world.root.path().join("ws")).expect("workspace");
    let word = word(&world);
    let Some(world) = caged(world, true).await else { return };
    world.ok("process_run", json!({"argv": ["/bin/sh", "-c", "touch begun; sleep 600; true", word]})).await;
}

/// Directories that are removed in the end, whatever comes of the test.
struct Foreign(Vec<PathBuf>);

impl Drop for Foreign {
    fn drop(&mut self) {
        for dir in &self.0 {
            // What the product removed fails the test where it is looked at.
            fs::remove_dir(dir).ok();
        }
    }
}

/// Starts a server that runs a command, and kills it: its world's directory, and the groups of its command.
fn killed_server(root: &Path) -> Option<(PathBuf, Vec<PathBuf>)> {
    let mut server = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "cage_cgroup::server_to_leave_groups", "--nocapture"])
        .env("ARE_TEST_LEAVING", root)
        .spawn()
        .expect("server");
    let world = loop {
        let mut dirs = fs::read_dir(root).expect("directory").flatten().map(|dir| dir.path());
        if let Some(world) = dirs.find(|dir| dir.join("ws/begun").exists()) {
            break world;
        }
        if server.try_wait().expect("server").is_some() {
            run::skip("the server had no cage");
            return None;
        }
        std::thread::yield_now();
    };
    let groups = groups_of(&format!("mark-{}", world.file_name().expect("name").to_string_lossy()));
    server.kill().expect("killed");
    server.wait().expect("gone");
    Some((world, groups))
}

/// A process that somebody forgot in these groups.
fn forgotten(groups: &[PathBuf]) -> Child {
    let child = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().expect("sleep");
    for group in groups {
        fs::write(group.join("cgroup.procs"), child.id().to_string()).expect("moved");
    }
    child
}

/// When a process began, as names of groups have it.
fn begun(pid: u32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let fields = &stat[stat.rfind(')').expect("name") + 1..];
    fields.split_whitespace().nth(19).expect("a time").to_owned()
}

#[tokio::test]
async fn what_a_killed_server_left_is_removed_and_nothing_else() {
    if worlds().await.is_empty() {
        return;
    }
    let root = tempfile::tempdir().expect("directory");
    let Some((world, left)) = killed_server(root.path()) else { return };
    assert!(!left.is_empty(), "the command was in a group");
    let mut forgotten = forgotten(&left);
    let beside = |name: &str| left[0].with_file_name(name);
    let name = left[0].file_name().expect("name").to_string_lossy().into_owned();
    let installation = name.split('-').nth(1).expect("an installation").to_owned();
    let pid = std::process::id();
    let foreign = Foreign(vec![
        beside(&name.replace(&installation, "0123456789abcdef")),
        beside(&format!("are-{installation}-{pid}-{}-999999", begun(pid))),
        beside(&format!("are-{installation}-not-ours")),
        beside(&format!("strange-{pid}")),
    ]);
    foreign.0.iter().for_each(|dir| fs::create_dir(dir).expect("a group of somebody else"));

    // The next start of the same installation.
    let next = CageOptions { cache_dir: world.join("cache"), ..options(&World::new(), true) };
    assert!(cgroup(&Report::examine(&next).await).is_enforced);
    until("what was left is removed", || left.iter().all(|group| !group.exists())).await;
    let end = forgotten.wait().expect("an end");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&end), Some(9), "{end}");
    for dir in &foreign.0 {
        assert!(dir.exists(), "{} is not ours to remove", dir.display());
    }
}

#[tokio::test]
async fn without_control_groups_commands_are_served_with_the_other_limits_and_it_is_said() {
    let mut world = World::new();
    for has_namespaces in [true, false] {
        let options = CageOptions { has_cgroups: false, ..options(&world, has_namespaces) };
        let report = Report::fresh(&options).await;
        let layer = cgroup(&report);
        assert!(!layer.is_enforced && layer.text.contains("switched off"), "{layer:?}");
        assert!(layer.text.contains("counted 20 times a second"), "{layer:?}");
        if !report.is_served() {
            run::skip(format!("no cage with namespaces = {has_namespaces}: {report:?}"));
            continue;
        }
        world.registry =
            std::mem::replace(&mut world.registry, World::new().registry).caged(options, &report).expect("caged");
        let word = word(&world);
        let script = "ulimit -d; ulimit -n; sleep 600; true";
        let id = world.ok("process_start", json!({"argv": ["/bin/sh", "-c", script, word]})).await["id"].clone();
        let read = world.ok("process_read", json!({"id": id, "wait_ms": 20_000})).await;
        let said = read["output"].as_str().expect("text");
        assert!(said.starts_with(&format!("{}\n", MEMORY_BYTES / 1024)), "{has_namespaces}: {said}");
        assert_eq!(groups_of(&word), Vec::<PathBuf>::new(), "{has_namespaces}");
        world.ok("process_stop", json!({"id": id})).await;
        world.registry = World::new().registry;
    }
}

#[tokio::test]
async fn a_machine_without_control_groups_serves_no_command_where_they_are_required() {
    let world = World::new();
    let required = vec!["cgroup".to_owned()];
    let options = CageOptions { has_cgroups: false, required, ..options(&world, true) };
    let report = Report::fresh(&options).await;
    assert!(!report.is_served());
    let why = report.refusal().expect("a reason");
    // Where not even the weaker cage holds, that is the reason.
    let is_said = why.contains("`cage_require` names `cgroup`") && why.contains("switched off");
    assert!(is_said || report.layers().iter().all(|layer| layer.name != "seccomp" || !layer.is_enforced), "{why}");
    let registry = World::new().registry.caged(options.clone(), &report).expect("caged");
    assert!(are_policy::tools::Tools::snapshot(&registry).get("process_run").is_none(), "not served");
    // Where they can be made, the same is served.
    let report = Report::fresh(&CageOptions { has_cgroups: true, ..options }).await;
    if cgroup(&report).is_enforced {
        assert!(report.is_served(), "{report:?}");
    } else {
        run::absent(format!("commands are in no control group: {}", cgroup(&report).text));
    }
}

#[tokio::test]
async fn what_was_found_of_control_groups_is_never_remembered() {
    let world = World::new();
    let remembered = Some(world.root.path().join("remembered"));
    let with = CageOptions { remembered, ..options(&world, true) };
    let first = Report::examine(&with).await;
    assert_eq!(Report::remembered(&with), Some(first.clone()));
    // As one would find it that was started elsewhere: what is remembered is of another place.
    let path = with.remembered.clone().expect("path");
    let text = fs::read_to_string(&path).expect("text");
    let (key, report) = text.split_once('\n').expect("two lines");
    let mut report: Value = serde_json::from_str(report).expect("JSON");
    report["cgroups"] = json!({"is_there": !cgroup(&first).is_enforced, "text": "elsewhere"});
    fs::write(&path, format!("{key}\n{report}\n")).expect("written");
    assert_ne!(Report::remembered(&with), Some(first.clone()));
    assert_eq!(Report::examine(&with).await, first);
    assert_eq!(Report::remembered(&with), Some(first));
}
