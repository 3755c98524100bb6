//! The few connections that have not shown a credential yet.
//!
//! At most [`UNAUTHENTICATED_MAX`] at once; further ones wait in the kernel's
//! queue until one has shown its credential or ended. Whoever sits there for
//! longer than [`GRACE`] while others wait is shown out, oldest first, so that
//! silent connections delay others but never shut them out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Connections without a credential at once.
pub(super) const UNAUTHENTICATED_MAX: usize = 64;
/// How long one may sit while others wait: a request's head over a slow line.
const GRACE: Duration = Duration::from_secs(1);

/// The waiting room.
#[derive(Debug, Default)]
pub(super) struct Lobby {
    guests: Mutex<Guests>,
    left: Notify,
}

#[derive(Debug, Default)]
struct Guests {
    next: u64,
    inside: BTreeMap<u64, (Instant, CancellationToken)>,
}

/// A place in the lobby; dropping it leaves.
#[derive(Debug)]
pub(super) struct Guest {
    lobby: Arc<Lobby>,
    number: u64,
    /// Cancelled when the guest is shown out.
    pub(super) shown_out: CancellationToken,
}

impl Lobby {
    /// Waits for a place.
    pub(super) async fn enter(self: &Arc<Self>) -> Guest {
        loop {
            let left = self.left.notified();
            let wait_until = match self.try_enter() {
                Ok(guest) => return guest,
                Err(wait_until) => wait_until,
            };
            // Cancel-safe: both only say that it is worth looking again.
            tokio::select! {
                () = left => {}
                () = tokio::time::sleep_until(wait_until) => {}
            }
        }
    }

    fn try_enter(self: &Arc<Self>) -> Result<Guest, Instant> {
        let now = Instant::now();
        let mut guests = self.guests();
        if guests.inside.len() >= UNAUTHENTICATED_MAX
            && let Some(oldest) = guests.inside.first_entry()
        {
            let leaves_at = oldest.get().0 + GRACE;
            if leaves_at > now {
                return Err(leaves_at);
            }
            oldest.remove().1.cancel();
        }
        let number = guests.next;
        guests.next += 1;
        let shown_out = CancellationToken::new();
        guests.inside.insert(number, (now, shown_out.clone()));
        Ok(Guest { lobby: self.clone(), number, shown_out })
    }

    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.lobby.guests().inside.remove(&self.number);
        self.lobby.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_silent_guest_makes_room_and_nobody_is_shut_out() {
        let lobby = Arc::new(Lobby::default());
        let mut guests = Vec::new();
        for _ in 0..UNAUTHENTICATED_MAX {
            guests.push(lobby.enter().await);
        }
        assert!(lobby.try_enter().is_err());
        let late = lobby.enter().await;
        assert!(guests[0].shown_out.is_cancelled() && !guests[1].shown_out.is_cancelled());
        drop(late);
        assert!(lobby.try_enter().is_ok());
    }
}
