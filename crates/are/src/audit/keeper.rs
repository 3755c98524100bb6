//! Grows the tree behind the journal and signs what it has become.
//!
//! Twice a second it numbers what was appended; once a minute, at the end, and
//! whenever somebody asks, it signs a checkpoint, after it has proven to itself
//! that the tree still begins with the one it signed last. It never signs two
//! trees of which one does not contain the other.
//!
//! The key is a file of the data directory. Another one takes its place in
//! steps of which each may be the last before a crash: the new key is written
//! beside the old one, a record names it, a checkpoint that covers the record is
//! signed by both, and only then the new file gets the old one's name.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use are_core::clock::Clock;
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::{Seq, SessionKey};
use are_core::store::StoreError;
use are_store::tree::{Checkpoint, Leaf, Page, Question, Tree, ask};
use tlog_tiles::tlog::{self, EMPTY_HASH, Hash};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::key::{Key, VerifierKeys};
use super::note::{self, Head};
use super::proof::{Claim, Proof};
use crate::config::files;

/// Between two looks at what was appended.
const GROW_EVERY: Duration = Duration::from_millis(500);
/// Milliseconds between two checkpoints that nobody asked for.
const SIGN_EVERY_MS: u64 = 60_000;
/// Records numbered at once; a store may take fewer.
const LEAVES_MAX: u32 = 256;
/// Steps of growing for one checkpoint: under load, what comes meanwhile is the next one's.
const STEPS_MAX: usize = 4_096;
/// Checkpoints kept: a week of busy minutes. One that somebody has can be checked without being kept.
pub(super) const KEPT_MAX: u32 = 10_000;
/// Records of one page of an export.
const PAGE: u32 = 512;
/// Their bytes.
const PAGE_BYTES: usize = 1 << 20;
/// The file of the key that signs, below the data directory.
pub const KEY_FILE: &str = "audit.key";
/// The file of a key that takes its place.
const NEXT_FILE: &str = "audit.key.next";
/// The file of the keys to verify with, newest first.
const VERIFIERS_FILE: &str = "audit.vkey";

/// What the key's file held at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Began {
    /// The key that the journal knows.
    Known,
    /// Another one, which has to be recorded, and the one that it knows, if any.
    New {
        /// To be recorded as lost.
        lost: Option<String>,
    },
    /// A rotation that was recorded but not finished; it is now.
    Finished,
}

/// A change of keys that has begun.
#[derive(Debug)]
pub struct Rotation {
    /// The key to verify with until now.
    pub old: String,
    /// The next one.
    pub new: String,
    /// No other begins before this one is over.
    _only: tokio::sync::OwnedMutexGuard<()>,
}

struct Keys {
    signing: Key,
    verifiers: VerifierKeys,
}

/// The last checkpoint.
#[derive(Clone)]
struct Signed {
    head: Head,
    kept: Checkpoint,
}

/// Keeps the log.
pub struct Auditor {
    pub(super) tree: Arc<dyn Tree>,
    clock: Arc<dyn Clock>,
    dir: PathBuf,
    keys: Mutex<Keys>,
    /// One checkpoint or change of keys at a time; the last checkpoint.
    last: tokio::sync::Mutex<Option<Signed>>,
    pub(super) verifying: tokio::sync::Mutex<()>,
    rotating: Arc<tokio::sync::Mutex<()>>,
}

impl Auditor {
    /// Takes the key of the data directory `dir`, or makes one for a log of this name.
    ///
    /// # Errors
    /// ARE-0812 when there is a key that cannot be used, ARE-0101 when none can be written.
    pub fn open(dir: PathBuf, name: &str, tree: Arc<dyn Tree>, clock: Arc<dyn Clock>) -> Result<Self, Fault> {
        let signing = match files::read_key(&dir.join(KEY_FILE))? {
            Some(text) => Key::parse(&text)?,
            None => {
                let key = Key::made(name, &clock.random())?;
                files::write_key(&dir.join(KEY_FILE), key.text().expose())?;
                key
            }
        };
        if signing.name() != name {
            tracing::warn!(kept = signing.name(), wished = name, "the log keeps the name that it began with");
        }
        let verifiers = match files::read_key(&dir.join(VERIFIERS_FILE))? {
            Some(text) => VerifierKeys::parse(&text)?,
            None => VerifierKeys::parse(signing.vkey())?,
        };
        let auditor = Self {
            tree,
            clock,
            dir,
            keys: Mutex::new(Keys { signing: signing.clone(), verifiers: verifiers.clone() }),
            last: tokio::sync::Mutex::new(None),
            verifying: tokio::sync::Mutex::default(),
            rotating: Arc::default(),
        };
        if verifiers.texts().next() != Some(signing.vkey())
            || files::read_key(&auditor.dir.join(VERIFIERS_FILE))?.is_none()
        {
            auditor.know(verifiers.with(signing.vkey())?)?;
        }
        Ok(auditor)
    }

