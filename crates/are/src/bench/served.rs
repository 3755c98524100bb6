//! What can be measured through the door of a running server.

use std::time::{Duration, Instant};

use are_core::error::{Code, Fault};
use clap::ValueEnum;
use serde_json::json;

use super::Figure;
use super::sample::Sample;
use crate::client::{Client, Follower, Item, Place};
use crate::config::files::process_file;

/// Turns before the clock starts.
const WARM_UP: usize = 20;
/// Turns one after the other.
const TURNS: usize = 300;
/// Prompts at once.
const AT_ONCE: usize = 50;
/// Turns of each of them.
const TURNS_EACH: usize = 12;
/// Long answers forwarded.
const LONG_ANSWERS: usize = 20;
/// Clock ticks of `/proc/PID/stat` in a second; fixed on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// What the server's provider does, and hence what is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Case {
    /// Short answers: first token, turns a second, processor time, memory.
    Turns,
    /// Long answers: tokens a second.
    Tokens,
    /// One tool call and an answer: the round trip.
    Tool,
}

/// Measures the server behind `client`; `pid` is its process, for processor time and memory.
///
/// # Errors
/// The server refuses or is lost.
pub async fn measure(client: &Client, case: Case, pid: Option<u32>) -> Result<Vec<Figure>, Fault> {
    match case {
        Case::Turns => turns(client, pid).await,
        Case::Tokens => tokens(client).await,
        Case::Tool => tool(client).await,
    }
}

struct Timed {
    first: Duration,
    whole: Duration,
    tokens: usize,
}

async fn turns(client: &Client, pid: Option<u32>) -> Result<Vec<Figure>, Fault> {
    let mut figures = Vec::new();
    if let Some((_, rss, anonymous)) = pid.and_then(usage_of) {
        figures.push(Figure::new("rss_before", rss, "MiB", 1));
        figures.push(Figure::new("anonymous_before", anonymous, "MiB", 1));
    }
    let mut follower = open(client).await?;
    for _ in 0..WARM_UP {
        one_turn(&mut follower).await?;
    }
    let before = pid.and_then(usage_of);
    let mut firsts = Vec::with_capacity(TURNS);
    for _ in 0..TURNS {
        firsts.push(one_turn(&mut follower).await?.first);
    }
    let firsts = Sample::new(firsts);
    figures.push(Figure::new("first_token_p50", firsts.percentile(0.5), "us", firsts.len()));
    figures.push(Figure::new("first_token_p99", firsts.percentile(0.99), "us", firsts.len()));
    if let (Some((start, ..)), Some((end, ..))) = (before, pid.and_then(usage_of)) {
        figures.push(Figure::new("server_cpu_per_turn", (end - start) * 1e3 / TURNS as f64, "ms", TURNS));
    }
    let begun = Instant::now();
    let mut clients = Vec::with_capacity(AT_ONCE);
    for _ in 0..AT_ONCE {
        let client = client.clone();
        clients.push(tokio::spawn(async move {
            let mut follower = open(&client).await?;
            for _ in 0..TURNS_EACH {
                one_turn(&mut follower).await?;
            }
            Ok::<_, Fault>(())
        }));
    }
    for client in clients {
        client.await.map_err(|_| lost())??;
    }
    let all = AT_ONCE * TURNS_EACH;
    figures.push(Figure::new("turns_per_second_50_at_once", all as f64 / begun.elapsed().as_secs_f64(), "1/s", all));
    if let Some((_, rss, anonymous)) = pid.and_then(usage_of) {
        figures.push(Figure::new("rss_after", rss, "MiB", 1));
        figures.push(Figure::new("anonymous_after", anonymous, "MiB", 1));
    }
    Ok(figures)
}

async fn tokens(client: &Client) -> Result<Vec<Figure>, Fault> {
    let mut rates = Vec::with_capacity(LONG_ANSWERS);
    let mut all = 0;
    for index in 0..LONG_ANSWERS + 2 {
        let mut follower = open(client).await?;
        let timed = one_turn(&mut follower).await?;
        if index >= 2 {
            all += timed.tokens;
            rates.push(timed.tokens as f64 / timed.whole.as_secs_f64());
        }
    }
    rates.sort_by(f64::total_cmp);
    Ok(vec![Figure::new("tokens_per_second_p50", rates[rates.len() / 2], "1/s", all)])
}

async fn tool(client: &Client) -> Result<Vec<Figure>, Fault> {
    let mut wholes = Vec::with_capacity(TURNS);
    let mut follower = open(client).await?;
    for index in 0..TURNS + WARM_UP {
        let timed = one_turn(&mut follower).await?;
        if index >= WARM_UP {
            wholes.push(timed.whole);
        }
    }
    let wholes = Sample::new(wholes);
    Ok(vec![
        Figure::new("tool_turn_p50", wholes.percentile(0.5), "us", wholes.len()),
        Figure::new("tool_turn_p99", wholes.percentile(0.99), "us", wholes.len()),
    ])
}

async fn open(client: &Client) -> Result<Follower, Fault> {
    Follower::open(client.clone(), Place::default(), None).await
}

async fn one_turn(follower: &mut Follower) -> Result<Timed, Fault> {
    let begun = Instant::now();
    let turn = follower.prompt(json!("go"), true, None).await?;
    let (mut first, mut tokens) = (None, 0);
    loop {
        match follower.next().await? {
            Item::Token { first: from, last, .. } => {
                first.get_or_insert_with(|| begun.elapsed());
                tokens += usize::try_from(last - from + 1).unwrap_or(1);
            }
            Item::Event(event) if event["turn"] == turn && event["type"] == "turn_completed" => {
                let whole = begun.elapsed();
                return Ok(Timed { first: first.unwrap_or(whole), whole, tokens });
            }
            Item::Event(event) if event["type"] == "turn_failed" || event["type"] == "turn_cancelled" => {
                return Err(lost());
            }
            Item::Event(_) | Item::Notice(_) | Item::Lost | Item::Reset => {}
        }
    }
}

/// Processor seconds, resident and anonymous MiB of a process; `None` where `/proc` does not tell.
fn usage_of(pid: u32) -> Option<(f64, f64, f64)> {
    let stat = process_file(pid, "stat")?;
    let after = stat.rsplit_once(')')?.1;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    let status = process_file(pid, "status")?;
    let kib = |name: &str| -> Option<f64> {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    Some((ticks / TICKS_PER_SECOND, kib("VmRSS:")? / 1024.0, kib("RssAnon:")? / 1024.0))
}

fn lost() -> Fault {
    Fault::new(Code::SERVER_UNREACHABLE, "a measured turn did not complete", "look at the server's log")
}
