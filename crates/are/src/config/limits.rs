//! `[limits]` and `[prices]` of `are.toml`.
//!
//! Read strictly: a misspelt limit would otherwise be none. What is not named
//! keeps its default, and a limit is taken away by naming it with `"none"`.

use std::collections::BTreeMap;
use std::path::Path;

use are_core::body::Effect;
use are_core::error::{Code, Fault};
use are_policy::budget::Budget;
use are_policy::limits::{Limit, Limits, Per, Quantity};
use are_policy::prices::{Price, Prices, parse_money, show_money};
use are_policy::rules::{EFFECTS, effect_word};
use toml::{Table, Value};

use super::file::{invalid, unknown};
use super::keys::nearest;

/// Keys of `[limits]` beside its scopes.
const SINGLE: [&str; 4] = ["loop_after", "wait_seconds", "parallel_requests", "parallel_calls"];
/// Tables of `[limits]`.
const SCOPES: [&str; 4] = ["account", "session", "effect", "provider"];
/// Keys of `[limits.session]`.
const SESSION: [&str; 8] = ["tokens", "calls", "steps", "seconds", "agents", "money", "cpu_seconds", "bytes"];
/// Keys of one price.
const PRICE: [&str; 3] = ["input", "cached", "output"];
/// Takes a limit away.
const NONE: &str = "none";
/// Seconds that a turn may be made to wait: longer than any rate needs, shorter than anybody's patience.
const WAIT_SECONDS_MAX: u64 = 300;
/// Places for what runs at once.
const PARALLEL_MAX: u64 = 10_000;
/// Prices of one file.
const PRICES_MAX: usize = 1_000;
/// Providers that have limits.
const PROVIDERS_MAX: usize = 100;

/// The limits that the table sets, over the defaults.
pub(super) fn read_limits(path: &Path, table: Table) -> Result<Limits, Fault> {
    let mut limits = Limits::default();
    for (name, value) in table {
        let place = format!("limits.{name}");
        match (name.as_str(), value) {
            ("account", Value::Table(table)) => rates(path, &place, table, &mut limits.account)?,
            ("session", Value::Table(table)) => limits.session = session(path, table)?,
            ("effect", Value::Table(table)) => {
                for (name, value) in table {
                    let place = format!("{place}.{name}");
                    let effect = effect(path, &name)?;
                    rates(path, &place, as_table(path, &place, value)?, limits.effects.entry(effect).or_default())?;
                }
            }
            ("provider", Value::Table(table)) => {
                if table.len() > PROVIDERS_MAX {
                    return Err(invalid(path, &format!("`{place}` names more than {PROVIDERS_MAX}")));
                }
                for (name, value) in table {
                    let place = format!("{place}.{name}");
                    let table = as_table(path, &place, value)?;
                    rates(path, &place, table, limits.providers.entry(name).or_default())?;
                }
            }
            ("loop_after", value) => limits.loop_after = whole(path, &place, &value, 0, 100)? as u32,
            ("wait_seconds", value) => limits.wait_seconds = whole(path, &place, &value, 0, WAIT_SECONDS_MAX)?,
            ("parallel_requests", value) => {
                limits.parallel_requests = whole(path, &place, &value, 1, PARALLEL_MAX)? as usize;
            }
            ("parallel_calls", value) => limits.parallel_calls = whole(path, &place, &value, 1, PARALLEL_MAX)? as usize,
            ("account" | "session" | "effect" | "provider", _) => {
                return Err(invalid(path, &format!("`{place}` must be a table: `[{place}]`")));
            }
            (_, _) => return Err(unknown(path, &place, nearest(&name, SINGLE.into_iter().chain(SCOPES)))),
        }
    }
    limits.effects.retain(|_, of| !of.is_empty());
    limits.providers.retain(|_, of| !of.is_empty());
    Ok(limits)
}

/// The prices that the table sets.
pub(super) fn read_prices(path: &Path, table: Table) -> Result<Prices, Fault> {
    if table.len() > PRICES_MAX {
        return Err(invalid(path, &format!("`prices` names more than {PRICES_MAX} models")));
    }
    let mut prices = BTreeMap::new();
    for (name, value) in table {
        let place = format!("prices.\"{name}\"");
        let table = as_table(path, &place, value)?;
        if let Some(key) = table.keys().find(|key| !PRICE.contains(&key.as_str())) {
            return Err(unknown(path, &format!("{place}.{key}"), nearest(key, PRICE.into_iter())));
        }
        let price = |key: &str| table.get(key).map(|value| money(path, &format!("{place}.{key}"), value)).transpose();
        let (Some(input), Some(output)) = (price("input")?, price("output")?) else {
            return Err(invalid(path, &format!("`{place}` needs `input` and `output`, the price of a million tokens")));
        };
        prices.insert(name, Price { input, cached: price("cached")?, output });
    }
    Ok(Prices::new(prices))
}

