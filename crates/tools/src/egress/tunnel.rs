//! Bytes in both directions, counted, and the first of them looked at.
//!
//! A tunnel to the port of https must begin as TLS for the host that it was
//! opened for: one address serves many names, and a grant is for one of them.
//! What is said inside stays between the command and that server.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use are_policy::address::Host;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

/// Bytes read at once.
const PIECE: usize = 16 << 10;
/// Bytes in which a client must have said for which host its TLS is; with large keys it takes some 2 KiB.
const HELLO_BYTES_MAX: usize = 32 << 10;
/// How long nothing may come in either direction. Clients keep idle connections for about as long.
const IDLE_TIME: Duration = Duration::from_secs(120);

/// What one command may send and receive through all of its tunnels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    pub(super) sent: u64,
    pub(super) received: u64,
}

/// What went through so far.
#[derive(Debug, Default)]
pub(super) struct Meter {
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Out,
    In,
}

/// The meters of one tunnel: its place's, and the command's.
#[derive(Clone, Copy)]
pub(super) struct Meters<'a> {
    pub(super) place: &'a Meter,
    pub(super) all: &'a Meter,
    pub(super) allowance: Allowance,
}

impl Meters<'_> {
    /// Counts; an error when that was more than is allowed.
    fn count(&self, way: Way, bytes: usize) -> io::Result<()> {
        let bytes = bytes as u64;
        let of = |meter: &Meter| match way {
            Way::Out => meter.sent.fetch_add(bytes, Ordering::Relaxed),
            Way::In => meter.received.fetch_add(bytes, Ordering::Relaxed),
        };
        of(self.place);
        let most = match way {
            Way::Out => self.allowance.sent,
            Way::In => self.allowance.received,
        };
        if of(self.all) + bytes > most { Err(io::ErrorKind::QuotaExceeded.into()) } else { Ok(()) }
    }
}

/// Reads what a client begins with until it has said for which host its TLS is. `Err` says why that is not this one.
pub(super) async fn hello(
    first: Vec<u8>,
    from: &mut (impl AsyncRead + Unpin),
    host: &Host,
) -> Result<Vec<u8>, &'static str> {
    const OTHER: &str = "it did not begin as TLS for that host";
    let mut acceptor = Acceptor::default();
    let (mut bytes, mut fed) = (first, 0);
    loop {
        while fed < bytes.len() {
            match acceptor.read_tls(&mut &bytes[fed..]) {
                Ok(n @ 1..) => fed += n,
                Ok(0) | Err(_) => return Err(OTHER),
            }
            match acceptor.accept() {
                Ok(Some(accepted)) => {
                    let name = accepted.client_hello().server_name().map(str::to_owned);
                    return if is_for(name.as_deref(), host) { Ok(bytes) } else { Err(OTHER) };
                }
                Ok(None) => {}
                Err(_) => return Err(OTHER),
            }
        }
        let mut piece = vec![0; PIECE];
        match from.read(&mut piece).await {
            Ok(n @ 1..) if bytes.len() + n <= HELLO_BYTES_MAX => bytes.extend_from_slice(&piece[..n]),
            _ => return Err(OTHER),
        }
    }
}

/// Whether TLS for this name is TLS for the host. To an address clients name none.
fn is_for(name: Option<&str>, host: &Host) -> bool {
    match (name, host) {
        (None, host) => matches!(host, Host::Ip(_)),
        (Some(name), host @ Host::Name(_)) => Host::parse(name).is_ok_and(|named| named == *host),
        (Some(_), Host::Ip(_)) => false,
    }
}

/// Carries bytes both ways until both have ended, nothing has come for long, or too much has.
pub(super) async fn carry<C, S>(client: C, server: S, meters: Meters<'_>) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite,
    S: AsyncRead + AsyncWrite,
{
    let (mut client_reads, mut client_writes) = tokio::io::split(client);
    let (mut server_reads, mut server_writes) = tokio::io::split(server);
    let clock = Clock::new();
    let out = half(&mut client_reads, &mut server_writes, Way::Out, (meters, &clock));
    let back = half(&mut server_reads, &mut client_writes, Way::In, (meters, &clock));
    tokio::try_join!(out, back).map(|_| ())
}

/// Carries bytes from a server to its client only, until they end.
pub(super) async fn receive<C, S>(mut client: C, mut server: S, meters: Meters<'_>) -> io::Result<()>
where
    C: AsyncWrite + Unpin,
    S: AsyncRead + Unpin,
{
    half(&mut server, &mut client, Way::In, (meters, &Clock::new())).await
}

/// Sends what a client began with.
pub(super) async fn begin(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8], meters: Meters<'_>) -> io::Result<()> {
    meters.count(Way::Out, bytes.len())?;
    to.write_all(bytes).await
}

/// When anything came last, in milliseconds of its own.
struct Clock {
    began: Instant,
    last_ms: AtomicU64,
}

impl Clock {
    fn new() -> Self {
        Self { began: Instant::now(), last_ms: AtomicU64::new(0) }
    }

    fn tick(&self) {
        self.last_ms.store(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn idle_at(&self) -> Instant {
        self.began + Duration::from_millis(self.last_ms.load(Ordering::Relaxed)) + IDLE_TIME
    }
}

async fn half(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    way: Way,
    (meters, clock): (Meters<'_>, &Clock),
) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let read = loop {
            let idle_at = clock.idle_at();
            match timeout_at(idle_at, from.read(&mut piece)).await {
                Ok(read) => break read?,
                // The other direction may have been busy meanwhile.
                Err(_elapsed) if clock.idle_at() > idle_at => {}
                Err(_elapsed) => return Err(io::ErrorKind::TimedOut.into()),
            }
        };
        if read == 0 {
            return to.shutdown().await;
        }
        clock.tick();
        meters.count(way, read)?;
        let written = timeout_at(Instant::now() + IDLE_TIME, to.write_all(&piece[..read])).await;
        written.map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))??;
        clock.tick();
    }
}
