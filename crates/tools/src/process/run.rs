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

use super::flight::Flight;
use super::output::{Kept, Live};
use super::{Processes, environment};
use crate::cage::{Ended, Limits};
use crate::fs::{Compared, Snapshot, workspace_of};
use crate::lane::{Answer, Error, Room, read};
use crate::launch::Order;

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
        // From here on it may run, so that what it changed is told whenever it is given up.
        let mut flight = Flight::new(self.launcher.begin(order), snapshot, spent, room.clone());
        flight.started(&self.launcher, self.egress.as_ref()).await?;
        let (ended, streams) = flight.follow(command.stdin, deadline, &room).await?;
        flight.count(ended.as_ref());
        let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let network = flight.network();
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

impl Flight {
    /// Follows it to its end or to the deadline; `None` when it was killed at that.
    async fn follow(
        &mut self,
        stdin: Option<String>,
        deadline: Instant,
        room: &Room,
    ) -> Result<(Option<Ended>, Streams), Error> {
        let Some(child) = self.child() else { return Ok((None, Streams::default())) };
        let input = feed(child.stdin.take(), stdin);
        let mut streams = Streams::default();
        let ended = {
            let (reads, ends) = child.parts();
            let [out, err] = &mut streams;
            let follow = async {
                let (_, _, _, ended) = tokio::join!(
                    input,
                    follow(reads.0, "stdout", out, room),
                    follow(reads.1, "stderr", err, room),
                    ends,
                );
                ended
            };
            // When the time is up, what was read so far stays in the streams.
            tokio::select! {
                biased;
                ended = follow => Some(ended),
                () = over(deadline, &room.pauses) => None,
            }
        };
        if ended.is_none() {
            child.kill().await;
        }
        drop(self.take());
        // It ran, and what it did before its supervisor was lost is not known.
        Ok((ended.transpose().map_err(Error::Unknown)?, streams))
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
    if let Some(stopped) = ended.stopped {
        say("stopped", stopped.text().into());
    }
    if let Some(bytes) = ended.memory_bytes_max {
        say("memory_bytes_max", bytes.into());
    }
    if ended.is_held_back {
        say("held_back", "it wanted more processes than it may have".into());
    }
    if !compared.put_back.is_empty() {
        say("put_back", compared.put_back.clone().into());
    }
    if !compared.is_whole {
        say("not_all_undoable", true.into());
    }
    value
}
