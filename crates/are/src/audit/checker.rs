//! Checks lines one after the other, as they were written: each session's chain,
//! the tree over all of them, and the checkpoints that somebody kept.
//!
//! Pure, and one pass: it holds a hash for each level of the tree and a link for
//! each session (about 100 bytes), and no line. What is wrong is named by the
//! first record that is not what was written, as exactly as can be known: a
//! chain names the record itself; where every chain holds and only the tree
//! does not, all that is known is between which two checkpoints it happened.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};

use are_core::digest::{Digest, Nonce};
use are_core::error::{Code, Fault};
use are_core::ids::{Seq, SessionKey};
use are_core::journal::FORMAT;
use serde::{Deserialize, Serialize};
use tlog_tiles::tlog::{EMPTY_HASH, Hash, node_hash, stored_hash_index};

/// Sessions of one log: a link for each is some 400 MB.
const SESSIONS_MAX: usize = 4 << 20;

/// What a log came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Records that were checked.
    pub records: u64,
    /// Of these, how many a checkpoint covers.
    pub covered: u64,
    /// Sessions they belong to, the system session too.
    pub sessions: u64,
    /// Checkpoints that agree.
    pub checkpoints: u64,
    /// Root of the tree over all of them.
    pub root: Digest,
    /// Payloads that are there and what was recorded; 0 for a log without payloads.
    pub payloads: u64,
    /// Payloads that were erased, with a record that says so.
    pub erased: u64,
    /// Records whose frames are there and what was recorded; 0 for a log without frames.
    pub framed: u64,
}

/// The first record that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// Its leaf, from 0.
    pub leaf: u64,
    /// Its place in its session, where that is known.
    pub record: Option<(SessionKey, Seq)>,
    /// What is wrong.
    pub what: String,
    /// True when a payload is gone and no record so far says why: where a log still grows, one may follow.
    pub is_gone: bool,
}

impl Bad {
    /// Something that is wrong for good.
    #[must_use]
    pub fn new(leaf: u64, record: Option<(SessionKey, Seq)>, what: impl Into<String>) -> Self {
        Self { leaf, record, what: what.into(), is_gone: false }
    }

    /// As clients are told.
    #[must_use]
    pub fn fault(&self) -> Fault {
        let leaf = self.leaf;
        let place = match self.record {
            Some((session, seq)) => format!("record {seq} of session {session} (leaf {leaf})"),
            None => format!("leaf {leaf}"),
        };
        let help = "nothing from this record on is proven; compare with an earlier export or a backup, and keep both";
        Fault::new(Code::AUDIT_BROKEN, format!("{place}: {}", self.what), help)
    }
}

/// A tree's size and root that must be met on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// Leaves.
    pub size: u64,
    /// Root.
    pub root: Digest,
}

/// What became of a record's payload.
#[derive(Debug, Clone, Copy)]
pub enum Beside<'a> {
    /// Payloads are not looked at: a file of lines has none.
    Unknown,
    /// There is none.
    Nothing,
    /// This one.
    Payload(&'a Nonce, &'a [u8]),
}

/// What a line must say to stand where it does.
#[derive(Deserialize)]
struct Line<'a> {
    v: u32,
    session: SessionKey,
    seq: Seq,
    prev: Digest,
    #[serde(borrow)]
    account: Cow<'a, str>,
    #[serde(borrow)]
    action: Cow<'a, str>,
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(default)]
    payload: Option<Digest>,
    // Only that they are there: every line says when, and which agent.
    #[serde(rename = "timestamp")]
    _timestamp: serde::de::IgnoredAny,
    #[serde(rename = "agent_id")]
    _agent_id: serde::de::IgnoredAny,
}

/// The end of a session's chain.
struct Link {
    seq: Seq,
    hash: Digest,
    leaf: u64,
    /// A payload that is gone, until a record says why.
    gone: Option<(u64, Seq)>,
}

/// Checks a log line by line.
pub struct Checker {
    expected: VecDeque<Expected>,
    size: u64,
    /// Roots of the complete subtrees that the leaves so far are made of, with their levels, largest first.
    subtrees: Vec<(u8, Hash)>,
    links: HashMap<SessionKey, Link>,
    /// Payloads of the system session that are gone, by account.
    gone_of_account: HashMap<String, (u64, Seq)>,
    covered: u64,
    /// The first record behind what is covered.
    uncovered: Option<(SessionKey, Seq)>,
    checkpoints: u64,
    payloads: u64,
    erased: u64,
    /// Hashes above the leaves with their positions, where somebody compares them.
    completed: Option<Vec<(u64, Digest)>>,
    /// A checkpoint that does not agree, with its size: a chain behind it may still say which record it is.
    suspicion: Option<(Bad, u64)>,
}

