//! The tools that are served, how others take their place while the engine
//! runs, and calls that somebody makes without a model.
//!
//! As with rules: one change at a time, recorded in the system session with the
//! object that later records name, and only then served. What cannot be served
//! is recorded once for each reason and changes nothing else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use are_core::body::Body;
use are_core::error::{Code, Fault};
use are_core::ids::{AccountId, CallNo, SessionKey, TurnNo};
use are_core::journal::Entry;
use are_core::label::{Integrity, Labels};
use are_core::payload::{Part, Payload};
use are_core::store::Change;
use are_policy::tools::{Problem, Shelf, Shelved, ToolFile};
use serde_json::Value;

use super::{Engine, Inner, Tail};
use crate::api::{Called, Caller, DirectCall, IfBusy, Prompt, Tailed, ToolsStanding};
use crate::{faults, machine};

/// Problems that one record tells of; the listing tells of all.
const PROBLEMS_TOLD_MAX: usize = 16;

/// Changes of the tools, one after the other.
#[derive(Default)]
pub(super) struct Keeper {
    turn: tokio::sync::Mutex<()>,
    told: Mutex<Vec<Problem>>,
}

impl Engine {
    /// What is served, and what is not.
    #[must_use]
    pub fn tools_standing(&self) -> ToolsStanding {
        let problems = self.inner.ports.tools.shelf().map(|shelf| shelf.problems()).unwrap_or_default();
        let tools = self.inner.ports.tools.snapshot();
        let names = tools.iter().map(|(manifest, _)| manifest.name.clone()).collect();
        ToolsStanding { digest: tools.digest(), tools: names, problems }
    }

    /// The file that a tool comes from; `None` for one of the runtime's own.
    #[must_use]
    pub fn tool_file(&self, tool: &str) -> Option<String> {
        self.inner.ports.tools.shelf()?.file_of(tool)
    }

    /// Reads the files of tools again and serves what they hold.
    ///
    /// # Errors
    /// They cannot be read, or the change could not be recorded, so that it does not hold.
    pub async fn reload_tools(&self) -> Result<ToolsStanding, Fault> {
        let Some(shelf) = self.inner.ports.tools.shelf() else { return Ok(self.tools_standing()) };
        let _one = self.inner.served.turn.lock().await;
        self.inner.reload(shelf.as_ref(), &self.inner.operator, "files").await?;
        Ok(self.tools_standing())
    }

    /// Adds a file of tools, or replaces one, and serves what it holds.
    ///
    /// # Errors
    /// It cannot be loaded, a name is taken, the change could not be recorded.
    pub async fn add_tool(&self, caller: &Caller, file: ToolFile, may_replace: bool) -> Result<Shelved, Fault> {
        let shelf = self.shelf()?;
        let _one = self.inner.served.turn.lock().await;
        let shelved = shelf.put(file, may_replace).await?;
        if matches!(shelved, Shelved::Written { .. }) {
            self.inner.reload(shelf.as_ref(), &caller.account, "door").await?;
        }
        Ok(shelved)
    }

    /// Removes the file of that name, or the one that the tool of that name comes from.
    ///
    /// # Errors
    /// There is no such file, it is part of the runtime, the change could not be recorded.
    pub async fn remove_tool(&self, caller: &Caller, name: String) -> Result<String, Fault> {
        let shelf = self.shelf()?;
        let _one = self.inner.served.turn.lock().await;
        let file = shelf.remove(name).await?;
        self.inner.reload(shelf.as_ref(), &caller.account, "door").await?;
        Ok(file)
    }

    /// Calls a tool without a model, as a turn of its own, and waits for what it comes to.
    ///
    /// # Errors
    /// The rules deny it, the call failed, nobody knows whether it happened.
    pub async fn call_tool(&self, caller: &Caller, call: DirectCall) -> Result<Called, Fault> {
        let text = format!("{} {}", call.tool, call.args.as_str());
        let prompt = Prompt {
            request_id: call.request_id,
            content: vec![Part::Text { text }],
            // A user's token speaks for the user: the call itself is the asking.
            integrity: Integrity::User,
            temperature_milli: None,
            model: None,
            if_busy: IfBusy::Reject,
            is_direct: true,
        };
        let ack = self.prompt(caller, call.target, prompt).await?;
        let (_, mut tail) = self.attach(caller, ack.session, Some(ack.seq), None).await?;
        outcome(&mut tail, ack.session, ack.turn).await
    }

