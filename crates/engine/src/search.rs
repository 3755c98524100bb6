//! Looks for words in what was said in a session: prompts, further words of the
//! user, answers.
//!
//! There is no index: the journal is read as it is, so what was erased is not
//! found, and nothing has to be kept true. Words are compared without regard to
//! case; all of them must stand in one prompt or one answer. Pure: who reads the
//! entries, and how many, is the caller.

use are_core::body::Body;
use are_core::error::{Code, Fault};
use are_core::ids::{Seq, TurnNo};
use are_core::journal::{Entry, Frame};
use are_core::payload::{Part, Payload};

/// Bytes of what is looked for.
const TEXT_BYTES_MAX: usize = 400;
/// Words of it.
const WORDS_MAX: usize = 16;
/// Characters of an excerpt in front of the first word that was found, and from it on.
const BEFORE_CHARS: usize = 60;
const FROM_CHARS: usize = 140;

/// What is looked for, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Words(Vec<String>);

impl Words {
    /// Takes the words of a text.
    ///
    /// # Errors
    /// ARE-0206 when there are none, or too many.
    pub(crate) fn of(text: &str) -> Result<Self, Fault> {
        let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
        if words.is_empty() || words.len() > WORDS_MAX || text.len() > TEXT_BYTES_MAX {
            let help = format!("send 1 to {WORDS_MAX} words, at most {TEXT_BYTES_MAX} bytes");
            return Err(Fault::new(Code::REQUEST_INVALID, "there is nothing to look for, or too much", help));
        }
        Ok(Self(words))
    }

    /// The text around the first of the words, where all of them stand in `text`.
    pub(crate) fn excerpt(&self, text: &str) -> Option<String> {
        let lower = text.to_lowercase();
        let places: Option<Vec<usize>> = self.0.iter().map(|word| lower.find(word.as_str())).collect();
        let place = places?.into_iter().min()?;
        let middle = original(text, place);
        let start = text[..middle].char_indices().rev().take(BEFORE_CHARS).last().map_or(middle, |(at, _)| at);
        let end = text[middle..].char_indices().nth(FROM_CHARS).map_or(text.len(), |(at, _)| middle + at);
        let words: Vec<&str> = text[start..end].split_whitespace().collect();
        let (head, tail) = (if start > 0 { "… " } else { "" }, if end < text.len() { " …" } else { "" });
        Some(format!("{head}{}{tail}", words.join(" ")))
    }
}

/// Where in `text` the byte at `place` of its lower case comes from: letters may be longer in the other case.
fn original(text: &str, place: usize) -> usize {
    let mut lower = 0;
    for (at, c) in text.char_indices() {
        if lower >= place {
            return at;
        }
        lower += c.to_lowercase().map(char::len_utf8).sum::<usize>();
    }
    text.len()
}

/// Words that were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Last entry of the text that they stand in.
    pub(crate) seq: Seq,
    /// Its turn, where that is known.
    pub(crate) turn: Option<TurnNo>,
    /// The text around them.
    pub(crate) excerpt: String,
}

/// Reads a session's entries in order.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    words: &'a Words,
    turn: Option<TurnNo>,
    /// The answer so far; never larger than answers may be.
    answer: String,
    /// Bytes of answers of the same turn before it, as far as they were read.
    before: u64,
    /// Last entry before the text that is being read: reading may go on behind it.
    begun: Seq,
    last: Seq,
}

impl<'a> Reader<'a> {
    /// Begins behind entry `after`.
    pub(crate) const fn new(words: &'a Words, after: Seq) -> Self {
        Self { words, turn: None, answer: String::new(), before: 0, begun: after, last: after }
    }

    /// Where another reader can go on without missing a text.
    pub(crate) const fn begun(&self) -> Seq {
        self.begun
    }

    /// The last entry that was read.
    pub(crate) const fn last(&self) -> Seq {
        self.last
    }

    /// Takes the next entry; the words, when they stand in a text that it is or that it ends.
    pub(crate) fn take(&mut self, entry: &Entry) -> Option<Found> {
        let found = match entry {
            Entry::Frame(_, Frame::Token { text }) => {
                self.answer.push_str(text);
                None
            }
            Entry::Frame(..) => None,
            Entry::Record(record, payload) => match (&record.body, payload) {
                // A prompt may wait beside the turn that runs.
                (Body::TurnStarted { .. } | Body::Steered { .. }, Some(Payload::Prompt { content, .. })) => {
                    let excerpt = content.iter().find_map(|part| self.in_part(part));
                    excerpt.map(|excerpt| Found { seq: record.seq, turn: record.turn, excerpt })
                }
                (Body::TurnStarted { .. } | Body::Firewall { .. } | Body::Feedback { .. }, _) => None,
                // What a model had said before it begins anew is superseded; one that goes on says the rest of it.
                (Body::TurnResumed { .. }, _) => None,
                (Body::ModelRestarted { keep_bytes, .. }, _) => {
                    let kept = usize::try_from(keep_bytes.saturating_sub(self.before)).unwrap_or(usize::MAX);
                    self.answer.truncate(self.answer.floor_char_boundary(kept));
                    None
                }
                _ => {
                    if record.turn.is_some() && record.turn != self.turn {
                        self.before = 0;
                    }
                    self.turn = record.turn.or(self.turn);
                    self.end()
                }
            },
        };
        self.last = entry.seq();
        if self.answer.is_empty() {
            self.begun = self.last;
        }
        found
    }

    /// The words in the answer that is being read, which is over.
    pub(crate) fn end(&mut self) -> Option<Found> {
        let answer = std::mem::take(&mut self.answer);
        self.before += answer.len() as u64;
        let excerpt = self.words.excerpt(&answer)?;
        Some(Found { seq: self.last, turn: self.turn, excerpt })
    }

    fn in_part(&self, part: &Part) -> Option<String> {
        match part {
            Part::Text { text } => self.words.excerpt(text),
            Part::File { name, text, .. } => self.words.excerpt(name).or_else(|| self.words.excerpt(text)),
            // What has no words, and what a client says was said elsewhere.
            Part::Image(_) | Part::Exchange { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
