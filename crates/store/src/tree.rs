//! The port to the tree over the records of all sessions (RFC 6962), and what
//! every implementation of it does with hashes.
//!
//! A leaf is a record's exact bytes. Leaves are numbered behind the appends, in
//! order of arrival, and only when they are synced: what a tree covers survives
//! the power. A tree neither reads what records say nor signs anything.
//!
//! The hashing, the order of stored hashes and the proofs are those of the crate
//! `tlog_tiles`; here is only which hashes it needs, because a store fetches
//! them before and not while a proof is made. Pure but for [`ask`].

use std::cell::RefCell;
use std::collections::HashMap;

use are_core::BoxFuture;
use are_core::digest::{Digest, Nonce};
use are_core::ids::{Seq, SessionKey};
use are_core::store::StoreError;
use tlog_tiles::tlog::{self, Hash, HashReader};

/// Leaves of one tree: far beyond what a store holds, and far below where positions overflow.
pub const SIZE_MAX: u64 = 1 << 40;

/// How far the tree has grown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grown {
    /// Leaves, all of them synced.
    pub size: u64,
    /// True when no synced record waited for its number.
    pub is_whole: bool,
}

/// A record with its place among all records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Rises in order of arrival.
    pub place: u64,
    /// Its number in the tree from 0; `None` before it has one.
    pub index: Option<u64>,
    /// The leaf hash that the tree was grown with.
    pub hash: Option<Digest>,
    /// Session.
    pub session: SessionKey,
    /// Entry of the session.
    pub seq: Seq,
    /// The record's bytes.
    pub bytes: Vec<u8>,
    /// Nonce and payload; absent without one, after erasure, and when they were not asked for.
    pub payload: Option<(Nonce, Vec<u8>)>,
}

/// A page of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Only records behind this place; 0 for all.
    pub after: u64,
    /// At most so many.
    pub limit: u32,
    /// About so many bytes, and at least one record.
    pub bytes_max: usize,
    /// Whether payloads are read too.
    pub has_payloads: bool,
}

/// The frames of a session between two places, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Session.
    pub session: SessionKey,
    /// First place.
    pub first: Seq,
    /// Last place.
    pub last: Seq,
}

/// A signed statement about the tree, kept as it was given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Leaves that it covers.
    pub size: u64,
    /// The signed note.
    pub note: String,
    /// When, milliseconds since 1970.
    pub made_at_ms: u64,
}

/// The tree of a store.
pub trait Tree: Send + Sync + 'static {
    /// Numbers at most `leaves_max` records, durably.
    fn grow(&self, leaves_max: u32) -> BoxFuture<'_, Result<Grown, StoreError>>;

    /// The place of a leaf's record.
    fn place(&self, index: u64) -> BoxFuture<'_, Result<Option<u64>, StoreError>>;

    /// The number of a record's leaf.
    fn leaf(&self, session: SessionKey, seq: Seq) -> BoxFuture<'_, Result<Option<u64>, StoreError>>;

    /// Records in order of arrival, numbered or not.
    fn records(&self, page: Page) -> BoxFuture<'_, Result<Vec<Leaf>, StoreError>>;

    /// The bytes of the frames of each stretch, in order. Fewer stretches than were asked for, but at least one, where
    /// all of them have more than some `bytes_max` bytes.
    fn frames(&self, stretches: Vec<Stretch>, bytes_max: usize)
    -> BoxFuture<'_, Result<Vec<Vec<Vec<u8>>>, StoreError>>;

    /// Hashes of subtrees by their positions in the dense order of RFC 6962 trees that are only appended to: each
    /// leaf's hash is followed by those of the subtrees that it completes. [`StoreError::NotFound`] for one that is not there.
    fn nodes(&self, positions: Vec<u64>) -> BoxFuture<'_, Result<Vec<Digest>, StoreError>>;

    /// Keeps a checkpoint durably, in place of one of the same size, and forgets the oldest beyond `kept_max`.
    fn keep_checkpoint(&self, checkpoint: Checkpoint, kept_max: u32) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Kept checkpoints of fewer than `size` leaves, largest first, at most `limit`.
    fn checkpoints(&self, size: u64, limit: u32) -> BoxFuture<'_, Result<Vec<Checkpoint>, StoreError>>;
}

/// What can be asked about a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// The root of the first `size` leaves: one hash.
    Root {
        /// Leaves.
        size: u64,
    },
    /// That `leaf` is in the tree of `size` leaves.
    Inclusion {
        /// Leaves.
        size: u64,
        /// Number of the leaf.
        leaf: u64,
    },
    /// That the tree of `size` leaves begins with that of `from` leaves.
    Consistency {
        /// Leaves.
        size: u64,
        /// Leaves of the earlier tree, at least one.
        from: u64,
    },
}

