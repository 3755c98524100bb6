//! One connection of a command to its proxy, from its head to its end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::destinations::Place;
use super::head::{self, Asked, Refused};
use super::reach::{Reach, Refusal, Route};
use super::tunnel;

/// Connections of one command that are served at once; further ones wait in the kernel's queue, which is short too.
const AT_ONCE: usize = 64;
/// How long a client may take to say what it wants, and to begin its TLS.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long connecting to all addresses of a place may take.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// How long an answer of ours may take to be read.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// Port at which a tunnel must be TLS for its host.
const HTTPS: u16 = 443;

/// Serves the connections of one command until it is dropped.
pub(super) async fn serve(listener: TcpListener, reach: Arc<Reach>) {
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut connections = JoinSet::new();
    for _ in 0..reach.bounds.connections {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        // Those that ended are forgotten.
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let reach = Arc::clone(&reach);
                connections.spawn(async move {
                    connection(stream, &reach).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the proxy of a command takes no more connections");
                break;
            }
        }
    }
    // No more are taken; those that are open go on.
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(mut client: TcpStream, reach: &Arc<Reach>) {
    let asked = match timeout(HEAD_TIME, head::read(&mut client)).await {
        Ok(Some(Ok(asked))) => asked,
        Ok(Some(Err(Refused(status, why)))) => return answer(&mut client, status, why).await,
        Ok(None) => return,
        Err(_elapsed) => return answer(&mut client, 408, "the request did not come in time").await,
    };
    let place = match &asked {
        Asked::Tunnel { place, .. } | Asked::Fetch { place, .. } => place.clone(),
    };
    if reach.wants_tls(&place) && matches!(asked, Asked::Fetch { .. }) {
        let why = format!("`{place}` is only reached over TLS by a program that holds a secret\n");
        return answer(&mut client, 403, &why).await;
    }
    let route = match reach.route(&place).await {
        Ok(route) => route,
        Err(refusal) => return answer(&mut client, 403, &said(&place, &refusal)).await,
    };
    let Some(server) = connect(&route.addresses).await else {
        let why = format!("`{place}` cannot be connected to\n");
        return answer(&mut client, 502, &why).await;
    };
    let ended = match asked {
        Asked::Tunnel { first, .. } => tunnel_to(client, server, &place, first, (&*route, &**reach)).await,
        Asked::Fetch { request, .. } => fetch_from(client, server, &request, (&*route, &**reach)).await,
    };
    match ended {
        Err(error) if error.kind() == io::ErrorKind::QuotaExceeded => reach.exhausted(&place),
        Err(error) => tracing::debug!(%error, "a connection of a command broke off"),
        Ok(()) => {}
    }
}

async fn tunnel_to(
    mut client: TcpStream,
    mut server: TcpStream,
    place: &Place,
    first: Vec<u8>,
    (route, reach): (&Route, &Reach),
) -> io::Result<()> {
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    let first = if place.port == HTTPS || reach.wants_tls(place) {
        let hello = timeout(HEAD_TIME, tunnel::hello(first, &mut client, &place.host)).await;
        match hello.unwrap_or(Err("it did not begin as TLS in time")) {
            Ok(first) => first,
            Err(why) => {
                reach.refuse(place, why);
                return Ok(());
            }
        }
    } else {
        first
    };
    tunnel::begin(&mut server, &first, reach.meters(route)).await?;
    tunnel::carry(client, server, reach.meters(route)).await
}

async fn fetch_from(
    client: TcpStream,
    mut server: TcpStream,
    request: &[u8],
    (route, reach): (&Route, &Reach),
) -> io::Result<()> {
    tunnel::begin(&mut server, request, reach.meters(route)).await?;
    // SECURITY: nothing more of the client's reaches the server: it could be a request that nobody has read.
    tunnel::receive(client, server, reach.meters(route)).await
}

/// The first address that answers.
async fn connect(addresses: &[SocketAddr]) -> Option<TcpStream> {
    let each = CONNECT_TIME / u32::try_from(addresses.len().clamp(1, 4)).unwrap_or(1);
    let all = async {
        for address in addresses {
            match timeout(each, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Small writes of a handshake do not wait for each other.
                    // silent-ok: it is only slower without.
                    stream.set_nodelay(true).ok();
                    return Some(stream);
                }
                Ok(Err(error)) => tracing::debug!(%error, "an address of a granted place does not answer"),
                Err(_elapsed) => tracing::debug!("an address of a granted place does not answer in time"),
            }
        }
        None
    };
    timeout(CONNECT_TIME, all).await.unwrap_or_default()
}

fn said(place: &Place, refusal: &Refusal) -> String {
    format!("this program cannot reach `{place}`: {}\n{}\n", refusal.why, refusal.help)
}

/// An answer of the proxy itself, in words.
async fn answer(client: &mut TcpStream, status: u16, text: &str) {
    let reason = match status {
        400 => "Bad Request",
        403 => "Forbidden",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        431 => "Request Header Fields Too Large",
        505 => "HTTP Version Not Supported",
        _ => "Bad Gateway",
    };
    let length = text.len();
    let lines = format!("Content-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\nConnection: close");
    let message = format!("HTTP/1.1 {status} {reason}\r\n{lines}\r\n\r\n{text}");
    let sent = timeout(ANSWER_TIME, async {
        client.write_all(message.as_bytes()).await?;
        client.shutdown().await
    });
    // silent-ok: a client that does not listen is not told.
    sent.await.ok();
}
