//! Thinking that a model signed, on its way back to it.
//!
//! A signature holds for the words it was made over, the model that made it and
//! the conversation it was made in: with another beginning newer models refuse
//! the block and with it the whole request. What is kept beside an answer is
//! therefore the provider's own form together with a digest of everything the
//! model had been shown; the block goes back, verbatim, only where the request
//! begins with exactly that.

use are_core::digest::Digest;
use are_core::model::Reasoning;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::request::Block;

/// What is kept of one block as [`Reasoning::opaque`], as JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    /// Of a block with words: what signs them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) signature: Option<String>,
    /// Of a block without: its whole content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<String>,
    /// Bytes of the words that it signs; they are the last of the reasoning before it.
    pub(super) bytes: usize,
    /// Bytes of the answer's text that came before the block.
    pub(super) at: usize,
    /// What the model had been shown.
    pub(super) shown: Digest,
}

impl Kept {
    pub(super) fn to_opaque(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }
}

/// Digests what a model is shown, part by part.
#[derive(Clone)]
pub(super) struct Shown(Sha256);

impl Shown {
    /// By whose model it is seen.
    pub(super) fn new(provider: &str, model: &str) -> Self {
        let mut shown = Self(Sha256::new());
        shown.push(provider.as_bytes());
        shown.push(model.as_bytes());
        shown
    }

    pub(super) fn push(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_be_bytes());
        self.0.update(part);
    }

    pub(super) fn digest(&self) -> Digest {
        Digest(self.0.clone().finalize().into())
    }
}

/// The blocks of an answer that may go back, with the bytes of text before each.
pub(super) fn returned<'a>(reasoning: &'a [Reasoning], shown: Digest) -> Vec<(usize, Block<'a>)> {
    let kept = reasoning.iter().filter_map(|piece| {
        // What another provider keeps is nothing to this one.
        let kept: Kept = serde_json::from_str(piece.opaque.as_deref()?).ok()?;
        Some((piece, kept)).filter(|(_, kept)| kept.shown == shown)
    });
    let block = |(piece, kept): (&'a Reasoning, Kept)| {
        let block = match (kept.signature, kept.data) {
            (Some(signature), None) => {
                let from = piece.text.len().checked_sub(kept.bytes)?;
                Block::Thinking { thinking: piece.text.get(from..)?, signature }
            }
            (None, Some(data)) => Block::RedactedThinking { data },
            _ => return None,
        };
        Some((kept.at, block))
    };
    // All or nothing: a provider refuses an answer of which some blocks are missing.
    kept.map(block).collect::<Option<_>>().unwrap_or_default()
}