    /// Compares the key with the one that the journal names, and finishes a rotation that a crash interrupted.
    ///
    /// # Errors
    /// A file cannot be used, or the tree is not what was signed.
    pub async fn begin(&self, recorded: Option<&str>) -> Result<Began, Fault> {
        let current = self.signing().vkey().to_owned();
        if let Some(text) = files::read_key(&self.dir.join(NEXT_FILE))? {
            let next = Key::parse(&text)?;
            if recorded == Some(next.vkey()) && recorded != Some(current.as_str()) {
                self.finish_rotation().await?;
                return Ok(Began::Finished);
            }
            self.abandon_rotation()?;
        }
        Ok(match recorded {
            Some(recorded) if recorded == current => Began::Known,
            recorded => Began::New { lost: recorded.map(str::to_owned) },
        })
    }

    /// Grows and signs until `stop`; what is then left is the last checkpoint's.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        // A process that is over in a moment signs once, at its end.
        let mut signed_at_ms = self.clock.now_ms();
        let mut said = None;
        loop {
            let now_ms = self.clock.now_ms();
            let outcome = if now_ms.saturating_sub(signed_at_ms) >= SIGN_EVERY_MS {
                signed_at_ms = now_ms;
                self.checkpoint().await.map(drop)
            } else {
                self.grow().await.map(drop)
            };
            said = tell(outcome, said);
            // A timer and a cancelled token are cancel-safe.
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(GROW_EVERY) => {}
            }
        }
    }

    /// A checkpoint of everything that is synced now: the last one, where nothing came since.
    ///
    /// # Errors
    /// ARE-0811 when the tree does not begin with what was signed last; nothing is signed then.
    pub async fn checkpoint(&self) -> Result<Checkpoint, Fault> {
        let mut last = self.last.lock().await;
        let signing = self.signing();
        self.sign(&mut last, &[&signing], false).await
    }

    /// Kept checkpoints, largest first.
    ///
    /// # Errors
    /// As the store says.
    pub async fn checkpoints(&self) -> Result<Vec<Checkpoint>, Fault> {
        let mut kept: Vec<Checkpoint> = Vec::new();
        let most = usize::try_from(KEPT_MAX).unwrap_or(usize::MAX);
        while kept.len() < most {
            let below = kept.last().map_or(u64::MAX, |one| one.size);
            let page = self.tree.checkpoints(below, KEPT_MAX).await.map_err(|error| store(&error))?;
            if page.is_empty() {
                break;
            }
            kept.extend(page);
        }
        Ok(kept)
    }

    /// Keys to verify with, newest first.
    #[must_use]
    pub fn verifiers(&self) -> VerifierKeys {
        self.keys().verifiers.clone()
    }

    /// Records from leaf `from` on and before leaf `until`, a page of them.
    ///
    /// # Errors
    /// ARE-0811 where a leaf has no record, or a record is not its leaf.
    pub async fn leaves(&self, from: u64, until: u64) -> Result<Vec<Leaf>, Fault> {
        if from >= until {
            return Ok(Vec::new());
        }
        let broken = |leaf: u64, what: &str| super::Bad::new(leaf, None, what).fault();
        let place = self.tree.place(from).await.map_err(|error| store(&error))?;
        let place = place.ok_or_else(|| broken(from, "it is missing in the tree"))?;
        let limit = u32::try_from(until - from).unwrap_or(PAGE).min(PAGE);
        let page = Page { after: place.saturating_sub(1), limit, bytes_max: PAGE_BYTES, has_payloads: false };
        let leaves = self.tree.records(page).await.map_err(|error| store(&error))?;
        for (index, leaf) in (from..).zip(&leaves) {
            if leaf.index != Some(index) || leaf.hash != Some(Digest::of_record(&leaf.bytes)) {
                return Err(broken(
                    index,
                    "its record is not the one that the tree was grown with; see `are audit verify`",
                ));
            }
        }
        if leaves.is_empty() { Err(broken(from, "its record is missing")) } else { Ok(leaves) }
    }

    /// The number of a record's leaf.
    ///
    /// # Errors
    /// ARE-0813 when there is none.
    pub async fn leaf_of(&self, session: SessionKey, seq: Seq) -> Result<u64, Fault> {
        // What was appended a moment ago may not have its number yet.
        self.grow().await?;
        self.tree.leaf(session, seq).await.map_err(|error| store(&error))?.ok_or_else(|| {
            unknown("there is no record of that place; frames, such as tokens, are bound by the record behind them")
        })
    }

    /// That a leaf is in the log, with its line.
    ///
    /// # Errors
    /// ARE-0813 when there is no such leaf.
    pub async fn prove_leaf(&self, leaf: u64) -> Result<(Proof, Leaf), Fault> {
        let checkpoint = self.checkpoint().await?;
        if leaf >= checkpoint.size {
            return Err(unknown(&format!("there is no leaf {leaf}; the log has {}", checkpoint.size)));
        }
        let record = self.leaves(leaf, leaf + 1).await?.pop().ok_or_else(|| unknown("the leaf has no record"))?;
        let hashes = self.ask(Question::Inclusion { size: checkpoint.size, leaf }).await?;
        Ok((Proof { claim: Claim::Inclusion(leaf), hashes, checkpoint: checkpoint.note }, record))
    }

    /// That the log only grew since it had `from` leaves.
    ///
    /// # Errors
    /// ARE-0813 when it never had so many, or none.
    pub async fn prove_growth(&self, from: u64) -> Result<Proof, Fault> {
        let checkpoint = self.checkpoint().await?;
        if !(1..=checkpoint.size).contains(&from) {
            let what = format!(
                "the log has {} leaves, and growth is proven from one of them on, not from {from}",
                checkpoint.size
            );
            return Err(unknown(&what));
        }
        let hashes = self.ask(Question::Consistency { size: checkpoint.size, from }).await?;
        Ok(Proof { claim: Claim::Consistency(from), hashes, checkpoint: checkpoint.note })
    }

    /// Writes the next key beside the one in use. The caller records it, then finishes or abandons.
    ///
    /// # Errors
    /// ARE-0101 when it cannot be written.
    pub async fn begin_rotation(&self) -> Result<Rotation, Fault> {
        let only = Arc::clone(&self.rotating).lock_owned().await;
        let signing = self.signing();
        let next = Key::made(signing.name(), &self.clock.random())?;
        files::write_key(&self.dir.join(NEXT_FILE), next.text().expose())?;
        Ok(Rotation { old: signing.vkey().to_owned(), new: next.vkey().to_owned(), _only: only })
    }

    /// Forgets a next key of which no record speaks.
    ///
    /// # Errors
    /// ARE-0101 when its file cannot be removed.
    pub fn abandon_rotation(&self) -> Result<(), Fault> {
        files::remove_key(&self.dir.join(NEXT_FILE))
    }

    /// Signs a checkpoint that covers the record of the next key by both keys, and takes it into use.
    ///
    /// # Errors
    /// ARE-0812 when there is no next key; a file or the tree cannot be used.
    pub async fn finish_rotation(&self) -> Result<Checkpoint, Fault> {
        let mut last = self.last.lock().await;
        let missing =
            || Fault::new(Code::AUDIT_KEY, "there is no next key", "ask for a rotation: `are audit rotate-key`");
        let next = Key::parse(&files::read_key(&self.dir.join(NEXT_FILE))?.ok_or_else(missing)?)?;
        self.know(self.verifiers().with(next.vkey())?)?;
        let checkpoint = self.sign(&mut last, &[&self.signing(), &next], true).await?;
        files::rename_key(&self.dir.join(NEXT_FILE), &self.dir.join(KEY_FILE))?;
        self.keys().signing = next;
        Ok(checkpoint)
    }

    /// Numbers what is synced; how many leaves there are.
    async fn grow(&self) -> Result<u64, Fault> {
        let mut size = 0;
        for _ in 0..STEPS_MAX {
            let grown = self.tree.grow(LEAVES_MAX).await.map_err(|error| store(&error))?;
            size = grown.size;
            if grown.is_whole {
                break;
            }
        }
        Ok(size)
    }

    async fn sign(&self, last: &mut Option<Signed>, keys: &[&Key], is_anew: bool) -> Result<Checkpoint, Fault> {
        let size = self.grow().await?;
        if last.is_none() {
            *last = self.last_kept().await?;
        }
        let root = match self.ask(Question::Root { size }).await?.first() {
            Some(root) => *root,
            None => return Err(unknown("the tree has no root")),
        };
        if let Some(signed) = last {
            self.must_follow(&signed.head, size, root).await?;
            if signed.head.size == size && !is_anew {
                return Ok(signed.kept.clone());
            }
        }
        let origin = self.signing().name().to_owned();
        let head = Head { origin, size, root };
        let note = note::sign(&head, keys)?;
        let kept = Checkpoint { size, note, made_at_ms: self.clock.now_ms() };
        self.tree.keep_checkpoint(kept.clone(), KEPT_MAX).await.map_err(|error| store(&error))?;
        *last = Some(Signed { head, kept: kept.clone() });
        Ok(kept)
    }

    /// The last checkpoint of an earlier process.
    async fn last_kept(&self) -> Result<Option<Signed>, Fault> {
        let kept = self.tree.checkpoints(u64::MAX, 1).await.map_err(|error| store(&error))?;
        let Some(kept) = kept.into_iter().next() else { return Ok(None) };
        let head = note::open(&kept.note, &self.verifiers())
            .map_err(|why| broken(format!("the last checkpoint of {} leaves: {why}", kept.size)))?;
        Ok(Some(Signed { head, kept }))
    }

    /// SECURITY: two signed trees of which one does not contain the other would prove that this log lies.
    async fn must_follow(&self, old: &Head, size: u64, root: Digest) -> Result<(), Fault> {
        if old.size > size {
            let what = format!(
                "the tree has {size} leaves, and one of {} was signed: it was cut short or rolled back",
                old.size
            );
            return Err(broken(what));
        }
        if old.size == 0 {
            return if old.root.0 == EMPTY_HASH.0 {
                Ok(())
            } else {
                Err(broken("what was signed is no tree".to_owned()))
            };
        }
        let proof = self.ask(Question::Consistency { size, from: old.size }).await?;
        let proof = proof.into_iter().map(|hash| Hash(hash.0)).collect();
        tlog::check_tree(&proof, size, Hash(root.0), old.size, Hash(old.root.0))
            .map_err(|_| broken(format!("the tree does not begin with the one of {} leaves that was signed", old.size)))
    }

    async fn ask(&self, question: Question) -> Result<Vec<Digest>, Fault> {
        ask(&*self.tree, question).await.map_err(|error| match error {
            StoreError::NotFound => broken("a hash of the tree is missing".to_owned()),
            error => store(&error),
        })
    }

    /// Takes these keys for verifying, in the file too.
    fn know(&self, verifiers: VerifierKeys) -> Result<(), Fault> {
        let text = verifiers.texts().collect::<Vec<_>>().join("\n");
        files::write_key(&self.dir.join(VERIFIERS_FILE), &text)?;
        self.keys().verifiers = verifiers;
        Ok(())
    }

    fn signing(&self) -> Key {
        self.keys().signing.clone()
    }

    fn keys(&self) -> std::sync::MutexGuard<'_, Keys> {
        // Nothing panics while it is held.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs what went wrong, once for each reason in a row.
