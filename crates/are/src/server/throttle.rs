//! Slows down whoever presents wrong credentials, by client address.
//!
//! A right credential is never slowed: the check comes first, so that a bad
//! local process cannot lock its neighbours out of loopback. What is limited
//! is the number of wrong tries that get an answer: from the sixth within a
//! minute on, each answer is late, says 429 and names a growing time to wait.
//!
//! Bounded: at most [`CLIENTS_MAX`] addresses are remembered, then the oldest goes.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use tokio::time::Instant;

/// Wrong tries within [`WINDOW`] that are answered at once: a person's typing mistakes.
const FREE_TRIES: u32 = 5;
/// After so much time without a wrong try a client is forgotten.
const WINDOW: Duration = Duration::from_secs(60);
/// The longest wait that is named, in seconds.
const WAIT_S_MAX: u64 = 60;
/// By how much a slowed answer is late. With the few unauthenticated connections that there can be
/// (`listen::UNAUTHENTICATED_MAX`) it bounds all guessing together to some hundred tries a second.
const LATENESS: Duration = Duration::from_millis(500);
/// Addresses remembered: some tens of kilobytes.
const CLIENTS_MAX: usize = 1024;

/// Wrong tries by address.
#[derive(Debug, Default)]
pub(super) struct Throttle(HashMap<IpAddr, Tries>);

#[derive(Debug, Clone, Copy)]
struct Tries {
    wrong: u32,
    last: Instant,
}

/// What a slowed client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slow {
    /// By how much the answer is late.
    pub(super) lateness: Duration,
    /// When to try again, in milliseconds.
    pub(super) retry_after_ms: u64,
}

impl Throttle {
    /// Counts a wrong try; `Some` when the client is to be slowed.
    pub(super) fn wrong(&mut self, client: IpAddr, now: Instant) -> Option<Slow> {
        let client = network_of(client);
        if !self.0.contains_key(&client) && self.0.len() >= CLIENTS_MAX {
            self.forget(now);
        }
        let tries = self.0.entry(client).or_insert(Tries { wrong: 0, last: now });
        if now.duration_since(tries.last) >= WINDOW {
            tries.wrong = 0;
        }
        tries.last = now;
        tries.wrong = tries.wrong.saturating_add(1);
        let over = tries.wrong.checked_sub(FREE_TRIES + 1)?;
        let wait_s = 1_u64.checked_shl(over).unwrap_or(WAIT_S_MAX).clamp(1, WAIT_S_MAX);
        Some(Slow { lateness: LATENESS, retry_after_ms: wait_s * 1000 })
    }

    /// Makes room: drops everybody whose time is over, or else the one seen longest ago.
    fn forget(&mut self, now: Instant) {
        self.0.retain(|_, tries| now.duration_since(tries.last) < WINDOW);
        if self.0.len() >= CLIENTS_MAX
            && let Some(oldest) = self.0.iter().min_by_key(|(_, tries)| tries.last).map(|(client, _)| *client)
        {
            self.0.remove(&oldest);
        }
    }
}

/// One client may have a whole IPv6 network of 64 bits to speak from.
fn network_of(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            let bits = v6.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixth_wrong_try_of_a_minute_is_slowed_for_a_growing_time() {
        let mut throttle = Throttle::default();
        let client = "127.0.0.1".parse().unwrap();
        let now = Instant::now();
        let answers: Vec<_> = (0..9).map(|_| throttle.wrong(client, now).map(|slow| slow.retry_after_ms)).collect();
        assert_eq!(answers[..5], [None; 5]);
        assert_eq!(answers[5..], [Some(1000), Some(2000), Some(4000), Some(8000)]);
        assert_eq!(throttle.wrong(client, now + WINDOW), None);
    }

    #[test]
    fn the_wait_stays_bounded_however_many_tries() {
        let mut throttle = Throttle::default();
        let client = "::1".parse().unwrap();
        let now = Instant::now();
        let last = (0..200).map(|_| throttle.wrong(client, now)).last().flatten();
        assert_eq!(last.map(|slow| slow.retry_after_ms), Some(60_000));
    }

    #[test]
    fn memory_stays_bounded_and_a_network_counts_as_one_client() {
        let mut throttle = Throttle::default();
        let now = Instant::now();
        for host in 0..5000_u128 {
            throttle.wrong(IpAddr::V6(Ipv6Addr::from_bits(host << 64 | 0x2001 << 112)), now);
        }
        assert!(throttle.0.len() <= CLIENTS_MAX);
        let mut throttle = Throttle::default();
        let slowed = (1..=6_u128)
            .filter_map(|host| throttle.wrong(IpAddr::V6(Ipv6Addr::from_bits(0x2001 << 112 | host)), now))
            .count();
        assert_eq!(slowed, 1);
    }
}
