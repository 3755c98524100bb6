//! The local model through the engine beside the library called directly: same
//! file, same prompt, same threads.

use std::path::{Path, PathBuf};

use are_core::error::Fault;
use are_models::files::locate;
use are_models::local::bench::{Figures, directly, through};
use are_models::local::{LocalModel, Options};

use super::Figure;
use super::wire::lost;

/// Runs of each, one after the other.
const ROUNDS: usize = 3;
/// Tokens of an answer, at most.
const TOKENS: u64 = 128;
/// Sentences of the prompt: about a thousand tokens.
const SENTENCES: usize = 60;

/// Measures the model that `wish` names.
pub(super) async fn measure(models_dir: &Path, wish: &str) -> Result<Vec<Figure>, Fault> {
    let path = locate(models_dir, wish)?;
    let options = Options::new(format!("local:{wish}"));
    let (mut engine, mut warm, mut direct) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let prompt = prompt(round);
        let model = LocalModel::start(path.clone(), options.clone())?;
        model.ready().await?;
        engine.push(through(&model, &prompt, TOKENS).await?);
        warm.push(through(&model, &prompt, TOKENS).await?);
        // Dropping waits for the model's thread.
        tokio::task::spawn_blocking(move || drop(model)).await.map_err(|_| lost("the model's thread failed"))?;
        direct.push(by_the_library(path.clone(), options.clone(), prompt).await?);
    }
    let decode = middle(&direct, Figures::written_per_second);
    let prefill = middle(&direct, read_per_second);
    let cold_ms = middle(&engine, first_token_ms);
    let warm_ms = middle(&warm, first_token_ms);
    let figure = |name, value, unit| Figure::new(name, value, unit, ROUNDS);
    Ok(vec![
        figure("library_decode_per_second", decode, "1/s"),
        Figure {
            ratio: Some((ratio(&engine, &direct, Figures::written_per_second), "library_decode_per_second")),
            ..figure("local_decode_per_second", middle(&engine, Figures::written_per_second), "1/s")
        },
        figure("library_prefill_per_second", prefill, "1/s"),
        Figure {
            ratio: Some((ratio(&engine, &direct, read_per_second), "library_prefill_per_second")),
            ..figure("local_prefill_per_second", middle(&engine, read_per_second), "1/s")
        },
        figure("local_prompt_tokens", middle(&engine, |one| one.read_tokens as f64), "tokens"),
        figure("local_first_token_cold", cold_ms, "ms"),
        figure("local_first_token_warm", warm_ms, "ms").beside(cold_ms, "local_first_token_cold"),
    ])
}

async fn by_the_library(path: PathBuf, options: Options, prompt: String) -> Result<Figures, Fault> {
    let measured = tokio::task::spawn_blocking(move || directly(&path, &options, &prompt, TOKENS)).await;
    measured.map_err(|_| lost("the library failed"))?
}

/// Another text each round, so that nothing is kept from before.
fn prompt(round: usize) -> String {
    let mut text = format!("Report {round}. Retell the following in many words.\n");
    for index in 0..SENTENCES {
        text.push_str(&format!("On day {index} the carrier brought {} crates to store number {round}. ", 7 * index));
    }
    text
}

fn read_per_second(one: &Figures) -> f64 {
    one.read_tokens as f64 / one.first_token.as_secs_f64().max(f64::EPSILON)
}

fn first_token_ms(one: &Figures) -> f64 {
    one.first_token.as_secs_f64() * 1e3
}

/// Middle of the rounds' ratios: what was measured in one minute is compared with itself, as the machine's speed drifts.
fn ratio(engine: &[Figures], direct: &[Figures], of: impl Fn(&Figures) -> f64) -> f64 {
    middle_of(engine.iter().zip(direct).map(|(engine, direct)| of(engine) / of(direct)).collect())
}

fn middle(figures: &[Figures], of: impl Fn(&Figures) -> f64) -> f64 {
    middle_of(figures.iter().map(of).collect())
}

fn middle_of(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
