//! Processes that go on between calls.
//!
//! They belong to a session, are few, and live for a limited time. They end with
//! the server, since it holds their life lines. What one changed is looked at
//! when it ends, and told to the call that stops it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use are_core::error::{Code, Fault};
use are_core::ids::SessionKey;
use are_policy::gate::Spent;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::flight::Flight;
use super::run::Command;
use super::{Processes, blocking};
use crate::cage::Ended;
use crate::fs::{Compared, Snapshot};
use crate::lane::{Answer, Error, Room, read};
use crate::launch::{Child, Used};
use crate::text::{plain, short, within};

/// Processes of one session at once: a server, its database, a watcher or two.
const OF_SESSION_MAX: usize = 4;
/// Processes of all sessions, ended ones that nobody stopped included.
const ALL_MAX: usize = 64;
/// How long one may go on.
const LIFE: Duration = Duration::from_secs(60 * 60);
/// Bytes of output that are held; older ones are left out.
const OUTPUT_BYTES: usize = 256 << 10;
/// Bytes of one answer as JSON.
const ANSWER_COST: usize = 256 << 10;
/// Milliseconds that a read may wait.
pub(super) const WAIT_MS_MAX: u64 = 60_000;
const PIECE: usize = 16 << 10;

/// All processes.
#[derive(Debug, Default)]
pub(super) struct Table(Mutex<Processing>);

#[derive(Debug, Default)]
struct Processing {
    last: u32,
    all: BTreeMap<(SessionKey, u32), Arc<Process>>,
}

/// One of them.
#[derive(Debug)]
struct Process {
    command: String,
    output: Mutex<Output>,
    is_new: Notify,
    stdin: tokio::sync::Mutex<Option<pipe::Sender>>,
    stop: Notify,
    end: watch::Receiver<Option<End>>,
    used: Used,
    /// Milliseconds of what it used that calls were charged with.
    charged_ms: AtomicU64,
    task: JoinHandle<()>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // The child goes with the task, and everything that it started with the child.
        self.task.abort();
    }
}

/// How one ended, and what it had changed by then.
#[derive(Debug, Clone)]
struct End {
    ended: Option<Ended>,
    compared: Arc<Result<Compared, Fault>>,
}

/// The end of what was printed, standard error included.
#[derive(Debug, Default)]
struct Output {
    bytes: VecDeque<u8>,
    total: u64,
}

#[derive(Deserialize)]
struct Named {
    id: u32,
    after: Option<u64>,
    wait_ms: Option<u64>,
    text: Option<String>,
    end: Option<bool>,
}

impl Processes {
    pub(super) async fn start(&self, spent: Arc<Spent>, room: Room) -> Result<Answer, Error> {
        let command: Command = read(&spent.args)?;
        self.table.must_have_room(spent.session)?;
        let snapshot = self.snapshot(&spent, &room).await?;
        let order = command.order(&room, &snapshot, true)?;
        let shown = order.argv.join(" ");
        room.latch.begin()?;
        // From here on it may run, so that what it changed is told when it is given up before it has a number.
        let mut flight = Flight::new(self.launcher.begin(order), snapshot, Arc::clone(&spent), room.clone());
        flight.started(&self.launcher, None).await?;
        let (stdin, used) = (flight.child().and_then(|child| child.stdin.take()), flight.used());
        let id = self.table.add(spent.session, |me| {
            let (tell, end) = watch::channel(None);
            let task = tokio::spawn(live(me, flight.hand_over(), (Arc::clone(&spent), room), tell));
            Process {
                command: shown,
                output: Mutex::default(),
                is_new: Notify::new(),
                stdin: tokio::sync::Mutex::new(stdin),
                stop: Notify::new(),
                end,
                used,
                charged_ms: AtomicU64::new(0),
                task,
            }
        })?;
        Ok(json!({"id": id}).into())
    }
}

