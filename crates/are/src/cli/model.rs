//! `are model …`: local models; no server is needed for them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use are_core::error::{Code, Fault};
use are_models::files::{self, Catalog, Installed, Presence, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::Env;
use super::args::Model;
use super::exit::{Exit, Outcome};
use super::output::Output;

/// Between two lines about a download when no terminal can show a bar.
const LINE_PAUSE: Duration = Duration::from_secs(5);

pub(super) async fn run(env: &Env, verb: Model) -> Outcome {
    match verb {
        Model::List => list(env),
        Model::Pull { alias } => pull(env, &alias).await,
        Model::Remove { alias } => {
            let is_removed = files::remove(&env.config.models_dir, &alias)?;
            if env.out.is_json {
                env.out.json(&json!({"model": alias, "is_removed": is_removed}))?;
            } else if !is_removed {
                env.out.say(&format!("`{alias}` was not installed"));
            }
            Ok(Exit::Done)
        }
    }
}

fn list(env: &Env) -> Outcome {
    let found = files::list(&env.config.models_dir);
    if env.out.is_json {
        let models: Vec<Value> = found.iter().map(as_json).collect();
        env.out.json(&json!({"models": models, "directory": env.config.models_dir}))?;
        return Ok(Exit::Done);
    }
    let row = |one: &Installed<'_>| {
        let entry = one.entry;
        vec![
            entry.alias.clone(),
            state(one.presence).to_owned(),
            entry.size_text(),
            entry.title.clone(),
            entry.about.clone(),
        ]
    };
    let rows: Vec<_> = found.iter().map(row).collect();
    env.out.table(&["MODEL", "STATE", "SIZE", "NAME", "GOOD FOR"], &rows)?;
    Ok(Exit::Done)
}

fn as_json(one: &Installed<'_>) -> Value {
    let entry = one.entry;
    json!({
        "model": entry.alias,
        "state": state(one.presence),
        "bytes": entry.size,
        "title": entry.title,
        "about": entry.about,
        "licence": entry.licence,
        "sha256": entry.sha256,
    })
}

const fn state(presence: Presence) -> &'static str {
    match presence {
        Presence::Installed => "installed",
        Presence::Missing => "missing",
        Presence::Wrong => "wrong",
    }
}

async fn pull(env: &Env, alias: &str) -> Outcome {
    let entry = Catalog::builtin().get(alias)?;
    let show: Arc<dyn Fn(Progress) + Send + Sync> = match env.out.is_coloured {
        true => bar(entry.size)?,
        false => lines(env.out),
    };
    env.out.say(&format!("{}: {}, {}, {}", entry.alias, entry.title, entry.size_text(), entry.licence));
    let path = files::pull(&env.config.models_dir, entry, show).await?;
    if env.out.is_json {
        env.out.json(&json!({"model": entry.alias, "path": path, "bytes": entry.size, "sha256": entry.sha256}))?;
    } else {
        env.out.say(&format!("sha256 {} is right; the file is {}", entry.sha256, path.display()));
    }
    Ok(Exit::Done)
}

/// A bar with size, rate and remaining time.
fn bar(bytes: u64) -> Result<Arc<dyn Fn(Progress) + Send + Sync>, Fault> {
    let style = ProgressStyle::with_template("{msg:8} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
        .map_err(|error| Fault::new(Code::INTERNAL, format!("the progress bar is unusable: {error}"), "report this"))?;
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr()).with_style(style);
    let has_begun = AtomicBool::new(false);
    Ok(Arc::new(move |progress| match progress {
        Progress::Source { name } => {
            has_begun.store(false, Ordering::Relaxed);
            bar.set_message(name);
        }
        Progress::Bytes { done, .. } => {
            bar.set_position(done);
            // What an earlier attempt had fetched did not come at this rate.
            if !has_begun.swap(true, Ordering::Relaxed) {
                bar.reset_eta();
            }
        }
        Progress::Failed { name, why } => bar.println(format!("{name}: {why}")),
        Progress::Present | Progress::Done => bar.finish_and_clear(),
    }))
}

/// Bytes in a time, as a line says it; nothing for a time too short to tell.
fn rate(bytes: u64, time: Duration) -> String {
    let kilobytes = u128::from(bytes).checked_div(time.as_millis()).unwrap_or_default();
    if kilobytes == 0 { String::new() } else { format!(", {}.{} MB/s", kilobytes / 1_000, kilobytes % 1_000 / 100) }
}

/// A line now and then.
fn lines(out: Output) -> Arc<dyn Fn(Progress) + Send + Sync> {
    let last: Mutex<Option<(Instant, u64)>> = Mutex::new(None);
    Arc::new(move |progress| match progress {
        Progress::Present => out.say("it is installed already"),
        Progress::Source { name } => out.say(&format!("fetching from the {name}")),
        Progress::Failed { name, why } => out.say(&format!("{name}: {why}")),
        Progress::Done => {}
        Progress::Bytes { done, total } => {
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            if done == total || last.is_none_or(|(at, _)| at.elapsed() >= LINE_PAUSE) {
                let rate = last
                    .replace((Instant::now(), done))
                    .map(|(at, before)| rate(done.saturating_sub(before), at.elapsed()));
                out.say(&format!("{} of {} MB{}", done / 1_000_000, total / 1_000_000, rate.unwrap_or_default()));
            }
        }
    })
}
