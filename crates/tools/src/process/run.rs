//! One command from start to end.

use std::sync::Arc;
use std::time::Duration;

use are_core::error::{Code, Fault};
use are_core::limits::TOOL_OUTPUT_BYTES_MAX;
use are_policy::gate::Spent;
use are_policy::pauses::Pauses;
use are_policy::tools::Output;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep_until};

use super::output::{Kept, Live};
use super::{Processes, blocking, environment};
use crate::cage::{Ended, Limits, Stopped};
use crate::egress::{Egress, Serving};
use crate::fs::{Compared, Snapshot, workspace_of};
use crate::lane::{Answer, Error, Room, read};
use crate::launch::{Child, Launcher, Order};

/// Milliseconds that a command gets when nothing else is said.
const TIMEOUT_MS: u64 = 120_000;
/// Milliseconds that stay for looking at what it changed, or a tenth of all.
const AFTERWARDS_MS: u64 = 8_000;
/// How often is looked whether a pause is over.
const PAUSE_LOOK: Duration = Duration::from_millis(50);
/// Bytes read at once.
const PIECE: usize = 16 << 10;

/// A command line.
#[derive(Debug, Deserialize)]
pub(super) struct Command {
    argv: Option<Vec<String>>,
    shell: Option<String>,
    cwd: Option<String>,
    stdin: Option<String>,
    timeout_ms: Option<u64>,
}

impl Command {
    /// What is to be started.
    pub(super) fn order(&self, room: &Room, snapshot: &Snapshot, has_stdin: bool) -> Result<Order, Fault> {
        let argv = match (&self.argv, &self.shell) {
            (Some(argv), None) => argv.clone(),
            (None, Some(shell)) => vec!["/bin/sh".to_owned(), "-c".to_owned(), shell.clone()],
            (Some(_), Some(_)) | (None, None) => {
                return Err(Fault::new(
                    Code::TOOL_ARGS,
                    "a command is either `argv` or `shell`",
                    "give one of them: `argv` is a program with its arguments, `shell` a line for `/bin/sh -c`",
                ));
            }
        };
        let (workspace, cwd) = workspace_of(&room.workspace, self.cwd.as_deref().unwrap_or("."))?;
        Ok(Order {
            argv,
            attempt: None,
            workspace,
            cwd,
            reads: Vec::new(),
            env: Vec::new(),
            has_stdin,
            sealed: snapshot.sealed.clone(),
            pinned: snapshot.pinned.clone(),
            limits: Limits::default(),
            has_proxy: false,
        })
    }
}

impl Processes {
    pub(super) async fn run_once(&self, spent: Arc<Spent>, room: Room) -> Result<Answer, Error> {
        let command: Command = read(&spent.args)?;
        let began = Instant::now();
        let left = room.deadline.saturating_duration_since(began);
        let afterwards = Duration::from_millis(AFTERWARDS_MS).min(left / 5);
        let wanted = Duration::from_millis(command.timeout_ms.unwrap_or(TIMEOUT_MS));
        let snapshot = self.snapshot(&spent, &room).await?;
        let order = command.order(&room, &snapshot, command.stdin.is_some())?;
        let env = environment::of(&room).await?;
        // One that was given a secret could send it to any place that is granted, so it has no way out at all.
        let has_proxy = self.egress.is_some() && !environment::holds_secrets(&room);
        let order = Order { has_proxy, env, ..order };
        room.latch.begin()?;
        let started = Instant::now();
        let deadline = (started + wanted).min(room.deadline - afterwards);
        let child = Some(self.launcher.begin(order).await?);
        // From here on it may run, so that what it changed is told whenever it is given up.
        let mut flight = Flight { child, began: Some(started), serving: None, snapshot: Some(snapshot), spent, room };
        flight.started(&self.launcher, self.egress.as_ref()).await?;
        let (ended, streams) = flight.follow(command.stdin, deadline).await?;
        flight.count(ended.as_ref());
        let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let network = flight.serving.take().and_then(|serving| serving.report());
        let compared = flight.land().await?;
        let mut value = result(ended, &streams, ms, &compared);
        if let (Some(network), Some(value)) = (network, value.as_object_mut()) {
            value.insert("network".to_owned(), network);
        }
        Ok(value.into())
    }
}

/// Both streams of a command.
type Streams = [Kept; 2];

/// A command that runs. When it is given up, it is killed and what it changed is told all the same.
struct Flight {
    child: Option<Child>,
    /// When it began, until its work is counted.
    began: Option<Instant>,
    /// Its way to the network.
    serving: Option<Serving>,
    snapshot: Option<Snapshot>,
    spent: Arc<Spent>,
    room: Room,
}

impl Flight {
    /// Waits until it runs, and opens its way to the network.
    async fn started(&mut self, launcher: &Launcher, egress: Option<&Arc<Egress>>) -> Result<(), Error> {
        let Some(child) = &mut self.child else { return Ok(()) };
        launcher.started(child).await?;
        let serving = child.listener.take().zip(egress);
        self.serving = serving.map(|(listener, egress)| egress.serve(listener, &self.spent, &self.room));
        Ok(())
    }

