//! What accounts remember across sessions.
//!
//! A memory is a short text with the label of what it was made from, so that
//! what a stranger's page put there is a stranger's word in every later session
//! too. It is added by the outcome of a call or by a person, in the transaction
//! of the record that says so; searches read the store's rows through an index
//! that follows them.

mod embed;
mod index;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use are_core::BoxFuture;
use are_core::error::{Code, Fault};
use are_core::ids::{AccountId, MemoryId};
use are_core::label::Label;
use are_core::limits::MEMORIES_PAGE_MAX;
use are_core::store::{Memories as Which, MemoryRow, Store};
use are_policy::tools::{Memories, Memory};

use self::index::Index;
use crate::faults;

/// Indexes in memory at once, of 26 MB each at the most; beyond it the one that was used longest ago goes.
const INDEXES_MAX: usize = 8;
/// Rows read at once: their vectors take a few milliseconds, then others get a turn.
const PAGE_ROWS: u32 = 200;
/// Likeness below which a memory is no answer: it shares only parts of words.
const LIKENESS_MIN: f32 = 0.08;

/// Name of the model that makes vectors of texts: what searches compare.
pub const LEXICAL: &str = "are-lexical";

/// The vectors of texts, of length one; of a text without words, zeros.
pub(crate) fn vectors(texts: &[String]) -> Vec<Vec<f32>> {
    let embedder = embed::Embedder::new();
    let one = |text: &String| {
        let vector = embedder.vector(text);
        let length = embed::length(&vector);
        let scale = if length > 0.0 { length.recip() } else { 0.0 };
        vector.iter().map(|part| part * scale).collect()
    };
    texts.iter().map(one).collect()
}

type Shared = Arc<tokio::sync::Mutex<Index>>;

/// The indexes of all accounts.
#[derive(Default)]
pub(crate) struct Indexes(Mutex<Held>);

#[derive(Default)]
struct Held {
    of: HashMap<AccountId, (Shared, u64)>,
    uses: u64,
}

impl Indexes {
    fn of(&self, account: &AccountId) -> Shared {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.uses += 1;
        let now = held.uses;
        if !held.of.contains_key(account)
            && held.of.len() >= INDEXES_MAX
            && let Some(oldest) = held.of.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| key.clone())
        {
            held.of.remove(&oldest);
        }
        let (index, used) =
            held.of.entry(account.clone()).or_insert_with(|| (Arc::new(tokio::sync::Mutex::new(Index::new())), now));
        *used = now;
        Arc::clone(index)
    }

    /// What the account remembers that is like the query, the likest first.
    pub(crate) async fn search(
        &self,
        store: &dyn Store,
        account: &AccountId,
        query: &str,
        limit: usize,
    ) -> Result<Vec<Memory>, Fault> {
        let limit = limit.min(MEMORIES_PAGE_MAX);
        let index = self.of(account);
        let mut index = index.lock().await;
        follow(&mut index, store, account).await?;
        let query = index.query(query);
        let names = index.candidates(&query, limit);
        let most = u32::try_from(names.len()).unwrap_or(u32::MAX);
        let rows = store.memories(account.clone(), Which::Named(names), most).await.map_err(faults::store)?;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            let likeness = index.likeness(&query, &row.text);
            if likeness >= LIKENESS_MIN {
                found.push((likeness, memory(row)?));
            }
        }
        // Equally like: the newer one first. Rows come in order of arrival and the sort is stable.
        found.reverse();
        found.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        found.truncate(limit);
        Ok(found.into_iter().map(|(_, memory)| memory).collect())
    }

    /// How many memories the account has.
    pub(crate) async fn count(&self, store: &dyn Store, account: &AccountId) -> Result<usize, Fault> {
        let index = self.of(account);
        let mut index = index.lock().await;
        follow(&mut index, store, account).await?;
        Ok(index.len())
    }

    /// Drops the index of an account whose memories the store has erased.
    pub(crate) fn forget(&self, account: &AccountId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).of.remove(account);
    }

    /// Forgets one that the store no longer has.
    pub(crate) async fn remove(&self, account: &AccountId, id: &MemoryId) {
        self.of(account).lock().await.remove(id);
    }
}

/// Reads what the store has beyond what the index knows.
async fn follow(index: &mut Index, store: &dyn Store, account: &AccountId) -> Result<(), Fault> {
    loop {
        let rows =
            store.memories(account.clone(), Which::After(index.read_to), PAGE_ROWS).await.map_err(faults::store)?;
        let is_last = rows.len() < PAGE_ROWS as usize;
        for row in rows {
            index.add(row.order, row.id, &row.text);
        }
        if is_last {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
}

fn memory(row: MemoryRow) -> Result<Memory, Fault> {
    let label: Label = serde_json::from_str(&row.label).map_err(|_| {
        Fault::new(Code::SESSION_CORRUPT, "a stored memory is unreadable", "delete it and add it again")
    })?;
    Ok(Memory { id: row.id, text: row.text, label, created_at_ms: row.created_at_ms })
}

/// The memories of one account, for its tools.
pub(crate) struct OfAccount {
    pub(crate) inner: Arc<crate::engine::Inner>,
    pub(crate) account: AccountId,
}

impl Memories for OfAccount {
    fn search(&self, query: String, limit: usize) -> BoxFuture<'_, Result<Vec<Memory>, Fault>> {
        Box::pin(async move {
            let store = self.inner.ports.store.as_ref();
            self.inner.memories.search(store, &self.account, &query, limit).await
        })
    }

    fn count(&self) -> BoxFuture<'_, Result<usize, Fault>> {
        Box::pin(async move { self.inner.memories.count(self.inner.ports.store.as_ref(), &self.account).await })
    }
}
