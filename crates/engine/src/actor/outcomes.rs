//! What calls say while they run and what they come to, as frames and records.

use std::collections::BTreeMap;

use are_core::body::{Body, CallSpent, FrameRange, Scope};
use are_core::change::FileChange;
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::{AccountId, CallNo, MemoryId};
use are_core::journal::{Draft, Frame};
use are_core::label::{Label, Levels, worst_of};
use are_core::limits::{FRAME_BYTES_MAX, TOOL_OUTPUT_BYTES_MAX, TOOL_STORED_BYTES_MAX};
use are_core::payload::{Bound, Payload};
use are_core::store::{Change, MemoryRow};
use are_policy::tools::{Binding, Output, ToolOutcome, UNKNOWN_MEDIA, Variables};

use super::tools::{Run, Running, given_up};
use super::{Actor, Batch, Stop};
use crate::faults;
use crate::journal::Sealed;
use crate::limits::ARTIFACTS_BYTES_MAX;
use crate::machine;
use crate::state::CallResult;

impl Running {
    fn frames(&self) -> Option<FrameRange> {
        self.range.map(|(first, last)| FrameRange { first, last, digest: self.rolling.finish() })
    }

    /// What it used, with a result of so many bytes.
    fn spent(&self, bytes: usize) -> Option<CallSpent> {
        let bytes = u64::try_from(self.output_bytes + bytes).unwrap_or(u64::MAX);
        let spent = CallSpent { cpu_ms: self.work.cpu_ms(), bytes };
        Some(spent).filter(|spent| *spent != CallSpent::default())
    }

    fn nonce(&self) -> Option<String> {
        self.range.map(|_| Digest(self.nonce).to_string())
    }
}

impl Actor {
    pub(super) async fn take_output(&mut self, run: &mut Run, call: CallNo, output: Output) -> Result<(), Stop> {
        let Some(entry) = run.calls.get_mut(&call) else { return Ok(()) };
        let stream = output.stream;
        let text = entry.scrubs.entry(stream).or_default().push(&self.scrubber(), output.text);
        self.write_output(entry, call, stream, &text).await
    }

    /// What was held back because it could have become a secret, of all calls that end now.
    pub(super) async fn take_held_output(&mut self, running: &mut BTreeMap<CallNo, Running>) -> Result<(), Stop> {
        for (call, entry) in running {
            for (stream, mut scrub) in std::mem::take(&mut entry.scrubs) {
                let text = scrub.finish(&self.scrubber());
                self.write_output(entry, *call, stream, &text).await?;
            }
        }
        Ok(())
    }

