//! What clients do with what their account remembers.

use are_core::body::Body;
use are_core::error::{Code, Fault};
use are_core::ids::MemoryId;
use are_core::label::{Confidentiality, Integrity, Label};
use are_core::limits::{MEMORIES_MAX, MEMORIES_PAGE_MAX, MEMORY_BYTES_MAX};
use are_core::payload::Payload;
use are_core::store::{Change, Memories, MemoryRow};
use are_policy::tools::Memory;

use super::Engine;
use crate::api::Caller;
use crate::faults;

impl Engine {
    /// What the caller's account remembers, newest first, before the memory of order `before`; at most 100.
    ///
    /// # Errors
    /// The store failed.
    pub async fn memories(&self, caller: &Caller, before: Option<u64>, limit: usize) -> Result<Vec<MemoryRow>, Fault> {
        let which = Memories::Before(before.unwrap_or(u64::MAX));
        let limit = u32::try_from(limit.min(MEMORIES_PAGE_MAX)).unwrap_or(u32::MAX);
        self.inner.ports.store.memories(caller.account.clone(), which, limit).await.map_err(faults::store)
    }

    /// What of it is like the query, the likest first; at most 100.
    ///
    /// # Errors
    /// The store failed.
    pub async fn search_memories(&self, caller: &Caller, query: &str, limit: usize) -> Result<Vec<Memory>, Fault> {
        self.inner.memories.search(self.inner.ports.store.as_ref(), &caller.account, query, limit).await
    }

    /// The vectors of texts, as searches compare them: of length one, near each other where texts share words.
    ///
    /// # Errors
    /// None that is expected: the work was lost with its thread.
    pub async fn embed(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, Fault> {
        // Some hundred kilobytes of text take longer than others should wait for.
        tokio::task::spawn_blocking(move || crate::memory::vectors(&texts)).await.map_err(|_| faults::internal())
    }

    /// Remembers a text of the user's.
    ///
    /// # Errors
    /// ARE-0708 when it is empty or too long or there are too many.
    pub async fn add_memory(&self, caller: &Caller, text: String) -> Result<MemoryId, Fault> {
        let text = self.inner.vault.scrubber(&caller.account).clean(text);
        if text.trim().is_empty() || text.len() > MEMORY_BYTES_MAX {
            let message = format!("a memory takes 1 to {MEMORY_BYTES_MAX} bytes of text");
            return Err(Fault::new(Code::MEMORY_LIMIT, message, "shorten it, or keep it in a file"));
        }
        let store = self.inner.ports.store.as_ref();
        if self.inner.memories.count(store, &caller.account).await? >= MEMORIES_MAX {
            return Err(faults::too_many_memories());
        }
        let id = random_id(self.inner.ports.clock.random())?;
        let label = Label::new(Integrity::User, Confidentiality::Private, "user");
        let row = MemoryRow {
            order: 0,
            id: id.clone(),
            session: None,
            text: text.clone(),
            label: serde_json::to_string(&label).unwrap_or_default(),
            created_at_ms: self.inner.ports.clock.now_ms(),
        };
        let change = Change::PutMemory { account: caller.account.clone(), row };
        let body = Body::MemoryAdded { memory: id.clone(), call: None };
        let payload = Payload::Memory { text, label };
        self.inner.system.append(caller.account.clone(), body, Some(payload), vec![change]).await?;
        Ok(id)
    }

    /// Forgets a memory: no search finds it any more. What a journal says of it stays until its session is deleted.
    ///
    /// # Errors
    /// ARE-0510 when the account has none of that id.
    pub async fn delete_memory(&self, caller: &Caller, id: &MemoryId) -> Result<(), Fault> {
        let unknown = || {
            let help = "list those there are with `are memory list`";
            Fault::new(Code::TOOL_NOT_FOUND, "there is no such memory", help)
        };
        let named = Memories::Named(vec![id.clone()]);
        let store = self.inner.ports.store.as_ref();
        if store.memories(caller.account.clone(), named, 1).await.map_err(faults::store)?.is_empty() {
            return Err(unknown());
        }
        let change = Change::DeleteMemory { account: caller.account.clone(), id: id.clone() };
        let body = Body::MemoryDeleted { memory: id.clone() };
        self.inner.system.append(caller.account.clone(), body, None, vec![change]).await?;
        self.inner.memories.remove(&caller.account, id).await;
        Ok(())
    }
}

/// An id nobody can guess the next one of.
fn random_id(random: [u8; 32]) -> Result<MemoryId, Fault> {
    let digest = are_core::digest::Digest(random).to_string();
    digest[..16].parse().map_err(|_| faults::internal())
}
