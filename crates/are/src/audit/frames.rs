//! Checks that what records bind is there as it was: tokens, reasoning and output.
//!
//! Frames are no leaves. The record that closes them holds a digest over their
//! stored bytes, begun with a nonce of its payload, so that nothing can be
//! guessed from it once both are erased.

use std::collections::HashMap;

use are_core::body::{Body, FrameRange};
use are_core::digest::{Digest, Nonce, Rolling};
use are_core::error::Fault;
use are_core::ids::{CallNo, Seq, SessionKey};
use are_core::journal::{Frame, Record};
use are_core::payload::Payload;
use are_store::tree::{Leaf, Stretch, Tree};

use super::checker::Bad;
use super::keeper::store;

/// Records whose frames are read at once.
const RECORDS: usize = 256;
/// Bytes of frames that are read at once; one record's may be more.
const BYTES: usize = 4 << 20;
/// What stands in every record that binds frames.
const MARK: &str = "\"frames\":{";

/// A record's frames as it says that they are.
pub(super) struct Bound {
    leaf: u64,
    session: SessionKey,
    seq: Seq,
    range: FrameRange,
    binds: Binds,
    nonce: Nonce,
    /// Calls of which nothing is bound here: what they printed was bound when they ended.
    ended: Vec<CallNo>,
}

/// Finds what records bind, record by record.
#[derive(Debug, Default)]
pub(super) struct Binder {
    /// Calls that ended since frames were closed all together, by session.
    ended: HashMap<SessionKey, Vec<CallNo>>,
}

impl Binder {
    /// The frames that the record of a leaf binds; none where they were erased with its payload.
    pub(super) fn bound(&mut self, leaf: u64, record: &Leaf) -> Option<Bound> {
        // PERF: few records have any, and only those are read whole.
        std::str::from_utf8(&record.bytes).ok().filter(|line| line.contains(MARK))?;
        let (range, binds) = bound_by(&serde_json::from_slice::<Record>(&record.bytes).ok()?.body)?;
        let ended = match binds {
            Binds::Output(call) => {
                self.ended.entry(record.session).or_default().push(call);
                Vec::new()
            }
            Binds::Answer | Binds::All => self.ended.remove(&record.session).unwrap_or_default(),
        };
        let (_, payload) = record.payload.as_ref()?;
        let nonce = nonce_of(&serde_json::from_slice::<Payload>(payload).ok()?)?;
        Some(Bound { leaf, session: record.session, seq: record.seq, range, binds, nonce, ended })
    }
}

/// Reads the frames and compares.
///
/// # Errors
/// The store could not be read.
pub(super) async fn check(tree: &dyn Tree, bound: Vec<Bound>) -> Result<Result<(), Bad>, Fault> {
    let mut rest = bound.as_slice();
    while !rest.is_empty() {
        let stretch = |one: &Bound| Stretch { session: one.session, first: one.range.first, last: one.range.last };
        let stretches = rest.iter().take(RECORDS).map(stretch).collect();
        let found = tree.frames(stretches, BYTES).await.map_err(|error| store(&error))?;
        let (now, later) = rest.split_at(found.len().clamp(1, rest.len()));
        for (one, frames) in now.iter().zip(&found) {
            if let Err(bad) = compare(one, frames) {
                return Ok(Err(bad));
            }
        }
        rest = later;
    }
    Ok(Ok(()))
}

fn compare(one: &Bound, frames: &[Vec<u8>]) -> Result<(), Bad> {
    let mut rolling = Rolling::new(&one.nonce);
    for bytes in frames {
        // What is no frame any more is not left out, so that the digest is another one.
        let is_own = serde_json::from_slice::<Frame>(bytes).map_or(true, |frame| {
            let is_bound_before = matches!(&frame, Frame::ToolOutput { call, .. } if one.ended.contains(call));
            one.binds.holds(&frame) && !(one.binds == Binds::All && is_bound_before)
        });
        if is_own {
            rolling.push(bytes);
        }
    }
    if rolling.finish() == one.range.digest {
        return Ok(());
    }
    let FrameRange { first, last, .. } = one.range;
    let what = format!("the entries {first} to {last} that it closes are not those that were recorded");
    // Where all are gone they may have been erased since the record was read.
    Err(Bad { is_gone: frames.is_empty(), ..Bad::new(one.leaf, Some((one.session, one.seq)), what) })
}

/// Which frames inside of its range a record binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Binds {
    /// What a model said: tokens and reasoning.
    Answer,
    /// The output of one call.
    Output(CallNo),
    /// All that a crash left open.
    All,
}

impl Binds {
    fn holds(self, frame: &Frame) -> bool {
        match (self, frame) {
            (Self::All, _) => true,
            (Self::Answer, frame) => matches!(frame, Frame::Token { .. } | Frame::Reasoning { .. }),
            (Self::Output(of), frame) => matches!(frame, Frame::ToolOutput { call, .. } if of == *call),
        }
    }
}

/// The frames that a record binds, if there are any.
const fn bound_by(body: &Body) -> Option<(FrameRange, Binds)> {
    let (frames, binds) = match body {
        Body::ModelCompleted { frames, .. } | Body::ModelFailed { frames, .. } | Body::TurnFailed { frames, .. } => {
            (frames, Binds::Answer)
        }
        Body::ToolCompleted { call, frames, .. }
        | Body::ToolFailed { call, frames, .. }
        | Body::ToolUnknown { call, frames, .. } => (frames, Binds::Output(*call)),
        Body::TurnResumed { frames, .. } => (frames, Binds::All),
        _ => return None,
    };
    match frames {
        Some(range) => Some((*range, binds)),
        None => None,
    }
}

/// The nonce that begins the digest of these frames.
fn nonce_of(payload: &Payload) -> Option<Nonce> {
    let nonce = match payload {
        Payload::Answer { nonce, .. } | Payload::Nonce { nonce } => Some(nonce),
        Payload::Result { nonce, .. } | Payload::Failure { nonce, .. } => nonce.as_ref(),
        _ => None,
    };
    nonce?.parse::<Digest>().ok().map(|digest| digest.0)
}
