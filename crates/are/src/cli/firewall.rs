//! `are firewall scan`: what the prompt firewall makes of texts, in this process.
//!
//! Without `--jsonl` the whole input is one text. With it, each line is an
//! object `{text, channel?}` and is answered by a line of its own as soon as it
//! is read, so that another program can ask one by one. A line that is no such
//! object is answered by `{error}`; the rest is scanned all the same, and the
//! verb ends with 1.

use std::io::{self, BufRead};
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
    let mut input: Box<dyn BufRead> = match file.as_deref().filter(|file| *file != Path::new("-")) {
        Some(file) => Box::new(files::open_texts(&env.surroundings.absolute(file))?),
        None => Box::new(io::stdin().lock()),
    };
    if *jsonl {
        return lines(env, &firewall, input.as_mut());
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

fn lines(env: &Env, firewall: &Firewall, input: &mut dyn BufRead) -> Outcome {
    let mut has_bad = false;
    loop {
        let mut line = Vec::new();
        let read = io::Read::take(&mut *input, LINE_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        if read == LINE_BYTES_MAX && line.last() != Some(&b'\n') {
            input.skip_until(b'\n')?;
            has_bad = true;
            env.out.json(&json!({"error": format!("the line is longer than {LINE_BYTES_MAX} bytes")}))?;
            continue;
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match serde_json::from_slice::<Line>(&line) {
            Ok(Line { text, channel }) => env.out.json(&told(&firewall.scan(&text, channel)))?,
            Err(error) => {
                has_bad = true;
                env.out.json(&json!({"error": format!("no object with a `text`: {error}")}))?;
            }
        }
    }
    Ok(if has_bad { Exit::Failed } else { Exit::Done })
}

fn bounded(input: &mut dyn BufRead, most: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(input, most as u64 + 1), &mut bytes)?;
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
