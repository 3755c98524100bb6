//! `are memory …`

use hyper::Method;
use serde_json::{Value, json};

use super::Env;
use super::args::Memory;
use super::exit::{Exit, Outcome};
use super::place::{segment, text};
use super::served::Served;
use crate::wiring::Need;

/// Characters of a memory that a table shows.
const SHOWN_CHARS: usize = 100;

pub(super) async fn run(env: &Env, verb: Memory) -> Outcome {
    let served = Served::find(env, Need::Nothing).await?;
    let outcome = tell(env, &served, verb).await;
    served.end().await?;
    outcome
}

async fn tell(env: &Env, served: &Served, verb: Memory) -> Outcome {
    let client = served.client();
    match verb {
        Memory::Add { text: words } => {
            let added = client.send(Method::POST, "/api/memory", Some(&json!({"text": words}))).await?;
            match env.out.is_json {
                true => env.out.json(&added)?,
                false => env.out.line(&text(&added, "id"))?,
            }
        }
        Memory::Search { query, limit } => {
            let path = format!("/api/memory/search?query={}&limit={limit}", segment(&query));
            show(env, &client.get(&path).await?)?;
        }
        Memory::List { limit, before } => {
            let before = before.map(|order| format!("&before={order}")).unwrap_or_default();
            show(env, &client.get(&format!("/api/memory?limit={limit}{before}")).await?)?;
        }
        Memory::Delete { id } => {
            client.send(Method::DELETE, &format!("/api/memory/{}", segment(&id)), None).await?;
        }
    }
    Ok(Exit::Done)
}

fn show(env: &Env, found: &Value) -> Result<(), super::exit::Failure> {
    if env.out.is_json {
        env.out.json(found)?;
        return Ok(());
    }
    let rows: Vec<_> = found["memories"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| {
            let words: String = text(one, "text").chars().take(SHOWN_CHARS).collect();
            vec![text(one, "id"), text(&one["label"], "integrity"), words.replace('\n', " ")]
        })
        .collect();
    env.out.table(&["ID", "FROM", "TEXT"], &rows)?;
    Ok(())
}
