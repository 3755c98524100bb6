//! The journal's bytes: records that are chained, frames that are bound by them.
//!
//! A record's bytes are the audit line. They are written once, from a struct
//! in fixed field order, and from then on only copied: what was stored is what
//! was hashed. [`Draft::seal`] is the one place that makes them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::account::Via;
use crate::body::Body;
use crate::digest::{Digest, Nonce};
use crate::ids::{AccountId, CallNo, Seq, SessionKey, TurnNo};
use crate::payload::Payload;

/// Version of the record format.
pub const FORMAT: u32 = 1;

/// What a journal row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Hash-chained and a leaf of the tree.
    Record,
    /// Written, not synced; bound by the record that closes it.
    Frame,
}

/// A row as it is stored and read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Position in the session.
    pub seq: Seq,
    /// Record or frame.
    pub class: Class,
    /// The stored bytes.
    pub bytes: Vec<u8>,
    /// Nonce and payload; absent for frames, for records without, and after erasure.
    pub payload: Option<(Nonce, Vec<u8>)>,
}

/// End of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Last entry; 0 for none.
    pub seq: Seq,
    /// Hash of the last *record*.
    pub hash: Digest,
}

impl Head {
    /// Of a journal without entries.
    pub const EMPTY: Self = Self { seq: 0, hash: Digest::ZERO };
}

/// One audit line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Format version.
    pub v: u32,
    /// Session.
    pub session: SessionKey,
    /// Position.
    pub seq: Seq,
    /// Hash of the record before.
    pub prev: Digest,
    /// RFC 3339, UTC, milliseconds.
    pub timestamp: Timestamp,
    /// Who spoke.
    pub account: AccountId,
    /// Agent that acts, `-` in the system session.
    pub agent_id: String,
    /// By whose token it spoke, where that is another account's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
    /// Turn it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<TurnNo>,
    /// What happened.
    #[serde(flatten)]
    pub body: Body,
    /// Salted digest of the payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Digest>,
}

/// A token, a piece of reasoning or of a tool's live output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Frame {
    /// A piece of the answer; whole characters.
    Token {
        /// The piece.
        text: String,
    },
    /// A piece of the model's reasoning.
    Reasoning {
        /// Milliseconds since 1970.
        at_ms: u64,
        /// The piece.
        text: String,
        /// Returned to the provider verbatim.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        opaque: Option<String>,
    },
    /// A piece of a tool's live output.
    ToolOutput {
        /// Milliseconds since 1970.
        at_ms: u64,
        /// The call.
        call: CallNo,
        /// `stdout`, `stderr` or `log`.
        stream: String,
        /// The piece.
        text: String,
    },
}

/// An entry as the engine and its clients see it.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A record; its payload is absent when it has none or it was erased.
    Record(Box<Record>, Option<Payload>),
    /// A frame.
    Frame(Seq, Frame),
}

impl Entry {
    /// Its position.
    #[must_use]
    pub fn seq(&self) -> Seq {
        match self {
            Self::Record(record, _) => record.seq,
            Self::Frame(seq, _) => *seq,
        }
    }
}

/// Why stored bytes are not a journal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {seq} of session {session} is corrupt: {what}")]
pub struct Corrupt {
    /// Session.
    pub session: SessionKey,
    /// First bad entry.
    pub seq: Seq,
    /// What is wrong.
    pub what: &'static str,
}

/// A record before it has a place in the chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// Turn it belongs to.
    pub turn: Option<TurnNo>,
    /// Public half.
    pub body: Body,
    /// Private half.
    pub payload: Option<Payload>,
}

/// Who and when, the same for all records of one append.
#[derive(Debug, Clone)]
pub struct Stamp {
    /// Session.
    pub session: SessionKey,
    /// Account on whose behalf.
    pub account: AccountId,
    /// Agent that acts.
    pub agent_id: String,
    /// By whose token the account spoke, where that is another account's.
    pub via: Option<Via>,
    /// Milliseconds since 1970.
    pub at_ms: u64,
}

