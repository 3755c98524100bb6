//! Accounts: made, put into groups, disabled, deleted. All of it needs `admin`.

use std::sync::Arc;

use are_core::error::{Code, Fault};
use are_core::ids::{AccountId, GroupName};
use are_engine::engine::{AccountChange, AccountView};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Answer, Place, Told, Who, created, done, json};
use crate::server::app::App;
use crate::server::problem::Problem;

/// An account.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Account {
    account: String,
    groups: Vec<String>,
    /// True while nobody can speak as it.
    is_disabled: bool,
    /// True for the account of whoever runs the server, which cannot be taken away.
    is_operator: bool,
    created_at_ms: u64,
}

impl From<AccountView> for Account {
    fn from(view: AccountView) -> Self {
        Self {
            account: view.name.to_string(),
            groups: view.groups.iter().map(ToString::to_string).collect(),
            is_disabled: view.is_disabled,
            is_operator: view.is_operator,
            created_at_ms: view.created_at_ms,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Accounts {
    accounts: Vec<Account>,
}

/// The accounts that there are.
#[utoipa::path(get, path = "/api/accounts", responses((status = 200, body = Accounts), (status = "default", body = Problem)))]
pub(in crate::server) async fn list(State(app): State<Arc<App>>, _: Who) -> Answer {
    json(&Accounts { accounts: app.engine.accounts().into_iter().map(Account::from).collect() })
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct AccountWanted {
    /// Its name, 1 to 64 of a-z, 0-9, _ and -; given once, also when the account is deleted.
    #[schema(value_type = String)]
    account: AccountId,
    /// Its groups.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    groups: Vec<GroupName>,
}

/// Makes an account.
#[utoipa::path(post, path = "/api/accounts", request_body = AccountWanted, responses((status = 201, body = Account), (status = "default", body = Problem)))]
pub(in crate::server) async fn create(State(app): State<Arc<App>>, who: Who, told: Told<AccountWanted>) -> Answer {
    let AccountWanted { account, groups } = told.required()?;
    let made = app.engine.create_account(&who.caller, account, groups).await?;
    created(&Account::from(made))
}

/// One account.
#[utoipa::path(get, path = "/api/accounts/{account}", params(("account" = String, Path)), responses((status = 200, body = Account), (status = "default", body = Problem)))]
pub(in crate::server) async fn show(State(app): State<Arc<App>>, _: Who, Place(name): Place<String>) -> Answer {
    json(&Account::from(app.engine.account(&named(&name)?).ok_or_else(unknown)?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct AccountChanged {
    /// All its groups from here on; as they are when absent.
    #[schema(value_type = Option<Vec<String>>)]
    groups: Option<Vec<GroupName>>,
    /// Whether it is disabled; as it is when absent.
    is_disabled: Option<bool>,
}

/// Changes an account, from its next decision on; what is open for one that is gone is closed.
#[utoipa::path(patch, path = "/api/accounts/{account}", params(("account" = String, Path)), request_body = AccountChanged, responses((status = 200, body = Account), (status = "default", body = Problem)))]
pub(in crate::server) async fn change(
    State(app): State<Arc<App>>,
    who: Who,
    Place(name): Place<String>,
    told: Told<AccountChanged>,
) -> Answer {
    let (name, AccountChanged { groups, is_disabled }) = (named(&name)?, told.required()?);
    let change = AccountChange { groups, is_disabled };
    let (now, is_changed) = app.engine.change_account(&who.caller, &name, change).await?;
    if is_changed {
        app.tokens.account_changed(&name, now.is_disabled);
    }
    json(&Account::from(now))
}

/// Deletes an account for good: revokes its tokens and those made with them, ends its turns, closes its connections,
/// erases what was said in its sessions and its variables. Records, its name and the files of its workspace stay.
#[utoipa::path(delete, path = "/api/accounts/{account}", params(("account" = String, Path)), responses((status = 204), (status = "default", body = Problem)))]
pub(in crate::server) async fn remove(State(app): State<Arc<App>>, who: Who, Place(name): Place<String>) -> Answer {
    let name = named(&name)?;
    app.engine.delete_account(&who.caller, &name).await?;
    app.tokens.account_deleted(&name);
    app.engine.erase_account(&name).await?;
    done()
}

/// A name out of a path; what cannot be one names no account.
fn named(text: &str) -> Result<AccountId, Fault> {
    text.parse().map_err(|_| unknown())
}

pub(super) fn unknown() -> Fault {
    Fault::new(Code::ACCOUNT_UNKNOWN, "there is no such account", "`are account list` shows those there are")
}
