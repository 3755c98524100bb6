//! `are firewall scan`: what the prompt firewall makes of texts, in this process.
//!
//! Without `--jsonl` the whole input is one text. With it, each line is an
//! object `{text, channel?}` and is answered by a line of its own as soon as it
//! is read, so that another program can ask one by one; lines that are already
//! there are scanned side by side and answered in order. A line that is no such
//! object is answered by `{error}`; the rest is scanned all the same, and the
//! verb ends with 1.

use std::io::{self, BufRead as _, BufReader, Read};
use std::panic::resume_unwind;
use std::path::Path;

use are_core::error::{Code, Fault};
use are_core::limits::PROMPT_BYTES_MAX;
use are_policy::firewall::{Channel, Finding, Firewall};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Env;
use super::args::FirewallVerb;
use super::exit::{Exit, Failure, Outcome};
use crate::config::{self, files};

/// Bytes of one line: a prompt with every character escaped.
const LINE_BYTES_MAX: usize = 6 * PROMPT_BYTES_MAX + 1024;

/// Lines that are scanned side by side at most.
const BATCH_LINES_MAX: usize = 256;
/// Bytes that are read ahead, and so scanned side by side.
const AHEAD_BYTES: usize = 64 << 10;

/// One line.
#[derive(Deserialize)]
struct Line {
    text: String,
    #[serde(default)]
    channel: Channel,
}

pub(super) fn run(env: &Env, verb: &FirewallVerb) -> Outcome {
    let FirewallVerb::Scan { jsonl, channel, file } = verb;
    let firewall = config::firewall(&env.config)?;
    let mut input: Box<dyn Read> = match file.as_deref().filter(|file| *file != Path::new("-")) {
        Some(file) => Box::new(files::open_texts(&env.surroundings.absolute(file))?),
        None => Box::new(io::stdin().lock()),
    };
    if *jsonl {
        return lines(env, &firewall, BufReader::with_capacity(AHEAD_BYTES, input));
    }
    let text = bounded(input.as_mut(), PROMPT_BYTES_MAX)?;
    let finding = firewall.scan(&String::from_utf8_lossy(&text), channel.unwrap_or_default());
    if env.out.is_json {
        env.out.json(&told(&finding))?;
    } else {
        let reasons = if finding.reasons.is_empty() { "nothing found".to_owned() } else { finding.reasons.join(", ") };
        env.out.line(&format!("{} {} {reasons}", word(&finding), score(&finding)))?;
    }
    Ok(Exit::Done)
}

fn lines(env: &Env, firewall: &Firewall, mut input: BufReader<Box<dyn Read>>) -> Outcome {
    let side_by_side = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut has_bad = false;
    while let Some(batch) = batch(&mut input)? {
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let (mine, others) = batch.split_at(batch.len().div_ceil(side_by_side));
            let others: Vec<_> = others
                .chunks(mine.len())
                .map(|part| scope.spawn(|| part.iter().map(|line| answer(firewall, line)).collect::<Vec<_>>()))
                .collect();
            let mine: Vec<_> = mine.iter().map(|line| answer(firewall, line)).collect();
            let joined = others.into_iter().map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic)));
            mine.into_iter().chain(joined.flatten()).collect()
        });
        for answer in answers {
            has_bad |= answer.is_err();
            match answer {
                Ok(finding) => env.out.json(&told(&finding))?,
                Err(why) => env.out.json(&json!({"error": why}))?,
            }
        }
    }
    Ok(if has_bad { Exit::Failed } else { Exit::Done })
}

type Answer = Result<Finding, String>;

/// The next line, and those after it that have been read already; none at the end. A line that is too long is absent.
fn batch(input: &mut BufReader<Box<dyn Read>>) -> io::Result<Option<Vec<Option<Vec<u8>>>>> {
    let mut batch = Vec::new();
    loop {
        let mut line = Vec::new();
        let read = Read::take(&mut *input, LINE_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok((!batch.is_empty()).then_some(batch));
        }
        if read == LINE_BYTES_MAX && line.last() != Some(&b'\n') {
            input.skip_until(b'\n')?;
            batch.push(None);
        } else if !line.iter().all(u8::is_ascii_whitespace) {
            batch.push(Some(line));
        }
        // Waiting for more would keep a program waiting that sends the next line after this one's answer.
        let has_next = input.buffer().contains(&b'\n');
        if !batch.is_empty() && (!has_next || batch.len() >= BATCH_LINES_MAX) {
            return Ok(Some(batch));
        }
    }
}

fn answer(firewall: &Firewall, line: &Option<Vec<u8>>) -> Answer {
    let Some(line) = line else { return Err(format!("the line is longer than {LINE_BYTES_MAX} bytes")) };
    match serde_json::from_slice::<Line>(line) {
        Ok(Line { text, channel }) => Ok(firewall.scan(&text, channel)),
        Err(error) => Err(format!("no object with a `text`: {error}")),
    }
}

fn bounded(input: &mut dyn Read, most: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    input.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        let help = "give less, or one text a line with `--jsonl`";
        return Err(Fault::new(Code::PROMPT_TOO_LARGE, format!("the text has more than {most} bytes"), help).into());
    }
    Ok(bytes)
}

/// The object that a text is answered by.
fn told(finding: &Finding) -> Value {
    json!({
        "verdict": word(finding),
        "score": f64::from(finding.score_milli) / 1000.0,
        "reasons": finding.reasons,
    })
}

const fn word(finding: &Finding) -> &'static str {
    finding.verdict.as_str()
}

fn score(finding: &Finding) -> String {
    format!("{}.{:03}", finding.score_milli / 1000, finding.score_milli % 1000)
}
