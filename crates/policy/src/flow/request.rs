//! The user's words of one turn, read for what they ask.
//!
//! A text is cut into clauses. A clause is a request (`send it to Bob`), a
//! question (`who wrote this?`) or a statement (`they sent me 10.00`); only
//! requests, and infinitives of statements (`your task is to post it`), ask
//! for anything. What stands in quotation marks is mentioned, not asked. A
//! clause also *mentions* objects: quoted texts, addresses, names, codes; a
//! call about none of them is not the one that the clause asks for.
//!
//! No grammar and no word list beyond function words: a wrong reading makes a
//! decision stricter or asks a person, since the user's words alone never
//! allow a value from outside.

use std::collections::HashSet;

use super::text::{Needle, Text, is_ideograph};
use super::vocabulary::Stems;
use super::words;

/// Bytes of a turn's words that are read for what they ask; a longer text still lends its values.
const REQUEST_BYTES_MAX: usize = 64 << 10;
/// Clauses that are looked at.
const CLAUSES_MAX: usize = 256;
/// Objects of one clause that are looked at.
const MENTIONS_MAX: usize = 32;
/// Letters and digits that make a code, such as an account number.
const CODE_CHARS_MIN: usize = 8;

/// What kind of clause it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Question,
    Statement,
}

/// A word of a clause.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) word: String,
    pub(super) stem: String,
    pub(super) is_quoted: bool,
}

impl Token {
    fn has_meaning(&self) -> bool {
        !words::is_stop(&self.word)
    }
}

/// A clause.
#[derive(Debug, Clone)]
pub(super) struct Clause {
    pub(super) kind: Kind,
    /// Its words, normalised, for looking up values.
    pub(super) text: Text,
    pub(super) tokens: Vec<Token>,
    /// Word that a request begins with.
    pub(super) head: Option<usize>,
    /// True for a request that ends in a question mark: it may ask for something, but leaves nothing unexplained.
    pub(super) is_doubtful: bool,
    /// Candidates for objects that it names; tools' own words are no objects.
    pub(super) mentions: Vec<Mention>,
}

/// Something that a clause may name.
#[derive(Debug, Clone)]
pub(super) struct Mention {
    pub(super) text: Needle,
    /// For a capitalised word the token before it: it is an object behind a verb or a direction, not behind `on` or `by`.
    pub(super) behind: Option<usize>,
}

/// What a turn asks.
#[derive(Debug, Clone, Default)]
pub(super) struct Request {
    pub(super) clauses: Vec<Clause>,
    /// True when it asks for more than one of something.
    pub(super) is_plural: bool,
    /// All words with a meaning, and their stems.
    words: HashSet<String>,
    stems: HashSet<String>,
}

impl Request {
    /// Adds further words of the user.
    pub(super) fn add(&mut self, raw: &str) {
        let raw = &raw[..raw.floor_char_boundary(REQUEST_BYTES_MAX)];
        let stems = Stems::new();
        let room = CLAUSES_MAX.saturating_sub(self.clauses.len());
        let clauses = cut(raw).into_iter().map(|piece| Clause::new(&piece, &stems));
        self.clauses.extend(clauses.filter(|clause| !clause.tokens.is_empty()).take(room));
        let is_plural = |token: &Token| !token.is_quoted && words::is_quantifier(&token.word);
        self.is_plural =
            words::is_plural_in_chinese(raw) || self.clauses.iter().any(|clause| clause.tokens.iter().any(is_plural));
        for token in self.clauses.iter().flat_map(|clause| &clause.tokens).filter(|token| token.has_meaning()) {
            self.words.insert(token.word.clone());
            self.stems.insert(token.stem.clone());
        }
    }

    /// Whether the word was said, as it is written.
    pub(super) fn has_word(&self, word: &str) -> bool {
        self.words.contains(word)
    }

    /// Whether a text consists of words that were said; function words and one or two digits are free.
    pub(super) fn has_words_of(&self, text: &Text) -> bool {
        let stems = Stems::new();
        let is_free =
            |word: &str| words::is_stop(word) || (word.len() <= 2 && word.bytes().all(|b| b.is_ascii_digit()));
        text.words().all(|word| is_free(word) || self.stems.contains(&stems.of(word)))
    }
}

impl Clause {
    fn new(raw: &str, stems: &Stems) -> Self {
        let text = Text::new(raw);
        let quoted = quotations(raw);
        let inside: Vec<Needle> = quoted.iter().filter_map(|quote| Needle::new(quote)).collect();
        let mut tokens: Vec<Token> =
            text.words().map(|word| Token { word: word.to_owned(), stem: stems.of(word), is_quoted: false }).collect();
        for needle in &inside {
            if let Some(at) = text.find(needle, 0) {
                tokens[at..at + needle.text.len()].iter_mut().for_each(|token| token.is_quoted = true);
            }
        }
        let (kind, head, is_doubtful) = kind(raw, &tokens);
        let mentions = mentions(raw, quoted, &tokens);
        Self { kind, text, tokens, head, is_doubtful, mentions }
    }

