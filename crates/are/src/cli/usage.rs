//! `are usage`

use are_core::error::{Code, Fault};
use clap::Args;
use jiff::{Timestamp, Zoned};
use serde_json::Value;

use super::Env;
use super::exit::{Exit, Outcome};
use super::place::{segment, session, text};
use super::served::Served;
use crate::wiring::Need;

/// `are usage`
#[derive(Debug, Args)]
pub struct Usage {
    /// Only this account's; another than your own needs the scope `admin`
    #[arg(long, value_name = "ACCOUNT")]
    pub account: Option<String>,
    /// Only this session's
    #[arg(long, value_name = "KEY")]
    pub session: Option<String>,
    /// Only since then: `24h`, `7d`, a day or a time; counted by the hour
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
}

pub(super) async fn run(env: &Env, asked: Usage) -> Outcome {
    let mut query = Vec::new();
    if let Some(account) = &asked.account {
        query.push(format!("account={}", segment(account)));
    }
    if let Some(key) = &asked.session {
        query.push(format!("session={}", session(key)?));
    }
    if let Some(since) = &asked.since {
        query.push(format!("since_ms={}", since_ms(since, Timestamp::now(), &env.config.tz.value)?));
    }
    let served = Served::find(env, Need::Nothing).await?;
    let told = served.client().get(&format!("/api/usage?{}", query.join("&"))).await;
    let outcome = match told {
        Ok(told) => show(env, &told),
        Err(fault) => Err(fault.into()),
    };
    served.end().await?;
    outcome
}

/// A time, `24h`, `7d`, a day or an instant, in milliseconds since 1970.
fn since_ms(text: &str, now: Timestamp, tz: &str) -> Result<u64, Fault> {
    let ago = |text: &str| {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let number: i64 = number.parse().ok().filter(|number| *number >= 0)?;
        let hours = match unit {
            "h" => number,
            "d" => number.checked_mul(24)?,
            "w" => number.checked_mul(24 * 7)?,
            _ => return None,
        };
        now.as_millisecond().checked_sub(hours.checked_mul(3_600_000)?)
    };
    let at = ago(text).or_else(|| text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)).or_else(|| {
        let day: jiff::civil::Date = text.parse().ok()?;
        day.in_tz(tz).ok().map(|day: Zoned| day.timestamp().as_millisecond())
    });
    at.map(|ms| u64::try_from(ms).unwrap_or(0)).ok_or_else(|| {
        Fault::new(
            Code::REQUEST_INVALID,
            format!("`{text}` is no time to count from"),
            "write for example `24h`, `7d`, `2026-09-01` or `2026-09-01T08:00:00Z`",
        )
    })
}

fn show(env: &Env, told: &Value) -> Outcome {
    if env.out.is_json {
        env.out.json(told)?;
        return Ok(Exit::Done);
    }
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut models = Vec::new();
    let mut calls = Vec::new();
    for account in list(&told["accounts"]) {
        let name = text(&account, "account");
        for one in list(&account["models"]) {
            // An unknown cost is not nothing.
            let money = match one["unpriced_requests"].as_i64() {
                Some(0) => text(&one, "money"),
                Some(unpriced) if unpriced == one["requests"].as_i64().unwrap_or(0) => "no price".to_owned(),
                _ => format!("{} + {} without a price", text(&one, "money"), text(&one, "unpriced_requests")),
            };
            let counts = ["requests", "input_tokens", "cached_tokens", "output_tokens", "tokens"];
            let mut row = vec![name.clone(), text(&one, "model")];
            row.extend(counts.map(|key| text(&one, key)));
            row.push(money);
            models.push(row);
        }
        for one in list(&account["calls"]) {
            let mut row = vec![name.clone()];
            row.extend(["effect", "calls", "cpu_ms", "bytes"].map(|key| text(&one, key)));
            calls.push(row);
        }
    }
    let limits: Vec<Vec<String>> = list(&told["limits"])
        .iter()
        .map(|one| {
            let resets = one["resets_at_ms"].as_i64().and_then(|ms| Timestamp::from_millisecond(ms).ok());
            let resets = resets.map_or_else(|| "-".to_owned(), |at| at.to_string());
            vec![text(one, "account"), text(one, "limit"), text(one, "used"), text(one, "max"), resets]
        })
        .collect();
    if models.is_empty() && calls.is_empty() {
        env.out.line("nothing was used")?;
    }
    let heading = ["ACCOUNT", "MODEL", "REQUESTS", "READ", "CACHED", "WRITTEN", "COUNTED", "MONEY"];
    env.out.table(&heading, &models)?;
    env.out.table(&["ACCOUNT", "EFFECT", "CALLS", "CPU MS", "BYTES"], &calls)?;
    env.out.table(&["ACCOUNT", "LIMIT", "USED", "OF", "RESETS"], &limits)?;
    if told["is_cut"] == true {
        env.out.say("there is more: name an account, or a time with `--since`");
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_say_them() {
        let now: Timestamp = "2026-09-10T12:00:00Z".parse().expect("a time");
        for (said, at) in [
            ("24h", "2026-09-09T12:00:00Z"),
            ("7d", "2026-09-03T12:00:00Z"),
            ("1w", "2026-09-03T12:00:00Z"),
            ("2026-09-01", "2026-08-31T22:00:00Z"),
            ("2026-09-01T08:00:00Z", "2026-09-01T08:00:00Z"),
        ] {
            let at: Timestamp = at.parse().expect("a time");
            let ms = u64::try_from(at.as_millisecond()).expect("after 1970");
            assert_eq!(since_ms(said, now, "Europe/Berlin"), Ok(ms), "{said}");
        }
        for said in ["", "h", "-1h", "yesterday", "24", "1y", "2026-13-01", "9999999999999999999d", "é"] {
            assert_eq!(since_ms(said, now, "UTC").expect_err(said).code, Code::REQUEST_INVALID, "{said}");
        }
    }
}
