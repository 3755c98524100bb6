//! Checkpoints as signed notes: made, opened, and found in a text of several.

use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_store::tree::SIZE_MAX;
use signed_note::{Note, NoteError, Signer};
use tlog_tiles::{Checkpoint, Hash};

use super::key::{Key, VerifierKeys};

/// How a line with a signature begins.
const SIGNATURE: &str = "\u{2014} ";

/// What a checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Name of the log.
    pub origin: String,
    /// Leaves.
    pub size: u64,
    /// Root of the tree over them.
    pub root: Digest,
}

/// Why a text is no checkpoint of this log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It does not have the form.
    #[error("it is not a signed note with a checkpoint in it")]
    Malformed,
    /// Nobody known signed it.
    #[error("no known key signed it")]
    Unsigned,
    /// A signature in the name of a known key is wrong.
    #[error("its signature by the key `{0}` is wrong: it was forged or edited")]
    Forged(String),
    /// It is about another log.
    #[error("it is about the log `{0}`, which the key does not speak for")]
    Foreign(String),
}

/// Signs a head with every one of the keys.
///
/// # Errors
/// ARE-0812 when a key cannot sign.
pub fn sign(head: &Head, keys: &[&Key]) -> Result<String, Fault> {
    let failed =
        |what: String| Fault::new(Code::AUDIT_KEY, format!("a checkpoint cannot be signed: {what}"), "report this");
    let text =
        Checkpoint::new(&head.origin, head.size, Hash(head.root.0), "").map_err(|error| failed(error.to_string()))?;
    let mut note = Note::new(&text.to_bytes(), &[]).map_err(|error| failed(error.to_string()))?;
    let signers: Vec<&dyn Signer> = keys.iter().map(|key| key.signer() as &dyn Signer).collect();
    note.add_sigs(&signers).map_err(|error| failed(error.to_string()))?;
    String::from_utf8(note.to_bytes()).map_err(|error| failed(error.to_string()))
}

/// What a note says, if a known key signed it and speaks for the log that it is about.
///
/// # Errors
/// [`Rejected`].
pub fn open(note: &str, keys: &VerifierKeys) -> Result<Head, Rejected> {
    let parsed = Note::from_bytes(note.as_bytes()).map_err(|_| Rejected::Malformed)?;
    let (signed, _) = parsed.verify(&keys.known()).map_err(|error| match error {
        NoteError::InvalidSignature { name, id } => Rejected::Forged(format!("{name}+{id:08x}")),
        _ => Rejected::Unsigned,
    })?;
    let head = head_of(&parsed)?;
    if signed.iter().any(|signature| signature.name() == head.origin) {
        return Ok(head);
    }
    Err(Rejected::Foreign(head.origin))
}

/// What a note says, whoever signed it.
///
/// # Errors
/// [`Rejected::Malformed`].
pub fn unverified(note: &str) -> Result<Head, Rejected> {
    head_of(&Note::from_bytes(note.as_bytes()).map_err(|_| Rejected::Malformed)?)
}

fn head_of(note: &Note) -> Result<Head, Rejected> {
    let checkpoint = Checkpoint::from_bytes(note.text()).map_err(|_| Rejected::Malformed)?;
    if checkpoint.size() > SIZE_MAX {
        return Err(Rejected::Malformed);
    }
    let (origin, size) = (checkpoint.origin().to_owned(), checkpoint.size());
    Ok(Head { origin, size, root: Digest(checkpoint.hash().0) })
}

/// The notes of a text in which they follow one another, with or without empty lines between them.
#[must_use]
pub fn split(text: &str) -> Vec<&str> {
    let mut notes = Vec::new();
    let (mut start, mut at, mut was_signature) = (0, 0, false);
    for line in text.split_inclusive('\n') {
        let is_signature = line.starts_with(SIGNATURE);
        if was_signature && !is_signature {
            notes.push(&text[start..at]);
            start = at;
        }
        at += line.len();
        // Empty lines before a note are not part of it.
        if start + line.len() == at && line.trim().is_empty() {
            start = at;
        }
        was_signature = is_signature;
    }
    if start < text.len() {
        notes.push(&text[start..]);
    }
    notes
}

#[cfg(test)]
mod tests;
