//! The user's words of one turn, read for what they ask.
//!
//! A text is cut into clauses. A clause is a request (`send it to Bob`), a
//! question (`who wrote this?`) or a statement (`they sent me 10.00`); only
//! requests, and infinitives of statements of what the user wants (`your task
//! is to post it`), ask for anything. What stands in quotation marks is
//! mentioned, not asked; what stands behind a negation (`never send it`) is
//! forbidden, not asked; what others want (`they ask me to pay`) is reported.
//! A clause also *mentions* objects: quoted texts, addresses, names, codes; a
//! call about none of them is not the one that the clause asks for.
//!
//! No grammar and no word list beyond function words: a wrong reading makes a
//! decision stricter or asks a person, since the user's words alone never
//! allow a value from outside.

mod aims;

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
/// Letters of a name that an address can stand for.
const END_CHARS_MIN: usize = 3;
/// Letters and digits that make a code, such as an account number.
const CODE_CHARS_MIN: usize = 8;

/// What kind of clause it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Question,
    Statement,
    /// `Never send it to Bob`: its objects are not to be touched.
    Prohibition,
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
    /// Which sentence it is a part of.
    pub(super) sentence: usize,
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
    sentences: usize,
    /// All words with a meaning, and their stems.
    words: HashSet<String>,
    stems: HashSet<String>,
    /// What addresses in it end in: `billing-api` of `https://git.example/team/billing-api.git`.
    ends: HashSet<String>,
    /// Addresses in it, as values are compared.
    addresses: HashSet<String>,
}

impl Request {
    /// Adds further words of the user.
    pub(super) fn add(&mut self, raw: &str) {
        let raw = &raw[..raw.floor_char_boundary(REQUEST_BYTES_MAX)];
        let stems = Stems::new();
        self.ends.extend(raw.split_whitespace().filter_map(end_of_address));
        self.addresses
            .extend(raw.split_whitespace().filter_map(address_or_code).map(|one| Text::new(one).as_str().to_owned()));
        let room = CLAUSES_MAX.saturating_sub(self.clauses.len());
        let mut is_forbidding = false;
        for piece in cut(raw).into_iter().take(room) {
            let mut clause = Clause::new(&piece.text, &stems);
            // `Do not, whatever they say, send it`: a negation holds to the end of its sentence.
            if piece.goes_on && is_forbidding && clause.kind == Kind::Request {
                clause.kind = Kind::Prohibition;
            }
            // `Not going to make it, cancel it` tells; it forbids nothing that follows.
            let is_told = clause.head.is_some_and(|head| clause.tokens[head].word.ends_with("ing"));
            // `Restart nothing, just tell Bob` forbids what it says of the object, and no more.
            let is_forbidden = clause.kind == Kind::Prohibition && !is_told && !clause.denies_object();
            is_forbidding = is_forbidden || (piece.goes_on && is_forbidding);
            clause.sentence = self.sentences + usize::from(!piece.goes_on);
            self.sentences = clause.sentence;
            if !clause.tokens.is_empty() {
                self.clauses.push(clause);
            }
        }
        for token in self.clauses.iter().flat_map(|clause| &clause.tokens).filter(|token| token.has_meaning()) {
            self.words.insert(token.word.clone());
            self.stems.insert(token.stem.clone());
        }
    }

    /// Whether a word describes something: `the channel starting with it`, or in quotation marks.
    pub(super) fn describes_by(&self, word: &str) -> bool {
        self.clauses.iter().any(|clause| clause.describes_by(word))
    }

    /// Whether an address was said that ends in this name.
    pub(super) fn has_address_of(&self, name: &str) -> bool {
        self.ends.contains(Text::new(name.trim()).as_str())
    }

    /// Whether an address was said that is this one, but for a tag behind it: `r.example/api:1.2` says `r.example/api`.
    pub(super) fn has_address_before_tag(&self, address: &str) -> bool {
        let address = Text::new(address);
        let is_tag = |rest: &str| rest.is_empty() || (rest.starts_with([':', '@']) && !rest.contains('/'));
        address.as_str().contains('/')
            && self.addresses.iter().any(|said| said.strip_prefix(address.as_str()).is_some_and(is_tag))
    }

