//! A provider's key.

use http::HeaderValue;
use zeroize::Zeroizing;

/// A secret that is wiped when dropped and can be neither printed, compared
/// nor serialised; it leaves this type only as a header marked sensitive.
pub struct Key(Zeroizing<String>);

impl Key {
    /// Takes the key.
    #[must_use]
    pub fn new(key: String) -> Self {
        Self(Zeroizing::new(key))
    }

    /// `Bearer …`; `None` when the key has characters that no header may have.
    pub(crate) fn authorization(&self) -> Option<HeaderValue> {
        let text = Zeroizing::new(format!("Bearer {}", self.0.as_str()));
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// The key alone; `None` when it has characters that no header may have.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(self.0.as_str()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// The text with the key blotted out, for the log: providers quote it.
    pub(crate) fn blot(&self, text: &str) -> String {
        if self.0.is_empty() { text.to_owned() } else { text.replace(self.0.as_str(), "[key]") }
    }
}
