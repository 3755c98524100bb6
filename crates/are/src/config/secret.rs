//! A secret: never printed, never serialised, wiped when dropped.
//!
//! It has no `Debug`, `Display` or `Serialize`, so that no log line, error or
//! snapshot can hold one by accident. It is exposed where it is used and
//! nowhere else.

use are_core::digest::Digest;
use zeroize::Zeroizing;

/// A credential.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text without the white space around it, which files end with.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.trim().to_owned()))
    }

    /// The text, for the one place that sends or compares it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// True when there is nothing in it; an empty variable counts as unset.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// SHA-256 of the text, for comparing in constant time.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&[self.0.as_bytes()])
    }
}
