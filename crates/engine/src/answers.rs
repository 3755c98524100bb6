//! Answers that are given again to exactly the same request.
//!
//! Off unless the operator switches it on. An answer is kept for the account
//! whose session it was given in, under the digest of the whole request: model,
//! instructions, conversation, tools and wishes. Another account never gets it,
//! and neither does a request that differs in a byte.
//!
//! Only what is without consequence is kept: whole answers without calls, to
//! conversations in which no tool was called. In memory alone, and bounded in
//! number, bytes and age.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use are_core::digest::Digest;
use are_core::ids::AccountId;
use are_core::model::{Delta, Message, ModelRequest, StopReason};

/// Answers that are kept, of all accounts together.
const ANSWERS_MAX: usize = 1_024;
/// Bytes of their texts together.
const BYTES_MAX: usize = 16 << 20;
/// Bytes of one answer's text; a longer one is not kept.
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// Milliseconds for which an answer is given again.
const AGE_MS: u64 = 60 * 60 * 1000;

/// Under what an answer is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    account: AccountId,
    request: Digest,
}

impl Key {
    /// The key of a request; `None` where its answer is not kept.
    pub(crate) fn of(account: &AccountId, request: &ModelRequest) -> Option<Self> {
        let is_tool = |message: &Message| match message {
            Message::Tool { .. } => true,
            Message::Assistant { calls, .. } => !calls.is_empty(),
            Message::System { .. } | Message::User { .. } | Message::Image(_) => false,
        };
        if request.messages.iter().any(is_tool) {
            return None;
        }
        let bytes = serde_json::to_vec(request).ok()?;
        Some(Self { account: account.clone(), request: Digest::of(&[&bytes]) })
    }
}

/// The kept answers.
#[derive(Default)]
pub(crate) struct Answers(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    answers: HashMap<Key, Answer>,
    /// Keys, the oldest answer first.
    order: VecDeque<Key>,
    bytes: usize,
}

struct Answer {
    deltas: Vec<Delta>,
    bytes: usize,
    at_ms: u64,
}

impl Answers {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The words of the kept answer, at `now_ms` (unix milliseconds).
    pub(crate) fn get(&self, key: &Key, now_ms: u64) -> Option<Vec<Delta>> {
        let mut kept = self.kept();
        kept.drop_older_than(now_ms.saturating_sub(AGE_MS));
        kept.answers.get(key).map(|answer| answer.deltas.clone())
    }

    /// Keeps an answer.
    pub(crate) fn put(&self, key: Key, transcript: Transcript, now_ms: u64) {
        let Transcript { deltas, bytes, .. } = transcript;
        let mut kept = self.kept();
        // An answer that is there already is as good, and older ones leave first.
        if kept.answers.contains_key(&key) {
            return;
        }
        kept.bytes += bytes;
        kept.order.push_back(key.clone());
        kept.answers.insert(key, Answer { deltas, bytes, at_ms: now_ms });
        while kept.answers.len() > ANSWERS_MAX || kept.bytes > BYTES_MAX {
            kept.drop_oldest();
        }
    }

    /// Drops the answers of an account: something of it was erased.
    pub(crate) fn forget(&self, account: &AccountId) {
        let mut kept = self.kept();
        let Kept { answers, order, bytes } = &mut *kept;
        answers.retain(|key, _| key.account != *account);
        order.retain(|key| key.account != *account);
        *bytes = answers.values().map(|answer| answer.bytes).sum();
    }
}

impl Kept {
    fn drop_oldest(&mut self) {
        if let Some(answer) = self.order.pop_front().and_then(|key| self.answers.remove(&key)) {
            self.bytes -= answer.bytes;
        }
    }

    fn drop_older_than(&mut self, at_ms: u64) {
        while self.order.front().and_then(|key| self.answers.get(key)).is_some_and(|answer| answer.at_ms < at_ms) {
            self.drop_oldest();
        }
    }
}

/// An answer that is being given, as far as it was heard.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    deltas: Vec<Delta>,
    bytes: usize,
    /// True when it is not one to be kept.
    is_spoilt: bool,
}

impl Transcript {
    /// Takes in a piece.
    pub(crate) fn take(&mut self, delta: &Delta) {
        if self.is_spoilt {
            return;
        }
        match (self.deltas.last_mut(), delta) {
            (Some(Delta::Text(last)), Delta::Text(text)) => last.push_str(text),
            (_, Delta::Text(_) | Delta::Reasoning(_)) => self.deltas.push(delta.clone()),
            (_, Delta::Call(_)) => self.is_spoilt = true,
            (_, Delta::Progress { .. } | Delta::End { .. }) => {}
        }
        self.bytes += match delta {
            Delta::Text(text) => text.len(),
            Delta::Reasoning(piece) => piece.text.len() + piece.opaque.as_deref().map_or(0, str::len),
            Delta::Call(_) | Delta::Progress { .. } | Delta::End { .. } => 0,
        };
        if self.is_spoilt || self.bytes > ANSWER_BYTES_MAX {
            *self = Self { is_spoilt: true, ..Self::default() };
        }
    }

    /// True when the answer that ended thus is to be kept.
    pub(crate) fn is_worth(&self, stop_reason: StopReason) -> bool {
        !self.is_spoilt && !self.deltas.is_empty() && stop_reason == StopReason::Stop
    }
}