    async fn write_output(&mut self, entry: &mut Running, call: CallNo, stream: &str, text: &str) -> Result<(), Stop> {
        let room = TOOL_OUTPUT_BYTES_MAX.saturating_sub(entry.output_bytes);
        let mut rest = &text[..text.floor_char_boundary(room)];
        entry.output_bytes += rest.len();
        let mut sealed = Sealed::default();
        let at_ms = self.inner.ports.clock.now_ms();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(FRAME_BYTES_MAX));
            let frame = Frame::ToolOutput { at_ms, call, stream: stream.to_owned(), text: piece.to_owned() };
            self.journal.seal_frame(&mut sealed, frame).map_err(faults::corrupt)?;
            rest = after;
        }
        for row in &sealed.rows {
            entry.rolling.push(&row.bytes);
            entry.range = Some((entry.range.map_or(row.seq, |(first, _)| first), row.seq));
        }
        for (_, frame) in &sealed.entries {
            self.state.apply(frame);
        }
        self.write_frames(sealed).await
    }

    /// The records of outcomes, in call order.
    pub(super) async fn outcomes(&self, running: BTreeMap<CallNo, Running>) -> Result<Batch, Stop> {
        let turn = self.state.running().ok_or_else(faults::internal)?;
        let mut batch = Batch::new(turn.account.clone(), Vec::new());
        let mut room = ARTIFACTS_BYTES_MAX.saturating_sub(self.state.artifact_bytes);
        for (call, mut entry) in running {
            let (outcome, ms) = entry.done.take().unwrap_or_else(|| (given_up(entry.effect, entry.retry), 0));
            let outcome = self.tainted(call, outcome)?;
            let bindings = match &outcome {
                ToolOutcome::Completed { bindings, .. } => bindings.clone(),
                ToolOutcome::Failed { .. } | ToolOutcome::Unknown { .. } => Vec::new(),
            };
            for binding in bindings {
                let (draft, change) = self.binding(turn.no, call, binding);
                if let Change::PutArtifact(_, _, bytes) = &change {
                    // What stands for a secret may be longer than what a call was told that there is room for, and calls of
                    // a running call were told when it was.
                    if bytes.len() as u64 > room {
                        tracing::warn!(call, bytes = bytes.len(), "an artifact is not kept: the session has no room");
                        continue;
                    }
                    room -= bytes.len() as u64;
                    entry.output_bytes = entry.output_bytes.saturating_add(bytes.len());
                }
                batch.drafts.push(draft);
                batch.changes.push(change);
            }
            let (body, payload) = self.outcome(call, &entry, outcome, ms);
            // Before the outcome, while the call still runs, as all that happens during it.
            let flagged = self.inner.screen.outcome(call, &payload).await;
            batch.drafts.extend(flagged.map(|body| Draft { turn: Some(turn.no), body, payload: None }));
            batch.drafts.push(Draft { turn: Some(turn.no), body, payload: Some(payload) });
        }
        Ok(batch)
    }

    fn outcome(&self, call: CallNo, entry: &Running, outcome: ToolOutcome, ms: u64) -> (Body, Payload) {
        let (frames, nonce) = (entry.frames(), entry.nonce());
        match outcome {
            ToolOutcome::Completed { value, labels, .. } => {
                let Bound { value, labels } = self.scrubber().clean_bound(Bound { value, labels });
                let bytes = value.to_string().len();
                let spent = entry.spent(bytes);
                if bytes > TOOL_STORED_BYTES_MAX {
                    let fault =
                        Fault::new(Code::TOOL_FAILED, "the result is larger than can be kept", "ask for a part of it");
                    let body = Body::ToolFailed { call, result: "failed".to_owned(), code: fault.code, frames, spent };
                    let payload = machine::failure(&fault, machine::system_label(), nonce);
                    return (body, with(payload, self.scrubber().clean_changes(entry.changes.possible())));
                }
                let worst = worst_of(&labels).unwrap_or_else(|| Label::worst("unlabelled"));
                let body = Body::ToolCompleted {
                    call,
                    result: "ok".to_owned(),
                    labels: Levels::from(&worst),
                    ms,
                    frames,
                    spent,
                };
                (
                    body,
                    Payload::Result {
                        value,
                        labels,
                        nonce,
                        changes: self.scrubber().clean_changes(entry.changes.possible()),
                    },
                )
            }
            ToolOutcome::Failed { fault, label } => {
                let spent = entry.spent(fault.message.len());
                let body = Body::ToolFailed { call, result: "failed".to_owned(), code: fault.code, frames, spent };
                let payload = machine::failure(&self.clean_fault(fault), self.clean_label(label), nonce);
                (body, with(payload, self.scrubber().clean_changes(entry.changes.certain())))
            }
            ToolOutcome::Unknown { fault, label } => {
                let spent = entry.spent(0);
                let body = Body::ToolUnknown { call, result: "unknown".to_owned(), frames, spent };
                let payload = machine::failure(&self.clean_fault(fault), self.clean_label(label), nonce);
                (body, with(payload, self.scrubber().clean_changes(entry.changes.possible())))
            }
        }
    }

    pub(super) fn clean_fault(&self, mut fault: Fault) -> Fault {
        fault.message = self.scrubber().clean(fault.message);
        fault.help = self.scrubber().clean(fault.help);
        fault
    }

    fn clean_label(&self, mut label: Label) -> Label {
        label.origins = label.origins.into_iter().map(|origin| self.scrubber().clean(origin)).collect();
        label
    }

    /// Whose variables and memories it binds.
    fn binder(&self) -> AccountId {
        let owner = self.state.facts.as_ref().map(|facts| facts.owner.clone());
        owner.unwrap_or_else(|| self.inner.operator.clone())
    }

    fn binding(&self, turn: u32, call: CallNo, binding: Binding) -> (Draft, Change) {
        let (scope, name, value) = match binding {
            Binding::Variable { scope, name, value } => (scope, name, value),
            Binding::Memory { id, text, label } => return self.memory(turn, call, id, text, label),
            Binding::Artifact { name, media_type, bytes, label } => {
                return self.artifact((turn, call), (name, media_type), bytes, label);
            }
        };
        let value = value.map(|bound| self.scrubber().clean_bound(bound));
        let change =
            Change::Variable { scope, account: self.binder(), name: name.clone(), value: value.as_ref().map(encoded) };
        let labels = value.as_ref().map(|bound| bound.labels.clone()).unwrap_or_default();
        let payload = Payload::Variable { name, value: value.map(|bound| bound.value), labels };
        let body = Body::VariableSet { scope, call: Some(call) };
        (Draft { turn: Some(turn), body, payload: Some(payload) }, change)
    }

    fn memory(&self, turn: u32, call: CallNo, id: MemoryId, text: String, label: Label) -> (Draft, Change) {
        let (text, label) = (self.scrubber().clean(text), self.clean_label(label));
        let row = MemoryRow {
            order: 0,
            id: id.clone(),
            session: Some(self.shared.key),
            text: text.clone(),
            label: serde_json::to_string(&label).unwrap_or_default(),
            created_at_ms: self.inner.ports.clock.now_ms(),
        };
        let body = Body::MemoryAdded { memory: id, call: Some(call) };
        let draft = Draft { turn: Some(turn), body, payload: Some(Payload::Memory { text, label }) };
        (draft, Change::PutMemory { account: self.binder(), row })
    }

    fn artifact(
        &self,
        (turn, call): (u32, CallNo),
        (name, media_type): (String, String),
        bytes: Vec<u8>,
        label: Label,
    ) -> (Draft, Change) {
        let (name, bytes) = (self.scrubber().clean(name), self.scrubber().clean_bytes(bytes));
        let media_type = if self.scrubber().finds(&media_type) { UNKNOWN_MEDIA.to_owned() } else { media_type };
        let label = self.clean_label(label);
        let digest = Digest::of(&[&bytes]);
        let body = Body::Artifact { call, bytes: bytes.len() as u64, labels: Levels::from(&label) };
        let payload = Payload::Artifact { name, media_type: media_type.clone(), digest, label };
        let draft = Draft { turn: Some(turn), body, payload: Some(payload) };
        (draft, Change::PutArtifact(digest, media_type, bytes))
    }

    /// What a call of others comes to is as bad as the worst that they brought it: no tool launders what it read.
    fn tainted(&self, call: CallNo, outcome: ToolOutcome) -> Result<ToolOutcome, Stop> {
        let turn = self.state.running().ok_or_else(faults::internal)?;
        let brought =
            turn.calls().filter(|step| step.parent == Some(call)).filter_map(|step| match step.result.as_ref()? {
                CallResult::Completed { labels, .. } => worst_of(labels),
                CallResult::Failed { label, .. } | CallResult::Unknown { label, .. } => Some(label.clone()),
                CallResult::HandedOver | CallResult::Erased => Some(Label::worst("erased")),
            });
        let Some(worst) = brought.reduce(|a, b| a.join(&b)) else { return Ok(outcome) };
        Ok(match outcome {
            ToolOutcome::Completed { value, mut labels, bindings } => {
                labels.values_mut().for_each(|label| *label = label.join(&worst));
                ToolOutcome::Completed {
                    value,
                    labels,
                    bindings: bindings.into_iter().map(|one| joined(one, &worst)).collect(),
                }
            }
            ToolOutcome::Failed { fault, label } => ToolOutcome::Failed { fault, label: label.join(&worst) },
            ToolOutcome::Unknown { fault, label } => ToolOutcome::Unknown { fault, label: label.join(&worst) },
        })
    }

    /// The variables of the session and its account.
    pub(super) async fn variables(&self) -> Result<Variables, Stop> {
        let owner = self.owner()?;
        let rows = self.inner.ports.store.variables(Some(self.shared.key), owner).await.map_err(faults::store)?;
        let mut variables = Variables::new();
        for row in rows {
            let (Ok(value), Ok(labels)) = (serde_json::from_str(&row.value), serde_json::from_str(&row.labels)) else {
                return Err(Fault::new(Code::SESSION_CORRUPT, "a stored variable is unreadable", "set it again").into());
            };
            variables.insert((row.scope, row.name), Bound { value, labels });
        }
        Ok(variables)
    }
}

