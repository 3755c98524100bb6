//! The port for what is not deterministic: time and chance.

use crate::BoxFuture;
use crate::digest::Nonce;

/// Time and chance; the simulator's is seeded.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;

    /// Resolves after `ms` milliseconds.
    fn sleep(&self, ms: u64) -> BoxFuture<'static, ()>;

    /// 32 bytes from a cryptographic generator.
    fn random(&self) -> Nonce;
}