/// The question is about something that such a tree does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tree has no answer to that")]
pub struct NoAnswer;

impl Question {
    /// Positions of the hashes that the answer is made of.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub fn positions(self) -> Result<Vec<u64>, NoAnswer> {
        let seen = Asked::default();
        self.with(&seen)?;
        Ok(seen.0.into_inner())
    }

    /// The answer: the root alone, or the proof's hashes.
    ///
    /// # Errors
    /// [`NoAnswer`], also when these are not as many hashes as were asked for.
    pub fn answer(self, hashes: &[Digest]) -> Result<Vec<Digest>, NoAnswer> {
        self.with(&Given(hashes))
    }

    fn with(self, reader: &impl HashReader) -> Result<Vec<Digest>, NoAnswer> {
        let is_sound = match self {
            Self::Root { size } => size <= SIZE_MAX,
            Self::Inclusion { size, leaf } => size <= SIZE_MAX && leaf < size,
            Self::Consistency { size, from } => size <= SIZE_MAX && (1..=size).contains(&from),
        };
        if !is_sound {
            return Err(NoAnswer);
        }
        let hashes = match self {
            Self::Root { size } => tlog::tree_hash(size, reader).map(|root| vec![root]),
            Self::Inclusion { size, leaf } => tlog::prove_record(size, leaf, reader),
            Self::Consistency { size, from } => tlog::prove_tree(size, from, reader),
        };
        Ok(hashes.map_err(|_| NoAnswer)?.into_iter().map(|hash| Digest(hash.0)).collect())
    }
}

/// Answers a question from a tree.
///
/// # Errors
/// [`StoreError::NotFound`] when the tree has no answer, or as the store says.
pub async fn ask(tree: &dyn Tree, question: Question) -> Result<Vec<Digest>, StoreError> {
    let positions = question.positions().map_err(|NoAnswer| StoreError::NotFound)?;
    let hashes = tree.nodes(positions).await?;
    question.answer(&hashes).map_err(|NoAnswer| StoreError::NotFound)
}

/// The hashes of the subtrees that `leaves` complete behind a tree of `size` leaves, with their positions, the
/// leaves' own left out. `read` finds a hash of that tree.
///
/// # Errors
/// What `read` says.
pub fn completed<E>(
    size: u64,
    leaves: &[Digest],
    read: impl Fn(u64) -> Result<Digest, E>,
) -> Result<Vec<(u64, Digest)>, E> {
    let growing = Growing { new: RefCell::default(), read, failed: RefCell::new(None) };
    let mut inner = Vec::with_capacity(leaves.len());
    for (index, leaf) in (size..).zip(leaves) {
        let first = tlog::stored_hash_index(0, index);
        let hashes = match tlog::stored_hashes_for_record_hash(index, Hash(leaf.0), &growing) {
            Ok(hashes) => hashes,
            Err(_) => match growing.failed.into_inner() {
                Some(error) => return Err(error),
                None => unreachable!("only reading fails"),
            },
        };
        for (position, hash) in (first..).zip(hashes) {
            growing.new.borrow_mut().insert(position, hash);
            if position != first {
                inner.push((position, Digest(hash.0)));
            }
        }
    }
    Ok(inner)
}

/// Level and number within it of a position.
#[must_use]
pub fn level_of(position: u64) -> (u8, u64) {
    tlog::split_stored_hash_index(position)
}

/// Notes what is asked for.
#[derive(Default)]
struct Asked(RefCell<Vec<u64>>);

impl HashReader for Asked {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog::Error> {
        self.0.borrow_mut().extend_from_slice(indexes);
        Ok(vec![Hash::default(); indexes.len()])
    }
}

/// Gives what was fetched.
struct Given<'a>(&'a [Digest]);

impl HashReader for Given<'_> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog::Error> {
        if indexes.len() != self.0.len() {
            return Err(tlog::Error::IndexesNotInTree);
        }
        Ok(self.0.iter().map(|digest| Hash(digest.0)).collect())
    }
}

/// A tree with hashes that are not stored yet.
struct Growing<F, E> {
    new: RefCell<HashMap<u64, Hash>>,
    read: F,
    failed: RefCell<Option<E>>,
}

impl<E, F: Fn(u64) -> Result<Digest, E>> HashReader for Growing<F, E> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog::Error> {
        let new = self.new.borrow();
        let find = |position: &u64| match new.get(position) {
            Some(hash) => Ok(*hash),
            None => (self.read)(*position).map(|digest| Hash(digest.0)),
        };
        indexes.iter().map(find).collect::<Result<_, _>>().map_err(|error| {
            *self.failed.borrow_mut() = Some(error);
            tlog::Error::IndexesNotInTree
        })
    }
}
