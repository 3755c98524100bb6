//! What `are run`, `are chat` and `are acp` wish for of a model.

use are_core::model::Effort;
use clap::Args;

/// The levels of effort, least first.
const EFFORTS: [Effort; 5] = [Effort::Low, Effort::Medium, Effort::High, Effort::Xhigh, Effort::Max];
/// The highest temperature that the server takes.
const TEMPERATURE_MAX: f64 = 2.0;

/// What a model is wished to be and to do.
#[derive(Debug, Clone, Default, Args)]
pub struct Wishes {
    /// Model that answers, as `provider:model`
    #[arg(long, value_name = "MODEL", conflicts_with = "local_llm")]
    pub model: Option<String>,
    /// How much the model should think: `low`, `medium`, `high`, `xhigh` or `max`
    #[arg(long, value_name = "LEVEL", value_parser = effort)]
    pub effort: Option<Effort>,
    /// Sampling temperature, from 0 to 2
    #[arg(long, value_name = "N", value_parser = temperature)]
    pub temperature: Option<f64>,
}

fn effort(text: &str) -> Result<Effort, String> {
    EFFORTS.into_iter().find(|level| level.word() == text).ok_or_else(|| {
        let words: Vec<String> = EFFORTS.iter().map(|level| format!("`{}`", level.word())).collect();
        format!("write one of {}", words.join(", "))
    })
}

fn temperature(text: &str) -> Result<f64, &'static str> {
    let number = text.parse().ok().filter(|number| (0.0..=TEMPERATURE_MAX).contains(number));
    number.ok_or("write a number from 0 to 2, such as `0.7`")
}
