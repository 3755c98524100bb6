//! Proofs as texts: that a record is in a log, and that a log only grew.
//!
//! | first line | then |
//! |---|---|
//! | `c2sp.org/tlog-proof@v1` | `index N`, the hashes, an empty line, the checkpoint |
//! | `old N` | the hashes, an empty line, the checkpoint (as witnesses are asked) |
//!
//! Hashes are base64, one a line.

use std::fmt::Write as _;

use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use tlog_tiles::tlog::{self, Hash};

use super::checker::Expected;
use super::key::VerifierKeys;
use super::note;

/// First line of a proof of inclusion.
const INCLUSION: &str = "c2sp.org/tlog-proof@v1";
/// Hashes of one proof: two for each level of the largest tree.
const HASHES_MAX: usize = 128;

/// What is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The leaf of this number is in the tree.
    Inclusion(u64),
    /// The tree begins with one of so many leaves.
    Consistency(u64),
}

/// A proof with the checkpoint that it ends in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// What is proven.
    pub claim: Claim,
    /// The hashes.
    pub hashes: Vec<Digest>,
    /// The signed note.
    pub checkpoint: String,
}

impl Proof {
    /// As a text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = match self.claim {
            Claim::Inclusion(leaf) => format!("{INCLUSION}\nindex {leaf}\n"),
            Claim::Consistency(from) => format!("old {from}\n"),
        };
        for hash in &self.hashes {
            // Writing to a `String` does not fail.
            let written = writeln!(text, "{}", Hash(hash.0));
            debug_assert!(written.is_ok());
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }

    /// Reads a text back.
    ///
    /// # Errors
    /// ARE-0811 for anything else.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let malformed = || broken("the proof does not have the form of one");
        let (head, checkpoint) = text.split_once("\n\n").ok_or_else(malformed)?;
        let mut lines = head.split('\n');
        let number = |line: Option<&str>, word: &str| {
            let digits = line?.strip_prefix(word)?;
            digits.parse::<u64>().ok().filter(|number| number.to_string() == digits)
        };
        let claim = match lines.next() {
            Some(INCLUSION) => {
                let mut next = lines.next();
                // Data that the format leaves to others; nothing of ours.
                if next.is_some_and(|line| line.starts_with("extra ")) {
                    next = lines.next();
                }
                number(next, "index ").map(Claim::Inclusion)
            }
            first => number(first, "old ").map(Claim::Consistency),
        };
        let claim = claim.ok_or_else(malformed)?;
        let hash = |line: &str| Hash::parse_hash(line).map(|hash| Digest(hash.0)).map_err(|_| malformed());
        let hashes: Vec<Digest> = lines.take(HASHES_MAX + 1).map(hash).collect::<Result<_, _>>()?;
        if hashes.len() > HASHES_MAX {
            return Err(malformed());
        }
        Ok(Self { claim, hashes, checkpoint: checkpoint.to_owned() })
    }

    /// Checks it: `record` is the line whose leaf it is about, `old` the earlier tree. Returns the later one.
    ///
    /// # Errors
    /// ARE-0811 says what does not hold, or what is missing to check it.
    pub fn check(&self, keys: &VerifierKeys, record: Option<&[u8]>, old: Option<Expected>) -> Result<Expected, Fault> {
        let head =
            note::open(&self.checkpoint, keys).map_err(|why| broken(format!("the proof's checkpoint: {why}")))?;
        let hashes: Vec<Hash> = self.hashes.iter().map(|hash| Hash(hash.0)).collect();
        let root = Hash(head.root.0);
        let holds = match self.claim {
            Claim::Inclusion(leaf) => {
                let record =
                    record.ok_or_else(|| broken("a proof of inclusion is about a record: name its line's file"))?;
                tlog::check_record(&hashes, head.size, root, leaf, Hash(Digest::of_record(record).0))
            }
            Claim::Consistency(from) => {
                let old =
                    old.ok_or_else(|| broken("a proof of growth begins with a checkpoint: name the earlier one"))?;
                if old.size != from {
                    return Err(broken(format!(
                        "the proof begins with {from} leaves, the checkpoint has {}",
                        old.size
                    )));
                }
                tlog::check_tree(&hashes, head.size, root, from, Hash(old.root.0))
            }
        };
        match holds {
            Ok(()) => Ok(Expected { size: head.size, root: head.root }),
            Err(_) => Err(broken("the proof does not hold")),
        }
    }
}

fn broken(what: impl Into<String>) -> Fault {
    Fault::new(Code::AUDIT_BROKEN, what, "ask for the proof again: `are audit prove`; if it stays so, keep everything")
}
