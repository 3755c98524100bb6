//! A plain text as words: where each begins, whether it begins a sentence and
//! whether it stands in a quotation.
//!
//! Words are compared in a canonical text of its own: one space between words,
//! none between ideographs, no punctuation. So `system_prompt`, `system-prompt`
//! and `system, prompt` are the same, and dots put between words change nothing.

/// Characters within which a quotation mark must be closed to be one.
const QUOTATION_BYTES_MAX: usize = 600;
/// What an apostrophe may be followed by without ending the word.
const SUFFIXES: [&str; 7] = ["t", "s", "re", "ve", "ll", "d", "m"];
/// Distance that a word counts; an ideograph counts one.
pub(super) const WORD_UNITS: u32 = 2;

/// A word or an ideograph.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    /// Where it begins in the canonical text.
    pub(super) start: u32,
    /// Where it ends.
    pub(super) end: u32,
    /// Its place, in units.
    pub(super) unit: u32,
    /// True for the first of a sentence.
    pub(super) starts_sentence: bool,
    /// True inside quotation marks, code or a quoted line.
    pub(super) is_quoted: bool,
}

/// A text in canonical form.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// The words.
    pub(super) text: String,
    /// Where they are, in order.
    pub(super) list: Vec<Token>,
}

impl Tokens {
    /// Reads a plain text.
    pub(super) fn new(plain: &str) -> Self {
        let mut reader = Reader::default();
        reader.out.text.reserve(plain.len());
        reader.out.list.reserve(plain.len() / 5);
        reader.begin_line(plain);
        let mut at = 0;
        while let Some(c) = plain[at..].chars().next() {
            // PERF: most of most texts.
            let word = plain.as_bytes()[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
            if word > 0 {
                reader.push(c);
                reader.go_on(&plain[at + 1..at + word]);
                at += word;
                continue;
            }
            at += c.len_utf8();
            if c.is_alphanumeric() {
                reader.push(c);
            // `don't` is one word, `l'instruction` are two.
            } else if !(is_apostrophe(c) && reader.joins(&plain[at..])) {
                reader.end_word();
                reader.punctuate(c, &plain[at..]);
            }
        }
        reader.out
    }

    /// One word.
    pub(super) fn word(&self, at: usize) -> &str {
        let token = self.list[at];
        &self.text[token.start as usize..token.end as usize]
    }

    /// The token that begins at a byte of the canonical text, or the one that covers it.
    pub(super) fn at_byte(&self, byte: u32) -> usize {
        self.list.partition_point(|token| token.end <= byte)
    }
}

#[derive(Default)]
struct Reader {
    out: Tokens,
    unit: u32,
    is_open: bool,
    after_break: bool,
    has_begun: bool,
    in_fence: bool,
    line_is_quoted: bool,
    /// The mark that ends the quotation, and how far it may be.
    quotation: Option<char>,
}

impl Reader {
    fn push(&mut self, c: char) {
        let is_single = is_ideograph(c);
        let text = &mut self.out.text;
        if is_single || !self.is_open {
            let follows_ideograph = text.chars().next_back().is_none_or(is_ideograph);
            let is_apart = !(is_single && follows_ideograph);
            if is_apart && !text.is_empty() {
                text.push(' ');
            }
            let start = offset(text);
            self.out.list.push(Token {
                start,
                end: start,
                unit: self.unit,
                starts_sentence: self.after_break || !self.has_begun,
                is_quoted: self.in_fence || self.line_is_quoted || self.quotation.is_some(),
            });
            self.unit += if is_single { 1 } else { WORD_UNITS };
            self.after_break = false;
            self.has_begun = true;
        }
        self.is_open = !is_single;
        let mut buffer = [0; 4];
        self.go_on(c.encode_utf8(&mut buffer));
    }

    /// Adds to the word that was begun.
    fn go_on(&mut self, letters: &str) {
        let text = &mut self.out.text;
        text.push_str(letters);
        let end = offset(text);
        if let Some(token) = self.out.list.last_mut() {
            token.end = end;
        }
    }

    const fn end_word(&mut self) {
        self.is_open = false;
    }

    fn joins(&self, after: &str) -> bool {
        let word = after.find(|c: char| !c.is_alphanumeric()).map_or(after, |end| &after[..end]);
        self.is_open && SUFFIXES.contains(&word)
    }

    fn begin_line(&mut self, line: &str) {
        let line = line.trim_start_matches([' ', '\t']);
        self.line_is_quoted = line.starts_with('>');
        if line.starts_with("```") || line.starts_with("~~~") {
            self.in_fence = !self.in_fence;
        }
    }

    fn punctuate(&mut self, c: char, after: &str) {
        match c {
            '\n' => {
                self.after_break = true;
                if after.starts_with('\n') {
                    self.quotation = None;
                }
                self.begin_line(after);
            }
            '.' | '!' | '?' | ':' | ';' | '！' | '？' | '：' | '；' | '؟' | '…' | '|' | '<' | '[' | ']' | '>' | '*'
            | '#' => {
                self.after_break = true;
            }
            _ if self.quotation == Some(c) => self.quotation = None,
            _ if self.quotation.is_none() => {
                if let Some(close) = closing(c)
                    && closes(close, after)
                {
                    self.quotation = Some(close);
                    self.after_break = true;
                }
            }
            _ => {}
        }
    }
}

fn closes(close: char, after: &str) -> bool {
    let end = after.floor_char_boundary(QUOTATION_BYTES_MAX);
    after[..end].find(close).is_some_and(|at| at > 0)
}

const fn closing(c: char) -> Option<char> {
    Some(match c {
        '"' => '"',
        '\'' => '\'',
        '`' => '`',
        '“' => '”',
        '„' => '“',
        '‘' => '’',
        '«' => '»',
        '「' => '」',
        '『' => '』',
        '《' => '》',
        _ => return None,
    })
}

const fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '’' | '‘')
}

/// Characters of scripts that are written without spaces: each counts as a word.
pub(super) const fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}')
}

/// Scanned texts are bounded far below 4 GiB.
fn offset(text: &str) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}