    /// Whether a statement right behind a request says whose address this is: `mail it to my brother. He is bob@a.example`.
    pub(super) fn tells_address(&self, clause: &Clause, value: &Needle) -> bool {
        let behind = self.clauses.iter().skip_while(|other| !std::ptr::eq(*other, clause)).nth(1);
        clause.goes_to_somebody()
            && behind.is_some_and(|told| {
                told.kind == Kind::Statement
                    && told.tokens.first().is_some_and(|first| words::is_pronoun(&first.word))
                    && told.text.find(value, 0).is_some_and(|at| {
                        at.checked_sub(1).is_some_and(|before| matches!(told.tokens[before].word.as_str(), "is" | "s"))
                    })
            })
    }

    /// Whether the user says to be called that: `this is Alice`, `I am Alice`.
    pub(super) fn is_self(&self, name: &str) -> bool {
        let Some(name) = Needle::new(name) else { return false };
        let says = |clause: &Clause| {
            let start = clause.tokens.iter().take_while(|token| words::is_lead_in(&token.word)).count();
            let word = |at: usize| clause.tokens.get(start + at).map_or("", |token| token.word.as_str());
            let is_said = matches!((word(0), word(1)), ("this", "is") | ("i", "am" | "m"));
            let is_whole = clause.tokens.len() == start + 2 + name.text.len();
            is_said && is_whole && clause.kind == Kind::Statement && clause.text.holds_at(start + 2, &name)
        };
        self.clauses.iter().any(says)
    }

    /// Whether the sentence of a clause asks for more than one of something.
    pub(super) fn is_plural(&self, clause: &Clause) -> bool {
        self.clauses.iter().any(|other| other.sentence == clause.sentence && other.is_plural())
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
        let mut tokens: Vec<Token> =
            text.words().map(|word| Token { word: word.to_owned(), stem: stems.of(word), is_quoted: false }).collect();
        mark_quoted(raw, &mut tokens);
        let (kind, head, is_doubtful) = kind(raw, &tokens);
        let mentions = mentions(raw, quoted, &tokens);
        Self { kind, text, tokens, head, is_doubtful, sentence: 0, mentions }
    }

    /// Whether only what stands behind its main verb is negated: `delete nothing`, `send no mail`.
    fn denies_object(&self) -> bool {
        let negators = || (0..self.tokens.len()).filter(|at| words::is_negator(&self.tokens[*at].word));
        let is_object = |at: usize| matches!(self.tokens[at].word.as_str(), "no" | "nobody" | "nothing" | "none");
        self.head.is_some_and(|head| negators().all(|at| at > head && is_object(at))) && negators().next().is_some()
    }

    /// Whether one of its words, outside quotation marks, has this stem.
    pub(super) fn has_stem(&self, stem: &str) -> bool {
        self.tokens.iter().any(|token| !token.is_quoted && token.stem == stem && token.has_meaning())
    }

    /// The same of the part that its main verb rules, before any other clause begins.
    pub(super) fn rules_stem(&self, stem: &str) -> bool {
        let from = self.head.unwrap_or(0);
        let is_this = |token: &Token| !token.is_quoted && token.stem == stem && token.has_meaning();
        (from..self.tokens.len()).any(|at| is_this(&self.tokens[at]) && !self.opens_between(from, at))
    }

    /// Whether it asks by this verb: as its main verb, or in an infinitive that depends on what the user wants.
    pub(super) fn asks_by(&self, verb: &str) -> bool {
        (0..self.tokens.len())
            .any(|at| !self.tokens[at].is_quoted && self.tokens[at].word == verb && self.is_asking_verb(at))
    }

    /// Whether a declared intent stands in it, outside quotation marks, and in the part that asks: where a verb asks, or
    /// among what the main verb rules.
    pub(super) fn uses(&self, phrase: &Needle) -> bool {
        let asks = |at: usize| {
            let is_infinitive = at > 0 && self.tokens[at - 1].word == "to" && self.head.is_some();
            let is_ruled =
                self.kind == Kind::Request && !is_infinitive && !self.turns_between(self.head.unwrap_or(0), at);
            !self.tokens[at].is_quoted && (self.is_asking_verb(at) || is_ruled)
        };
        let mut from = 0;
        while let Some(at) = self.text.find(phrase, from) {
            if matches!(self.kind, Kind::Request | Kind::Statement) && asks(at) {
                return true;
            }
            from = at + 1;
        }
        false
    }

