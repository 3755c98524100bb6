//! Sequences of classes that are attacks, and whether one is an order of the
//! speaker's own or words that it writes about.
//!
//! The sequences are data (`patterns.txt`). What makes an order of it is the
//! place: at the head of a short text's sentence, after nothing but polite
//! words, outside of quotations, in a sentence that explains nothing.

use std::sync::LazyLock;

use super::lexicon::{ClassSet, Hit, Lexicon};
use super::tokens::{Tokens, is_ideograph};

/// The sequences.
pub(super) const SOURCE: &str = include_str!("patterns.txt");
/// Hits after one that are tried as its next; a sentence has fewer within the gaps.
const TRIED_MAX: usize = 48;
/// Words of the longest text that is an order as a whole.
const ORDER_WORDS_MAX: usize = 120;
/// Words that an order may begin with before its verb.
const LEAD_WORDS_MAX: usize = 8;
/// Words before and after a sequence that say whether it is explained.
const AROUND_WORDS: usize = 24;

/// What may stand before the verb of an order.
const LEAD: &[&str] = &[
    "please",
    "now",
    "you",
    "must",
    "should",
    "will",
    "shall",
    "can",
    "could",
    "would",
    "kindly",
    "hey",
    "hi",
    "hello",
    "ok",
    "okay",
    "and",
    "then",
    "so",
    "just",
    "also",
    "first",
    "i",
    "want",
    "need",
    "to",
    "assistant",
    "ai",
    "chatgpt",
    "dear",
    "lets",
    "let",
    "us",
    "have",
    "ordered",
    "order",
    "command",
    "instruct",
    "is",
    "important",
    "urgent",
    "immediately",
    "from",
    "on",
    "the",
    "all",
    "bitte",
    "por",
    "favor",
    "per",
    "favore",
    "sil",
    "s",
    "il",
    "te",
    "vous",
    "plait",
    "tolong",
    "mohon",
    "пожалуйста",
    "теперь",
    "do",
    "as",
    "say",
    "system",
    "admin",
    "user",
];
/// The same, written without spaces.
const LEAD_IDEOGRAPHS: &str = "请你您现在立即立刻马上把将给我的先全部所有要必须完整一下帮今すべての";

/// What the words would bring about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// It counts for the score.
    Hint,
    /// It is flagged.
    Mark,
    /// It is refused where a user says it.
    Order,
}

struct Rule {
    reason: &'static str,
    level: Level,
    first: ClassSet,
    /// Most units to the next, and what it may be.
    rest: Vec<(u32, ClassSet)>,
}

/// The rules of this program.
pub(super) struct Rules {
    rules: Vec<Rule>,
    explains: ClassSet,
}

/// A sequence that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// `family name`.
    pub(super) reason: &'static str,
    /// How much it says, for what it is here.
    pub(super) level: Level,
    /// Number of the rule, a feature.
    pub(super) rule: u16,
    /// First token.
    pub(super) first: u32,
    /// Last token.
    pub(super) last: u32,
    /// True when it stands in a quotation or reaches into one.
    pub(super) is_quoted: bool,
}

