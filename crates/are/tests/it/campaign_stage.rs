//! What the fault campaigns share: a home with a model that always knows what
//! comes next and a place that counts what reaches it, and the built program as
//! a process that can be killed at any instant.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use are_testkit::provider::{MockProvider, Reply};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::cli_stage::Stage;

/// Longer than anything here takes on a busy machine; reaching it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
/// Tools that a turn of the scripted model calls.
pub(crate) const TOOLS: [&str; 5] = ["fs_write", "fs_read", "fs_edit", "variable_set", "http_request"];
/// Words before each call, so that there is text to be cut off.
const WORDS: usize = 8;

/// A home, the model, and the place that POSTs go to.
pub(crate) struct Scene {
    pub(crate) stage: Stage,
    pub(crate) target: MockProvider,
    pub(crate) data_dir: PathBuf,
}

impl Scene {
    /// A turn of this scene's model calls five tools and needs no person.
    pub(crate) async fn new() -> Self {
        let mut scene = Self::that_asks().await;
        scene.stage.set("ARE_POLICY", "observe");
        scene
    }

    /// Under the profile that asks before each effect, so that most calls need one.
    pub(crate) async fn that_asks() -> Self {
        let mut stage = Stage::new().await;
        // Any loopback server that records would do; this one is at hand.
        let target = MockProvider::start().await;
        target.default_reply(|_| Reply::status(200).body("taken"));
        let url = format!("{}/chat/completions", target.base_url());
        stage.provider().default_reply(move |request| five_tools(request, &url));
        let project = stage.project().display().to_string();
        stage.set("ARE_WORKSPACE", &project).set("ARE_EGRESS_PRIVATE", &target.address().to_string());
        stage.set("ARE_POLICY", "ask");
        let data_dir = stage.data_dir();
        Self { stage, target, data_dir }
    }

    /// Goes on over another data directory.
    pub(crate) fn move_to(&mut self, data_dir: &Path) {
        self.stage.set("ARE_DATA_DIR", &data_dir.display().to_string());
        self.data_dir = data_dir.to_owned();
    }

    /// The arguments, environment and output of a server, whoever starts it.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.stage.command(&["start", "--port", "0", "--json"]);
        let log = File::options().create(true).append(true).open(self.log_path()).expect("a log");
        command.stderr(Stdio::from(log));
        command
    }

    /// Starts a server and does not wait for it.
    pub(crate) fn spawn(&self) -> Life {
        Life::of(&mut self.command(), &self.data_dir)
    }

    /// Starts a server and waits for its ready line.
    pub(crate) async fn start(&self) -> Life {
        let mut life = self.spawn();
        assert!(life.ready().await, "it does not start:\n{}", self.log());
        life
    }

    fn log_path(&self) -> PathBuf {
        self.stage.home().join("server.log")
    }

    /// What the servers have logged.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// The idempotency keys of the POSTs that arrived.
    pub(crate) fn posts(&self) -> Vec<String> {
        let key = |headers: &http::HeaderMap| headers.get("idempotency-key")?.to_str().ok().map(str::to_owned);
        self.target.recorded().iter().map(|post| key(&post.headers).expect("every POST has a key")).collect()
    }
}

/// One life of the server's process.
pub(crate) struct Life {
    pub(crate) child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    data_dir: PathBuf,
    /// `host:port`, once it is ready.
    pub(crate) authority: String,
    pub(crate) token: String,
}

impl Life {
    pub(crate) fn of(command: &mut Command, data_dir: &Path) -> Self {
        let mut child = command.spawn().expect("the program starts");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { child, stdout, data_dir: data_dir.to_owned(), authority: String::new(), token: String::new() }
    }

    /// Waits for the ready line; false when the process ends without one.
    pub(crate) async fn ready(&mut self) -> bool {
        let line = timeout(PATIENCE, self.stdout.next_line()).await.expect("it starts in time").expect("readable");
        let Some(line) = line else { return false };
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.authority = ready["address"].as_str().expect("an address").trim_start_matches("http://").to_owned();
        self.token = std::fs::read_to_string(self.data_dir.join("admin.token")).expect("a token").trim().to_owned();
        true
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it has not been waited for")
    }

    /// SIGKILL, and its end: the lock is free afterwards.
    pub(crate) async fn kill(&mut self) {
        self.child.start_kill().expect("it can be signalled");
        self.ended().await;
    }

    /// SIGTERM, and an end in order.
    pub(crate) async fn terminate(&mut self) {
        let pid = Pid::from_raw(self.pid().cast_signed()).expect("a process");
        kill_process(pid, Signal::TERM).expect("it can be signalled");
        assert_eq!(self.ended().await.code(), Some(0), "an orderly end");
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait()).await.expect("it ends in time").expect("it can be waited for")
    }

    /// The status of `GET path`; `None` when there is no answer.
    pub(crate) async fn status_of(&self, path: &str) -> Option<u16> {
        let mut stream = TcpStream::connect(&self.authority).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.authority);
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("an answer or an end").ok()?;
        answer.split(' ').nth(1)?.parse().ok()
    }

    /// The most memory it has had, in MiB.
    pub(crate) fn peak_memory_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("kB") / 1024
    }
}

/// What the model says next, from the request alone, so that kills cannot put it out of step: each tool
/// once, then words. A prompt is `job N`.
fn five_tools(request: &Value, url: &str) -> Reply {
    let messages = request["messages"].as_array().expect("messages");
    let asked = messages.iter().rposition(|message| message["role"] == "user").expect("a prompt");
    let words = messages[asked]["content"].to_string();
    let job: String = words.split("job ").nth(1).unwrap_or("0").chars().take_while(char::is_ascii_digit).collect();
    let results = messages[asked..].iter().filter(|message| message["role"] == "tool").count();
    let path = format!("job{job}.txt");
    let args = match results {
        0 => json!({"path": path, "content": "one two"}),
        1 => json!({"path": path}),
        2 => json!({"path": path, "old": "two", "new": "three"}),
        3 => json!({"name": format!("job{job}"), "value": "done"}),
        4 => json!({"url": url, "method": "POST", "body": format!("job {job}")}),
        _ => return said(&format!("job {job} is done: zwölf € "), None),
    };
    said(&format!("job {job}, step {results}: für € "), Some((TOOLS[results], &args)))
}

/// Words, then at most one call, byte by byte: slow enough to be cut anywhere.
fn said(words: &str, call: Option<(&str, &Value)>) -> Reply {
    let event = |delta: Value, reason: Value| {
        let chunk = json!({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]});
        format!("data: {chunk}\n\n")
    };
    let mut body: String = (0..WORDS).map(|n| event(json!({"content": format!("{words}{n} ")}), Value::Null)).collect();
    if let Some((name, args)) = call {
        let function = json!({"name": name, "arguments": args.to_string()});
        let call = json!({"index": 0, "id": "call_0", "type": "function", "function": function});
        body.push_str(&event(json!({"tool_calls": [call]}), Value::Null));
    }
    let reason = if call.is_some() { "tool_calls" } else { "stop" };
    body.push_str(&event(json!({}), json!(reason)));
    body.push_str("data: [DONE]\n\n");
    Reply::sse(body).byte_by_byte()
}
