//! Checks a store as it is now: every record, chain, payload, frame, leaf and
//! hash, and every checkpoint that was kept or is brought along.

use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_store::tree::{Leaf, Page};

use super::checker::{Bad, Beside, Checker, Expected, Report};
use super::frames;
use super::keeper::{Auditor, store};
use super::note::{self, Head, Rejected};

/// Records of one page.
const PAGE: u32 = 1_024;
/// Their bytes, payloads included.
const PAGE_BYTES: usize = 4 << 20;
/// Hashes compared at once.
const NODES: usize = 1_024;
/// How often it is begun again because something was erased meanwhile.
const ATTEMPTS: usize = 3;

impl Auditor {
    /// Checks everything that is synced now. `old` are checkpoints that somebody else kept.
    ///
    /// # Errors
    /// ARE-0811 names the first bad record, ARE-0206 what is no checkpoint, ARE-0814 while another check runs.
    pub async fn verify(&self, old: &[String]) -> Result<Report, Fault> {
        let busy =
            || Fault::new(Code::AUDIT_BUSY, "the log is being verified already", "wait until that is over").retryable();
        let _one = self.verifying.try_lock().map_err(|_| busy())?;
        let mut brought = Vec::with_capacity(old.len());
        for text in old {
            let head = note::open(text, &self.verifiers()).map_err(|why| {
                let help = "use a checkpoint of this log as it was given out";
                // What is no checkpoint at all says nothing against the log.
                let code = if matches!(why, Rejected::Malformed) { Code::REQUEST_INVALID } else { Code::AUDIT_BROKEN };
                Fault::new(code, format!("the checkpoint that was brought along: {why}"), help)
            })?;
            brought.push(head);
        }
        let mut attempt = 1;
        loop {
            match self.verify_once(&brought).await? {
                Err(bad) if bad.is_gone && attempt < ATTEMPTS => attempt += 1,
                Err(bad) => return Err(bad.fault()),
                Ok(report) => return Ok(report),
            }
        }
    }

    async fn verify_once(&self, brought: &[Head]) -> Result<Result<Report, Bad>, Fault> {
        // Where the tree is not what was signed, the walk finds out where, if what was signed can still be read.
        let signed = self.checkpoint().await;
        let mut expected = Vec::new();
        for kept in self.checkpoints().await? {
            let head = match note::open(&kept.note, &self.verifiers()) {
                Ok(head) if head.size == kept.size => head,
                Ok(_) => return Ok(Err(forged(kept.size, "it is about another size than it stands for"))),
                Err(why) => return Ok(Err(forged(kept.size, &why.to_string()))),
            };
            expected.push(Expected { size: head.size, root: head.root });
        }
        expected.extend(brought.iter().map(|head| Expected { size: head.size, root: head.root }));
        let until = expected.iter().map(|one| one.size).max().unwrap_or(0);
        match self.walk(Checker::new(expected).collecting(), until).await? {
            // A walk that found nothing does not undo what kept a checkpoint from being signed.
            Ok(report) => signed.map(|_| Ok(report)),
            Err(bad) => Ok(Err(bad)),
        }
    }

    /// Checks the records before leaf `until`.
    async fn walk(&self, mut checker: Checker, until: u64) -> Result<Result<Report, Bad>, Fault> {
        let mut after = 0;
        let (mut framed, mut binder) = (0, frames::Binder::default());
        while checker.size() < until {
            let page = Page { after, limit: PAGE, bytes_max: PAGE_BYTES, has_payloads: true };
            let leaves = self.tree.records(page).await.map_err(|error| store(&error))?;
            let Some(last) = leaves.last() else { break };
            after = last.place;
            let checking = move || {
                let mut bound = Vec::new();
                let outcome = leaves.iter().try_for_each(|leaf| {
                    if checker.size() < until {
                        one(&mut checker, leaf)?;
                        bound.extend(binder.bound(checker.size() - 1, leaf));
                    }
                    Ok(())
                });
                (checker, binder, outcome.map(|()| bound))
            };
            let (back, found, outcome) = tokio::task::spawn_blocking(checking)
                .await
                .map_err(|error| Fault::new(Code::INTERNAL, format!("checking ended early: {error}"), "report this"))?;
            (checker, binder) = (back, found);
            let bound = match outcome {
                Ok(bound) => bound,
                Err(bad) => return Ok(Err(bad)),
            };
            framed += bound.len() as u64;
            if let Err(bad) = frames::check(self.tree.as_ref(), bound).await? {
                return Ok(Err(checker.first_of(bad)));
            }
            if let Some(bad) = self.compare(&mut checker).await? {
                return Ok(Err(bad));
            }
        }
        Ok(checker.finish().map(|report| Report { framed, ..report }))
    }

    /// The stored hashes above the leaves are those of the leaves, or proofs would not hold.
    async fn compare(&self, checker: &mut Checker) -> Result<Option<Bad>, Fault> {
        let completed = checker.take_completed();
        if checker.is_suspicious() {
            // What is wrong already says more.
            return Ok(None);
        }
        for part in completed.chunks(NODES) {
            let positions = part.iter().map(|(position, _)| *position).collect();
            let stored = match self.tree.nodes(positions).await {
                Ok(stored) => stored,
                Err(error) => return Err(store(&error)),
            };
            if stored.iter().ne(part.iter().map(|(_, hash)| hash)) {
                let what = "a hash of the tree above them is not that of the records up to this one: one or the other was edited";
                return Ok(Some(Bad::new(checker.size().saturating_sub(1), None, what)));
            }
        }
        Ok(None)
    }
}

/// Checks one record with what the tree says of it.
fn one(checker: &mut Checker, leaf: &Leaf) -> Result<(), Bad> {
    let (expected, at) = (checker.size(), Some((leaf.session, leaf.seq)));
    place(expected, leaf).map_err(|bad| checker.first_of(bad))?;
    let beside = leaf.payload.as_ref().map_or(Beside::Nothing, |(nonce, bytes)| Beside::Payload(nonce, bytes));
    let said = checker.line(&leaf.bytes, beside)?;
    if said == (leaf.session, leaf.seq) {
        return Ok(());
    }
    Err(checker.first_of(Bad::new(expected, at, format!("it says that it is record {} of session {}", said.1, said.0))))
}

/// The record is the leaf that is expected, and its bytes are those that the tree was grown with.
fn place(expected: u64, leaf: &Leaf) -> Result<(), Bad> {
    let at = Some((leaf.session, leaf.seq));
    match leaf.index {
        Some(index) if index == expected => {}
        Some(index) if index > expected => {
            let what =
                format!("it is missing; record {} of session {} follows as leaf {index}", leaf.seq, leaf.session);
            return Err(Bad::new(expected, None, what));
        }
        Some(_) => return Err(Bad::new(expected, at, "its leaf stands in another place")),
        None => return Err(Bad::new(expected, at, "it was put in among the records and is no leaf of the tree")),
    }
    if leaf.hash != Some(Digest::of_record(&leaf.bytes)) {
        return Err(Bad::new(expected, at, "it was edited: its bytes are not those that the tree was grown with"));
    }
    Ok(())
}

fn forged(size: u64, why: &str) -> Bad {
    Bad::new(size.saturating_sub(1), None, format!("the checkpoint of {size} leaves that was kept: {why}"))
}