impl Rules {
    /// The rules of this program.
    pub(super) fn get() -> &'static Self {
        static RULES: LazyLock<Rules> = LazyLock::new(Rules::read);
        &RULES
    }

    fn read() -> Self {
        let lexicon = Lexicon::get();
        let set =
            |names: &str| names.split('|').filter_map(|name| lexicon.class(name)).fold(0, |set, at| set | 1 << at);
        let mut rules = Vec::new();
        for line in SOURCE.lines().filter(|line| !line.starts_with('#')) {
            let Some((head, sequence)) = line.split_once(": ") else { continue };
            let Some((name, level)) = head.rsplit_once(' ') else { continue };
            let level = match level {
                "order" => Level::Order,
                "mark" => Level::Mark,
                _ => Level::Hint,
            };
            let mut parts = sequence.split(' ');
            let first = parts.next().map_or(0, set);
            let mut rest = Vec::new();
            while let (Some(gap), Some(names)) = (parts.next(), parts.next()) {
                let gap = gap.trim_start_matches('<').parse().unwrap_or(0);
                rest.push((gap, set(names)));
            }
            rules.push(Rule { reason: name, level, first, rest });
        }
        Self { rules, explains: set("DEFEND|ASK|CODE") }
    }

    /// How many rules there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether a text explains, asks or speaks of code.
    pub(super) fn explains(&self, hits: &[Hit]) -> bool {
        hits.iter().any(|hit| self.explains & (1 << hit.class) != 0)
    }

    /// True when every part of every rule names a class that exists.
    #[cfg(test)]
    pub(super) fn is_whole(&self) -> bool {
        self.rules.iter().all(|rule| rule.first != 0 && rule.rest.iter().all(|(gap, set)| *gap > 0 && *set != 0))
    }

    /// The first place of each rule that is found, the most telling one where there are several.
    pub(super) fn find(&self, tokens: &Tokens, hits: &[Hit]) -> Vec<Found> {
        let mut found = Vec::new();
        let present = hits.iter().fold(0, |set: ClassSet, hit| set | 1 << hit.class);
        for (number, rule) in self.rules.iter().enumerate() {
            if rule.first & present == 0 || rule.rest.iter().any(|(_, set)| set & present == 0) {
                continue;
            }
            let places = (0..hits.len()).filter(|at| rule.first & (1 << hits[*at].class) != 0);
            let matches = places.filter_map(|at| Some((hits[at], ends(rule, tokens, hits, at)?)));
            // Many places of one rule say no more than the first ones.
            let best = matches.take(TRIED_MAX).map(|(first, last)| self.judge(number, first, last, tokens, hits));
            found.extend(best.max_by_key(|found: &Found| (!found.is_quoted, found.level)));
        }
        found
    }

    fn judge(&self, number: usize, first: Hit, last: u32, tokens: &Tokens, hits: &[Hit]) -> Found {
        let rule = &self.rules[number];
        let (from, to) = (first.first as usize, (last as usize).min(tokens.list.len().saturating_sub(1)));
        // What begins outside of a quotation and ends in it is no sentence.
        let is_quoted = tokens.list[from].is_quoted || tokens.list[to].is_quoted;
        let level = if rule.level == Level::Order && (is_quoted || !self.is_order(from, to, tokens, hits)) {
            Level::Mark
        } else {
            rule.level
        };
        let rule_no = u16::try_from(number).unwrap_or(u16::MAX);
        Found { reason: rule.reason, level, rule: rule_no, first: first.first, last, is_quoted }
    }

    fn is_order(&self, from: usize, to: usize, tokens: &Tokens, hits: &[Hit]) -> bool {
        let words = tokens.list.last().map_or(0, |last| last.unit / super::tokens::WORD_UNITS);
        if words as usize > ORDER_WORDS_MAX {
            return false;
        }
        let begins = (0..=from).rev().find(|at| tokens.list[*at].starts_sentence).unwrap_or(0);
        let is_lead = |at: usize| {
            let word = tokens.word(at);
            LEAD.contains(&word) || word.chars().all(|c| is_ideograph(c) && LEAD_IDEOGRAPHS.contains(c))
        };
        if from - begins > LEAD_WORDS_MAX || !(begins..from).all(is_lead) {
            return false;
        }
        let (near, far) = (from.saturating_sub(AROUND_WORDS), to + AROUND_WORDS);
        let is_explained = hits.iter().any(|hit| {
            let at = hit.first as usize;
            self.explains & (1 << hit.class) != 0 && (near..=far).contains(&at)
        });
        !is_explained
    }
}

/// The last token of the sequence that begins with the hit `at`.
fn ends(rule: &Rule, tokens: &Tokens, hits: &[Hit], at: usize) -> Option<u32> {
    let (mut index, mut last) = (at, hits[at].last);
    for (gap, set) in &rule.rest {
        let end = tokens.list.get(last as usize)?.unit;
        let next = hits[index + 1..].iter().take(TRIED_MAX).position(|hit| {
            let begins = tokens.list[hit.first as usize].unit;
            set & (1 << hit.class) != 0 && hit.first > last && begins <= end + gap + super::tokens::WORD_UNITS
        })?;
        index += 1 + next;
        last = hits[index].last;
    }
    Some(last)
}
