//! The prompt firewall: does a text try to steer the model against its user?
//!
//! A detector, so it only ever tightens; what keeps an attack from having
//! effects is the decision by the flow of information. Pure: a finding depends
//! on the text, the channel and [`Firewall::digest`] alone.
//!
//! Three steps. [`hygiene`], [`layers`] and [`unmask`] take disguises away and
//! yield every plain reading of the text. [`rules`] looks in each for sequences
//! of words (`lexicon.txt`, `patterns.txt`). A small linear model weighs all
//! that stands together in a window of words. The worst reading counts.

mod disguise;
mod features;
mod hygiene;
mod layers;
mod lexicon;
mod model;
mod rules;
mod sieve;
mod tokens;
mod unmask;

use std::borrow::Cow;
use std::sync::{LazyLock, OnceLock};

use aho_corasick::AhoCorasick;
use are_core::digest::Digest;
use serde::{Deserialize, Serialize};

use self::disguise::{Disguise, Disguises};
use self::features::Read;
use self::lexicon::Lexicon;
use self::model::Linear;
use self::rules::{Level, Rules};
use self::tokens::Tokens;

pub use self::features::Window;
pub use self::model::{BadModel, MODEL_BYTES};

/// Bytes of a text that are scanned: the first and the last half of it. Of a tool's result the model sees no more.
pub const SCANNED_BYTES_MAX: usize = 128 << 10;
/// Encodings inside of encodings that are opened.
const DEPTH_MAX: usize = 3;
/// Readings of one text.
const READINGS_MAX: usize = 48;
/// Bytes of all readings of one text.
const READ_BYTES_MAX: usize = 8 * SCANNED_BYTES_MAX;
/// Reasons that are given.
const REASONS_MAX: usize = 8;
/// Raised whenever the code reads a text otherwise than before.
const VERSION: u32 = 1;
/// The classifier of this program.
const WEIGHTS: &[u8] = include_bytes!("firewall/weights.bin");
/// How far above the threshold an order, a mark and a disguised attack are at least.
const ORDER_AT_LEAST: f32 = 3.0;
const MARK_AT_LEAST: f32 = 0.25;
const DISGUISED_ABOVE: f32 = 0.5;

/// Whose words are scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// A user's prompt.
    #[default]
    User,
    /// What a tool returned, or other text that is not the user's.
    Tool,
}

/// What is made of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing was found.
    Clean,
    /// It looks like an attack, or writes of one: it is labelled.
    Flagged,
    /// It is an attack's order, said in the user's own name: it is not taken.
    Refused,
}

impl Verdict {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Flagged => "flagged",
            Self::Refused => "refused",
        }
    }
}

/// What a scan came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What is made of it.
    pub verdict: Verdict,
    /// From 0 to 1,000; 500 and more is flagged. It ranks texts.
    pub score_milli: u16,
    /// Names of what was found, most telling first.
    pub reasons: Vec<String>,
}

/// The detector.
pub struct Firewall {
    model: Linear,
    digest: OnceLock<Digest>,
}

/// A plain reading of a text.
struct Reading {
    text: String,
    /// True for the text itself.
    is_base: bool,
    disguises: Disguises,
}

/// What one reading came to.
struct Judged {
    above: f32,
    level: Option<Level>,
    reasons: Vec<&'static str>,
    is_explained: bool,
}

impl Firewall {
    /// With the classifier of this program.
    ///
    /// # Errors
    /// None: the weights are part of the program.
    pub fn new() -> Result<Self, BadModel> {
        Self::with_model(WEIGHTS)
    }

    /// With another classifier.
    ///
    /// # Errors
    /// The bytes are no weights.
    pub fn with_model(weights: impl Into<Cow<'static, [u8]>>) -> Result<Self, BadModel> {
        Ok(Self { model: Linear::read(weights.into())?, digest: OnceLock::new() })
    }

