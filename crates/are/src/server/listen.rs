//! Where the server listens: TCP addresses and the unix socket.
//!
//! The unix socket is made under another name with mode 0600 and then renamed
//! into place, so that there is no moment at which others could connect. A
//! socket file found there is a dead server's: the caller holds the data
//! directory's lock. Who connects must run as our own user, whatever the mode.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use are_core::error::{Code, Fault};
use axum::Router;
use rustix::fs::{CWD, Mode, chmodat, renameat, unlinkat};
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::app::App;
use super::connection::{self, Connection, Peer};
use super::lobby::Lobby;
use super::{Bind, CONNECTIONS_MAX};

/// Pause after the kernel refused to hand over a connection, which is a lack of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Tries to find one free port on both address families.
const PORT_TRIES: usize = 16;
/// Listening sockets.
pub(super) struct Listeners {
    tcp: Vec<TcpListener>,
    unix: Option<(UnixListener, SocketFile)>,
}

/// The socket's file, removed when the server ends.
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = unlinkat(CWD, &self.0, rustix::fs::AtFlags::empty()) {
            tracing::debug!(%error, "the socket's file was not removed");
        }
    }
}

impl Listeners {
    /// Binds everything.
    ///
    /// # Errors
    /// ARE-0103 for a TCP address, ARE-0101 for the unix socket.
    pub(super) async fn bind(bind: &Bind, socket: Option<&Path>) -> Result<Self, Fault> {
        raise_file_limit();
        let tcp = match bind {
            Bind::None => Vec::new(),
            Bind::Loopback { port } => loopback(*port).await?,
            Bind::Addresses(addresses) => {
                let mut bound = Vec::new();
                for address in addresses {
                    bound.push(listen(*address).await.map_err(|error| unbound(*address, &error))?);
                }
                bound
            }
        };
        let unix = socket.map(local).transpose()?;
        Ok(Self { tcp, unix })
    }

    /// The addresses that were bound.
    pub(super) fn addresses(&self) -> Result<Vec<SocketAddr>, Fault> {
        let addresses = self.tcp.iter().map(TcpListener::local_addr);
        addresses
            .collect::<Result<_, _>>()
            .map_err(|error| Fault::new(Code::INTERNAL, error.to_string(), "start again"))
    }

    /// Accepts connections until the server stops; then the sockets are closed.
    pub(super) fn accept(self, app: &Arc<App>, router: &Router) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let lobby = Arc::new(Lobby::default());
        for listener in self.tcp {
            let door =
                TcpDoor { app: app.clone(), router: router.clone(), places: places.clone(), lobby: lobby.clone() };
            app.tasks.spawn("listen", async move {
                tokio::select! {
                    () = app_stopping(&door.app) => {}
                    never = door.accept(&listener) => match never {},
                }
            });
        }
        if let Some((listener, file)) = self.unix {
            let (app, router) = (app.clone(), router.clone());
            let tasks = app.tasks.clone();
            tasks.spawn("listen", async move {
                let _file = file;
                tokio::select! {
                    () = app_stopping(&app) => {}
                    never = accept_local(&app, &router, &places, &listener) => match never {},
                }
            });
        }
    }
}

async fn app_stopping(app: &App) {
    app.stopping.cancelled().await;
}

enum Never {}

struct TcpDoor {
    app: Arc<App>,
    router: Router,
    places: Arc<Semaphore>,
    lobby: Arc<Lobby>,
}

impl TcpDoor {
    async fn accept(&self, listener: &TcpListener) -> Never {
        loop {
            let (stream, client) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    pause(&error).await;
                    continue;
                }
            };
            let Some(place) = place(&self.places) else {
                // silent-ok: a courtesy to a client that is turned away.
                let _sent = stream.try_write(full().as_bytes());
                continue;
            };
            let guest = self.lobby.enter().await;
            let connection = match peer(&stream, client) {
                Ok(peer) => Connection::new(peer, Some(guest), place),
                Err(error) => {
                    tracing::debug!(%error, "a connection ended before it began");
                    continue;
                }
            };
            let (app, router) = (self.app.clone(), self.router.clone());
            self.app.tasks.spawn("connection", connection::serve(app, router, stream, connection));
        }
    }
}

