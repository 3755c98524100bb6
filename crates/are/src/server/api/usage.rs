//! What accounts and sessions have used, and how their limits stand.

use std::collections::BTreeMap;
use std::sync::Arc;

use are_core::spent::Spent;
use are_engine::engine::{LimitView, UsageAsked};
use are_policy::limits::Quantity;
use are_policy::prices::show_money;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Answer, Params, Who, json, parsed, session};
use crate::server::app::App;
use crate::server::problem::Problem;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::server) struct Asked {
    /// Only this account's; another than the caller's is shown to administrators.
    account: Option<String>,
    /// Only this session's.
    session: Option<String>,
    /// Since the hour of this time, in milliseconds since 1970; all of it when absent.
    since_ms: Option<u64>,
}

/// What was used, by account.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Usage {
    accounts: Vec<AccountUsage>,
    /// How the limits stand: those of the account, and for administrators those of providers, which all share.
    limits: Vec<LimitUsage>,
    /// True when there is more than is told.
    is_cut: bool,
}

#[derive(Serialize, ToSchema)]
pub(in crate::server) struct AccountUsage {
    account: String,
    models: Vec<ModelUsage>,
    calls: Vec<CallUsage>,
}

/// Calls of a model.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct ModelUsage {
    model: String,
    requests: i64,
    /// As the provider reported them.
    input_tokens: i64,
    cached_tokens: i64,
    output_tokens: i64,
    /// Tokens that count against limits: these, and all that was reserved for calls that reported nothing.
    tokens: i64,
    /// What they cost, such as `0.0125`.
    money: String,
    /// Calls that `money` does not hold, because the model had no price.
    unpriced_requests: i64,
}

/// Calls of tools with one effect.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct CallUsage {
    /// From `none` to `credential`.
    effect: String,
    calls: i64,
    /// Processor time of commands and guests.
    cpu_ms: i64,
    /// Printed and returned.
    bytes: i64,
}

#[derive(Serialize, ToSchema)]
pub(in crate::server) struct LimitUsage {
    /// `account.tokens_per_day`.
    limit: String,
    /// Whose; absent for a provider's.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    /// In the limit's unit, as texts because money has digits behind the point.
    used: String,
    max: String,
    /// When its window ends; absent for a rate, which is filled up all the time.
    #[serde(skip_serializing_if = "Option::is_none")]
    resets_at_ms: Option<u64>,
}

/// What was used, and how the limits stand.
#[utoipa::path(get, path = "/api/usage", params(Asked), responses((status = 200, body = Usage), (status = "default", body = Problem)))]
pub(in crate::server) async fn show(State(app): State<Arc<App>>, who: Who, Params(asked): Params<Asked>) -> Answer {
    let asked = UsageAsked {
        account: asked.account.as_deref().map(parsed).transpose()?,
        session: asked.session.as_deref().map(session).transpose()?,
        since_ms: asked.since_ms.unwrap_or(0),
    };
    let view = app.engine.usage(&who.caller, asked).await?;
    let mut accounts: BTreeMap<String, AccountUsage> = BTreeMap::new();
    for row in view.rows {
        let account = row.account.to_string();
        let of = accounts.entry(account.clone()).or_insert_with(|| AccountUsage {
            account,
            models: Vec::new(),
            calls: Vec::new(),
        });
        match row.subject.split_once(':') {
            Some(("model", model)) => of.models.push(model_usage(model, &row.spent)),
            Some((_, effect)) => of.calls.push(CallUsage {
                effect: effect.to_owned(),
                calls: row.spent.calls,
                cpu_ms: row.spent.cpu_ms,
                bytes: row.spent.bytes,
            }),
            None => {}
        }
    }
    let limits = view.limits.into_iter().map(limit_usage).collect();
    json(&Usage { accounts: accounts.into_values().collect(), limits, is_cut: view.is_cut })
}

fn model_usage(model: &str, spent: &Spent) -> ModelUsage {
    ModelUsage {
        model: model.to_owned(),
        requests: spent.requests,
        input_tokens: spent.input_tokens,
        cached_tokens: spent.cached_tokens,
        output_tokens: spent.output_tokens,
        tokens: spent.tokens,
        money: show_money(u64::try_from(spent.cost).unwrap_or(0)),
        unpriced_requests: spent.unpriced,
    }
}

fn limit_usage(view: LimitView) -> LimitUsage {
    let LimitView { account, name, standing } = view;
    let shown = |amount: u64| match standing.limit.quantity {
        Quantity::Money => show_money(amount),
        Quantity::Cpu => amount.div_ceil(1_000).to_string(),
        Quantity::Requests | Quantity::Tokens | Quantity::Calls | Quantity::Bytes => amount.to_string(),
    };
    LimitUsage {
        limit: name,
        account: account.map(|account| account.to_string()),
        used: shown(standing.used),
        max: shown(standing.limit.max),
        resets_at_ms: standing.resets_at_ms,
    }
}