    /// Identifies all that a finding depends on beside the text.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let [lexicon, rules] = [lexicon::SOURCE, rules::SOURCE].map(str::as_bytes);
        *self.digest.get_or_init(|| Digest::of(&[&VERSION.to_be_bytes(), lexicon, rules, self.model.file()]))
    }

    /// Scans a text.
    #[must_use]
    pub fn scan(&self, text: &str, channel: Channel) -> Finding {
        let readings = readings(bounded(text).as_ref());
        let signs = signs(text);
        let mut worst: Option<(Judged, Disguises)> = None;
        let mut is_hidden = false;
        let mut is_explained = false;
        let mut base = f32::NEG_INFINITY;
        for (index, reading) in readings.iter().enumerate() {
            let mut judged = self.judge(reading, if index == 0 { signs } else { 0 }, channel);
            if index == 0 {
                (base, is_explained) = (judged.above, judged.is_explained);
            }
            is_hidden |= reading.disguises.contains(Disguise::Hidden);
            // What a text asks about in an encoding is not said in the user's own name.
            if is_explained && reading.disguises.contains(Disguise::Encoded) {
                judged.level = judged.level.map(|level| level.min(Level::Mark));
            }
            // Hiding what is an attack in plain sight adds nothing.
            if !reading.disguises.is_empty() && judged.above > 0.0 && base < 0.0 {
                judged.above += DISGUISED_ABOVE;
            }
            let is_worse = worst.as_ref().is_none_or(|(known, _)| {
                (judged.level.is_some_and(|level| level == Level::Order), judged.above)
                    > (known.level.is_some_and(|level| level == Level::Order), known.above)
            });
            if is_worse {
                worst = Some((judged, reading.disguises));
            }
        }
        worst.map_or_else(Finding::clean, |(judged, disguises)| Finding::of(judged, disguises, is_hidden, channel))
    }

    /// What the classifier sees of each reading of a text; for training.
    #[must_use]
    pub fn features(text: &str) -> Vec<Vec<Window>> {
        let signs = signs(text);
        let readings = readings(bounded(text).as_ref());
        let each = readings.iter().enumerate();
        each.map(|(index, reading)| look(reading, if index == 0 { signs } else { 0 }, |_, windows| windows.to_vec()))
            .filter(|windows| !windows.is_empty())
            .collect()
    }

    fn judge(&self, reading: &Reading, signs: u32, channel: Channel) -> Judged {
        look(reading, signs, |read, windows| {
            let mut above = self.model.weigh(windows, channel);
            let telling = read.found.iter().filter(|found| found.level > Level::Hint);
            let level = telling.clone().filter(|found| !found.is_quoted).map(|found| found.level).max();
            above = match level {
                Some(Level::Order) => above.max(ORDER_AT_LEAST),
                Some(Level::Mark) => above.max(MARK_AT_LEAST),
                Some(Level::Hint) | None => above,
            };
            let mut found: Vec<_> = telling.collect();
            found.sort_by_key(|found| (std::cmp::Reverse(found.level), found.first));
            let mut reasons: Vec<&'static str> = Vec::new();
            for found in found {
                if !reasons.contains(&found.reason) {
                    reasons.push(found.reason);
                }
            }
            let is_explained = Rules::get().explains(read.hits);
            Judged { above, level, reasons, is_explained }
        })
    }
}

impl Finding {
    fn clean() -> Self {
        Self { verdict: Verdict::Clean, score_milli: 0, reasons: Vec::new() }
    }

    fn of(judged: Judged, disguises: Disguises, is_hidden: bool, channel: Channel) -> Self {
        let above = if is_hidden { judged.above.max(MARK_AT_LEAST) } else { judged.above };
        let score = 1_000.0 / (1.0 + (-above).exp());
        // Between 0 and 1,000 by its form.
        let score_milli = score.round().clamp(0.0, 1_000.0) as u16;
        let verdict = if judged.level == Some(Level::Order) && channel == Channel::User {
            Verdict::Refused
        } else if above >= 0.0 {
            Verdict::Flagged
        } else {
            Verdict::Clean
        };
        let score_milli = if verdict == Verdict::Clean { score_milli.min(499) } else { score_milli.max(500) };
        let mut reasons: Vec<String> = judged.reasons.iter().map(|reason| reason.replace(' ', ":")).collect();
        if verdict != Verdict::Clean {
            let disguises = if is_hidden { disguises.with(Disguise::Hidden) } else { disguises };
            reasons.extend(disguises.iter().map(|disguise| disguise.reason().to_owned()));
            if reasons.is_empty() {
                reasons.push("classifier".to_owned());
            }
        } else {
            reasons.clear();
        }
        reasons.truncate(REASONS_MAX);
        Self { verdict, score_milli, reasons }
    }
}