    fn is_asking_verb(&self, at: usize) -> bool {
        let word = |at: usize| self.tokens[at].word.as_str();
        let is_behind = |word_before: &str| at > 0 && word(at - 1) == word_before;
        match (self.kind, self.head) {
            (Kind::Request, None) => true,
            (Kind::Request, Some(head)) if at <= head => at == head,
            (Kind::Request, Some(head)) => {
                let is_others = |to: usize| matches!(word(to - 1), "me" | "us") && to - 1 != head + 1;
                let is_infinitive = is_behind("to") && at - 1 > head && !is_others(at - 1);
                let is_main = at == head + 1 && word(head).ends_with("ly");
                ((is_infinitive || is_main || is_behind("please")) && !self.turns_between(head, at))
                    || (is_infinitive && self.is_told(head, at - 1))
            }
            (Kind::Statement, _) => is_behind("to") && self.is_wanted(at - 1),
            (Kind::Question | Kind::Prohibition, _) => false,
        }
    }

    /// Whether the user wants what the infinitive behind `to` says: `I want you to`, `you need to`, `your task is to`.
    fn is_wanted(&self, to: usize) -> bool {
        let word = |at: usize| self.tokens.get(at).map_or("", |token| token.word.as_str());
        let start = self.tokens.iter().take_while(|token| words::is_lead_in(&token.word)).count();
        let is_volition = (start + 1..to).take(3).any(|at| words::is_volition(word(at)));
        let is_task = words::is_determiner(word(start)) || matches!(word(start), "your");
        let is_copula = to.checked_sub(1).is_some_and(|at| matches!(word(at), "is" | "was"));
        let is_apart = |at: usize| words::is_opener(word(at)) && !matches!(word(at), "i" | "we" | "you");
        !(start + 1..to).any(is_apart)
            && match word(start) {
                "i" | "we" | "you" => is_volition,
                _ => is_task && is_copula && to <= start + 5,
            }
    }

    /// Whether a request tells the user's wish in a clause of its own: `note that you have to` before `to`.
    fn is_told(&self, head: usize, to: usize) -> bool {
        let word = |at: usize| self.tokens[at].word.as_str();
        let subject = (head + 1..to).rev().take(4).find(|at| matches!(word(*at), "i" | "we" | "you"));
        subject.is_some_and(|at| {
            (at + 1..to).all(|at| words::is_volition(word(at)) || words::is_lead_in(word(at)))
                && (at + 1..to).any(|at| words::is_volition(word(at)))
                && !words::is_opener(word(at - 1))
        })
    }

    /// Whether another clause begins between two words: what follows is not what the first one asks.
    fn opens_between(&self, from: usize, to: usize) -> bool {
        let opens = |at: usize| {
            let word = self.tokens[at].word.as_str();
            words::is_opener(word) || (word == "that" && at > from + 1)
        };
        (from + 1..to).any(opens)
    }

    /// The same, where a description of somebody (`whoever wants to send it`) counts as a clause too.
    fn turns_between(&self, from: usize, to: usize) -> bool {
        self.opens_between(from, to) || (from + 1..to).any(|at| words::is_indefinite(&self.tokens[at].word))
    }

    /// Whether a value is named as an object: any value of more than one word, an address or a code; a plain word only
    /// as a name, in quotation marks, right behind the main verb or behind a direction.
    pub(super) fn names(&self, value: &Needle) -> bool {
        let mut next = 0;
        while let Some(at) = self.text.find(value, next) {
            let is_plain = value.text.len() == 1 && !value.is_address();
            let is_word = is_plain && value.text.word(0).chars().all(char::is_alphabetic);
            let behind = at.checked_sub(1).map(|before| &self.tokens[before]);
            let is_object = self.tokens[at].is_quoted
                || self.head.is_some_and(|head| head + 1 == at)
                || behind.is_some_and(|token| words::is_direction(&token.word))
                || self.mentions.iter().any(|mention| mention.text.text == value.text);
            if !is_word || is_object || self.tokens[at].word.chars().any(is_ideograph) {
                return true;
            }
            next = at + 1;
        }
        false
    }

    /// Whether a value stands behind its main verb, before any other clause begins.
    pub(super) fn rules(&self, value: &Needle) -> bool {
        self.kind == Kind::Request
            && self.head.zip(self.text.find(value, 0)).is_some_and(|(head, at)| {
                let is_that = |token: &Token| token.word == "that";
                at > head
                    && !self.tokens[at].is_quoted
                    && !self.opens_between(head, at)
                    && !self.tokens[head..at].iter().any(is_that)
            })
    }

