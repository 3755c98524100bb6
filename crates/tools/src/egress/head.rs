//! What a client of the proxy asks for: the head of one request, read strictly.
//!
//! Two forms are spoken: CONNECT for everything that is encrypted, and GET or
//! HEAD of a whole `http` address for the few mirrors that are not. Whatever two
//! programs could read in two ways is refused: a body, a second `Host`, white
//! space in names. What goes on to the server is written anew, so nothing of the
//! client's framing reaches it.

use are_policy::address::{Host, Target};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::destinations::Place;

/// Bytes of one head; what clients of registries send is a tenth of it.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Lines of one head.
const LINES_MAX: usize = 64;
/// Bytes read at once.
const PIECE: usize = 4 << 10;
/// Lines about this connection, which end at the proxy.
const OF_CONNECTION: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A tunnel. The bytes came right behind the head and are its first ones.
    Tunnel { place: Place, first: Vec<u8> },
    /// One answer to one request, which is this.
    Fetch { place: Place, request: Vec<u8> },
}

/// Why a head was not understood: status, and what to say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused(pub(super) u16, pub(super) &'static str);

const MALFORMED: Refused = Refused(400, "the request is not one that can be read in one way only");

/// Reads a head, to its end and not much further. `None` when the client left before.
pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> Option<Result<Asked, Refused>> {
    let mut bytes = Vec::with_capacity(PIECE);
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            return Some(parse(&bytes[..end + 4], &bytes[end + 4..]));
        }
        if bytes.len() >= HEAD_BYTES_MAX {
            return Some(Err(Refused(431, "the head of the request is too long")));
        }
        let mut piece = vec![0; PIECE];
        // silent-ok: a connection that breaks is one whose client left.
        match from.read(&mut piece).await.unwrap_or(0) {
            0 => return None,
            n => bytes.extend_from_slice(&piece[..n]),
        }
    }
}

/// Reads a whole head.
fn parse(head: &[u8], behind: &[u8]) -> Result<Asked, Refused> {
    let mut lines = [httparse::EMPTY_HEADER; LINES_MAX];
    let mut request = httparse::Request::new(&mut lines);
    if !request.parse(head).is_ok_and(|parsed| parsed == httparse::Status::Complete(head.len())) {
        return Err(MALFORMED);
    }
    let (Some(method), Some(target), Some(1)) = (request.method, request.path, request.version) else {
        return Err(Refused(505, "only HTTP/1.1 is spoken here"));
    };
    let named = |name: &'static str| request.headers.iter().filter(move |line| line.name.eq_ignore_ascii_case(name));
    // SECURITY: what has a body, or says so, could end at another byte for us than for somebody else.
    let has_body =
        named("content-length").any(|line| line.value != b"0") || named("transfer-encoding").next().is_some();
    if has_body || named("host").count() > 1 {
        return Err(MALFORMED);
    }
    let host = named("host").next().map(|line| line.value);
    match method {
        "CONNECT" => {
            let place = Place::parse(target).map_err(|_| Refused(400, "CONNECT is followed by `host:port`"))?;
            if host.is_some_and(|host| !is_of(host, &place)) {
                return Err(MALFORMED);
            }
            Ok(Asked::Tunnel { place, first: behind.to_vec() })
        }
        "GET" | "HEAD" if behind.is_empty() => fetch(method, target, &*request.headers),
        "GET" | "HEAD" => Err(MALFORMED),
        _ => Err(Refused(405, "without encryption only GET and HEAD are passed on: use https")),
    }
}

/// Whether a `Host` line names the place, with its port or without.
fn is_of(line: &[u8], place: &Place) -> bool {
    let Ok(text) = std::str::from_utf8(line) else { return false };
    let with_port = |text: &str| Place::parse(text).is_ok_and(|other| other == *place);
    with_port(text) || with_port(&format!("{text}:{}", place.port))
}

/// The request as the server gets it.
fn fetch(method: &str, target: &str, lines: &[httparse::Header<'_>]) -> Result<Asked, Refused> {
    let target = Target::parse(target).map_err(|_| Refused(400, "the whole address stands behind the method"))?;
    if target.url.scheme() != "http" {
        return Err(Refused(400, "an https address is reached by CONNECT"));
    }
    let host = match target.host.clone() {
        Host::Ip(address) => Host::Ip(address.to_canonical()),
        name @ Host::Name(_) => name,
    };
    let place = Place { host, port: target.port };
    let path = &target.url[url::Position::BeforePath..url::Position::AfterQuery];
    let authority = if place.port == 80 { place.host.to_string() } else { place.to_string() };
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n");
    let mut request = head.into_bytes();
    let is_ours = |name: &str| {
        let same = |other: &&str| name.eq_ignore_ascii_case(other);
        same(&"host") || same(&"content-length") || OF_CONNECTION.iter().any(same)
    };
    for line in lines.iter().filter(|line| !is_ours(line.name)) {
        request.extend_from_slice(line.name.as_bytes());
        request.extend_from_slice(b": ");
        request.extend_from_slice(line.value);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    Ok(Asked::Fetch { place, request })
}

#[cfg(test)]
mod tests;
