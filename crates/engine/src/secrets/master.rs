//! The key that seals the keys, and where it comes from.

use std::sync::Arc;

use are_core::BoxFuture;
use are_core::digest::Digest;
use are_core::error::Fault;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// Characters of a key's id: enough that no two of an installation's keys share one.
const ID_CHARS: usize = 16;
/// What is hashed before a master key to name it, so that the name is good for nothing else.
const ID_PREFIX: &[u8] = b"are master key v1";

/// Keeps master keys where they are read from at the next start, the one in use first.
pub type MasterKeeper = Arc<dyn Fn(Vec<MasterKey>) -> BoxFuture<'static, Result<(), Fault>> + Send + Sync>;

/// A master key. It has neither `Debug` nor `Display` and is wiped when dropped.
#[derive(Clone)]
pub struct MasterKey {
    id: String,
    key: Zeroizing<[u8; 32]>,
}

impl MasterKey {
    /// A key from 32 random bytes.
    #[must_use]
    pub fn new(key: Zeroizing<[u8; 32]>) -> Self {
        let id = Digest::of(&[ID_PREFIX, key.as_slice()]).to_string()[..ID_CHARS].to_owned();
        Self { id, key }
    }

    /// Reads 64 hexadecimal digits, or the base64 of 32 bytes; `None` for anything else, a passphrase above all.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let bytes = if text.len() == 64 { hex(text) } else { base64(text) };
        let bytes = Zeroizing::new(bytes?);
        Some(Self::new(Zeroizing::new(bytes.as_slice().try_into().ok()?)))
    }

    /// As [`read`](Self::read) reads it.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(self.key.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Names the key and tells nothing of it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.key
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    text.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| (0..text.len()).step_by(2).map(digit).collect())?
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    STANDARD_NO_PAD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text)).ok()
}

/// The master keys of this process.
#[derive(Clone)]
pub struct Master {
    /// Where they come from, for people.
    pub source: String,
    /// The keys, the one in use first; those behind it only open what they sealed.
    pub keys: Vec<MasterKey>,
    /// Why there are none, where that is a failure.
    pub fault: Option<Fault>,
    /// Keeps others in their place; `None` where this process cannot.
    pub keeper: Option<MasterKeeper>,
}

impl Master {
    /// None at all, and no way to make one.
    #[must_use]
    pub fn none() -> Self {
        Self { source: "nothing".to_owned(), keys: Vec::new(), fault: None, keeper: None }
    }
}
