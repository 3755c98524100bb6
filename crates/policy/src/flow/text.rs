//! Text as values are compared in it: normalised, in whole words, separators kept.
//!
//! Two texts are the same value when they agree after NFKC, lower case and the
//! removal of what cannot be seen. What stands between the words counts: in an
//! address exactly, in a name only as "a separator", so that `Weekly_Report`
//! is `weekly report` but `bob@a.example` is not `bob-a.example`. A value is
//! found only as whole words that do not go on, so `acme.example` does not
//! occur in `acme.example.org`, nor `5` in `2025`.

use unicode_normalization::UnicodeNormalization as _;

/// Characters that end a value in front of it only with a space between: `x@`, `a/`, `.`.
const JOINED_BEFORE: &str = "@.-_/\\+~";
/// Characters after which a value goes on when a word follows.
const JOINED_AFTER: &str = "@_-+./:\\?&=#%";
/// Characters that make a value an address or path, in which each separator counts.
const OF_ADDRESSES: &str = "@./:\\";

/// A normalised text and where its words are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Text {
    text: Box<str>,
    words: Box<[(u32, u32)]>,
}

impl Text {
    pub(crate) fn new(raw: &str) -> Self {
        let text = normal(raw);
        let words = spans(&text);
        Self { text: text.into(), words: words.into() }
    }

    /// The normalised text.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// How many words there are.
    pub(crate) fn len(&self) -> usize {
        self.words.len()
    }

    /// One word.
    pub(crate) fn word(&self, at: usize) -> &str {
        let (start, end) = self.words[at];
        &self.text[start as usize..end as usize]
    }

    /// All words.
    pub(crate) fn words(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|at| self.word(at))
    }

    /// What stands between two neighbouring words, the second at `at`.
    pub(crate) fn gap(&self, at: usize) -> &str {
        &self.text[self.words[at - 1].1 as usize..self.words[at].0 as usize]
    }

    /// What stands before the first of the words `at..at + len`, back to the beginning.
    pub(crate) fn before(&self, at: usize) -> &str {
        &self.text[..self.words[at].0 as usize]
    }

    fn after(&self, last: usize) -> &str {
        &self.text[self.words[last].1 as usize..]
    }

    /// Whether `value` stands at the word `at`, whole.
    pub(crate) fn holds_at(&self, at: usize, value: &Needle) -> bool {
        let len = value.text.len();
        if at + len > self.len() || (0..len).any(|k| self.word(at + k) != value.text.word(k)) {
            return false;
        }
        if !(1..len).all(|k| value.is_same_gap(self.gap(at + k), value.text.gap(k))) {
            return false;
        }
        let (lead, trail) = value.edges();
        let (Some(before), Some(after)) =
            (self.before(at).strip_suffix(lead), self.after(at + len - 1).strip_prefix(trail))
        else {
            return false;
        };
        value.ends_before(before) && value.ends_after(after)
    }

    /// The first word at which `value` stands, from `from` on.
    pub(crate) fn find(&self, value: &Needle, from: usize) -> Option<usize> {
        (from..self.len()).find(|at| self.holds_at(*at, value))
    }

    /// Whether a value stands in it.
    pub(crate) fn find_value(&self, value: &str) -> bool {
        Needle::new(value).is_some_and(|value| self.find(&value, 0).is_some())
    }

    /// The number whose whole part is the word `at`.
    pub(crate) fn number_at(&self, at: usize) -> Option<f64> {
        let is_digits = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
        let goes_on = |at: usize| at < self.len() && self.gap(at) == "." && is_digits(self.word(at));
        if !is_digits(self.word(at)) || (at > 0 && self.gap(at) == "." && is_digits(self.word(at - 1))) {
            return None;
        }
        match (goes_on(at + 1), at + 2 < self.len() && goes_on(at + 2)) {
            (true, false) => format!("{}.{}", self.word(at), self.word(at + 1)).parse().ok(),
            (true, true) => None,
            (false, _) => self.word(at).parse().ok(),
        }
    }

    /// Whether the words `at..at + len` are a line, an item or a field of their own rather than part of a sentence.
    pub(crate) fn is_item(&self, at: usize, len: usize) -> bool {
        let before = self.before(at).trim_end_matches([' ', '"', '\'', '`', '#', '@', '$']);
        let before = before.trim_end_matches(|c: char| "-*•".contains(c)).trim_end_matches(' ');
        let starts = before.is_empty() || before.ends_with(['\n', '\t', ',', ':', '|', ';', '[', '{']);
        let numbered = before.strip_suffix('.').map(|rest| rest.trim_end_matches(|c: char| c.is_ascii_digit()));
        let starts = starts || numbered.is_some_and(|rest| rest.is_empty() || rest.ends_with('\n'));
        let after = self.after(at + len - 1).trim_start_matches([' ', '"', '\'', '`', '/']);
        let after = after.strip_prefix('.').unwrap_or(after).trim_start_matches(' ');
        starts && (after.is_empty() || after.starts_with(['\n', '\t', ',', '|', ';', ']', '}']))
    }
}

/// A value to be looked for.
#[derive(Debug, Clone)]
pub(crate) struct Needle {
    pub(crate) text: Text,
    is_address: bool,
}

impl Needle {
    /// `None` for a value without a word, and for one that is written so as to look like another:
    /// it is not in NFKC or holds characters that cannot be seen.
    pub(crate) fn new(raw: &str) -> Option<Self> {
        if raw.chars().any(is_invisible) || !raw.nfkc().eq(raw.chars()) {
            return None;
        }
        let text = Text::new(raw.trim());
        let inner = text.as_str().trim_matches(['.', ',', ';', ':', '!', '?', ' ']);
        let is_address = inner.contains(|c| OF_ADDRESSES.contains(c));
        (text.len() > 0).then_some(Self { text, is_address })
    }

