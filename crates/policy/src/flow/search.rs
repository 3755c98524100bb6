//! Finds tools by what they say of themselves, for a model that cannot be shown all of them.
//!
//! Nothing is granted by being found. Pure, and the same for the same words, so
//! that a replay builds the same requests.

use std::collections::BTreeSet;

use are_core::ids::ToolName;

use super::text::Text;
use super::vocabulary::{Stems, ToolWords, Vocabulary};
use super::words;

/// Words of a query that are looked at.
const QUERY_WORDS_MAX: usize = 256;
/// What a word is worth where it stands.
const IN_NAME: u32 = 6;
const IN_INTENTS: u32 = 5;
const IN_DESCRIPTION: u32 = 2;

impl Vocabulary {
    /// The tools that a text is about, the nearest first; those with nothing in common with it are left out.
    #[must_use]
    pub fn find(&self, text: &str) -> Vec<ToolName> {
        let (text, stems) = (Text::new(text), Stems::new());
        let wanted: BTreeSet<String> = text
            .words()
            .take(QUERY_WORDS_MAX)
            .filter(|word| !words::is_stop(word))
            .map(|word| stems.of(word))
            .collect();
        let mut found: Vec<(u32, &ToolName)> = self
            .tools()
            .map(|(name, tool)| (score(tool, &wanted, &text), name))
            .filter(|(score, _)| *score > 0)
            .collect();
        found.sort_by(|(one, a), (other, b)| other.cmp(one).then_with(|| a.cmp(b)));
        found.into_iter().map(|(_, name)| name.clone()).collect()
    }
}

fn score(tool: &ToolWords, wanted: &BTreeSet<String>, text: &Text) -> u32 {
    let worth = |word: &String| match (tool.names.contains(word), tool.described.contains(word)) {
        (true, _) => IN_NAME,
        (false, true) => IN_DESCRIPTION,
        (false, false) => 0,
    };
    let intents = tool.intents.iter().filter(|intent| text.find(intent, 0).is_some()).count();
    wanted.iter().map(worth).sum::<u32>() + IN_INTENTS * u32::try_from(intents).unwrap_or(u32::MAX / IN_INTENTS)
}