/// Follows a process to its end.
async fn live(
    me: std::sync::Weak<Process>,
    running: Option<(Child, Snapshot)>,
    (spent, room): (Arc<Spent>, Room),
    tell: watch::Sender<Option<End>>,
) {
    let Some((mut child, snapshot)) = running else { return };
    let ended = {
        let ((out, err), end) = child.parts();
        let follow = async { tokio::join!(print(&me, out), print(&me, err), end).2 };
        let stop = async {
            if let Some(process) = me.upgrade() {
                process.stop.notified().await;
            }
        };
        tokio::select! {
            // Whichever is first ends all of it; what was printed so far is with the process.
            ended = follow => Some(ended),
            () = stop => None,
            () = sleep(LIFE) => None,
        }
    };
    let ended = match ended {
        Some(ended) => ended.ok(),
        None => {
            child.kill().await;
            None
        }
    };
    let compared = blocking(move || snapshot.compare(&spent, &room)).await;
    let compared = match compared {
        Ok(Ok(compared)) => Ok(compared),
        Ok(Err(Error::Failed(fault) | Error::Unknown(fault))) | Err(fault) => Err(fault),
    };
    tell.send_replace(Some(End { ended, compared: Arc::new(compared) }));
    if let Some(process) = me.upgrade() {
        process.is_new.notify_waiters();
    }
}

async fn print(me: &std::sync::Weak<Process>, from: &mut pipe::Receiver) {
    let mut piece = vec![0; PIECE];
    while let Ok(n @ 1..) = from.read(&mut piece).await {
        let Some(process) = me.upgrade() else { return };
        let mut output = process.output.lock().unwrap_or_else(PoisonError::into_inner);
        output.total += n as u64;
        output.bytes.extend(&piece[..n]);
        let over = output.bytes.len().saturating_sub(OUTPUT_BYTES);
        output.bytes.drain(..over);
        drop(output);
        process.is_new.notify_waiters();
    }
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, Processing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn must_have_room(&self, session: SessionKey) -> Result<(), Fault> {
        let mut all = self.lock();
        if all.all.len() >= ALL_MAX {
            // Those that ended make room; what they changed is not told any more.
            all.all.retain(|_, process| process.end.borrow().is_none());
        }
        let of_session = all.all.keys().filter(|(of, _)| *of == session).count();
        if of_session < OF_SESSION_MAX && all.all.len() < ALL_MAX {
            return Ok(());
        }
        Err(Fault::new(
            Code::TOOL_FAILED,
            format!("{of_session} processes of this session run already"),
            "end one with process_stop first",
        ))
    }

    fn add(&self, session: SessionKey, make: impl FnOnce(std::sync::Weak<Process>) -> Process) -> Result<u32, Fault> {
        // Asked again: two calls may have started at once.
        self.must_have_room(session)?;
        let mut all = self.lock();
        all.last = all.last.wrapping_add(1).max(1);
        let id = all.last;
        all.all.insert((session, id), Arc::new_cyclic(|me| make(me.clone())));
        Ok(id)
    }

    fn find(&self, spent: &Spent) -> Result<(Named, Arc<Process>), Fault> {
        let named: Named = read(&spent.args)?;
        let found = self.lock().all.get(&(spent.session, named.id)).cloned();
        let process = found.ok_or_else(|| {
            Fault::new(
                Code::TOOL_NOT_FOUND,
                format!("this session has no process {}", named.id),
                "see what runs with process_list",
            )
        })?;
        Ok((named, process))
    }

    pub(super) async fn read(&self, spent: &Spent, room: &Room) -> Result<Answer, Error> {
        let (named, process) = self.find(spent)?;
        let after = named.after.unwrap_or(0);
        let left = room.deadline.saturating_duration_since(tokio::time::Instant::now());
        let wait = Duration::from_millis(named.wait_ms.unwrap_or(0).min(WAIT_MS_MAX)).min(left / 2);
        let more = async {
            loop {
                // Registered before looking, so that nothing is missed in between.
                let news = process.is_new.notified();
                tokio::pin!(news);
                news.as_mut().enable();
                if process.total() > after || process.end.borrow().is_some() {
                    return;
                }
                news.await;
            }
        };
        // silent-ok: when nothing came in that time, that is the answer.
        timeout(wait, more).await.ok();
        process.charge(room);
        Ok(process.shown(named.id, after).into())
    }

    pub(super) async fn write(&self, spent: &Spent, room: &Room) -> Result<Answer, Error> {
        let (named, process) = self.find(spent)?;
        let text = named.text.unwrap_or_default();
        let mut stdin = process.stdin.lock().await;
        let closed =
            || Fault::new(Code::TOOL_FAILED, "the process reads no more input", "read what it said with process_read");
        let Some(input) = stdin.as_mut() else { return Err(closed().into()) };
        room.latch.begin()?;
        process.charge(room);
        input.write_all(text.as_bytes()).await.map_err(|_| closed())?;
        if named.end == Some(true) {
            *stdin = None;
        }
        Ok(json!({"id": named.id, "bytes": text.len()}).into())
    }

    pub(super) async fn stop(&self, spent: &Spent, room: &Room) -> Result<Answer, Error> {
        let (named, process) = self.find(spent)?;
        room.latch.begin()?;
        process.stop.notify_one();
        let mut end = process.end.clone();
        let end = match end.wait_for(Option::is_some).await {
            Ok(end) => end.clone(),
            Err(_gone) => None,
        };
        process.charge(room);
        self.lock().all.remove(&(spent.session, named.id));
        let mut value = process.shown(named.id, 0);
        match end.as_ref().map(|end| &*end.compared) {
            Some(Ok(compared)) => {
                compared.tell(spent, room)?;
                if let (false, Some(value)) = (compared.put_back.is_empty(), value.as_object_mut()) {
                    value.insert("put_back".to_owned(), compared.put_back.clone().into());
                }
            }
            Some(Err(fault)) => return Err(Error::Unknown(fault.clone())),
            None => {}
        }
        Ok(value.into())
    }

    pub(super) fn list(&self, spent: &Spent, room: &Room) -> Result<Answer, Error> {
        let all = self.lock();
        let of_session = all.all.iter().filter(|((session, _), _)| *session == spent.session);
        let list: Vec<Value> = of_session
            .map(|((_, id), process)| {
                process.charge(room);
                let is_running = process.end.borrow().is_none();
                json!({"id": id, "command": short(&plain(&process.command)), "is_running": is_running})
            })
            .collect();
        Ok(json!({"processes": list}).into())
    }

    /// Ends the processes of a session that is gone.
    pub(super) fn end_session(&self, session: SessionKey) {
        self.lock().all.retain(|(of, _), _| *of != session);
    }
}