    /// True when each of its separators counts.
    pub(crate) const fn is_address(&self) -> bool {
        self.is_address
    }

    /// True for an e-mail address.
    pub(crate) fn is_mail(&self) -> bool {
        self.text.as_str().split_once('@').is_some_and(|(local, host)| !local.is_empty() && host.contains('.'))
    }

    /// The words before the `@` of an e-mail address; of anything else none.
    pub(crate) fn local_words(&self) -> impl Iterator<Item = &str> {
        let end = if self.is_mail() { self.text.as_str().find('@').unwrap_or(0) } else { 0 };
        let words = self.text.words.iter().take_while(move |(_, to)| *to as usize <= end);
        words.map(|(from, to)| &self.text.text[*from as usize..*to as usize])
    }

    /// The same address without `https://` and a final slash: people leave both out.
    pub(crate) fn bare(&self) -> Option<Self> {
        let text = self.text.as_str();
        let bare = text.strip_prefix("https://").unwrap_or(text);
        let bare = bare.strip_suffix('/').unwrap_or(bare);
        // A plain word is not a host.
        if bare.len() + 1 < text.len() && !bare.contains('.') {
            return None;
        }
        (bare.len() < text.len()).then(|| Self::new(bare)).flatten()
    }

    fn is_same_gap(&self, found: &str, wanted: &str) -> bool {
        let is_blank = |gap: &str| gap.chars().all(|c| matches!(c, ' ' | '\t' | '\n'));
        let is_loose = |gap: &str| !gap.is_empty() && gap.chars().all(|c| matches!(c, ' ' | '\t' | '\n' | '_' | '-'));
        found == wanted
            || (!wanted.is_empty() && is_blank(found) && is_blank(wanted))
            || (!self.is_address && is_loose(found) && is_loose(wanted))
    }

    /// What a value begins and ends with beside its words: of an address everything but the end of a sentence, of a name
    /// what is more than a mark before it (`#general`, `@alice`) or quotation marks around it.
    fn edges(&self) -> (&str, &str) {
        let (lead, trail) = (self.text.before(0).trim_start(), self.text.after(self.text.len() - 1));
        let ended = trail.trim_end_matches(['.', ',', ';', ':', '!', '?', ' ']);
        if self.is_address {
            // `/..` and `/.` are parts of a path, not ends of a sentence.
            return (lead, if ended.ends_with('/') { trail } else { ended });
        }
        let is_mark = |c: char| "#@\"'`([ ".contains(c);
        let is_close = |c: char| "\"'`)] ".contains(c);
        let lead = if lead.chars().all(is_mark) { "" } else { lead };
        (lead, if ended.chars().all(is_close) { "" } else { ended })
    }

    fn ends_before(&self, before: &str) -> bool {
        match before.chars().next_back() {
            None => true,
            Some(':') => !self.is_address,
            // In `/etc` the edge itself begins the value, and a word before it would go on.
            Some(c) if JOINED_BEFORE.contains(c) => c == '-' && before.trim_end_matches('-').ends_with([' ', '\n']),
            Some(c) => self.edges().0.is_empty() || !c.is_alphanumeric() || is_ideograph(c),
        }
    }

    fn ends_after(&self, after: &str) -> bool {
        let mut rest = after.chars();
        match rest.next() {
            Some(c) if JOINED_AFTER.contains(c) => {
                rest.next().is_none_or(|next| next != '/' && (!next.is_alphanumeric() || is_ideograph(next)))
            }
            Some(c) => self.edges().1.is_empty() || !c.is_alphanumeric() || is_ideograph(c),
            None => true,
        }
    }
}

/// NFKC, lower case, without what cannot be seen; one space for a blank, a tab for more, line ends kept.
fn normal(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut blanks = Blank::None;
    for c in raw.nfkc().filter(|c| !is_invisible(*c)) {
        blanks = match c {
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => Blank::Line,
            '\t' => blanks.max(Blank::Wide),
            c if c.is_whitespace() => blanks.max(if blanks == Blank::None { Blank::One } else { Blank::Wide }),
            c => {
                out.extend(blanks.mark());
                out.extend(c.to_lowercase());
                Blank::None
            }
        };
    }
    out
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Blank {
    None,
    One,
    Wide,
    Line,
}

impl Blank {
    const fn mark(self) -> Option<char> {
        match self {
            Self::None => None,
            Self::One => Some(' '),
            Self::Wide => Some('\t'),
            Self::Line => Some('\n'),
        }
    }
}

fn spans(text: &str) -> Vec<(u32, u32)> {
    let mut words: Vec<(u32, u32)> = Vec::new();
    let mut is_open = false;
    for (at, c) in text.char_indices() {
        // Texts are bounded far below 4 GiB; what would not fit has no words.
        let (Ok(start), Ok(end)) = (u32::try_from(at), u32::try_from(at + c.len_utf8())) else { break };
        if !c.is_alphanumeric() {
            is_open = false;
        } else if is_ideograph(c) || !is_open {
            words.push((start, end));
            is_open = !is_ideograph(c);
        } else if let Some(word) = words.last_mut() {
            word.1 = end;
        }
    }
    words
}

/// Characters of scripts that are written without spaces: each counts as a word.
pub(crate) const fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}')
}

/// Control characters, and what fonts show as nothing.
///
/// SOURCE: Unicode, DerivedCoreProperties.txt, `Default_Ignorable_Code_Point`.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{0}'..='\u{8}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{ad}' | '\u{34f}' | '\u{61c}'
        | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests;
