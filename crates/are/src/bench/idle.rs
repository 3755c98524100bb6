//! Open sockets that say nothing.

use are_core::error::Fault;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Figure;
use super::process::{Usage, usage_of};
use super::wire::{Protocol, Wire, lost};
use crate::client::Door;

/// Sockets that follow one session.
const SOCKETS: usize = 10_000;
/// Sockets with a session each.
const SESSIONS: usize = 1_000;

/// Opens as many as the machine lets; what was reached is one of the figures.
pub(super) async fn measure(door: &Door, pid: Option<u32>) -> Result<Vec<Figure>, Fault> {
    raise_limit();
    let mut first = Wire::open(door, Protocol::V2).await?;
    let attached = first.attach(None).await?;
    let session = attached["session"].as_str().ok_or_else(|| lost("no session is named"))?.to_owned();
    let before = pid.and_then(usage_of);
    let mut sockets = vec![first];
    let refusal = open(door, Some(&session), SOCKETS, &mut sockets).await;
    let reached = sockets.len();
    let mut figures = vec![Figure::new("idle_sockets_open", reached as f64, "sockets", 1)];
    let between = pid.and_then(usage_of);
    figures.extend(each(["idle_socket_rss", "idle_socket_anonymous"], before, between, reached - 1));
    if let Err(fault) = refusal {
        tracing::warn!(%fault, reached, "no more sockets can be opened");
        return Ok(figures);
    }
    let opened = open(door, None, reached + SESSIONS, &mut sockets).await;
    let after = pid.and_then(usage_of);
    let names = ["idle_socket_and_session_rss", "idle_socket_and_session_anonymous"];
    figures.extend(each(names, between, after, sockets.len() - reached));
    opened.map(|()| figures)
}

/// Opens sockets until there are `count`.
pub(super) async fn open(
    door: &Door,
    session: Option<&str>,
    count: usize,
    sockets: &mut Vec<Wire>,
) -> Result<(), Fault> {
    while sockets.len() < count {
        let mut wire = Wire::open(door, Protocol::V2).await?;
        wire.attach(session).await?;
        sockets.push(wire);
    }
    Ok(())
}

fn each(names: [&'static str; 2], before: Option<Usage>, after: Option<Usage>, count: usize) -> Vec<Figure> {
    let (Some(before), Some(after)) = (before, after) else { return Vec::new() };
    let kib = |after: f64, before: f64| (after - before) * 1024.0 / count.max(1) as f64;
    vec![
        Figure::new(names[0], kib(after.rss_mib, before.rss_mib), "KiB", count),
        Figure::new(names[1], kib(after.anonymous_mib, before.anonymous_mib), "KiB", count),
    ]
}

pub(super) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