    /// Whether one of its words, outside quotation marks, has this stem.
    pub(super) fn has_stem(&self, stem: &str) -> bool {
        self.tokens.iter().any(|token| !token.is_quoted && token.stem == stem && token.has_meaning())
    }

    /// Whether it asks by this verb.
    pub(super) fn asks_by(&self, verb: &str) -> bool {
        let is_verb = |token: &Token| !token.is_quoted && token.word == verb;
        match self.kind {
            Kind::Request => self.tokens.iter().any(is_verb),
            Kind::Statement => self.tokens.windows(2).any(|pair| pair[0].word == "to" && is_verb(&pair[1])),
            Kind::Question => false,
        }
    }

    /// Whether the value stands right behind a word of direction, with at most a determiner and one more word between.
    pub(super) fn goes_to(&self, value: &Needle) -> bool {
        let mut from = 0;
        while let Some(at) = self.text.find(value, from) {
            let before = &self.tokens[..at];
            let before = match before {
                [rest @ .., last] if last.has_meaning() => rest,
                _ => before,
            };
            let before = match before {
                [rest @ .., last] if words::is_determiner(&last.word) => rest,
                _ => before,
            };
            let direct = self.tokens[..at].last();
            if [before.last(), direct].into_iter().flatten().any(|token| words::is_direction(&token.word)) {
                return true;
            }
            from = at + 1;
        }
        false
    }
}

/// The text with a space where a sentence follows without one, so that an address at its end is whole.
pub(super) fn spaced(raw: &str) -> String {
    let chars: Vec<char> = raw.chars().collect();
    let mut out = String::with_capacity(raw.len());
    for (at, &c) in chars.iter().enumerate() {
        out.push(c);
        if matches!(c, '.' | '!' | '?') && begins_anew(&chars[at + 1..], at.checked_sub(1).map(|at| chars[at])) {
            out.push(' ');
        }
    }
    out
}

/// Cuts a text at the ends of sentences, at commas and connectives, but not inside quotation marks.
fn cut(raw: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut closing = None;
    let chars: Vec<char> = raw.chars().collect();
    for (at, &c) in chars.iter().enumerate() {
        let (before, after) = (at.checked_sub(1).map(|at| chars[at]), chars.get(at + 1).copied());
        match closing {
            Some(close) if c == close && after.is_none_or(|c| !c.is_alphanumeric()) => closing = None,
            Some(_) => {}
            None => closing = quote_at(&chars, at).map(|(close, _)| close),
        }
        let ends = closing.is_none()
            && match c {
                '\n' | '。' | '，' | '；' | '：' | '！' | '？' => true,
                '.' | '!' | '?' | ';' | ':' | ',' => {
                    after.is_none_or(|after| after.is_whitespace() || begins_anew(&chars[at + 1..], before))
                }
                _ => false,
            };
        if let Some(piece) = pieces.last_mut() {
            piece.push(c);
        }
        let is_word_end = closing.is_none() && !after.is_some_and(char::is_alphanumeric) && c.is_alphanumeric();
        if ends {
            pieces.push(String::new());
        } else if is_word_end
            && let Some(piece) = pieces.last_mut()
            && let Some(rest) = without_last_connective(piece)
        {
            piece.truncate(rest);
            pieces.push(String::new());
        }
    }
    pieces.retain(|piece| !piece.trim().is_empty());
    pieces
}

/// A sentence that follows without a space: `… at www.a.example.They wrote`.
fn begins_anew(rest: &[char], before: Option<char>) -> bool {
    let word: String = rest.iter().take_while(|c| c.is_alphabetic()).collect();
    before.is_some_and(char::is_alphanumeric)
        && word.starts_with(char::is_uppercase)
        && (words::is_stop(&word.to_lowercase()))
}

/// Length of the piece without the connective that it ends in; the connective parts clauses only between words.
fn without_last_connective(piece: &str) -> Option<usize> {
    let at = piece.rfind(|c: char| !c.is_alphanumeric()).map_or(0, |at| at + 1);
    let is_apart = at == 0 || piece[..at].ends_with(char::is_whitespace);
    (is_apart && at > 0 && words::is_connective(&piece[at..].to_lowercase())).then_some(at)
}

/// The closing mark and the position of it, when a quotation begins at `at`.
fn quote_at(chars: &[char], at: usize) -> Option<(char, usize)> {
    let close = match chars[at] {
        '\'' => '\'',
        '"' => '"',
        '`' => '`',
        '“' => '”',
        '‘' => '’',
        '「' => '」',
        '《' => '》',
        _ => return None,
    };
    // An apostrophe stands inside a word.
    let is_opening =
        at.checked_sub(1).is_none_or(|before| !chars[before].is_alphanumeric() || is_ideograph(chars[before]));
    let end = chars[at + 1..].iter().position(|c| *c == close)? + at + 1;
    (is_opening && end > at + 1).then_some((close, end))
}

/// The texts in quotation marks.
fn quotations(raw: &str) -> Vec<String> {
    let chars: Vec<char> = raw.chars().collect();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < chars.len() {
        match quote_at(&chars, at) {
            Some((_, end)) => {
                found.push(chars[at + 1..end].iter().collect());
                at = end + 1;
            }
            None => at += 1,
        }
    }
    found
}

