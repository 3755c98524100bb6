//! Cases that bring their own servers: starting, and starting again after a kill.

use std::path::Path;
use std::time::Duration;

use are_core::error::Fault;
use serde_json::json;
use tokio::time::sleep;

use super::Figure;
use super::process::{Begun, fine_cpu_ms, usage_of};
use super::sample::Sample;
use super::wire::{Protocol, Wire, lost};

/// Starts on a fresh data directory.
const STARTS: usize = 11;
/// After the ready line, so that the scheduler has counted what ran until then.
const COUNTED: Duration = Duration::from_millis(20);
/// How long a started server is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(1);
/// Clients that fill the journal at once, and sessions of each.
const FILLING: (usize, usize) = (50, 20);
/// An answer of so many tokens makes a session of about 100 events. See `zero_delay_provider`.
const FILLER_MODEL: &str = "tokens-92";
/// An answer that is not over before the kill.
const LONG_MODEL: &str = "tokens-100000";
/// Events of the killed turn that are seen before the kill.
const EVENTS_BEFORE_KILL: usize = 100;
/// Kills in the middle of a turn.
const KILLS: usize = 5;

/// From exec to ready on fresh data directories, and memory at rest.
pub(super) async fn start(dir: &Path) -> Result<Vec<Figure>, Fault> {
    let (mut cpu, mut wall, mut rest) = (Vec::new(), Vec::new(), None);
    for index in 0..STARTS {
        let server = Begun::start(&dir.join(format!("start-{index}"))).await?;
        sleep(COUNTED).await;
        if let Some(ms) = fine_cpu_ms(server.pid()?) {
            cpu.push(Duration::from_secs_f64(ms / 1e3));
        }
        wall.push(server.ready);
        if index + 1 == STARTS {
            sleep(IDLE).await;
            rest = usage_of(server.pid()?);
        }
        server.kill().await?;
    }
    let (cpu, wall) = (Sample::new(cpu), Sample::new(wall));
    let wall_ms = wall.percentile(0.5) / 1e3;
    let mut figures = vec![Figure::new("ready_wall_p50", wall_ms, "ms", wall.len())];
    if cpu.len() > 0 {
        let cpu_ms = cpu.percentile(0.5) / 1e3;
        figures.push(Figure::new("ready_cpu_p50", cpu_ms, "ms", cpu.len()).beside(wall_ms, "ready_wall_p50"));
    }
    if let Some(rest) = rest {
        figures.push(Figure::new("idle_rss", rest.rss_mib, "MiB", 1));
        figures.push(Figure::new("idle_anonymous", rest.anonymous_mib, "MiB", 1));
    }
    Ok(figures)
}

/// From exec to ready over a full journal, and from exec to the next event of a turn that was killed.
pub(super) async fn recovery(dir: &Path) -> Result<Vec<Figure>, Fault> {
    let fresh = Begun::start(&dir.join("recovery-fresh")).await?;
    let fresh_ms = fresh.ready.as_secs_f64() * 1e3;
    fresh.kill().await?;

    let full = dir.join("recovery-full");
    let mut server = Begun::start(&full).await?;
    let events = fill(&server).await?;
    let sessions = FILLING.0 * FILLING.1;
    let (mut readies, mut resumed, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..KILLS {
        let mut wire = Wire::open(&server.door, Protocol::V2).await?;
        let attached = wire.attach(None).await?;
        wire.prompt(Some(LONG_MODEL)).await?;
        let seq = wire.read(EVENTS_BEFORE_KILL).await?;
        server.kill().await?;
        server = Begun::start(&full).await?;
        readies.push(server.ready);
        let mut wire = Wire::open(&server.door, Protocol::V2).await?;
        let attach =
            json!({"type": "attach", "session": attached["session"], "epoch": attached["epoch"], "after": seq});
        wire.send(&attach).await?;
        wire.until(&["turn_resumed"]).await?;
        resumed.push(server.at.elapsed());
        // What was written but not seen before the kill comes first; the next text is new.
        wire.until(&["model_restarted", "model_requested"]).await?;
        wire.until_token().await?;
        tokens.push(server.at.elapsed());
    }
    server.kill().await?;
    let ms = |times| Sample::new(times).percentile(0.5) / 1e3;
    Ok(vec![
        Figure::new("recovery_sessions", sessions as f64, "sessions", 1),
        Figure::new("recovery_events", events as f64, "events", 1),
        Figure::new("recovery_ready_p50", ms(readies), "ms", KILLS).beside(fresh_ms, "ready, fresh directory"),
        Figure::new("killed_turn_resumed_p50", ms(resumed), "ms", KILLS),
        Figure::new("killed_turn_next_token_p50", ms(tokens), "ms", KILLS),
    ])
}

/// Fills the journal with turns of many sessions; the number of events.
async fn fill(server: &Begun) -> Result<u64, Fault> {
    let mut clients = Vec::with_capacity(FILLING.0);
    for _ in 0..FILLING.0 {
        let door = server.door.clone();
        clients.push(tokio::spawn(async move {
            let mut events = 0;
            for _ in 0..FILLING.1 {
                let mut wire = Wire::open(&door, Protocol::V2).await?;
                events += wire.turn(Some(FILLER_MODEL)).await?.seq;
            }
            Ok::<_, Fault>(events)
        }));
    }
    let mut events = 0;
    for client in clients {
        events += client.await.map_err(|_| lost("a client failed"))??;
    }
    Ok(events)
}
