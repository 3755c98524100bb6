//! The console's files, out of the binary.
//!
//! They lie there compressed, under one digest. The page is asked for anew each
//! time; everything else stands below its digest and never changes. What a
//! browser may do with them is closed by default: nothing inline, nothing from
//! elsewhere, no frame around it, no text that becomes script.

use std::io::Read as _;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};

use crate::server::doors;

/// Below this are all files but the page.
pub(super) const PREFIX: &str = "/console/";
/// What the page may load and do. `'self'` covers the socket of the same host and port.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data: blob:; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";
/// Further headers of every file.
const HEADERS: [(&str, &str); 8] = [
    ("content-security-policy", CONTENT_POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-embedder-policy", "require-corp"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ("x-frame-options", "DENY"),
];

/// One file.
pub(super) struct File {
    /// Its path below the root.
    name: &'static str,
    /// Its bytes, compressed with gzip.
    packed: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/console.rs"));

/// The page, or one of its files.
pub(in crate::server) async fn answer(uri: &Uri, headers: &HeaderMap) -> Response {
    let name = match uri.path().strip_prefix(PREFIX) {
        None => "index.html",
        // Of another version: whoever asks has an old page and gets the new one by reloading.
        Some(rest) => rest.strip_prefix(DIGEST).and_then(|rest| rest.strip_prefix('/')).unwrap_or_default(),
    };
    let found = FILES.iter().find(|file| file.name == name);
    match found {
        Some(file) => serve(file, headers),
        None => doors::not_found().await,
    }
}

fn serve(file: &File, headers: &HeaderMap) -> Response {
    let is_page = file.name == "index.html";
    let tag = format!("\"{DIGEST}\"");
    let is_known = is_page && headers.get(header::IF_NONE_MATCH).is_some_and(|known| known == tag.as_str());
    let takes_gzip = headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| coding.split(';').next().is_some_and(|coding| coding.trim().eq_ignore_ascii_case("gzip")));
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else if takes_gzip {
        Response::new(Body::from(Bytes::from_static(file.packed)))
    } else {
        Response::new(Body::from(file.unpacked()))
    };
    let set = response.headers_mut();
    for (name, value) in HEADERS {
        set.insert(name, HeaderValue::from_static(value));
    }
    set.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    set.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type(file.name)));
    if takes_gzip && !is_known {
        set.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if is_page {
        set.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        // Hexadecimal digits in quotes are always a header's value.
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            set.insert(header::ETAG, tag);
        }
    } else {
        set.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    }
    response
}

impl File {
    /// For the few that take no compression.
    fn unpacked(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // What the build packed unpacks; were it not to, the answer is empty and says so by its length.
        if let Err(error) = GzDecoder::new(self.packed).read_to_end(&mut bytes) {
            tracing::error!(%error, file = self.name, "a file of the console does not unpack");
        }
        bytes
    }
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json") => "application/json",
        _ => "text/javascript; charset=utf-8",
    }
}

#[cfg(test)]
mod tests;
