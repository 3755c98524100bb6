//! Looking for words in the texts of an account's sessions, newest first.
//!
//! The journals themselves are read, a bounded part of them for each request;
//! where more is left, the answer says from where on. No session is woken by it.

use std::sync::Arc;

use are_core::error::Fault;
use are_core::ids::Seq;
use are_core::journal::decode;
use are_core::store::{SessionFilter, SessionRow, StoreError};

use super::{Engine, works_for};
use crate::api::{Caller, SearchCursor, SessionFound, SessionSearch, SessionsFound};
use crate::faults;
use crate::search::{Found, Reader, Words};

/// Searches of all accounts that read at once; the others wait in turn.
pub(super) const SEARCHES_MAX: usize = 2;
/// Sessions of one answer.
const FOUND_MAX: u32 = 50;
/// Sessions that one request looks into.
const SESSIONS_MAX: usize = 200;
/// Sessions that one request passes, looked into or not.
const ROWS_MAX: usize = 2_000;
/// Bytes of journals that one request reads: some tens of milliseconds of work.
const BYTES_MAX: usize = 8 << 20;
/// Sessions read of the list at a time.
const PAGE_SESSIONS: u32 = 100;
/// The same where more than those were used in one millisecond.
const PAGE_SESSIONS_MAX: u32 = 1_000;
/// Entries read at a time, and their bytes: other work goes on between them.
const PAGE_ROWS: u32 = 500;
const PAGE_BYTES: usize = 256 << 10;

/// What is left of a request's work.
struct Left {
    sessions: usize,
    bytes: usize,
}

/// What came of looking into a session.
enum Looked {
    Found(Found),
    Nothing,
    /// The work is over before the session was; it goes on behind this entry.
    Unfinished(Seq),
}

impl Engine {
    /// Sessions of the caller in whose prompts or answers all the words stand, last used first, each with the first such
    /// place; at most 50. What was erased is not found.
    ///
    /// # Errors
    /// ARE-0206 when there is nothing to look for, or too much; the store failed.
    pub async fn search_sessions(&self, caller: &Caller, wish: SessionSearch) -> Result<SessionsFound, Fault> {
        let words = Words::of(&wish.text)?;
        let _place = Arc::clone(&self.inner.searches).enter(caller.account.clone()).await;
        let limit = usize::try_from(wish.limit.clamp(1, FOUND_MAX)).unwrap_or(1);
        let mut left = Left { sessions: SESSIONS_MAX, bytes: BYTES_MAX };
        let (mut found, mut from, mut rows_left) = (Vec::new(), wish.from, ROWS_MAX);
        loop {
            let rows = self.rows_behind(caller, from).await?;
            if rows.is_empty() {
                return Ok(SessionsFound { found, next: None });
            }
            for row in rows {
                if found.len() == limit || left.sessions == 0 || rows_left == 0 {
                    return Ok(SessionsFound { found, next: from });
                }
                // Those that are passed over are work too.
                rows_left -= 1;
                let after = from.filter(|from| from.key == row.key).map_or(0, |from| from.seq);
                let (at_ms, key) = (row.updated_at_ms, row.key);
                let at = move |seq| SearchCursor { at_ms, seq, key };
                let is_wanted = !wish.own || row.last_thread_id.as_ref().and_then(works_for).is_none();
                if is_wanted {
                    left.sessions -= 1;
                    match self.look_into(&row, after, &words, &mut left).await? {
                        Looked::Unfinished(seq) => return Ok(SessionsFound { found, next: Some(at(seq)) }),
                        Looked::Found(Found { seq, turn, excerpt }) => {
                            from = Some(at(0));
                            found.push(SessionFound { row, seq, turn, excerpt });
                            continue;
                        }
                        Looked::Nothing => {}
                    }
                }
                from = Some(at(0));
            }
        }
    }

    /// The next of the caller's sessions: the one in whose middle `from` stands, if it does, and those behind it.
    async fn rows_behind(&self, caller: &Caller, from: Option<SearchCursor>) -> Result<Vec<SessionRow>, Fault> {
        let is_next = |row: &SessionRow| {
            from.is_none_or(|from| {
                let (place, row) = ((from.at_ms, from.key), (row.updated_at_ms, row.key));
                row < place || (row == place && from.seq > 0)
            })
        };
        let mut limit = PAGE_SESSIONS;
        loop {
            let filter = SessionFilter {
                owner: Some(caller.account.clone()),
                limit,
                before_ms: from.map(|from| from.at_ms.saturating_add(1).min(i64::MAX.unsigned_abs())),
            };
            let rows = self.inner.ports.store.sessions(filter).await.map_err(faults::store)?;
            let is_full = rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
            let next: Vec<SessionRow> = rows.into_iter().filter(is_next).collect();
            if !next.is_empty() || !is_full || limit == PAGE_SESSIONS_MAX {
                return Ok(next);
            }
            limit = PAGE_SESSIONS_MAX;
        }
    }

    async fn look_into(&self, row: &SessionRow, after: Seq, words: &Words, left: &mut Left) -> Result<Looked, Fault> {
        let mut reader = Reader::new(words, after);
        loop {
            if left.bytes == 0 {
                // One text that is more than a request reads is not looked at again from its beginning.
                let seq = if reader.begun() > after { reader.begun() } else { reader.last() };
                return Ok(Looked::Unfinished(seq.max(1)));
            }
            let store = &self.inner.ports.store;
            let rows = match store.read(row.key, reader.last(), PAGE_ROWS, PAGE_BYTES).await {
                Ok(rows) => rows,
                // It was deleted meanwhile.
                Err(StoreError::NotFound) => return Ok(Looked::Nothing),
                Err(error) => return Err(faults::store(error)),
            };
            if rows.is_empty() {
                return Ok(reader.end().map_or(Looked::Nothing, Looked::Found));
            }
            for stored in rows {
                let payload = stored.payload.as_ref().map_or(0, |(_, bytes)| bytes.len());
                left.bytes = left.bytes.saturating_sub(stored.bytes.len() + payload);
                let Ok(entry) = decode(row.key, &stored) else {
                    // Whoever opens the session is told of it; the others are searched all the same.
                    tracing::warn!(session = %row.key, seq = stored.seq, "a damaged session is not searched");
                    return Ok(Looked::Nothing);
                };
                if let Some(found) = reader.take(&entry) {
                    return Ok(Looked::Found(found));
                }
            }
        }
    }
}
