//! Time and chance of this machine.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use are_core::BoxFuture;
use are_core::clock::Clock;
use are_core::digest::Nonce;

/// The system's clock and generator.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn sleep(&self, ms: u64) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(Duration::from_millis(ms)))
    }

    #[expect(
        clippy::expect_used,
        reason = "without the kernel's generator nothing can be salted; going on would be unsafe"
    )]
    fn random(&self) -> Nonce {
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).expect("the kernel's random generator answers");
        nonce
    }
}