/// Reads one reading and hands on what was read.
fn look<T>(reading: &Reading, signs: u32, then: impl FnOnce(&Read<'_>, &[Window]) -> T) -> T {
    let lexicon = Lexicon::get();
    let tokens = Tokens::new(&reading.text);
    let hits = lexicon.hits(&tokens);
    let found = Rules::get().find(&tokens, &hits);
    let read = Read { tokens: &tokens, hits: &hits, found: &found, signs, classes: lexicon.len() };
    // Another reading of harmless text is noise to a classifier, so it counts only where a rule recognises something.
    let is_noise = !reading.is_base && found.is_empty();
    let windows = if is_noise { Vec::new() } else { features::windows(&read) };
    then(&read, &windows)
}

/// The first and the last half of a text that is too long.
fn bounded(text: &str) -> Cow<'_, str> {
    if text.len() <= SCANNED_BYTES_MAX {
        return text.into();
    }
    let head = text.floor_char_boundary(SCANNED_BYTES_MAX / 2);
    let tail = text.ceil_char_boundary(text.len() - SCANNED_BYTES_MAX / 2);
    format!("{}\n\n{}", &text[..head], &text[tail..]).into()
}

/// All plain readings of a text, the text itself first.
fn readings(text: &str) -> Vec<Reading> {
    let mut out = Vec::new();
    let mut waiting = vec![(text.to_owned(), Disguises::default(), 0)];
    let mut bytes = 0;
    while let Some((raw, disguises, depth)) = waiting.pop() {
        if bytes + raw.len() > READ_BYTES_MAX || out.len() >= READINGS_MAX {
            break;
        }
        let plain = hygiene::plain(&raw);
        let disguises = disguises.union(plain.disguises);
        for (text, disguise) in unmask::readings(&plain.text, plain.folded.as_deref()) {
            if out.len() < READINGS_MAX {
                bytes += text.len();
                out.push(Reading { text, is_base: false, disguises: disguises.with(disguise) });
            }
        }
        if depth < DEPTH_MAX {
            let raw = if plain.disguises.is_empty() { raw } else { hygiene::visible(&raw) };
            let inner = layers::decoded(&raw);
            waiting.extend(inner.into_iter().map(|text| (text, disguises.with(Disguise::Encoded), depth + 1)));
            if !plain.hidden.is_empty() {
                waiting.push((plain.hidden, disguises.with(Disguise::Hidden), depth + 1));
            }
        }
        bytes += plain.text.len();
        let is_base = depth == 0;
        let at = if is_base { 0 } else { out.len() };
        out.insert(at, Reading { text: plain.text, is_base, disguises });
    }
    out
}

/// Signs of a frame around words, one bit each: tags of chat templates, roles, comments, capitals.
fn signs(text: &str) -> u32 {
    const SIGNS: [&str; 20] = [
        "<|",
        "[inst",
        "<<sys",
        "### ",
        "system:",
        "user:",
        "assistant:",
        "{{",
        "-----",
        "```",
        "[[",
        "</",
        "<!--",
        "[system",
        "<system",
        "====",
        "####",
        "{%",
        "<info",
        "[/",
    ];
    let end = text.floor_char_boundary(SCANNED_BYTES_MAX);
    let text = &text[..end];
    static AUTOMATON: LazyLock<AhoCorasick> = LazyLock::new(|| {
        let automaton = AhoCorasick::builder().ascii_case_insensitive(true).build(SIGNS);
        // Twenty short texts are far below the automaton's limits.
        automaton.unwrap_or_else(|error| unreachable!("a few short texts: {error}"))
    });
    let mut signs = AUTOMATON.find_overlapping_iter(text).fold(0, |signs, found| signs | 1 << found.pattern().as_u32());
    let letters = text.bytes().filter(u8::is_ascii_alphabetic).count();
    let capitals = text.bytes().filter(u8::is_ascii_uppercase).count();
    if letters >= 12 && capitals * 2 > letters {
        signs |= 1 << 24;
    }
    signs
}

#[cfg(test)]
mod tests;