fn tell(outcome: Result<(), Fault>, said: Option<Fault>) -> Option<Fault> {
    let fault = outcome.err()?;
    if said.as_ref() != Some(&fault) {
        tracing::error!(%fault, "the log of audit could not be carried on; records are kept all the same");
    }
    Some(fault)
}

fn broken(what: String) -> Fault {
    Fault::new(
        Code::AUDIT_BROKEN,
        what,
        "run `are audit verify`; nothing is signed until the tree is what was signed before",
    )
}

fn unknown(what: &str) -> Fault {
    Fault::new(Code::AUDIT_UNKNOWN, what, "`are audit checkpoint` says how many leaves there are")
}

/// What a failing store means to whoever asked.
pub(super) fn store(error: &StoreError) -> Fault {
    match error {
        StoreError::Full => {
            Fault::new(Code::STORE_FULL, "no space left on the device", "free some space; what is stored is safe")
                .retryable()
        }
        StoreError::Corrupt(what) => {
            tracing::error!(what, "the tree cannot be read");
            broken("a row of the journal or of the tree is unreadable".to_owned())
        }
        StoreError::NotFound => broken("a hash of the tree is missing".to_owned()),
        error => Fault::new(Code::STORE_FAILED, error.to_string(), "look at the disk, then start again"),
    }
}
