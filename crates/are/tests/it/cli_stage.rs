//! A user's machine for tests of the program: home, workspace, provider, and
//! the built binary run as a user would run it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use are_testkit::provider::MockProvider;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// A home directory with a project in it.
pub(crate) struct Stage {
    home: TempDir,
    provider: MockProvider,
    env: BTreeMap<String, String>,
}

/// What a run of the program came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Checks the exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Stdout as one JSON value.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }

    /// Stdout as JSON lines.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }
}

/// A server that runs as a process of its own.
pub(crate) struct Serving {
    pub(crate) child: Child,
    pub(crate) ready: Value,
    _stdout: Lines<BufReader<ChildStdout>>,
}

impl Serving {
    /// Sends SIGTERM and waits for the end.
    pub(crate) async fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())).expect("it runs");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it can be signalled");
        self.child.wait().await.expect("it ends").code()
    }
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let home = tempfile::tempdir().expect("tempdir");
        std::fs::create_dir(home.path().join("project")).expect("mkdir");
        let provider = MockProvider::start().await;
        let env = BTreeMap::from([
            ("HOME".to_owned(), home.path().display().to_string()),
            ("PATH".to_owned(), std::env::var("PATH").unwrap_or_default()),
            ("OPENAI_BASE_URL".to_owned(), provider.base_url()),
            ("OPENAI_API_KEY".to_owned(), "sk-stage-secret".to_owned()),
            ("ARE_TZ".to_owned(), "UTC".to_owned()),
        ]);
        Self { home, provider, env }
    }

    pub(crate) fn provider(&self) -> &MockProvider {
        &self.provider
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn unset(&mut self, name: &str) -> &mut Self {
        self.env.remove(name);
        self
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn project(&self) -> PathBuf {
        self.home.path().join("project")
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.home.path().join(".local/share/are")
    }

    /// Writes a file below the home directory.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.home.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
        std::fs::write(path, text).expect("write");
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_are"));
        command.args(args).env_clear().envs(&self.env).current_dir(self.project());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Runs the program to its end.
    pub(crate) async fn run(&self, args: &[&str]) -> Ran {
        let output = self.command(args).output().await.expect("the program starts");
        ran(output)
    }

    /// Runs it with something on stdin.
    pub(crate) async fn run_with(&self, args: &[&str], stdin: &str) -> Ran {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().expect("the program starts");
        let mut pipe = child.stdin.take().expect("a pipe");
        pipe.write_all(stdin.as_bytes()).await.expect("it reads");
        drop(pipe);
        ran(child.wait_with_output().await.expect("it ends"))
    }

    /// Starts a server on a free port and waits for its ready line.
    pub(crate) async fn serve(&self, args: &[&str]) -> Serving {
        let args = [&["start", "--port", "0", "--json"], args].concat();
        let mut child = self.command(&args).stderr(Stdio::null()).spawn().expect("the program starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let line = stdout.next_line().await.expect("readable").expect("a ready line");
        let ready = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Serving { child, ready, _stdout: stdout }
    }

    /// The key of the latest session.
    pub(crate) async fn latest(&self) -> String {
        let listed = self.run(&["session", "list", "--json"]).await.exits(0).json();
        listed["sessions"][0]["session"].as_str().expect("a session").to_owned()
    }
}

fn ran(output: std::process::Output) -> Ran {
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
    }
}
