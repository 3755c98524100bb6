//! `are account …`

use hyper::Method;
use serde_json::{Value, json};

use super::Env;
use super::args::Account;
use super::ask::is_confirmed;
use super::exit::{Exit, Failure, Outcome};
use super::place::{segment, text};
use super::served::Served;
use crate::client::Client;
use crate::wiring::Need;

pub(super) async fn run(env: &Env, verb: Account) -> Outcome {
    let served = Served::find(env, Need::Nothing).await?;
    let outcome = tell(env, served.client(), verb).await;
    served.end().await?;
    outcome
}

async fn tell(env: &Env, client: &Client, verb: Account) -> Outcome {
    match verb {
        Account::Create { name, group } => {
            let wish = json!({"account": name, "groups": group});
            shown(env, &client.send(Method::POST, "/api/accounts", Some(&wish)).await?)
        }
        Account::List => list(env, client).await,
        Account::Show { name } => shown(env, &client.get(&path(&name)).await?),
        Account::Set { name, group, no_groups: _ } => change(env, client, &name, json!({"groups": group})).await,
        Account::Disable { name } => change(env, client, &name, json!({"is_disabled": true})).await,
        Account::Enable { name } => change(env, client, &name, json!({"is_disabled": false})).await,
        Account::Delete { name, yes, dry_run } => delete(env, client, &name, yes, dry_run).await,
    }
}

async fn list(env: &Env, client: &Client) -> Outcome {
    let found = client.get("/api/accounts").await?;
    if env.out.is_json {
        env.out.json(&found)?;
        return Ok(Exit::Done);
    }
    let row = |one: &Value| vec![text(one, "account"), state(one).to_owned(), groups(one)];
    let rows: Vec<_> = found["accounts"].as_array().into_iter().flatten().map(row).collect();
    env.out.table(&["ACCOUNT", "STATE", "GROUPS"], &rows)?;
    Ok(Exit::Done)
}

async fn change(env: &Env, client: &Client, name: &str, change: Value) -> Outcome {
    shown(env, &client.send(Method::PATCH, &path(name), Some(&change)).await?)
}

async fn delete(env: &Env, client: &Client, name: &str, is_sure: bool, is_dry: bool) -> Outcome {
    let out = env.out;
    let found = client.get(&path(name)).await?;
    let what = format!("account {}, its tokens, and what was said in its sessions", text(&found, "account"));
    if is_dry {
        out.line(&format!("would delete {what}; its records, its name and its workspace's files stay"))?;
        return Ok(Exit::Done);
    }
    if !is_sure && !is_confirmed(out, &format!("delete {what}")).await? {
        return Err(Failure::Said(Exit::Failed));
    }
    client.send(Method::DELETE, &path(name), None).await?;
    Ok(Exit::Done)
}

fn shown(env: &Env, one: &Value) -> Outcome {
    if env.out.is_json {
        env.out.json(one)?;
    } else {
        env.out.line(&format!("{}: {}, groups: {}", text(one, "account"), state(one), groups(one)))?;
    }
    Ok(Exit::Done)
}

fn state(one: &Value) -> &'static str {
    match (one["is_operator"] == true, one["is_disabled"] == true) {
        (true, _) => "operator",
        (false, true) => "disabled",
        (false, false) => "active",
    }
}

fn groups(one: &Value) -> String {
    let groups = one["groups"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
    if groups.is_empty() { "none".to_owned() } else { groups.join(",") }
}

fn path(name: &str) -> String {
    format!("/api/accounts/{}", segment(name))
}
