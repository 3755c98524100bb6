//! Whom a clause's request goes to, and what it asks for anew.

use super::super::text::Needle;
use super::super::words;
use super::{Clause, Kind, Token};

/// Words between a word of direction and an address that they describe.
const DESCRIBING_WORDS_MAX: usize = 5;

impl Clause {
    /// Whether it is to go to somebody whom it describes: `to my brother`, `to her`, and nobody else.
    pub(super) fn goes_to_somebody(&self) -> bool {
        let is_to = |pair: &[Token]| words::is_direction(&pair[0].word) && words::is_pronoun(&pair[1].word);
        self.kind == Kind::Request && self.tokens.windows(2).filter(|pair| is_to(pair)).count() == 1
    }

    /// Whether a value, an address or a name, is told something: `let Bob know`, `tell Bob that …`, `write Bob about …`.
    pub(in crate::flow) fn tells(&self, value: &Needle) -> bool {
        let Some(head) = self.head.filter(|_| self.kind == Kind::Request) else { return false };
        let is_named = value.is_mail() || self.mentions.iter().any(|mention| mention.text.text == value.text);
        let word = |at: usize| self.tokens.get(at).map_or("", |token| token.word.as_str());
        let behind = word(head + 1 + value.text.len());
        // An address has nothing else done to it that goes on so.
        let is_given = value.is_mail() && (matches!(behind, "with" | "of") || words::is_determiner(behind));
        let is_told = word(head) == "let" || matches!(behind, "that" | "about") || words::is_opener(behind) || is_given;
        is_named && is_told && self.text.holds_at(head + 1, value) && !self.tokens[head + 1].is_quoted
    }

    /// Whether its main verb has an object that is something else than the one who asks, and another behind it: `give it
    /// two more of them`.
    pub(in crate::flow) fn gives_to_something(&self) -> bool {
        let object = self.head.and_then(|head| self.tokens.get(head + 1)).map_or("", |token| token.word.as_str());
        let is_named = self.mentions.iter().any(|mention| mention.text.text.as_str() == object);
        self.kind == Kind::Request && (matches!(object, "it" | "them" | "him" | "her") || is_named)
    }

    /// Whether a value stands right behind this very word of direction.
    pub(in crate::flow) fn goes_by(&self, direction: &str, value: &Needle) -> bool {
        (1..self.tokens.len()).any(|at| self.tokens[at - 1].word == direction && self.text.holds_at(at, value))
    }

    /// Whether a word says by which means: `by mail`, `via a direct message`.
    pub(in crate::flow) fn is_means(&self, stem: &str) -> bool {
        let is_by = |at: usize| matches!(self.tokens[at].word.as_str(), "by" | "via");
        (1..self.tokens.len()).filter(|at| self.tokens[*at].stem == stem).any(|at| {
            (at.saturating_sub(3)..at).rev().take_while(|at| !words::is_opener(&self.tokens[*at].word)).any(is_by)
        })
    }

    /// The words that its main verb rules, without those of objects that it names.
    pub(in crate::flow) fn ruled_words(&self) -> impl Iterator<Item = &Token> {
        let from = self.head.map_or(0, |head| head + 1);
        let is_object = |token: &Token| {
            self.mentions.iter().any(|mention| mention.text.text.words().any(|word| word == token.word))
        };
        (from..self.tokens.len())
            .take_while(move |at| !self.opens_between(from.saturating_sub(1), *at))
            .map(|at| &self.tokens[at])
            .filter(move |token| !token.is_quoted && token.has_meaning() && !is_object(token))
    }

    /// Whether the value stands right behind a word of direction, with at most a determiner and one more word between,
    /// and in the part of the clause that its main verb rules.
    pub(in crate::flow) fn goes_to(&self, value: &Needle) -> bool {
        let from = self.head.unwrap_or(0);
        let mut next = 0;
        while let Some(at) = self.text.find(value, next) {
            let before = &self.tokens[..at];
            let before = match before {
                [rest @ .., last] if last.has_meaning() => rest,
                _ => before,
            };
            let before = match before {
                [rest @ .., last] if words::is_determiner(&last.word) => rest,
                _ => before,
            };
            // `To the team at bob@a.example` has its address behind a description.
            let described = || {
                let described = self.tokens[at.saturating_sub(DESCRIBING_WORDS_MAX)..at].iter().rev();
                described.take_while(|token| !words::is_subordinator(&token.word) && !token.is_quoted)
            };
            let is_described = value.is_mail()
                && described().any(|token| words::is_direction(&token.word))
                && !described().any(|token| token.word == "from");
            let direct = self.tokens[..at].last();
            let is_direction = |token: &Token| words::is_direction(&token.word) && !token.is_quoted;
            let is_direct = [before.last(), direct].into_iter().flatten().any(is_direction);
            if (is_direct || is_described) && !self.opens_between(from, at) {
                return true;
            }
            next = at + 1;
        }
        false
    }

    /// Whether it asks for something new: `a scheduled transaction`, `I need a table`, of whose words the test knows.
    pub(in crate::flow) fn asks_for_new(&self, test: impl Fn(&str) -> bool) -> bool {
        let is_new = |at: usize| {
            matches!(self.tokens[at].word.as_str(), "a" | "an" | "another")
                && self.tokens[at + 1..].iter().take(3).any(|token| test(&token.stem))
        };
        match self.kind {
            Kind::Request => (0..self.tokens.len()).any(is_new),
            Kind::Statement => (2..self.tokens.len()).take(3).any(|at| is_new(at) && self.wishes(at)),
            Kind::Question | Kind::Prohibition => false,
        }
    }

    /// Whether what stands before a word says that the user wishes for it: `I need`, `we would like`.
    fn wishes(&self, at: usize) -> bool {
        let word = |at: usize| self.tokens[at].word.as_str();
        matches!(word(0), "i" | "we")
            && words::is_volition(word(at - 1))
            && (1..at - 1).all(|at| matches!(word(at), "d" | "would" | "will" | "ll" | "do"))
    }

    /// Whether it asks for all of something: `all users`, `each of the users`.
    pub(in crate::flow) fn asks_for_all(&self, test: impl Fn(&str) -> bool) -> bool {
        let behind =
            |at: usize| self.tokens[at + 1..].iter().take_while(|token| !token.has_meaning() || test(&token.stem));
        self.kind == Kind::Request
            && (0..self.tokens.len()).any(|at| {
                let token = &self.tokens[at];
                words::is_quantifier(&token.word) && !token.is_quoted && behind(at).any(|token| test(&token.stem))
            })
    }
}
