//! What a tool's declaration says of it, in words that a request can be compared with.
//!
//! Everything comes from the manifest: name, description, parameter names and
//! the declared `intents`. Words are compared by their stems (Snowball
//! English), so that `reservation` asks for `reserve_hotel`; a verb that asks
//! for something is compared as it is written, because `post it` is a request
//! and `what he posted` is not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use are_core::ids::ToolName;
use rust_stemmers::{Algorithm, Stemmer};

use super::text::{Needle, Text};
use super::words;
use crate::manifest::Manifest;

/// Words of a description that are looked at: its first sentences, not a manual.
const DESCRIPTION_WORDS_MAX: usize = 64;
/// Declared intents of one tool that are looked at.
const INTENTS_MAX: usize = 64;

/// Stems of words, with the language's rules made once.
pub(super) struct Stems(Stemmer);

impl Stems {
    pub(super) fn new() -> Self {
        Self(Stemmer::create(Algorithm::English))
    }

    pub(super) fn of(&self, word: &str) -> String {
        self.0.stem(word).into_owned()
    }
}

/// The words of one tool.
#[derive(Debug)]
pub(crate) struct ToolWords {
    /// Stems of the words of its name.
    pub(super) names: BTreeSet<String>,
    /// Stems of its description that are not in its name.
    pub(super) described: BTreeSet<String>,
    /// Stems of its name, its parameters' names and the first sentence of its description: what it is about.
    pub(super) subject: BTreeSet<String>,
    /// Verbs that ask for it, as they are written.
    pub(super) actions: BTreeSet<String>,
    /// Of these, the ones of its name.
    pub(super) named_actions: BTreeSet<String>,
    /// Declared words and phrases that ask for it, each as its words.
    pub(super) intents: Vec<Needle>,
    /// False for a tool that only reads.
    pub(super) acts: bool,
    /// True for a tool that makes something new.
    pub(super) makes: bool,
    /// All words that mean it, verbs and parameter names included.
    known: BTreeSet<Arc<str>>,
}

/// The words of all tools on offer.
#[derive(Debug, Default)]
pub struct Vocabulary {
    tools: BTreeMap<ToolName, Arc<ToolWords>>,
    /// All words that mean some tool, verbs and parameter names included.
    known: BTreeSet<Arc<str>>,
}

impl FromIterator<(ToolName, Arc<ToolWords>)> for Vocabulary {
    fn from_iter<I: IntoIterator<Item = (ToolName, Arc<ToolWords>)>>(tools: I) -> Self {
        let tools: BTreeMap<_, _> = tools.into_iter().collect();
        let known = tools.values().flat_map(|tool| tool.known.iter().cloned()).collect();
        Self { tools, known }
    }
}

impl Vocabulary {
    pub(super) fn of(&self, tool: &ToolName) -> Option<&ToolWords> {
        self.tools.get(tool).map(AsRef::as_ref)
    }

    pub(super) fn tools(&self) -> impl Iterator<Item = (&ToolName, &ToolWords)> {
        self.tools.iter().map(|(name, tool)| (name, tool.as_ref()))
    }

    /// Whether a word, or its stem, means some tool or parameter.
    pub(super) fn knows(&self, word: &str, stem: &str) -> bool {
        self.known.contains(stem) || self.known.contains(word)
    }
}

impl ToolWords {
    /// The words of this manifest.
    pub(crate) fn new(manifest: &Manifest) -> Self {
        let stems = &Stems::new();
        let name = Text::new(manifest.name.as_str());
        let names: BTreeSet<String> = stemmed(&name, stems).collect();
        let description = Text::new(&manifest.description);
        let described = stemmed(&description, stems).take(DESCRIPTION_WORDS_MAX).filter(|stem| !names.contains(stem));
        let described = described.collect();
        let first = manifest.description.split_inclusive(['.', ';', '(', '\n']).next().unwrap_or_default();
        let first = Text::new(first);
        let parameters: Vec<Text> = parameters(manifest).map(|name| Text::new(&name)).collect();
        let subject = stemmed(&first, stems).take(DESCRIPTION_WORDS_MAX);
        let subject =
            subject.chain(parameters.iter().flat_map(|name| stemmed(name, stems))).chain(names.iter().cloned());
        let subject = subject.collect();
        let actions = actions(&name, &description, stems);
        let named_actions = name.words().filter(|word| actions.contains(*word)).map(str::to_owned).collect();
        let intents = manifest.intents.values().flatten().take(INTENTS_MAX);
        let intents: Vec<Needle> = intents.filter_map(|phrase| Needle::new(phrase)).collect();
        let mut known: BTreeSet<Arc<str>> = names.iter().chain(&actions).map(|word| word.as_str().into()).collect();
        let meant = intents.iter().flat_map(|intent| intent.text.words()).filter(|word| !words::is_stop(word));
        known.extend(meant.map(Arc::from));
        known.extend(parameters.iter().flat_map(|name| stemmed(name, stems)).map(Arc::from));
        Self {
            names,
            described,
            subject,
            actions,
            named_actions,
            intents,
            acts: manifest.effect != are_core::body::Effect::None,
            makes: manifest.effect == are_core::body::Effect::Create,
            known,
        }
    }
}

/// The verb of a tool: the first word of its description, which tool authors write as `Send a message` or
/// `Sends a message`, and unless that is in the name, the name's first word.
fn actions(name: &Text, description: &Text, stems: &Stems) -> BTreeSet<String> {
    let mut actions = BTreeSet::new();
    let first = description.words().next().unwrap_or_default();
    // `Compose and send a message` has two.
    let joined = |word: &&str| matches!(*word, "and" | "or");
    let second = description.words().nth(1).filter(joined).and_then(|_| description.words().nth(2)).unwrap_or_default();
    for verb in [first, second] {
        for verb in [verb, verb.strip_suffix('s').unwrap_or_default(), verb.strip_suffix("es").unwrap_or_default()] {
            actions.insert(verb.to_owned());
        }
    }
    let stem = stems.of(first);
    let of_name: Vec<&str> = name.words().filter(|word| stems.of(word) == stem).collect();
    if of_name.is_empty() {
        actions.extend(name.words().next().map(str::to_owned));
    }
    actions.extend(of_name.into_iter().map(str::to_owned));
    actions.retain(|verb| !verb.is_empty() && !words::is_stop(verb));
    actions
}

fn stemmed<'a>(text: &'a Text, stems: &'a Stems) -> impl Iterator<Item = String> + 'a {
    text.words().filter(|word| !words::is_stop(word)).map(|word| stems.of(word))
}

fn parameters(manifest: &Manifest) -> impl Iterator<Item = String> + '_ {
    let properties = manifest.schema.get("properties").and_then(serde_json::Value::as_object);
    properties.into_iter().flat_map(|properties| properties.keys().cloned())
}