    /// Follows it to its end or to the deadline; `None` when it was killed at that.
    async fn follow(&mut self, stdin: Option<String>, deadline: Instant) -> Result<(Option<Ended>, Streams), Error> {
        let Some(child) = &mut self.child else { return Ok((None, Streams::default())) };
        let input = feed(child.stdin.take(), stdin);
        let mut streams = Streams::default();
        let ended = {
            let (reads, ends) = child.parts();
            let [out, err] = &mut streams;
            let follow = async {
                let (_, _, _, ended) = tokio::join!(
                    input,
                    follow(reads.0, "stdout", out, &self.room),
                    follow(reads.1, "stderr", err, &self.room),
                    ends,
                );
                ended
            };
            // When the time is up, what was read so far stays in the streams.
            tokio::select! {
                biased;
                ended = follow => Some(ended),
                () = over(deadline, &self.room.pauses) => None,
            }
        };
        match ended {
            Some(ended) => {
                self.child = None;
                // It ran, and what it did before its supervisor was lost is not known.
                Ok((Some(ended.map_err(Error::Unknown)?), streams))
            }
            None => {
                if let Some(child) = self.child.take() {
                    child.kill().await;
                }
                Ok((None, streams))
            }
        }
    }

    /// Tells what it worked. Of one that was killed nobody knows more than how long it ran.
    fn count(&mut self, ended: Option<&Ended>) {
        if let Some(began) = self.began.take() {
            self.room.work.add(ended.map_or_else(|| began.elapsed(), |ended| Duration::from_millis(ended.cpu_ms)));
        }
    }

    /// Tells what it changed.
    async fn land(mut self) -> Result<Compared, Error> {
        let Some(snapshot) = self.snapshot.take() else { return Ok(Compared::default()) };
        let (spent, room) = (Arc::clone(&self.spent), self.room.clone());
        blocking(move || compared(&snapshot, &spent, &room)).await?
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.count(None);
        let Some(snapshot) = self.snapshot.take() else { return };
        let mut land = || {
            if let Some(child) = self.child.take() {
                child.kill_now();
            }
            if let Err(Error::Failed(fault) | Error::Unknown(fault)) = compared(&snapshot, &self.spent, &self.room) {
                tracing::warn!(%fault, "what a command changed that was given up is not known");
            }
        };
        // Whoever gave the call up asks what was changed as soon as this returns.
        match tokio::runtime::Handle::try_current().map(|handle| handle.runtime_flavor()) {
            Ok(tokio::runtime::RuntimeFlavor::MultiThread) => tokio::task::block_in_place(land),
            _ => land(),
        }
    }
}

/// Resolves at the deadline, which is so much later as the call stood still for somebody's answer.
async fn over(deadline: Instant, pauses: &Pauses) {
    let mut at = deadline;
    loop {
        sleep_until(at).await;
        let later = deadline + Duration::from_millis(pauses.total_ms());
        if later <= at {
            return;
        }
        at = later.max(at + PAUSE_LOOK);
    }
}

fn compared(snapshot: &Snapshot, spent: &Spent, room: &Room) -> Result<Compared, Error> {
    let compared = snapshot.compare(spent, room)?;
    compared.tell(spent, room)?;
    Ok(compared)
}

/// Writes the input and closes it; a command that reads none of it is no error.
async fn feed(to: Option<pipe::Sender>, text: Option<String>) {
    if let (Some(mut to), Some(text)) = (to, text)
        && let Err(error) = to.write_all(text.as_bytes()).await
    {
        tracing::debug!(%error, "a command did not read all of its input");
    }
}

/// Reads one stream to its end, and shows it meanwhile.
async fn follow(from: &mut pipe::Receiver, stream: &'static str, kept: &mut Kept, room: &Room) {
    let mut piece = vec![0; PIECE];
    let mut live = Live::default();
    let mut shown = 0;
    loop {
        let text = match from.read(&mut piece).await {
            Ok(0) | Err(_) => break,
            Ok(n) => {
                kept.push(&piece[..n]);
                if shown > TOOL_OUTPUT_BYTES_MAX { continue } else { live.push(&piece[..n]) }
            }
        };
        shown += text.len();
        if !text.is_empty() {
            (room.output)(Output { stream, text }).await;
        }
    }
    let text = live.finish();
    if !text.is_empty() {
        (room.output)(Output { stream, text }).await;
    }
}

fn result(ended: Option<Ended>, streams: &Streams, ms: u64, compared: &Compared) -> Value {
    let [(stdout, out_cut), (stderr, err_cut)] = [streams[0].text(), streams[1].text()];
    let is_timed_out = ended.is_none();
    let ended = ended.unwrap_or_default();
    let mut value = json!({
        "exit_code": ended.exit_code,
        "signal": ended.signal,
        "stdout": stdout,
        "stderr": stderr,
        "ms": ms,
        "cpu_ms": ended.cpu_ms,
        "max_rss_bytes": ended.max_rss_bytes,
        "truncated": out_cut || err_cut,
    });
    // Said only where it is so: a small model reads all of it.
    let mut say = |name: &str, what: Value| value.as_object_mut().map(|object| object.insert(name.to_owned(), what));
    if is_timed_out {
        say("timed_out", true.into());
    }
    match ended.stopped {
        Some(Stopped::Memory) => say("stopped", "it took more memory than it may".into()),
        Some(Stopped::Processes) => say("stopped", "it made more processes than it may".into()),
        None => None,
    };
    if !compared.put_back.is_empty() {
        say("put_back", compared.put_back.clone().into());
    }
    if !compared.is_whole {
        say("not_all_undoable", true.into());
    }
    value
}
