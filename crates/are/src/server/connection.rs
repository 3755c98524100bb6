//! One connection: HTTP/1.1 with small buffers, bounded heads, and a time to
//! send them in.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;

use super::app::App;
use super::doors;
use super::lobby::Guest;
use super::stall::{Stall, WRITE_STALL};

/// How long a request's head may take, and how long a connection may idle between requests.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Header lines of a request.
const HEADERS_MAX: usize = 64;

/// Who is at the other end.
#[derive(Debug, Clone, Copy)]
pub(super) enum Peer {
    /// A process of our own user, on the unix socket.
    Local,
    /// Somebody on the network.
    Remote {
        /// The address they reached us at.
        local: IpAddr,
        /// Their own.
        client: IpAddr,
    },
}

/// A connection as its requests see it.
#[derive(Debug)]
pub(super) struct Connection {
    peer: Peer,
    guest: Mutex<Option<Guest>>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// A connection that has not shown a credential, unless it has no place in the lobby to begin with.
    pub(super) fn new(peer: Peer, guest: Option<Guest>, place: OwnedSemaphorePermit) -> Self {
        Self { peer, guest: Mutex::new(guest), _place: place }
    }

    /// Who is at the other end.
    pub(super) fn peer(&self) -> Peer {
        self.peer
    }

    /// A credential was good: the connection leaves the lobby.
    pub(super) fn leave_lobby(&self) {
        self.guest.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// True until a credential was good.
    pub(super) fn is_in_lobby(&self) -> bool {
        self.guest.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

/// Serves one connection until it ends or becomes a socket.
pub(super) async fn serve<S>(app: Arc<App>, router: Router, stream: S, connection: Connection)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let shown_out =
        connection.guest.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|guest| guest.shown_out.clone());
    let connection = Arc::new(connection);
    let closing = app.closing.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = doors::answer(app.clone(), router.clone(), connection.clone(), request.map(Body::new));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_header_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    let stream = TokioIo::new(Stall::new(stream, WRITE_STALL));
    let mut served = pin!(http.serve_connection(stream, service).with_upgrades());
    let show_out = async {
        match &shown_out {
            Some(shown_out) => shown_out.cancelled().await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = show_out => return tracing::debug!("a connection without credential made room"),
        () = closing.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}
