//! Removes control groups whose processes are dying.
//!
//! A group can be removed when nothing is in it any more. Who drops one does not wait
//! for that: a thread does, which is there only while there is something to remove.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Version;
use super::group::Dirs;

/// Between two looks; what was killed is gone within one or two.
const PAUSE: Duration = Duration::from_millis(2);
/// Looks until a group is left to the next start: 10 s.
const LOOKS_MAX: u32 = 5_000;

#[derive(Debug, Default)]
pub(super) struct Remover {
    state: Mutex<State>,
    is_at_rest: Condvar,
}

#[derive(Debug, Default)]
struct State {
    new: Vec<(Version, Dirs)>,
    is_working: bool,
}

impl Remover {
    /// Kills what is in the groups, and removes them.
    pub(super) fn push(self: &Arc<Self>, version: Version, dirs: Dirs) {
        let mut state = self.lock();
        state.new.push((version, dirs));
        if state.is_working {
            return;
        }
        let this = Arc::clone(self);
        match std::thread::Builder::new().name("control-groups".to_owned()).spawn(move || this.work()) {
            Ok(_detached) => state.is_working = true,
            Err(error) => {
                state.new.clear();
                tracing::warn!(%error, "a control group stays until the next start");
            }
        }
    }

    /// Waits until there is nothing to remove, for so long.
    pub(super) fn rest(&self, time: Duration) {
        let waited = self.is_at_rest.wait_timeout_while(self.lock(), time, |state| state.is_working);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.is_working {
            tracing::debug!("control groups are still being removed");
        }
    }

    fn work(&self) {
        let mut dying: Vec<((Version, Dirs), u32)> = Vec::new();
        loop {
            let mut state = self.lock();
            dying.extend(state.new.drain(..).map(|one| (one, 0)));
            if dying.is_empty() {
                state.is_working = false;
                self.is_at_rest.notify_all();
                return;
            }
            drop(state);
            dying.retain_mut(|((version, dirs), looks)| {
                let Err(error) = dirs.remove() else { return false };
                *looks += 1;
                if *looks > LOOKS_MAX {
                    tracing::warn!(%error, "a control group stays until the next start");
                    return false;
                }
                dirs.kill(*version);
                true
            });
            if !dying.is_empty() {
                std::thread::sleep(PAUSE);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
