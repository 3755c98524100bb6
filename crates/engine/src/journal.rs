//! The appending end of one journal: seals drafts, hands them to the store.

use std::sync::Arc;

use are_core::BoxFuture;
use are_core::account::Via;
use are_core::clock::Clock;
use are_core::ids::{AccountId, Fence, SessionKey};
use are_core::journal::{Corrupt, Draft, Entry, Frame, Head, Row, Stamp};
use are_core::store::{Append, Change, Durability, Receipt, Store, StoreError};
use are_policy::limits::Used;

/// Rows that are sealed but not appended yet.
#[derive(Default)]
pub(crate) struct Sealed {
    pub(crate) rows: Vec<Row>,
    pub(crate) entries: Vec<(usize, Entry)>,
    pub(crate) changes: Vec<Change>,
    /// What of the limits that span sessions was reserved for it.
    pub(crate) reserved: Vec<Used>,
}

/// One journal and its owner's place in it.
pub(crate) struct Journal {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) session: SessionKey,
    pub(crate) agent_id: String,
    /// `None` while there is no space to take the session: reading needs none.
    pub(crate) fence: Option<Fence>,
    /// End of what is stored.
    pub(crate) stored: Head,
    /// End of what is sealed.
    pub(crate) sealed: Head,
}

impl Journal {
    /// Seals a draft behind what is sealed already.
    pub(crate) fn seal(
        &mut self,
        sealed: &mut Sealed,
        draft: Draft,
        (account, via): (&AccountId, Option<&Via>),
        at_ms: u64,
    ) -> Result<(), Corrupt> {
        let stamp = Stamp {
            session: self.session,
            account: account.clone(),
            agent_id: self.agent_id.clone(),
            via: via.cloned(),
            at_ms,
        };
        let (row, entry, head) = draft.seal(&stamp, self.sealed, self.clock.random())?;
        self.push(sealed, row, entry, head);
        Ok(())
    }

    /// Seals a frame.
    pub(crate) fn seal_frame(&mut self, sealed: &mut Sealed, frame: Frame) -> Result<(), Corrupt> {
        let (row, entry, head) = frame.seal(self.session, self.sealed)?;
        self.push(sealed, row, entry, head);
        Ok(())
    }

    fn push(&mut self, sealed: &mut Sealed, row: Row, entry: Entry, head: Head) {
        sealed.entries.push((row.bytes.len(), entry));
        sealed.rows.push(row);
        self.sealed = head;
    }

    /// Appends what is sealed. After an error the store is where it was.
    pub(crate) async fn append(&mut self, sealed: &Sealed, durability: Durability) -> Result<Receipt, StoreError> {
        if self.fence.is_none() {
            self.fence = Some(self.claim().await?);
        }
        let Some(mut appending) = self.begin(sealed, durability) else { return Err(StoreError::Fenced) };
        let receipt = appending.done().await?;
        self.stored = appending.head;
        Ok(receipt)
    }

    /// Begins to append what is sealed; `None` before the session is taken. Until it is done
    /// and `stored` says so, more may be sealed but nothing else appended.
    pub(crate) fn begin(&self, sealed: &Sealed, durability: Durability) -> Option<Appending> {
        let append = Append {
            session: self.session,
            fence: self.fence?,
            expect: self.stored,
            rows: sealed.rows.clone(),
            head: self.sealed,
            durability,
            changes: sealed.changes.clone(),
        };
        let store = Arc::clone(&self.store);
        Some(Appending { head: self.sealed, answer: Box::pin(async move { store.append(append).await }) })
    }

    /// Takes the session, late: nobody may have appended since it was read.
    async fn claim(&self) -> Result<Fence, StoreError> {
        let row = self.store.claim(self.session).await?;
        if row.head != self.stored {
            return Err(StoreError::HeadMoved { found: row.head });
        }
        Ok(row.fence)
    }
}

/// An append on its way.
pub(crate) struct Appending {
    /// Where the journal ends afterwards.
    pub(crate) head: Head,
    answer: BoxFuture<'static, Result<Receipt, StoreError>>,
}

impl Appending {
    /// Waits for the store. Cancel-safe; not to be asked again after the answer.
    pub(crate) async fn done(&mut self) -> Result<Receipt, StoreError> {
        (&mut self.answer).await
    }
}
