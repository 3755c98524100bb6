//! Says of nearly every key that a table does not hold it, without a lookup there.

/// Bits of a sieve.
const SIEVE_BITS: u32 = 1 << 16;

/// Which keys may be in a table.
pub(super) struct Sieve(Box<[u64]>);

impl Sieve {
    /// A sieve that lets these through.
    pub(super) fn of<T: AsRef<[u8]>>(words: impl IntoIterator<Item = T>) -> Self {
        let mut bits = vec![0; SIEVE_BITS as usize / 64].into_boxed_slice();
        for word in words {
            let (at, bit) = Self::place(word.as_ref());
            bits[at] |= bit;
        }
        Self(bits)
    }

    /// False for nearly all that were not given.
    pub(super) fn may_hold(&self, word: &[u8]) -> bool {
        let (at, bit) = Self::place(word);
        self.0[at] & bit != 0
    }

    fn place(word: &[u8]) -> (usize, u64) {
        let hash = super::features::hash(word) % SIEVE_BITS;
        ((hash / 64) as usize, 1 << (hash % 64))
    }
}
