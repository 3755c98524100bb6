//! The thread that counts epochs while a guest runs, and sleeps when none does.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::{Engine, EngineWeak};

/// Time between two epochs: how late a runaway guest is noticed, and how long one keeps a thread to itself.
pub(super) const TICK: Duration = Duration::from_millis(5);
/// Ticks without a guest after which the thread sleeps until the next one.
const IDLE_TICKS: u32 = 200;

/// Counts epochs of one engine.
pub(super) struct Ticker {
    state: Arc<State>,
    thread: Thread,
}

#[derive(Debug, Default)]
struct State {
    guests: AtomicUsize,
    is_parked: AtomicBool,
}

/// While it lives, epochs are counted.
#[derive(Debug)]
pub(crate) struct Ticking(Arc<State>);

impl Ticker {
    pub(super) fn start(engine: &Engine) -> std::io::Result<Self> {
        let state = Arc::new(State::default());
        let (weak, engine) = (Arc::downgrade(&state), engine.weak());
        let handle = thread::Builder::new().name("are-wasm-epoch".to_owned()).spawn(move || count(&weak, &engine))?;
        Ok(Self { state, thread: handle.thread().clone() })
    }

    /// Begins to count, if nobody has.
    pub(super) fn enter(&self) -> Ticking {
        self.state.guests.fetch_add(1, Ordering::SeqCst);
        if self.state.is_parked.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Ticking(Arc::clone(&self.state))
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        // The thread sees that the state is gone and ends, once the last call has.
        self.thread.unpark();
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.guests.fetch_sub(1, Ordering::SeqCst);
    }
}

fn count(state: &Weak<State>, engine: &EngineWeak) {
    let mut idle = 0;
    loop {
        thread::sleep(TICK);
        let (Some(state), Some(engine)) = (state.upgrade(), engine.upgrade()) else { return };
        engine.increment_epoch();
        idle = if state.guests.load(Ordering::SeqCst) == 0 { idle + 1 } else { 0 };
        if idle > IDLE_TICKS {
            state.is_parked.store(true, Ordering::SeqCst);
            // A guest that came just before the store above did not wake anybody.
            let is_idle = state.guests.load(Ordering::SeqCst) == 0;
            let waiting = Arc::downgrade(&state);
            drop((state, engine));
            if is_idle {
                thread::park();
            }
            if let Some(state) = waiting.upgrade() {
                state.is_parked.store(false, Ordering::SeqCst);
            }
            idle = 0;
        }
    }
}
