//! The key that signs checkpoints, and those to verify with, in the texts that
//! C2SP signed notes have for them.
//!
//! A signing key is a secret and stays in the data directory. A key to verify
//! with is `NAME+ID+BASE64`; files hold one a line, lines with `#` are comments.

use are_core::error::{Code, Fault};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;
use signed_note::{StandardSigner, StandardVerifier, Verifier, VerifierList};
use zeroize::Zeroizing;

use crate::config::Secret;

/// Says that the bytes behind it are an Ed25519 key.
const ED25519: u8 = 1;
/// What a signing key's text begins with.
const PREFIX: &str = "PRIVATE+KEY";
/// Bytes of a log's name.
const NAME_BYTES_MAX: usize = 128;
/// Keys in one file: one a week for some years.
const KEYS_MAX: usize = 256;

/// A key that signs.
#[derive(Clone)]
pub struct Key {
    signer: StandardSigner,
    name: String,
    vkey: String,
    text: Secret,
}

impl Key {
    /// The key that a seed of chance makes, for a log of this name.
    ///
    /// # Errors
    /// ARE-0812 for a name that notes cannot hold.
    pub fn made(name: &str, seed: &[u8; 32]) -> Result<Self, Fault> {
        check_name(name)?;
        let verifying = SigningKey::from_bytes(seed).verifying_key();
        let vkey = signed_note::new_ed25519_verifier_key(name, &verifying);
        let id = vkey.strip_prefix(name).and_then(|rest| rest.get(1..9)).unwrap_or_default();
        let data = Zeroizing::new([&[ED25519][..], &seed[..]].concat());
        let text = Zeroizing::new(format!("{PREFIX}+{name}+{id}+{}", STANDARD.encode(&*data)));
        Self::parse(&text)
    }

    /// Reads a key back.
    ///
    /// # Errors
    /// ARE-0812 for anything else.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let text = text.trim();
        let unusable = || {
            let help = "restore `audit.key` from a backup, or move it away: a new key is made and its loss recorded";
            Fault::new(Code::AUDIT_KEY, "the key that signs checkpoints is not readable as one", help)
        };
        let signer = StandardSigner::new(text).map_err(|_| unusable())?;
        let parts: Vec<&str> = text.splitn(5, '+').collect();
        let &[_, _, name, _, data] = parts.as_slice() else { return Err(unusable()) };
        let data = Zeroizing::new(STANDARD.decode(data).map_err(|_| unusable())?);
        let seed = data.get(1..).and_then(|seed| <&[u8; 32]>::try_from(seed).ok()).ok_or_else(unusable)?;
        let vkey = signed_note::new_ed25519_verifier_key(name, &SigningKey::from_bytes(seed).verifying_key());
        Ok(Self { signer, name: name.to_owned(), vkey, text: Secret::new(text) })
    }

    /// The log's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key to verify with.
    #[must_use]
    pub fn vkey(&self) -> &str {
        &self.vkey
    }

    /// Its text, for the one file that holds it.
    pub(super) const fn text(&self) -> &Secret {
        &self.text
    }

    pub(super) const fn signer(&self) -> &StandardSigner {
        &self.signer
    }
}

/// Checks the name of a log.
///
/// # Errors
/// ARE-0812 for one that notes cannot hold.
pub fn check_name(name: &str) -> Result<(), Fault> {
    let is_sound =
        name.len() <= NAME_BYTES_MAX && signed_note::is_key_name_valid(name) && !name.contains(char::is_control);
    if is_sound {
        return Ok(());
    }
    Err(Fault::new(
        Code::AUDIT_KEY,
        format!("`{}` cannot be the name of a log", name.escape_debug()),
        format!("write at most {NAME_BYTES_MAX} bytes without spaces and `+`, such as `are.example.org/audit`"),
    ))
}

/// Keys to verify with, newest first.
#[derive(Clone)]
pub struct VerifierKeys(Vec<(String, StandardVerifier)>);

impl VerifierKeys {
    /// Reads a file of keys.
    ///
    /// # Errors
    /// ARE-0812 names the first line that is no key; there must be one at least.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let mut keys: Vec<(String, StandardVerifier)> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') || keys.iter().any(|(known, _)| known == line) {
                continue;
            }
            let verifier = StandardVerifier::new(line).map_err(|error| {
                let help = "give the file that `are audit vkey` printed";
                Fault::new(Code::AUDIT_KEY, format!("line {number} is no key to verify with: {error}"), help)
            })?;
            if keys.len() == KEYS_MAX {
                let help = "leave out keys of checkpoints that you do not have";
                return Err(Fault::new(Code::AUDIT_KEY, format!("there are more than {KEYS_MAX} keys"), help));
            }
            keys.push((line.to_owned(), verifier));
        }
        if keys.is_empty() {
            let help = "give the file that `are audit vkey` printed";
            return Err(Fault::new(Code::AUDIT_KEY, "there is no key to verify with", help));
        }
        Ok(Self(keys))
    }

    /// With one more key in front.
    ///
    /// # Errors
    /// ARE-0812 when it is no key.
    pub fn with(&self, vkey: &str) -> Result<Self, Fault> {
        let known = self.texts().take(KEYS_MAX - 1);
        Self::parse(&std::iter::once(vkey).chain(known).collect::<Vec<_>>().join("\n"))
    }

    /// Their texts.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(text, _)| text.as_str())
    }

    pub(super) fn known(&self) -> VerifierList {
        VerifierList::new(self.0.iter().map(|(_, verifier)| Box::new(verifier.clone()) as Box<dyn Verifier>).collect())
    }
}