/// All limits and prices in force, by the names under which they are set.
pub(super) fn shown(limits: &Limits, prices: &Prices) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = vec![
        ("limits.loop_after".to_owned(), limits.loop_after.to_string()),
        ("limits.wait_seconds".to_owned(), limits.wait_seconds.to_string()),
        ("limits.parallel_requests".to_owned(), limits.parallel_requests.to_string()),
        ("limits.parallel_calls".to_owned(), limits.parallel_calls.to_string()),
    ];
    let mut put = |scope: &str, of: &[Limit]| {
        all.extend(of.iter().map(|one| (format!("limits.{scope}.{one}"), amount(one.quantity, one.max))));
    };
    put("account", &limits.account);
    limits.effects.iter().for_each(|(effect, of)| put(&format!("effect.{}", effect_word(*effect)), of));
    limits.providers.iter().for_each(|(provider, of)| put(&format!("provider.{provider}"), of));
    let Budget { tokens, calls, steps, seconds, agents, money, cpu_ms, bytes } = limits.session;
    let money = money.map(show_money);
    let cpu = cpu_ms.map(|ms| amount(Quantity::Cpu, ms));
    let plain = |value: Option<u64>| value.map(|value| value.to_string());
    for (key, value) in SESSION.into_iter().zip([
        plain(tokens),
        plain(calls),
        plain(steps),
        plain(seconds),
        plain(agents),
        money,
        cpu,
        plain(bytes),
    ]) {
        all.extend(value.map(|value| (format!("limits.session.{key}"), value)));
    }
    for (name, price) in prices.iter() {
        let cached = price.cached.map(|cached| format!(", cached {}", show_money(cached))).unwrap_or_default();
        let value = format!("input {}{cached}, output {}", show_money(price.input), show_money(price.output));
        all.push((format!("prices.\"{name}\""), value));
    }
    all
}

fn amount(quantity: Quantity, max: u64) -> String {
    match quantity {
        Quantity::Money => show_money(max),
        Quantity::Cpu => show_seconds(max),
        Quantity::Requests | Quantity::Tokens | Quantity::Calls | Quantity::Bytes => max.to_string(),
    }
}

fn show_seconds(ms: u64) -> String {
    if ms.is_multiple_of(1_000) { (ms / 1_000).to_string() } else { format!("{}.{:03}", ms / 1_000, ms % 1_000) }
}

/// Puts the limits of one scope in the place of those that it has.
fn rates(path: &Path, place: &str, table: Table, into: &mut Vec<Limit>) -> Result<(), Fault> {
    for (key, value) in table {
        let place = format!("{place}.{key}");
        let Ok(limit) = key.parse::<Limit>() else {
            let all =
                Quantity::ALL.into_iter().flat_map(|quantity| Per::ALL.map(|per| Limit { quantity, per, max: 0 }));
            let all: Vec<String> = all.map(|limit| limit.to_string()).collect();
            return Err(unknown(path, &place, nearest(&key, all.iter().map(String::as_str))));
        };
        into.retain(|one| (one.quantity, one.per) != (limit.quantity, limit.per));
        if value.as_str() == Some(NONE) {
            continue;
        }
        let max = match limit.quantity {
            Quantity::Money => money(path, &place, &value)?,
            Quantity::Cpu => whole(path, &place, &value, 1, u64::from(u32::MAX))? * 1_000,
            Quantity::Requests | Quantity::Tokens | Quantity::Calls | Quantity::Bytes => {
                whole(path, &place, &value, 1, 1 << 53)?
            }
        };
        into.push(Limit { max, ..limit });
    }
    Ok(())
}

fn session(path: &Path, table: Table) -> Result<Budget, Fault> {
    let mut budget = Budget::default();
    for (key, value) in table {
        let place = format!("limits.session.{key}");
        let whole = |least| whole(path, &place, &value, least, 1 << 53).map(Some);
        match key.as_str() {
            "tokens" => budget.tokens = whole(1)?,
            "calls" => budget.calls = whole(0)?,
            "steps" => budget.steps = whole(1)?,
            "seconds" => budget.seconds = whole(1)?,
            "agents" => budget.agents = whole(0)?,
            "money" => budget.money = Some(money(path, &place, &value)?),
            "cpu_seconds" => budget.cpu_ms = whole(1)?.map(|seconds| seconds.saturating_mul(1_000)),
            "bytes" => budget.bytes = whole(1)?,
            _ => return Err(unknown(path, &place, nearest(&key, SESSION.into_iter()))),
        }
    }
    Ok(budget)
}

fn effect(path: &Path, name: &str) -> Result<Effect, Fault> {
    let found = EFFECTS.into_iter().find(|effect| effect_word(*effect) == name);
    found.ok_or_else(|| {
        unknown(path, &format!("limits.effect.{name}"), nearest(name, EFFECTS.map(effect_word).into_iter()))
    })
}

fn as_table(path: &Path, place: &str, value: Value) -> Result<Table, Fault> {
    match value {
        Value::Table(table) => Ok(table),
        _ => Err(invalid(path, &format!("`{place}` must be a table: `[{place}]`"))),
    }
}

fn whole(path: &Path, place: &str, value: &Value, least: u64, most: u64) -> Result<u64, Fault> {
    let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| invalid(path, &format!("`{place}` must be a whole number from {least} to {most}")))
}

/// An amount of money: a text or a number, at most six digits behind the point.
fn money(path: &Path, place: &str, value: &Value) -> Result<u64, Fault> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => String::new(),
    };
    let refused = || {
        let what = format!("`{place}` must be an amount such as `\"12.50\"`, with at most six digits behind the point");
        Fault::new(
            Code::CONFIG_INVALID,
            format!("`{}`: {what}", path.display()),
            "mend the file, then try `are config check`",
        )
    };
    parse_money(&text).ok_or_else(refused)
}

#[cfg(test)]
mod tests;
