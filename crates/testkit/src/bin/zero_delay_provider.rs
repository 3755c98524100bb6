//! A provider that answers at once, for benchmarks.
//!
//! `zero_delay_provider [--port N] [--tokens N] [--tool NAME [--arguments JSON]]`
//! listens on 127.0.0.1, prints one JSON line with its `base_url` when it is
//! ready, and serves until it is killed. With `--tool` an answer to a user is a
//! call of that tool, and the answer to the tool's result is text. A request for
//! the model `tokens-N` is answered with N tokens of text whatever else was set,
//! so that one case can have answers of several lengths; one for `paced-N-MS` with
//! N different words, one in so many milliseconds. Defaults can be set as
//! `ZERO_DELAY_PORT`, `ZERO_DELAY_TOKENS`, `ZERO_DELAY_TOOL` and
//! `ZERO_DELAY_ARGUMENTS`.

use std::error::Error;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use are_testkit::provider::{MockProvider, Reply};
use serde::Deserialize;
use serde_json::{Value, json};

/// Tokens of one answer at most.
const TOKENS_MAX: usize = 1_000_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = setting("port")?.map_or(Ok(0), |port| port.parse())?;
    let tokens: usize = setting("tokens")?.map_or(Ok(1), |tokens| tokens.parse())?;
    let tool = setting("tool")?;
    let arguments: Value = setting("arguments")?.map_or_else(|| Ok(json!({})), |json| serde_json::from_str(&json))?;

    let provider = MockProvider::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), 0).await?;
    let text = Reply::tokens(tokens);
    let call = tool.as_deref().map(|tool| Reply::call(tool, &arguments));
    provider.default_reply_to_bytes(move |bytes| {
        let asked = serde_json::from_slice(bytes).unwrap_or_default();
        if let Some((words, pace)) = pace_wished(&asked) {
            let words = (0..words.min(TOKENS_MAX)).map(|word| format!("w{word} "));
            return Reply::text(words).paced(pace);
        }
        match (tokens_wished(&asked), &call) {
            (Some(tokens), _) => Reply::tokens(tokens.min(TOKENS_MAX)),
            (None, Some(call)) if !answers_a_tool(&asked) => call.clone(),
            (None, _) => text.clone(),
        }
    });

    let ready = json!({ "ready": true, "base_url": provider.base_url(), "tokens": tokens, "tool": tool });
    writeln!(std::io::stdout(), "{ready}")?;
    std::future::pending().await
}

/// What matters of a request; the rest is not even read.
#[derive(Deserialize, Default)]
struct Asked {
    model: String,
    messages: Vec<Said>,
}

#[derive(Deserialize)]
struct Said {
    role: String,
}

fn answers_a_tool(asked: &Asked) -> bool {
    asked.messages.last().is_some_and(|message| message.role == "tool")
}

fn tokens_wished(asked: &Asked) -> Option<usize> {
    asked.model.strip_prefix("tokens-")?.parse().ok()
}

fn pace_wished(asked: &Asked) -> Option<(usize, Duration)> {
    let (words, ms) = asked.model.strip_prefix("paced-")?.split_once('-')?;
    Some((words.parse().ok()?, Duration::from_millis(ms.parse().ok()?)))
}

/// The value of `--name`, else of `ZERO_DELAY_NAME`.
fn setting(name: &str) -> Result<Option<String>, String> {
    let flag = format!("--{name}");
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        if arg == flag {
            return args.next().map(Some).ok_or_else(|| format!("`{flag}` needs a value"));
        }
    }
    Ok(std::env::var(format!("ZERO_DELAY_{}", name.to_uppercase())).ok())
}