impl Draft {
    /// Gives the draft its place after `head` and returns the row, the entry
    /// and the new head. `nonce` salts the payload and is ignored without one.
    ///
    /// # Errors
    /// [`Corrupt`] when the time cannot be written or a value cannot be encoded; neither happens
    /// for times before the year 9999.
    pub fn seal(self, stamp: &Stamp, head: Head, nonce: Nonce) -> Result<(Row, Entry, Head), Corrupt> {
        let seq = head.seq + 1;
        let corrupt = |what| Corrupt { session: stamp.session, seq, what };
        let payload = match &self.payload {
            Some(payload) => Some((nonce, serde_json::to_vec(payload).map_err(|_| corrupt("payload"))?)),
            None => None,
        };
        let record = Record {
            v: FORMAT,
            session: stamp.session,
            seq,
            prev: head.hash,
            timestamp: timestamp(stamp.at_ms).ok_or_else(|| corrupt("time"))?,
            account: stamp.account.clone(),
            agent_id: stamp.agent_id.clone(),
            via: stamp.via.clone(),
            turn: self.turn,
            body: self.body,
            payload: payload.as_ref().map(|(nonce, bytes)| Digest::of_payload(nonce, bytes)),
        };
        let bytes = serde_json::to_vec(&record).map_err(|_| corrupt("record"))?;
        let head = Head { seq, hash: Digest::of_record(&bytes) };
        let row = Row { seq, class: Class::Record, bytes, payload };
        Ok((row, Entry::Record(Box::new(record), self.payload), head))
    }
}

impl Frame {
    /// Gives the frame its place after `head`; the chain's hash stays.
    ///
    /// # Errors
    /// [`Corrupt`] when it cannot be encoded, which does not happen.
    pub fn seal(self, session: SessionKey, head: Head) -> Result<(Row, Entry, Head), Corrupt> {
        let seq = head.seq + 1;
        let bytes = serde_json::to_vec(&self).map_err(|_| Corrupt { session, seq, what: "frame" })?;
        let row = Row { seq, class: Class::Frame, bytes, payload: None };
        Ok((row, Entry::Frame(seq, self), Head { seq, hash: head.hash }))
    }
}

/// Reads rows back and checks order, chain and payload digests.
#[derive(Debug, Clone)]
pub struct Reader {
    session: SessionKey,
    head: Head,
}

impl Reader {
    /// Starts after `head`; [`Head::EMPTY`] for a whole journal.
    #[must_use]
    pub const fn new(session: SessionKey, head: Head) -> Self {
        Self { session, head }
    }

    /// The end of what was read.
    #[must_use]
    pub const fn head(&self) -> Head {
        self.head
    }

    /// Checks and decodes the next row.
    ///
    /// # Errors
    /// [`Corrupt`] names the first row that is out of order, edited or unreadable.
    pub fn next(&mut self, row: &Row) -> Result<Entry, Corrupt> {
        let seq = self.head.seq + 1;
        let corrupt = |what| Corrupt { session: self.session, seq, what };
        if row.seq != seq {
            return Err(corrupt("missing or out of order"));
        }
        let entry = decode(self.session, row)?;
        if let Entry::Record(record, _) = &entry {
            if record.prev != self.head.hash {
                return Err(corrupt("its predecessor's hash differs"));
            }
            self.head.hash = Digest::of_record(&row.bytes);
        }
        self.head.seq = seq;
        Ok(entry)
    }
}

/// Decodes one row and checks its payload digest, but not the chain.
///
/// # Errors
/// [`Corrupt`] when the bytes are unreadable or the payload is not the one that was recorded.
pub fn decode(session: SessionKey, row: &Row) -> Result<Entry, Corrupt> {
    let corrupt = |what| Corrupt { session, seq: row.seq, what };
    if row.class == Class::Frame {
        let frame = serde_json::from_slice(&row.bytes).map_err(|_| corrupt("unreadable frame"))?;
        return Ok(Entry::Frame(row.seq, frame));
    }
    let record: Record = serde_json::from_slice(&row.bytes).map_err(|_| corrupt("unreadable record"))?;
    if record.seq != row.seq || record.session != session {
        return Err(corrupt("it stands in another place than it says"));
    }
    let payload = match (&record.payload, &row.payload) {
        (Some(digest), Some((nonce, bytes))) => {
            if Digest::of_payload(nonce, bytes) != *digest {
                return Err(corrupt("its payload differs from what was recorded"));
            }
            Some(serde_json::from_slice(bytes).map_err(|_| corrupt("unreadable payload"))?)
        }
        (None, Some(_)) => return Err(corrupt("a payload that was not recorded")),
        (_, None) => None,
    };
    Ok(Entry::Record(Box::new(record), payload))
}

/// A time in milliseconds since 1970 as a timestamp; `None` beyond the year 9999.
#[must_use]
pub fn timestamp(at_ms: u64) -> Option<Timestamp> {
    i64::try_from(at_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok())
}

#[cfg(test)]
mod tests;
