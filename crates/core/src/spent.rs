//! What work has used, as sums that can be added up in any order.

/// What was used, or is to be added to that: settling a reservation adds the difference, which may be negative.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Model calls begun.
    pub requests: i64,
    /// Tokens read, as providers reported them.
    pub input_tokens: i64,
    /// Of these, tokens that providers had cached.
    pub cached_tokens: i64,
    /// Tokens written, as providers reported them.
    pub output_tokens: i64,
    /// Tokens that count: reserved ones until a call is settled, then those it used.
    pub tokens: i64,
    /// Money that counts likewise, in millionths.
    pub cost: i64,
    /// Model calls without a price: their cost is unknown, and not nothing.
    pub unpriced: i64,
    /// Tool calls begun.
    pub calls: i64,
    /// Processor time of commands in milliseconds.
    pub cpu_ms: i64,
    /// Bytes that calls printed and returned.
    pub bytes: i64,
}

impl Spent {
    /// The sums in the order of the fields.
    #[must_use]
    pub const fn sums(&self) -> [i64; 10] {
        let Self { requests, input_tokens, cached_tokens, output_tokens, tokens, cost, unpriced, calls, cpu_ms, bytes } =
            *self;
        [requests, input_tokens, cached_tokens, output_tokens, tokens, cost, unpriced, calls, cpu_ms, bytes]
    }

    /// From the sums in the order of the fields.
    #[must_use]
    pub const fn of(sums: [i64; 10]) -> Self {
        let [requests, input_tokens, cached_tokens, output_tokens, tokens, cost, unpriced, calls, cpu_ms, bytes] = sums;
        Self { requests, input_tokens, cached_tokens, output_tokens, tokens, cost, unpriced, calls, cpu_ms, bytes }
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let (one, other) = (self.sums(), other.sums());
        Self::of(std::array::from_fn(|at| one[at].saturating_add(other[at])))
    }

    /// What takes it back.
    #[must_use]
    pub fn negated(&self) -> Self {
        Self::of(self.sums().map(i64::saturating_neg))
    }
}
