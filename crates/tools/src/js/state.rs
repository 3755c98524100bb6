//! What the host keeps of one instance.

use std::collections::VecDeque;
use std::sync::Arc;

use are_core::BoxFuture;
use are_core::label::Label;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::host::{Answered, Request};
use super::siblings::Siblings;
use crate::lane::Room;
use crate::wasm::engine::Limits;

/// Further calls of a script that are under way at a time; later ones wait.
const RUNNING_MAX: usize = 8;
/// Further calls of one call: each is decided and recorded, so that a flood would fill the journal.
pub(super) const CALLS_MAX: usize = 1000;
/// Bytes of live output of one call.
const OUTPUT_BYTES_MAX: usize = 256 << 10;

/// An answer for a promise of the script, by its number.
pub(super) type Settled = (u32, String);

/// Data of a store.
pub(super) struct State {
    pub(super) limits: Limits,
    pub(super) siblings: Arc<Siblings>,
    /// What the script takes next.
    pub(super) parcel: Vec<u8>,
    /// What it gave last.
    pub(super) given: Option<Vec<u8>>,
    /// Where the call works; `None` while a file is loaded, when nothing may happen.
    pub(super) room: Option<Arc<Room>>,
    /// While the engine itself is set up, which must give the same bytes each time.
    pub(super) is_setting_up: bool,
    /// Label of all that further calls have brought.
    pub(super) label: Option<Label>,
    calls: usize,
    output_left: usize,
    queued: VecDeque<(u32, Request)>,
    running: FuturesUnordered<BoxFuture<'static, (u32, Answered)>>,
    settled: VecDeque<Settled>,
}

impl State {
    pub(super) fn new(limits: Limits, siblings: Arc<Siblings>, room: Option<Room>) -> Self {
        Self {
            limits,
            siblings,
            parcel: Vec::new(),
            given: None,
            room: room.map(Arc::new),
            is_setting_up: false,
            label: None,
            calls: 0,
            output_left: OUTPUT_BYTES_MAX,
            queued: VecDeque::new(),
            running: FuturesUnordered::new(),
            settled: VecDeque::new(),
        }
    }

    /// Counts a further call; false when there were too many.
    pub(super) fn count_call(&mut self) -> bool {
        self.calls += 1;
        self.calls <= CALLS_MAX
    }

    /// How much of a piece of output may still be shown; the first piece that does not fit is cut, later ones are none.
    pub(super) fn take_output(&mut self, text: String) -> Option<String> {
        if self.output_left == 0 {
            return None;
        }
        if let Some(left) = self.output_left.checked_sub(text.len()) {
            self.output_left = left;
            return Some(text);
        }
        let end = text.floor_char_boundary(self.output_left);
        self.output_left = 0;
        Some(format!("{}\n[more output is left out]\n", &text[..end]))
    }

    pub(super) fn queue(&mut self, number: u32, request: Request) {
        self.queued.push_back((number, request));
    }

    /// Answers without a further call.
    pub(super) fn answer(&mut self, number: u32, answered: Answered) {
        let text = self.opened(answered);
        self.settled.push_back((number, text));
    }

    /// Forgets what has not begun.
    pub(super) fn drop_queued(&mut self) {
        self.queued.clear();
    }

    pub(super) fn is_waiting(&self) -> bool {
        !(self.queued.is_empty() && self.running.is_empty() && self.settled.is_empty())
    }

    /// The next answer for a promise, when one of those under way comes; never, when there are none.
    pub(super) async fn next_settled(&mut self) -> Settled {
        if let Some(settled) = self.settled.pop_front() {
            return settled;
        }
        self.start();
        match self.running.next().await {
            Some((number, answered)) => (number, self.opened(answered)),
            None => std::future::pending().await,
        }
    }

    /// Waits for `work` while those under way go on; their answers are kept.
    pub(super) async fn beside(&mut self, mut work: BoxFuture<'static, Answered>) -> String {
        loop {
            self.start();
            let has_running = !self.running.is_empty();
            tokio::select! {
                // In the order in which the script began them. Cancel-safe: an answer is kept at once, and `work` stays.
                biased;
                Some((number, answered)) = self.running.next(), if has_running => {
                    let text = self.opened(answered);
                    self.settled.push_back((number, text));
                }
                answered = &mut work => return self.opened(answered),
            }
        }
    }

    fn start(&mut self) {
        while self.running.len() < RUNNING_MAX
            && let Some((number, request)) = self.queued.pop_front()
        {
            let work = match &self.room {
                Some(room) => request.perform(Arc::clone(room)),
                None => continue,
            };
            self.running.push(Box::pin(async move { (number, work.await) }));
        }
    }

    fn opened(&mut self, answered: Answered) -> String {
        if let Some(label) = answered.label {
            self.label = Some(self.label.as_ref().map_or_else(|| label.clone(), |held| held.join(&label)));
        }
        answered.text
    }
}
