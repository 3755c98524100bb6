//! How well the prompt firewall tells attacks from harmless texts that carry
//! their answer with them, beside a plain list of words over the same texts.
//!
//! A detector is judged by what it finds while it leaves harmless texts alone:
//! the threshold is the score that one harmless text in a hundred exceeds.

use std::collections::BTreeMap;
use std::time::Instant;

use are_core::error::{Code, Fault};
use are_policy::firewall::{Channel, Firewall, Verdict};
use serde::{Deserialize, Serialize};

/// Share of harmless texts that may be called attacks.
const FALSE_SHARE: f64 = 0.01;
/// What a plain filter looks for.
const KEYWORDS: &[&str] = &[
    "ignore previous",
    "ignore all",
    "ignore the above",
    "disregard",
    "forget everything",
    "system prompt",
    "your instructions",
    "jailbreak",
    "developer mode",
    "do anything now",
    "no restrictions",
    "pretend",
    "act as",
    "bypass",
    "override",
    "reveal",
    "password",
    "忽略",
    "系统提示",
];

#[derive(Deserialize)]
struct Row {
    text: String,
    label: Label,
    #[serde(default)]
    channel: Channel,
    #[serde(default = "unknown")]
    lang: String,
    #[serde(default = "unknown")]
    kind: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Label {
    #[serde(alias = "malicious", alias = "attack")]
    Injection,
    #[serde(alias = "harmless")]
    Benign,
}

fn unknown() -> String {
    "-".to_owned()
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Attacks among the texts.
    pub attacks: usize,
    /// Harmless texts.
    pub harmless: usize,
    /// Share of attacks above the score that 1 % of harmless texts exceed.
    pub recall_at_1_percent: f64,
    /// The same for a list of words.
    pub keywords_at_1_percent: f64,
    /// How many times as much is found as by the words; absent where they find nothing.
    pub ratio: Option<f64>,
    /// Share of harmless texts that are flagged or refused as it is set up.
    pub harmless_flagged: f64,
    /// Share of attacks that are.
    pub attacks_flagged: f64,
    /// Milliseconds a KiB of text.
    pub ms_per_kib: f64,
    /// By kind and by language: how many, which share is flagged, which share is above the threshold.
    pub groups: BTreeMap<String, Group>,
}

/// Texts of one kind or language.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Group {
    /// Texts.
    pub texts: usize,
    /// Of these, flagged or refused.
    pub flagged: f64,
    /// Of these, above the score that 1 % of all harmless texts exceed.
    pub above: f64,
}

struct Scanned {
    row: Row,
    score: f64,
    words: f64,
    is_flagged: bool,
}

/// Scans every line of `data` and compares with its label.
///
/// # Errors
/// A line is no labelled text, or one of the two labels is missing.
pub fn measure(firewall: &Firewall, data: &str) -> Result<Report, Fault> {
    let (mut scanned, mut bytes, mut seconds) = (Vec::new(), 0, 0.0);
    for (at, line) in data.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let row: Row = serde_json::from_str(line).map_err(|error| unusable(&format!("line {}: {error}", at + 1)))?;
        let begun = Instant::now();
        let finding = firewall.scan(&row.text, row.channel);
        seconds += begun.elapsed().as_secs_f64();
        bytes += row.text.len();
        let lower = row.text.to_lowercase();
        let words = KEYWORDS.iter().filter(|word| lower.contains(*word)).count();
        scanned.push(Scanned {
            row,
            score: f64::from(finding.score_milli),
            words: words as f64,
            is_flagged: finding.verdict != Verdict::Clean,
        });
    }
    let count = |label: Label| scanned.iter().filter(|one| one.row.label == label).count();
    let (attacks, harmless) = (count(Label::Injection), count(Label::Benign));
    if attacks == 0 || harmless == 0 {
        return Err(unusable("it needs texts labelled `injection` and texts labelled `benign`"));
    }
    let (threshold, recall) = at_false_share(&scanned, |one| one.score);
    let (_, keywords) = at_false_share(&scanned, |one| one.words);
    let share = |label: Label, total: usize| {
        scanned.iter().filter(|one| one.row.label == label && one.is_flagged).count() as f64 / total as f64
    };
    Ok(Report {
        attacks,
        harmless,
        recall_at_1_percent: recall,
        keywords_at_1_percent: keywords,
        ratio: (keywords > 0.0).then(|| recall / keywords),
        harmless_flagged: share(Label::Benign, harmless),
        attacks_flagged: share(Label::Injection, attacks),
        ms_per_kib: seconds * 1e3 / (bytes.max(1) as f64 / 1024.0),
        groups: groups(&scanned, threshold),
    })
}

/// The score that the allowed share of harmless texts exceeds, and the share of attacks above it.
fn at_false_share(scanned: &[Scanned], score: impl Fn(&Scanned) -> f64) -> (f64, f64) {
    let of = |label: Label| scanned.iter().filter(move |one| one.row.label == label).map(&score);
    let mut harmless: Vec<f64> = of(Label::Benign).collect();
    harmless.sort_by(|a, b| b.total_cmp(a));
    let allowed = (harmless.len() as f64 * FALSE_SHARE) as usize;
    let threshold = harmless.get(allowed).copied().unwrap_or(f64::INFINITY);
    let attacks: Vec<f64> = of(Label::Injection).collect();
    let found = attacks.iter().filter(|score| **score > threshold).count();
    (threshold, found as f64 / attacks.len().max(1) as f64)
}

fn groups(scanned: &[Scanned], threshold: f64) -> BTreeMap<String, Group> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for one in scanned {
        let label = if one.row.label == Label::Injection { "attack" } else { "harmless" };
        for name in [format!("{label} {}", one.row.kind), format!("{label} lang {}", one.row.lang)] {
            let group = groups.entry(name).or_default();
            group.texts += 1;
            group.flagged += f64::from(u8::from(one.is_flagged));
            group.above += f64::from(u8::from(one.score > threshold));
        }
    }
    for group in groups.values_mut() {
        group.flagged /= group.texts as f64;
        group.above /= group.texts as f64;
    }
    groups
}

fn unusable(what: &str) -> Fault {
    Fault::new(
        Code::CONFIG_INVALID,
        format!("the file is no set of labelled texts: {what}"),
        "write one object a line: {\"text\": …, \"label\": \"injection\" or \"benign\", \"kind\"?, \"lang\"?, \"channel\"?}",
    )
}