/// Tokens are small and must not wait for each other; then the two addresses.
fn peer(stream: &TcpStream, client: SocketAddr) -> io::Result<Peer> {
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?.ip().to_canonical();
    Ok(Peer::Remote { local, client: client.ip().to_canonical() })
}

async fn accept_local(app: &Arc<App>, router: &Router, places: &Arc<Semaphore>, listener: &UnixListener) -> Never {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                pause(&error).await;
                continue;
            }
        };
        let Some(place) = place(places) else {
            // silent-ok: a courtesy to a client that is turned away.
            let _sent = stream.try_write(full().as_bytes());
            continue;
        };
        if !is_our_user(&stream) {
            tracing::warn!("another user's process tried the unix socket");
            continue;
        }
        let connection = Connection::new(Peer::Local, None, place);
        app.tasks.spawn("connection", connection::serve(app.clone(), router.clone(), stream, connection));
    }
}

/// SECURITY: the kernel's word on who connected (`SO_PEERCRED`), beside the file's mode.
fn is_our_user(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|credentials| credentials.uid() == geteuid().as_raw())
}

fn place(places: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    places.clone().try_acquire_owned().ok()
}

/// What a connection beyond the limit hears before anything is read from it.
fn full() -> String {
    let code = Code::TOO_MANY_CONNECTIONS;
    let body = format!(
        "{{\"type\":\"urn:are:error:{code}\",\"title\":\"Service Unavailable\",\"status\":503,\"code\":\"{code}\",\
         \"detail\":\"too many connections\",\"message\":\"too many connections\",\"help\":\"try again in a moment\",\
         \"retryable\":true}}"
    );
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn pause(error: &io::Error) {
    tracing::warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// Both address families; a machine without IPv6 has one.
async fn loopback(port: u16) -> Result<Vec<TcpListener>, Fault> {
    for _ in 0..PORT_TRIES {
        let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let first = listen(v4).await.map_err(|error| unbound(v4, &error))?;
        let chosen = first.local_addr().map_err(|error| unbound(v4, &error))?.port();
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, chosen));
        match listen(v6).await {
            Ok(second) => return Ok(vec![first, second]),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && port == 0 => {}
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(unbound(v6, &error)),
            Err(_) => return Ok(vec![first]),
        }
    }
    Err(Fault::new(Code::PORT_IN_USE, "no port is free on both address families", "name one: `--port N`"))
}

async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

fn unbound(address: SocketAddr, error: &io::Error) -> Fault {
    let port = address.port();
    let next = port.checked_add(1).unwrap_or(8888);
    if error.kind() == io::ErrorKind::AddrInUse {
        return Fault::new(
            Code::PORT_IN_USE,
            format!("cannot listen on {address}: another process has port {port}"),
            format!("stop it, or choose a free port: `are start --port {next}`"),
        );
    }
    Fault::new(
        Code::PORT_IN_USE,
        format!("cannot listen on {address}: {error}"),
        "choose an address of this machine and a port you may use",
    )
}

fn local(path: &Path) -> Result<(UnixListener, SocketFile), Fault> {
    let unusable = |error: io::Error| {
        Fault::new(
            Code::DATA_DIR_UNUSABLE,
            format!("cannot make the socket {}: {error}", path.display()),
            "the path must be writable and shorter than 100 bytes; choose another `--data-dir`",
        )
    };
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    // silent-ok: normally there is nothing to remove; what cannot be removed fails the bind below.
    let _absent = unlinkat(CWD, &fresh, rustix::fs::AtFlags::empty());
    let listener = UnixListener::bind(&fresh).map_err(unusable)?;
    let mut file = SocketFile(fresh);
    chmodat(CWD, &file.0, Mode::RUSR | Mode::WUSR, rustix::fs::AtFlags::empty())
        .map_err(|error| unusable(error.into()))?;
    renameat(CWD, &file.0, CWD, path).map_err(|error| unusable(error.into()))?;
    path.clone_into(&mut file.0);
    Ok((listener, file))
}

/// Each connection is a descriptor, and the usual soft limit of 1,024 is far below the hard one.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// True for addresses that only this machine reaches.
pub(super) fn is_loopback(address: &SocketAddr) -> bool {
    IpAddr::is_loopback(&address.ip())
}
