//! `are tool …`

use super::args::Tool;
use super::exit::{Exit, Outcome};
use super::place::{segment, text};
use super::served::Served;
use super::{Env, place};
use crate::wiring::Need;

pub(super) async fn run(env: &Env, verb: Tool) -> Outcome {
    let served = Served::find(env, Need::Nothing).await?;
    let outcome = tell(env, &served, verb).await;
    served.end().await?;
    outcome
}

async fn tell(env: &Env, served: &Served, verb: Tool) -> Outcome {
    let out = env.out;
    match verb {
        Tool::List => {
            let found = served.client().get("/api/tools").await?;
            if out.is_json {
                out.json(&found)?;
                return Ok(Exit::Done);
            }
            let row = |tool: &serde_json::Value| {
                ["name", "effect", "retry", "description"].map(|key| place::text(tool, key)).to_vec()
            };
            let rows: Vec<_> = found["tools"].as_array().into_iter().flatten().map(row).collect();
            out.table(&["NAME", "EFFECT", "RETRY", "WHAT IT DOES"], &rows)?;
        }
        Tool::Show { name } => {
            let found = served.client().get(&format!("/api/tools/{}", segment(&name))).await?;
            if out.is_json {
                out.json(&found)?;
            } else {
                let manifest = &found["manifest"];
                for (key, _) in manifest.as_object().into_iter().flatten() {
                    out.line(&format!("{key}: {}", text(manifest, key)))?;
                }
                out.line(&format!("digest: {}", text(&found, "digest")))?;
            }
        }
    }
    Ok(Exit::Done)
}