impl Process {
    /// Counts what it used since the last call about it as this call's.
    fn charge(&self, room: &Room) {
        let used = self.used.cpu_ms();
        let before = self.charged_ms.fetch_max(used, Ordering::Relaxed);
        room.work.add(Duration::from_millis(used.saturating_sub(before)));
    }

    fn total(&self) -> u64 {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).total
    }

    /// What was printed from a byte on, and how it is.
    fn shown(&self, id: u32, after: u64) -> Value {
        let output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let first = output.total - output.bytes.len() as u64;
        let from = after.clamp(first, output.total);
        let skip = usize::try_from(from - first).unwrap_or(0);
        let bytes: Vec<u8> = output.bytes.iter().skip(skip).copied().collect();
        let text = plain(&String::from_utf8_lossy(&bytes));
        let mut value = json!({
            "id": id,
            "output": within(&text, ANSWER_COST),
            "next": output.total,
            "left_out": from - after.min(from),
        });
        drop(output);
        let end = self.end.borrow().clone();
        if let Some(value) = value.as_object_mut() {
            value.insert("is_running".to_owned(), end.is_none().into());
            if let Some(ended) = end.and_then(|end| end.ended) {
                value.insert("exit_code".to_owned(), ended.exit_code.into());
                value.insert("signal".to_owned(), ended.signal.into());
                if let Some(stopped) = ended.stopped {
                    value.insert("stopped".to_owned(), stopped.text().into());
                }
            }
        }
        value
    }
}