fn kind(raw: &str, tokens: &[Token]) -> (Kind, Option<usize>, bool) {
    if raw.chars().any(is_ideograph) {
        let kind = if words::asks_in_chinese(raw) { Kind::Question } else { Kind::Request };
        return (kind, None, false);
    }
    let word = |at: usize| tokens.get(at).map_or("", |token| token.word.as_str());
    let mut at = tokens.iter().take_while(|token| words::is_lead_in(&token.word)).count();
    let is_polite = at > 0;
    if words::is_question(word(at)) {
        return (Kind::Question, None, false);
    }
    if words::is_auxiliary(word(at)) && at + 1 < tokens.len() {
        let next = word(at + 1);
        if next == "you" {
            at += 2;
        } else if words::is_plain_verb(word(at)) && (words::is_determiner(next) || !words::is_pronoun(next)) {
            return (Kind::Request, Some(at), false);
        } else {
            return (Kind::Question, None, false);
        }
    }
    at += tokens[at.min(tokens.len())..].iter().take_while(|token| words::is_lead_in(&token.word)).count();
    if words::is_pronoun(word(at)) || is_statement(tokens, at) {
        return (Kind::Statement, None, false);
    }
    let is_doubtful = raw.trim_end().ends_with('?') && !is_polite && at == 0;
    let head = (at..tokens.len()).find(|at| tokens[*at].has_meaning());
    match head {
        Some(_) => (Kind::Request, head, is_doubtful),
        None => (Kind::Statement, None, false),
    }
}

/// A finite auxiliary before any subordinate clause: what precedes it is a subject, not a verb that asks.
fn is_statement(tokens: &[Token], at: usize) -> bool {
    let main = tokens.iter().skip(at + 1).take_while(|token| !words::is_subordinator(&token.word));
    let before = tokens.iter().skip(at);
    main.zip(before)
        .any(|(token, before)| words::is_finite(&token.word) && !words::is_pronoun(&before.word) && before.word != "to")
}

/// What a clause names: quoted texts, addresses, codes, names, and the word right behind a direction.
fn mentions(raw: &str, quoted: Vec<String>, tokens: &[Token]) -> Vec<Mention> {
    let sure = |text: &str| Needle::new(text).map(|text| Mention { text, behind: None });
    let mut found: Vec<Mention> = quoted.iter().filter_map(|quote| sure(quote)).collect();
    found.extend(raw.split_whitespace().filter_map(|piece| address_or_code(piece)).filter_map(sure));
    for pair in tokens.windows(2) {
        let (direction, next) = (&pair[0], &pair[1]);
        let is_word = next.has_meaning() && !next.is_quoted && !next.word.starts_with(|c: char| c.is_ascii_digit());
        if matches!(direction.word.as_str(), "to" | "into" | "onto") && is_word {
            found.extend(sure(&next.word));
        }
    }
    found.extend(names(raw, tokens));
    found.truncate(MENTIONS_MAX);
    found
}

fn address_or_code(piece: &str) -> Option<&str> {
    let piece = piece.trim_matches(|c: char| !c.is_alphanumeric() && c != '@' && c != '/');
    let is_number = piece.chars().all(|c| c.is_ascii_digit() || ".,:%/-".contains(c));
    let inner = piece.trim_matches(['.', '/']);
    let is_address = inner.contains(['@', '/', '.']);
    let has = |test: fn(&char) -> bool| piece.chars().any(|c| test(&c));
    let is_code = piece.len() >= CODE_CHARS_MIN && has(char::is_ascii_digit) && has(char::is_ascii_alphabetic);
    (!is_number && (is_address || is_code)).then_some(piece)
}

/// Capitalised words, unless they begin the clause or stand beside a number, as in dates.
fn names(raw: &str, tokens: &[Token]) -> Vec<Mention> {
    let pieces: Vec<&str> = raw.split(|c: char| !c.is_alphanumeric()).filter(|piece| !piece.is_empty()).collect();
    if pieces.len() != tokens.len() {
        return Vec::new();
    }
    let is_number = |at: Option<usize>| {
        at.and_then(|at| tokens.get(at)).is_some_and(|token| token.word.starts_with(|c: char| c.is_ascii_digit()))
    };
    let is_name = |at: usize| {
        let mut chars = pieces[at].chars();
        chars.next().is_some_and(char::is_uppercase)
            && chars.next().is_some_and(char::is_lowercase)
            && !is_number(at.checked_sub(1))
            && !is_number(Some(at + 1))
    };
    let behind = |at: usize| {
        tokens[..at].iter().rposition(|token| {
            !words::is_determiner(&token.word) && !matches!(token.word.as_str(), "me" | "my" | "our")
        })
    };
    let names = (1..tokens.len()).filter(|at| is_name(*at) && !tokens[*at].is_quoted);
    names.filter_map(|at| Some(Mention { text: Needle::new(&tokens[at].word)?, behind: Some(behind(at)?) })).collect()
}

#[cfg(test)]
mod tests;
