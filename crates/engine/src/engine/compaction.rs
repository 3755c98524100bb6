//! Summing up a session's turns because somebody asks for it, and taking that back.
//!
//! A turn of its own does it, as for an undo. Nothing is erased: only what later
//! requests show of the session is another.

use are_core::body::Body;
use are_core::error::{Code, Fault};
use are_core::ids::{Seq, SessionKey, TurnNo};
use are_core::journal::Entry;
use are_core::payload::Payload;

use super::{Engine, Tail};
use crate::actor::{Command, Reply};
use crate::api::{Caller, Compacted, Tailed};

impl Engine {
    /// Has the session's model sum up all turns so far; the summary stands for them in requests from then on.
    ///
    /// # Errors
    /// A turn runs, there is nothing to sum up (ARE-0209), the model could not be had or its summary is of no use
    /// (ARE-0415), a limit leaves no room.
    pub async fn compact(&self, caller: &Caller, key: SessionKey) -> Result<Compacted, Fault> {
        let handle = self.owned(caller, key).await?;
        // Attached before it begins, so that its end cannot be missed.
        let (_, mut tail) = self.attach(caller, key, None, None).await?;
        let asked = |reply: Reply| Command::Compact { caller: Box::new(caller.clone()), reply };
        let (by, _) = self.command(caller, &handle, asked).await?;
        ended(&mut tail, by).await
    }

    /// Takes the latest summary back, whoever asked for it, and shows results whole again. What there was before is
    /// shown again, and is summed up by itself only when it has grown by a quarter.
    ///
    /// # Errors
    /// A turn runs, nothing is compacted (ARE-0209).
    pub async fn uncompact(&self, caller: &Caller, key: SessionKey) -> Result<Seq, Fault> {
        let handle = self.owned(caller, key).await?;
        let asked = |reply: Reply| Command::Uncompact { caller: Box::new(caller.clone()), reply };
        let (_, seq) = self.command(caller, &handle, asked).await?;
        Ok(seq)
    }
}

/// Waits for the end of the turn.
async fn ended(tail: &mut Tail, turn: TurnNo) -> Result<Compacted, Fault> {
    let (mut compacted, mut why) = (None, None);
    loop {
        for item in tail.next().await? {
            let Tailed::Entry(entry) = item else { continue };
            let Entry::Record(record, payload) = entry.as_ref() else { continue };
            if record.turn != Some(turn) {
                continue;
            }
            match (&record.body, payload) {
                (Body::Compacted { until, usage, .. }, Some(Payload::Summary { text, .. })) => {
                    compacted = Some(Compacted { turn, until: *until, summary: text.clone(), usage: *usage });
                }
                (Body::CompactionFailed { code, .. }, Some(Payload::Failure { message, help, .. })) => {
                    why = Some(Fault::new(*code, message, help));
                }
                (Body::TurnCompleted { .. }, _) => {
                    return compacted.ok_or_else(crate::faults::internal);
                }
                (Body::TurnFailed { code, .. }, payload) => {
                    let said = match payload {
                        Some(Payload::Failure { message, help, .. }) => Fault::new(*code, message, help),
                        _ => Fault::new(*code, "the compaction failed", "try again"),
                    };
                    return Err(why.unwrap_or(said));
                }
                (Body::TurnCancelled {}, _) => {
                    let help = "nothing has changed; ask for it again";
                    return Err(Fault::new(Code::TURN_NOT_RUNNING, "the compaction was stopped", help));
                }
                _ => {}
            }
        }
    }
}
