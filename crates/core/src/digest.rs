//! SHA-256 digests and the two ways the journal uses them.

use std::fmt;
use std::str::FromStr;

use serde_with::{DeserializeFromStr, SerializeDisplay};
use sha2::{Digest as _, Sha256};

/// 32 random bytes that salt a payload, so that a digest cannot be guessed at.
pub type Nonce = [u8; 32];

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// A SHA-256 digest; written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, SerializeDisplay, DeserializeFromStr)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// What the first record of a chain names as its predecessor.
    pub const ZERO: Self = Self([0; 32]);

    /// SHA-256 over the concatenation of `parts`.
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    /// Hash of a record: its link in the chain and its leaf in the tree.
    ///
    /// SOURCE: RFC 6962 §2.1, leaf hash with the prefix `0x00`.
    #[must_use]
    pub fn of_record(bytes: &[u8]) -> Self {
        Self::of(&[&[0], bytes])
    }

    /// Salted digest of a payload: `SHA-256(nonce ‖ bytes)`.
    #[must_use]
    pub fn of_payload(nonce: &Nonce, bytes: &[u8]) -> Self {
        Self::of(&[nonce, bytes])
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // PERF: at once, as a record holds up to a dozen of them.
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        f.write_str(str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 lower-case hexadecimal digits")]
pub struct InvalidDigest;

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let digits = text.as_bytes();
        let mut out = [0; 32];
        if digits.len() != 64 {
            return Err(InvalidDigest);
        }
        for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Self(out))
    }
}

fn nibble(digit: u8) -> Result<u8, InvalidDigest> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(InvalidDigest),
    }
}

/// Digest over the frames of one model call or tool run, begun with a nonce
/// that is erased together with them.
#[derive(Clone)]
pub struct Rolling(Sha256);

impl Rolling {
    /// Begins with `nonce`.
    #[must_use]
    pub fn new(nonce: &Nonce) -> Self {
        Self(Sha256::new_with_prefix(nonce))
    }

    /// Adds the stored bytes of one frame; they are JSON objects, hence self-delimiting.
    pub fn push(&mut self, frame: &[u8]) {
        self.0.update(frame);
    }

    /// The digest so far.
    #[must_use]
    pub fn finish(&self) -> Digest {
        Digest(self.0.clone().finalize().into())
    }
}