    /// Whether it says how much or how many, and not as a share of something to be worked out.
    pub(super) fn has_number(&self) -> bool {
        !self.text.as_str().contains('%')
            && self.tokens.iter().any(|token| token.word.bytes().all(|byte| byte.is_ascii_digit()))
    }

    fn describes_by(&self, word: &str) -> bool {
        (0..self.tokens.len()).any(|at| {
            let is_participle = |at: usize| self.tokens[at].word.ends_with("ing") && self.tokens[at].has_meaning();
            let is_with = |at: usize| matches!(self.tokens[at].word.as_str(), "with" | "by" | "as");
            let is_described =
                (at > 1 && is_with(at - 1) && is_participle(at - 2)) || (at > 0 && is_participle(at - 1));
            self.tokens[at].word == word && (self.tokens[at].is_quoted || is_described)
        })
    }

    /// Whether it asks for more than one of something.
    fn is_plural(&self) -> bool {
        words::is_plural_in_chinese(self.text.as_str())
            || self.tokens.iter().any(|token| !token.is_quoted && words::is_quantifier(&token.word))
    }
}

/// The user's own words, and the lines that quote somebody as mails do, with `>`.
pub(super) fn without_block_quotes(raw: &str) -> (String, String) {
    let is_quote = |line: &&str| line.trim_start().starts_with('>');
    let (quoted, own): (Vec<&str>, Vec<&str>) = raw.split_inclusive('\n').partition(is_quote);
    (own.concat(), quoted.concat())
}

/// What in a text of the user's is the user's own word: the lines that quote somebody, with `>`, are not.
#[must_use]
pub fn own_words(raw: &str) -> String {
    without_block_quotes(raw).0
}

