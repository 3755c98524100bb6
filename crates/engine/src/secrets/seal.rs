//! The seal: XChaCha20-Poly1305 with random nonces.
//!
//! A nonce of 24 random bytes may be drawn for ever under one key. What is
//! bound beside the text is written with the length of each part, so that no
//! two different lists of parts are the same bytes.
//!
//! SOURCE: draft-irtf-cfrg-xchacha-03.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

/// Bytes of one secret: a private key or a certificate, not a file.
pub(crate) const VALUE_BYTES_MAX: usize = 8 << 10;
/// Bytes of a nonce.
const NONCE_BYTES: usize = 24;
/// Bytes of the tag behind a ciphertext.
const TAG_BYTES: usize = 16;

/// A key that seals secrets.
pub(super) type DataKey = Zeroizing<[u8; 32]>;

/// It was sealed by another key, for something else, or was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

/// What a seal binds beside the text.
pub(super) fn bound(kind: &str, parts: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in [&kind].into_iter().chain(parts) {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

/// Nonce and ciphertext; `random` must be drawn for this very seal.
pub(super) fn seal(key: &[u8; 32], random: &[u8; 32], bound: &[u8], text: &[u8]) -> Result<Vec<u8>, Broken> {
    let mut nonce = [0; NONCE_BYTES];
    nonce.copy_from_slice(&random[..NONCE_BYTES]);
    let cipher = XChaCha20Poly1305::new(&(*key).into());
    let sealed = cipher.encrypt(&XNonce::from(nonce), Payload { msg: text, aad: bound }).map_err(|_| Broken)?;
    Ok([nonce.as_slice(), &sealed].concat())
}

/// The text.
pub(super) fn open(key: &[u8; 32], bound: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Broken> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(Broken)?;
    let cipher = XChaCha20Poly1305::new(&(*key).into());
    cipher.decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: bound }).map(Zeroizing::new).map_err(|_| Broken)
}

/// Bytes of the text that is sealed.
pub(super) const fn text_bytes(sealed: &[u8]) -> usize {
    sealed.len().saturating_sub(NONCE_BYTES + TAG_BYTES)
}
