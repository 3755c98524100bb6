//! The stream that a caller reads.

use are_core::error::Fault;
use are_core::model::{Delta, ModelStream};
use futures_util::stream;
use tokio::sync::{mpsc, watch};

use super::{State, stopped};

struct Reader {
    deltas: mpsc::UnboundedReceiver<Result<Delta, Fault>>,
    state: watch::Receiver<State>,
    is_loading: bool,
    is_ended: bool,
}

/// What the thread sends, preceded by the progress of loading.
pub(super) fn of(
    deltas: mpsc::UnboundedReceiver<Result<Delta, Fault>>,
    mut state: watch::Receiver<State>,
) -> ModelStream {
    let is_loading = matches!(*state.borrow_and_update(), State::Loading { .. });
    let reader = Reader { deltas, state, is_loading, is_ended: false };
    Box::pin(stream::unfold(reader, |mut reader| async move {
        let item = reader.next().await?;
        Some((item, reader))
    }))
}

/// A call that failed before it began.
pub(super) fn failed(fault: Fault) -> ModelStream {
    Box::pin(stream::once(async move { Err(fault) }))
}

impl Reader {
    async fn next(&mut self) -> Option<Result<Delta, Fault>> {
        if self.is_ended {
            return None;
        }
        loop {
            tokio::select! {
                biased;
                // Cancel-safe: an item is taken only when it is returned.
                item = self.deltas.recv() => {
                    // A thread that died says no more, and the caller must hear of it.
                    let item = item.unwrap_or_else(|| Err(stopped()));
                    self.is_ended = matches!(item, Err(_) | Ok(Delta::End { .. }));
                    return Some(item);
                }
                // Cancel-safe: a change that is missed is superseded by the next.
                changed = self.state.changed(), if self.is_loading => {
                    let percent = match *self.state.borrow_and_update() {
                        State::Loading { percent } if changed.is_ok() => Some(percent),
                        _ => None,
                    };
                    match percent {
                        Some(percent) => return Some(Ok(Delta::Progress {
                            phase: "loading",
                            done: u64::from(percent),
                            total: 100,
                        })),
                        None => self.is_loading = false,
                    }
                }
            }
        }
    }
}