/// Marks the words inside quotation marks, by where they stand: what is quoted may hold anything.
fn mark_quoted(raw: &str, tokens: &mut [Token]) {
    let chars: Vec<char> = raw.chars().collect();
    let words_of = |part: &[char]| Text::new(&part.iter().collect::<String>()).len();
    let (mut at, mut from, mut token) = (0, 0, 0);
    while at < chars.len() {
        let Some((_, end)) = quote_at(&chars, at) else {
            at += 1;
            continue;
        };
        token += words_of(&chars[from..at]);
        let len = words_of(&chars[at..=end]);
        tokens.iter_mut().skip(token).take(len).for_each(|token| token.is_quoted = true);
        token += len;
        (at, from) = (end + 1, end + 1);
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

/// A piece of a text.
#[derive(Debug, Default)]
struct Piece {
    text: String,
    /// True when the sentence of the piece before goes on.
    goes_on: bool,
}

/// Cuts a text at the ends of sentences, at commas and connectives, but not inside quotation marks.
fn cut(raw: &str) -> Vec<Piece> {
    let mut pieces = vec![Piece::default()];
    let mut closing = None;
    let chars: Vec<char> = raw.chars().collect();
    for (at, &c) in chars.iter().enumerate() {
        let (before, after) = (at.checked_sub(1).map(|at| chars[at]), chars.get(at + 1).copied());
        match closing {
            Some(close) if c == close && after.is_none_or(|c| !c.is_alphanumeric()) => closing = None,
            Some(_) => {}
            None => closing = quote_at(&chars, at).map(|(close, _)| close),
        }
        let is_dash = matches!(c, '-' | '–' | '—')
            && before.is_none_or(char::is_whitespace)
            && after.is_none_or(char::is_whitespace)
            && pieces.last().is_some_and(|piece| piece.text.contains(char::is_alphanumeric));
        let ends = closing.is_none()
            && match c {
                '-' | '–' | '—' => is_dash,
                '\n' | '。' | '，' | '；' | '：' | '！' | '？' => true,
                '.' | '!' | '?' | ';' | ':' | ',' => {
                    after.is_none_or(|after| after.is_whitespace() || begins_anew(&chars[at + 1..], before))
                }
                _ => false,
            };
        if let Some(piece) = pieces.last_mut() {
            piece.text.push(c);
        }
        let is_word_end = closing.is_none() && !after.is_some_and(char::is_alphanumeric) && c.is_alphanumeric();
        if ends {
            pieces.push(Piece { text: String::new(), goes_on: is_dash || matches!(c, ',' | '，' | ':' | '：') });
        } else if is_word_end
            && let Some(piece) = pieces.last_mut()
            && let Some(rest) = without_last_connective(&piece.text)
        {
            let goes_on = !piece.text[rest..].trim().eq_ignore_ascii_case("but");
            piece.text.truncate(rest);
            pieces.push(Piece { text: String::new(), goes_on });
        }
    }
    pieces.retain(|piece| !piece.text.trim().is_empty());
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
    let before = piece.char_indices().rfind(|(_, c)| !c.is_alphanumeric());
    let at = before.map_or(0, |(at, c)| at + c.len_utf8());
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
        let kind = match raw {
            raw if words::asks_in_chinese(raw) => Kind::Question,
            raw if words::forbids_in_chinese(raw) => Kind::Prohibition,
            _ => Kind::Request,
        };
        return (kind, None, false);
    }
    let (kind, head, is_doubtful) = kind_in_english(raw, tokens);
    let from = head.map_or(0, |head| head + 1);
    let is_negated = tokens.iter().enumerate().any(|(at, token)| {
        // In `send what they do not want` somebody else's clause is negated; `I` begins a statement of its own.
        let opens = |t: &Token| words::is_opener(&t.word) && (head.is_some() || !words::is_pronoun(&t.word));
        let is_aside = tokens.get(from..at).is_some_and(|before| before.iter().any(|t| opens(t) || t.word == "that"));
        words::is_negator(&token.word) && !token.is_quoted && !is_aside
    });
    match kind {
        Kind::Request | Kind::Statement if is_negated => (Kind::Prohibition, head, is_doubtful),
        Kind::Request | Kind::Question | Kind::Statement | Kind::Prohibition => (kind, head, is_doubtful),
    }
}

fn kind_in_english(raw: &str, tokens: &[Token]) -> (Kind, Option<usize>, bool) {
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
    // `Before you delete it` and `if they pay` are no requests; what follows behind the comma may be.
    let begins_aside = words::is_opener(word(at)) || matches!(word(at), "after" | "as" | "because" | "although");
    if word(at) == "if"
        && let Some(head) = behind_condition(tokens, at)
    {
        return (Kind::Request, Some(head), false);
    }
    if words::is_pronoun(word(at)) || begins_aside || is_statement(tokens, at) {
        return (Kind::Statement, None, false);
    }
    // `Let Bob know`: what somebody is let do is not the verb that asks.
    if word(at) == "let" {
        return (Kind::Request, Some(at), false);
    }
    let is_doubtful = raw.trim_end().ends_with('?') && !is_polite && at == 0;
    let head = (at..tokens.len()).find(|at| tokens[*at].has_meaning());
    match head {
        Some(_) => (Kind::Request, head, is_doubtful),
        None => (Kind::Statement, None, false),
    }
}

/// The verb behind a condition that no comma ends (`if it is red leave a comment`): a word with an object right behind it,
/// after the condition's own verb and behind a word that is no subject, auxiliary or article of it.
fn behind_condition(tokens: &[Token], at: usize) -> Option<usize> {
    let finite = (at + 2..tokens.len()).find(|at| words::is_finite(&tokens[*at].word))?;
    let is_apart = |token: &Token| words::is_opener(&token.word) || token.word == "that";
    (finite + 2..tokens.len()).take_while(|at| !is_apart(&tokens[*at])).find(|at| {
        tokens[*at].has_meaning()
            && !tokens[*at].is_quoted
            && tokens[*at - 1].has_meaning()
            && tokens.get(*at + 1).is_some_and(|next| words::is_object(&next.word))
    })
}

/// A finite auxiliary before any subordinate clause: what precedes it is a subject, not a verb that asks.
fn is_statement(tokens: &[Token], at: usize) -> bool {
    // In `tell Bob I will be late` a clause of its own follows, whose verb is not the main one.
    let is_apart = |token: &Token| words::is_subordinator(&token.word) || words::is_subject(&token.word);
    let main = tokens.iter().skip(at + 1).take_while(|token| !is_apart(token));
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

/// The name that an address is of: its last part without what follows a dot, a colon, `@`, `?` or `#`. The first part is
/// a host or an owner, and not what the address is of.
fn end_of_address(piece: &str) -> Option<String> {
    let piece = piece.trim_matches(|c: char| !c.is_alphanumeric() && c != '/');
    let path = piece.split_once("://").map_or(piece, |(_, rest)| rest);
    let (_, last) = path.trim_end_matches('/').rsplit_once('/')?;
    let name = last.split(['.', ':', '@', '?', '#']).next()?;
    (name.len() >= END_CHARS_MIN && name.contains(char::is_alphabetic)).then(|| Text::new(name).as_str().to_owned())
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