    fn shelf(&self) -> Result<Arc<dyn Shelf>, Fault> {
        let none =
            || Fault::new(Code::UNAVAILABLE, "no files of tools are kept here", "use a server with a data directory");
        self.inner.ports.tools.shelf().ok_or_else(none)
    }
}

impl Inner {
    async fn reload(&self, shelf: &dyn Shelf, by: &AccountId, source: &str) -> Result<(), Fault> {
        let reading = shelf.read().await?;
        let (old, new) = (self.ports.tools.snapshot().digest(), reading.tools.digest());
        if old != new {
            let body = Body::ToolsChanged { old, new, source: source.to_owned() };
            let object = Change::PutObject(new, reading.tools.object().to_vec());
            self.system.append(by.clone(), body, None, vec![object]).await?;
            self.remember_objects(std::iter::once(new));
            tracing::info!(%old, %new, account = %by, "other tools are served");
        }
        // Also when the set is the same: what is said of files that are not served may be new.
        shelf.serve(new);
        self.tell_problems(new, reading.problems, by).await
    }

    async fn tell_problems(
        &self,
        tools: are_core::digest::Digest,
        problems: Vec<Problem>,
        by: &AccountId,
    ) -> Result<(), Fault> {
        let told = || self.served.told.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh: Vec<Problem> = {
            let told = told();
            problems.iter().filter(|problem| !told.contains(problem)).cloned().collect()
        };
        for problem in &fresh {
            tracing::warn!(file = problem.file, why = problem.why, "a file of tools is not served");
        }
        if !fresh.is_empty() {
            let line = |problem: &Problem| format!("{}: {}", problem.file, problem.why);
            let message: Vec<String> = fresh.iter().take(PROBLEMS_TOLD_MAX).map(line).collect();
            let help = "`are tool list` shows all that is not served, with what to do";
            let fault = Fault::new(Code::MANIFEST_INVALID, self.scrubber.clean(message.join("\n")), help);
            let payload = machine::failure(&fault, machine::system_label(), None);
            self.system.append(by.clone(), Body::ToolsRefused { tools }, Some(payload), Vec::new()).await?;
        }
        *told() = problems;
        Ok(())
    }
}

/// What the call of a turn came to.
async fn outcome(tail: &mut Tail, session: SessionKey, turn: TurnNo) -> Result<Called, Fault> {
    let mut results: BTreeMap<CallNo, (Value, Labels)> = BTreeMap::new();
    let mut first: Option<CallNo> = None;
    loop {
        for item in tail.next().await? {
            let Tailed::Entry(entry) = item else { continue };
            let Entry::Record(record, payload) = entry.as_ref() else { continue };
            if record.turn != Some(turn) {
                continue;
            }
            match (&record.body, payload) {
                // What it calls in turn follows it.
                (Body::ToolRequested { call, .. }, _) => first = first.or(Some(*call)),
                (Body::ToolCompleted { call, .. }, Some(Payload::Result { value, labels, .. })) => {
                    results.insert(*call, (value.clone(), labels.clone()));
                }
                (Body::TurnCompleted { .. }, _) => {
                    let found = first.and_then(|call| Some((call, results.remove(&call)?)));
                    let (call, (value, labels)) = found.ok_or_else(faults::internal)?;
                    return Ok(Called { session, turn, call, value, labels });
                }
                (Body::TurnFailed { code, .. }, Some(Payload::Failure { message, help, .. })) => {
                    return Err(Fault::new(*code, message, help));
                }
                (Body::TurnFailed { code, .. }, _) => return Err(Fault::new(*code, "the call failed", "try again")),
                (Body::TurnCancelled {}, _) => {
                    let help = "find out whether it happened before you call it again";
                    return Err(Fault::new(Code::TOOL_OUTCOME_UNKNOWN, "the call was stopped", help));
                }
                _ => {}
            }
        }
    }
}