impl Checker {
    /// Expects to meet these trees, in any order.
    #[must_use]
    pub fn new(mut expected: Vec<Expected>) -> Self {
        expected.sort_by_key(|one| one.size);
        Self {
            expected: expected.into(),
            size: 0,
            subtrees: Vec::new(),
            links: HashMap::new(),
            gone_of_account: HashMap::new(),
            covered: 0,
            uncovered: None,
            checkpoints: 0,
            payloads: 0,
            erased: 0,
            completed: None,
            suspicion: None,
        }
    }

    /// Also collects the hashes above the leaves.
    #[must_use]
    pub fn collecting(mut self) -> Self {
        self.completed = Some(Vec::new());
        self
    }

    /// Lines so far.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// True when a checkpoint did not agree.
    #[must_use]
    pub const fn is_suspicious(&self) -> bool {
        self.suspicion.is_some()
    }

    /// What is to be said of a log that cannot be read on: `bad`, unless something before it was found already.
    #[must_use]
    pub fn first_of(&mut self, bad: Bad) -> Bad {
        match self.suspicion.take() {
            Some((_, to)) if bad.leaf < to => bad,
            Some((suspicion, _)) => suspicion,
            None => bad,
        }
    }

    /// Takes the hashes that were collected since the last time.
    pub fn take_completed(&mut self) -> Vec<(u64, Digest)> {
        self.completed.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Checks the next line, without its end.
    ///
    /// # Errors
    /// [`Bad`]; nothing can be checked behind it.
    pub fn line(&mut self, bytes: &[u8], beside: Beside<'_>) -> Result<(SessionKey, Seq), Bad> {
        self.checked(bytes, beside).map_err(|bad| self.first_of(bad))
    }

    fn checked(&mut self, bytes: &[u8], beside: Beside<'_>) -> Result<(SessionKey, Seq), Bad> {
        // Of an empty tree there may be checkpoints too.
        self.meet();
        let leaf = self.size;
        let bad = |record, what: &str| Bad::new(leaf, record, what);
        let line: Line<'_> =
            serde_json::from_slice(bytes).map_err(|error| bad(None, &format!("it is no record: {error}")))?;
        let (session, seq) = (line.session, line.seq);
        let at = Some((session, seq));
        if line.v != FORMAT {
            return Err(bad(at, &format!("its format is {}, and only {FORMAT} is known", line.v)));
        }
        let hash = Digest::of_record(bytes);
        self.link(&line, hash)?;
        self.payload(&line, beside)?;
        self.uncovered.get_or_insert((session, seq));
        self.push(Hash(hash.0));
        self.meet();
        Ok((session, seq))
    }

    /// The tree over the lines so far.
    #[must_use]
    pub fn root(&self) -> Digest {
        let folded = self.subtrees.iter().rev().map(|(_, hash)| *hash).reduce(|right, left| node_hash(left, right));
        Digest(folded.unwrap_or(EMPTY_HASH).0)
    }

    /// What all of it came to.
    ///
    /// # Errors
    /// [`Bad`] when a checkpoint covers more than there was, or a payload is gone and no record says why.
    pub fn finish(mut self) -> Result<Report, Bad> {
        self.meet();
        if let Some((bad, _)) = self.suspicion {
            return Err(bad);
        }
        if let Some(next) = self.expected.front() {
            let what = format!(
                "it is missing: the log ends after {} records, and a checkpoint covers {}; it was cut short or rolled back",
                self.size, next.size
            );
            return Err(Bad::new(self.size, None, what));
        }
        let of_sessions = self.links.iter().filter_map(|(key, link)| link.gone.map(|(leaf, seq)| (leaf, *key, seq)));
        let of_system = self.gone_of_account.values().map(|(leaf, seq)| (*leaf, SessionKey::SYSTEM, *seq));
        if let Some((leaf, session, seq)) = of_sessions.chain(of_system).min() {
            let what = "its payload is gone, and no record says that it was erased";
            return Err(Bad { is_gone: true, ..Bad::new(leaf, Some((session, seq)), what) });
        }
        Ok(Report {
            records: self.size,
            covered: self.covered,
            sessions: self.links.len() as u64,
            checkpoints: self.checkpoints,
            root: self.root(),
            payloads: self.payloads,
            erased: self.erased,
            framed: 0,
        })
    }

    /// The record follows what its session holds.
    fn link(&mut self, line: &Line<'_>, hash: Digest) -> Result<(), Bad> {
        let leaf = self.size;
        let at = Some((line.session, line.seq));
        let room = self.links.len() < SESSIONS_MAX;
        let Some(last) = self.links.get_mut(&line.session) else {
            if line.seq != 1 || line.prev != Digest::ZERO {
                let what = "it is the session's first line but not its first record: those before it were removed";
                return Err(Bad::new(leaf, at, what));
            }
            if !room {
                let what = format!("there are more than {SESSIONS_MAX} sessions, which cannot be checked at once");
                return Err(Bad::new(leaf, at, what));
            }
            self.links.insert(line.session, Link { seq: line.seq, hash, leaf, gone: None });
            return Ok(());
        };
        if line.seq <= last.seq {
            let what = format!("it stands behind record {} of its session: doubled, or out of order", last.seq);
            return Err(Bad::new(leaf, at, what));
        }
        if line.prev != last.hash {
            let what = format!(
                "record {} (leaf {leaf}) names another one before it: this one was edited, or those between them were removed",
                line.seq
            );
            return Err(Bad::new(last.leaf, Some((line.session, last.seq)), what));
        }
        *last = Link { seq: line.seq, hash, leaf, gone: last.gone };
        Ok(())
    }

    /// The payload is the recorded one, or erased.
    fn payload(&mut self, line: &Line<'_>, beside: Beside<'_>) -> Result<(), Bad> {
        let leaf = self.size;
        let bad = |what: &str| Bad::new(leaf, Some((line.session, line.seq)), what);
        match (&line.payload, beside) {
            (_, Beside::Unknown) => return Ok(()),
            (Some(digest), Beside::Payload(nonce, bytes)) if Digest::of_payload(nonce, bytes) == *digest => {
                self.payloads += 1;
            }
            (Some(_), Beside::Payload(..)) => return Err(bad("its payload is not the one that was recorded")),
            (None, Beside::Payload(..)) => return Err(bad("it has a payload, and none was recorded")),
            (Some(_), Beside::Nothing) => {
                self.erased += 1;
                if line.session == SessionKey::SYSTEM {
                    self.gone_of_account.entry(line.account.clone().into_owned()).or_insert((leaf, line.seq));
                } else if let Some(link) = self.links.get_mut(&line.session) {
                    link.gone.get_or_insert((leaf, line.seq));
                }
            }
            (None, Beside::Nothing) => {}
        }
        match (&*line.action, &line.name) {
            ("session_deleted", _) => {
                if let Some(link) = self.links.get_mut(&line.session) {
                    link.gone = None;
                }
            }
            ("account_erased", Some(name)) if line.session == SessionKey::SYSTEM => {
                self.gone_of_account.remove(&**name);
            }
            _ => {}
        }
        Ok(())
    }

    fn push(&mut self, leaf: Hash) {
        let (mut level, mut hash) = (0_u8, leaf);
        while let Some((_, left)) = self.subtrees.pop_if(|(other, _)| *other == level) {
            hash = node_hash(left, hash);
            level += 1;
            if let Some(completed) = &mut self.completed {
                completed.push((stored_hash_index(level, self.size >> level), Digest(hash.0)));
            }
        }
        self.subtrees.push((level, hash));
        self.size += 1;
    }

    /// Compares with the checkpoints of this size. One that does not agree is not the end: the chains behind it may
    /// say which record it is.
    fn meet(&mut self) {
        while let Some(expected) = self.expected.pop_front_if(|expected| expected.size == self.size) {
            if self.suspicion.is_some() {
                continue;
            }
            if expected.root != self.root() {
                let (from, to) = (self.covered, self.size);
                let what = format!(
                    "leaves {from} to {} are not those that a checkpoint of {to} leaves covers, though every chain holds: \
                     from this one on, one was edited, exchanged, put in or removed",
                    to.saturating_sub(1)
                );
                self.suspicion = Some((Bad::new(from, self.uncovered, what), to));
                continue;
            }
            self.covered = self.size;
            self.uncovered = None;
            self.checkpoints += 1;
        }
    }
}