/// A failure that changed files all the same, or may have.
fn with(payload: Payload, changes: Vec<FileChange>) -> Payload {
    match payload {
        Payload::Failure { message, help, label, nonce, .. } => {
            Payload::Failure { message, help, label, nonce, changes }
        }
        other => other,
    }
}

/// A variable's value and labels as JSON.
pub(crate) fn encoded(bound: &Bound) -> (String, String) {
    // Maps with string keys only, so encoding cannot fail.
    (bound.value.to_string(), serde_json::to_string(&bound.labels).unwrap_or_default())
}

fn joined(binding: Binding, worst: &Label) -> Binding {
    match binding {
        Binding::Variable { scope, name, value } => {
            let value = value.map(|Bound { value, mut labels }| {
                labels.values_mut().for_each(|label| *label = label.join(worst));
                Bound { value, labels }
            });
            Binding::Variable { scope, name, value }
        }
        Binding::Memory { id, text, label } => Binding::Memory { id, text, label: label.join(worst) },
        Binding::Artifact { name, media_type, bytes, label } => {
            Binding::Artifact { name, media_type, bytes, label: label.join(worst) }
        }
    }
}

/// Session variables come before account variables in [`Variables`].
const _: () = assert!((Scope::Session as u8) < (Scope::Account as u8));
