//! What models cost.
//!
//! Money is counted in millionths of whatever currency the prices are in, and
//! rounded up, so that many small calls never cost nothing. A model without a
//! price has an unknown cost: that is said wherever money is shown, and where
//! money is limited such a model is not called.

use std::collections::BTreeMap;

use are_core::error::{Code, Fault};
use are_core::model::{ModelInfo, Usage};
use serde::{Deserialize, Serialize};

/// Digits behind the point that an amount may have.
const DIGITS: usize = 6;
/// Largest whole part of an amount: more money than any budget, and far from overflow.
const WHOLE_MAX: u64 = 1_000_000_000;

/// What a million tokens cost, in millionths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Tokens read.
    pub input: u64,
    /// Tokens read that the provider had cached; as `input` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached: Option<u64>,
    /// Tokens written.
    pub output: u64,
}

impl Price {
    /// What a call costs, in millionths.
    #[must_use]
    pub fn cost(&self, usage: Usage) -> u64 {
        let cached = usage.cached_tokens.min(usage.input_tokens);
        let parts = [
            (usage.input_tokens - cached, self.input),
            (cached, self.cached.unwrap_or(self.input)),
            (usage.output_tokens, self.output),
        ];
        let all: u128 = parts.iter().map(|(tokens, price)| u128::from(*tokens) * u128::from(*price)).sum();
        u64::try_from(all.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }

    /// Most tokens that can be written for `money`, in millionths.
    #[must_use]
    pub fn affordable_output(&self, money: u64) -> u64 {
        let tokens = (u128::from(money) * 1_000_000).checked_div(u128::from(self.output));
        tokens.map_or(u64::MAX, |tokens| u64::try_from(tokens).unwrap_or(u64::MAX))
    }
}

/// The prices that are known, by `provider:model` or by `provider` for all its other models.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prices(BTreeMap<String, Price>);

impl Prices {
    /// These.
    #[must_use]
    pub const fn new(prices: BTreeMap<String, Price>) -> Self {
        Self(prices)
    }

    /// By name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Price)> {
        self.0.iter().map(|(name, price)| (name.as_str(), price))
    }

    /// What a model costs; one on this machine costs nothing unless it was given a price.
    #[must_use]
    pub fn of(&self, model: &ModelInfo) -> Option<Price> {
        let provider = model.name.split_once(':').map_or("", |(provider, _)| provider);
        let found = self.0.get(&model.name).or_else(|| self.0.get(provider)).copied();
        found.or_else(|| model.is_local.then(Price::default))
    }
}

/// Told where money is limited and a model has no price.
#[must_use]
pub fn unknown(model: &str) -> Fault {
    Fault::new(
        Code::PRICE_UNKNOWN,
        format!("money is limited, and `{model}` has no price: what it costs cannot be counted"),
        format!(
            "set `[prices.\"{model}\"]` with `input` and `output` in `are.toml`, or choose a model that has a price"
        ),
    )
}

/// An amount such as `12.50` in millionths; `None` for what is none, is negative, too large or finer than millionths.
#[must_use]
pub fn parse_money(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) || fraction.len() > DIGITS || text.ends_with('.') {
        return None;
    }
    let whole: u64 = whole.parse().ok().filter(|whole| *whole <= WHOLE_MAX)?;
    let fraction: u64 = format!("{fraction:0<DIGITS$}").parse().ok()?;
    Some(whole * 1_000_000 + fraction)
}

/// An amount in millionths as people write it: at least two digits behind the point, no needless ones.
#[must_use]
pub fn show_money(millionths: u64) -> String {
    let (whole, fraction) = (millionths / 1_000_000, format!("{:06}", millionths % 1_000_000));
    let kept = fraction.trim_end_matches('0').len().max(2);
    format!("{whole}.{}", &fraction[..kept])
}

#[cfg(test)]
mod tests;
