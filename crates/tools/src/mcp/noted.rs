//! What was found out of a server since somebody consented, kept over a restart.
//!
//! It lies beside the consent, in a hidden file that is named after exactly
//! that consent: another consent begins with nothing found out, and takes the
//! file of the one before away. What lies there and cannot be read counts as
//! everything being revoked.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use are_core::digest::Digest;
use serde::{Deserialize, Serialize};

use crate::registry::folder;

/// Bytes of the file: as much as names of tools take in a consent.
const BYTES_MAX: u64 = 4 << 20;
/// Hexadecimal digits of the consent's digest in the file's name.
const DIGITS: usize = 32;

/// Why a tool is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Revoked {
    /// It is declared otherwise than it was consented to.
    Otherwise,
    /// There are two of its name.
    Twice,
    /// The server does not have it.
    Gone,
}

impl Revoked {
    /// True when it holds until somebody consents again.
    pub(super) const fn is_final(self) -> bool {
        !matches!(self, Self::Gone)
    }

    pub(super) const fn why(self) -> &'static str {
        match self {
            Self::Otherwise => "the server declares it otherwise now",
            Self::Twice => "the server declares it twice",
            Self::Gone => "the server does not have it any more",
        }
    }
}

/// What a server said when it refused a request for want of a login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Challenge {
    /// Its header `WWW-Authenticate`, by which the next login is begun; empty where there was none that can be used.
    pub(super) header: String,
    /// True when it serves nothing without; false when one request needed a login that may do more.
    pub(super) is_needed: bool,
}

/// All that was found out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Noted {
    /// Tools that are not served, by the server's names for them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) revoked: BTreeMap<String, Revoked>,
    /// What it said of a login last, until somebody logs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) login: Option<Challenge>,
}

/// The name of a server's file.
pub(super) fn file_name(server: &str, consent: Digest) -> String {
    format!(".{server}.{}.noted", &consent.to_string()[..DIGITS])
}

/// What was found out of one server, with where it is kept.
pub(super) struct Notes {
    place: Option<(PathBuf, String)>,
    noted: Mutex<Noted>,
    /// True when there is something that cannot be read.
    pub(super) is_unreadable: bool,
    /// Held by whoever writes, so that what was found out last stands there.
    writing: tokio::sync::Mutex<()>,
}

impl Notes {
    /// What is kept of a server in this folder; nothing where there is none. Blocks, shortly.
    pub(super) fn open(folder: Option<&Path>, server: &str, consent: Digest) -> Self {
        let place = folder.map(|folder| (folder.to_owned(), file_name(server, consent)));
        let found = place.as_ref().map_or_else(|| Ok(Noted::default()), |(folder, name)| read(folder, name));
        if let Err(error) = &found {
            tracing::warn!(server, %error, "what was found out of a server of tools cannot be read: none of it is served");
        }
        let is_unreadable = found.is_err();
        Self {
            place,
            noted: Mutex::new(found.unwrap_or_default()),
            is_unreadable,
            writing: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what was found out for the next start. It goes on when nobody waits for it any more.
    pub(super) async fn keep(self: &Arc<Self>) {
        let notes = Arc::clone(self);
        if let Err(error) = tokio::spawn(async move { notes.write().await }).await {
            tracing::error!(%error, "keeping what was found out of a server of tools gave up");
        }
    }

    async fn write(&self) {
        let Some((folder, name)) = self.place.clone() else { return };
        let _one = self.writing.lock().await;
        let noted = self.lock().clone();
        let wrote = tokio::task::spawn_blocking(move || write(&folder, &name, &noted)).await;
        // It holds while this process runs, and is found out again at the server's first word after that.
        if let Err(error) = wrote.map_err(io::Error::other).flatten() {
            tracing::warn!(%error, "what was found out of a server of tools is not kept");
        }
    }
}

fn read(folder: &Path, name: &str) -> io::Result<Noted> {
    match folder::read(folder, name, BYTES_MAX) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Noted::default()),
        Err(error) => Err(error),
    }
}

fn write(folder: &Path, name: &str, noted: &Noted) -> io::Result<()> {
    if *noted == Noted::default() {
        return folder::remove(folder, name);
    }
    folder::write(folder, name, &serde_json::to_vec(noted).map_err(io::Error::other)?)
}
