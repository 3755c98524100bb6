//! An answer's Markdown as a terminal shows it, while it comes.
//!
//! What a piece of text is can depend on what follows, so the beginning of a
//! span is held back until its end has come, its line has, or it is too long to
//! be one; everything else is seen at once. Nothing is lost: what turns out to be
//! no mark stays as it was written. Tables, links and HTML are shown as they stand.

/// Bytes of the longest span that is waited for.
const SPAN_BYTES_MAX: usize = 400;

const BOLD: (&str, &str) = ("\u{1b}[1m", "\u{1b}[22m");
const DIM: (&str, &str) = ("\u{1b}[2m", "\u{1b}[22m");
const ITALIC: (&str, &str) = ("\u{1b}[3m", "\u{1b}[23m");
const CODE: (&str, &str) = ("\u{1b}[36m", "\u{1b}[39m");
/// What an item of a list and a line of a quotation begin with.
const ITEM: &str = "\u{2022} ";
const QUOTED: &str = "\u{2502} ";

/// The styler of one answer.
#[derive(Debug, Default)]
pub(in crate::cli) struct Markdown {
    held: String,
    /// Something of the line has been shown.
    in_line: bool,
    in_fence: bool,
    in_heading: bool,
    /// The last character that was shown.
    last: Option<char>,
}

impl Markdown {
    /// Takes text without control characters; gives what can be shown of it now.
    pub(in crate::cli) fn push(&mut self, text: &str) -> String {
        self.held.push_str(text);
        self.take(false)
    }

    /// Gives what was held back, and begins anew.
    pub(in crate::cli) fn finish(&mut self) -> String {
        let mut rest = self.take(true);
        if self.in_heading {
            rest.push_str(BOLD.1);
        }
        *self = Self::default();
        rest
    }

    fn take(&mut self, is_end: bool) -> String {
        let held = std::mem::take(&mut self.held);
        let (mut out, mut at) = (String::with_capacity(held.len()), 0);
        while at < held.len() {
            let Some(used) = self.next(&held[at..], is_end, &mut out) else { break };
            self.last = held[at..at + used].chars().next_back();
            at += used;
        }
        self.held = held[at..].to_owned();
        out
    }

    /// Shows the next part of `rest`; how long it is, or `None` when more must come first.
    fn next(&mut self, rest: &str, is_end: bool, out: &mut String) -> Option<usize> {
        if !self.in_line {
            match self.line_start(rest, is_end, out) {
                Start::Used(used) => return Some(used),
                Start::Waits => return None,
                Start::Plain => self.in_line = true,
            }
        }
        if self.in_fence {
            let used = rest.find('\n').unwrap_or(rest.len());
            put(out, CODE, &rest[..used]);
            return Some(if used == 0 { self.end_line(out) } else { used });
        }
        match rest.as_bytes()[0] {
            b'\n' => Some(self.end_line(out)),
            b'`' => {
                let mark = if rest.starts_with("``") { "``" } else { "`" };
                self.span(rest, mark, CODE, is_end, out)
            }
            b'*' if rest == "*" && !is_end => None,
            b'*' if rest.starts_with("**") => self.span(rest, "**", BOLD, is_end, out),
            b'*' if self.last.is_some_and(char::is_alphanumeric) => Some(keep(out, rest, 1)),
            b'*' => self.span(rest, "*", ITALIC, is_end, out),
            _ => Some(keep(out, rest, rest.find(['`', '*', '\n']).unwrap_or(rest.len()))),
        }
    }

    fn end_line(&mut self, out: &mut String) -> usize {
        if std::mem::take(&mut self.in_heading) {
            out.push_str(BOLD.1);
        }
        out.push('\n');
        self.in_line = false;
        1
    }

    /// A span from its mark at the beginning to the same mark in the same line.
    fn span(&self, rest: &str, mark: &str, style: (&str, &str), is_end: bool, out: &mut String) -> Option<usize> {
        let inner = &rest[mark.len()..];
        let line = inner.find('\n').map_or(inner, |end| &inner[..end]);
        let is_blank = |c: Option<char>| c.is_none_or(char::is_whitespace);
        let close =
            line.match_indices(mark).map(|(at, _)| at).find(|at| *at > 0 && !is_blank(line[..*at].chars().next_back()));
        let is_over = is_end || line.len() < inner.len() || line.len() > SPAN_BYTES_MAX;
        // The first of two stars may be of the mark `**`, whose second has not come.
        let is_whole = close.is_some_and(|at| is_over || mark != "*" || line.len() > at + 1);
        match close.filter(|at| is_whole && !line[..*at].starts_with(char::is_whitespace)) {
            Some(at) => {
                put(out, style, &line[..at]);
                if self.in_heading && style.1 == BOLD.1 {
                    out.push_str(BOLD.0);
                }
                Some(at + 2 * mark.len())
            }
            None if is_over || line.starts_with(char::is_whitespace) => Some(keep(out, rest, mark.len())),
            None => None,
        }
    }

    /// What only a line's beginning can be.
    fn line_start(&mut self, rest: &str, is_end: bool, out: &mut String) -> Start {
        if rest.starts_with("```") || rest.starts_with("~~~") {
            let Some(end) = rest.find('\n').or(is_end.then_some(rest.len())) else { return Start::Waits };
            self.in_fence = !self.in_fence;
            put(out, DIM, &rest[..end]);
            if end < rest.len() {
                out.push('\n');
            }
            return Start::Used((end + 1).min(rest.len()));
        }
        let may_be_fence = ["```", "~~~"].iter().any(|fence| fence.starts_with(rest));
        if self.in_fence {
            return if may_be_fence && !is_end { Start::Waits } else { Start::Plain };
        }
        if rest.starts_with(' ') {
            return Start::Used(keep(out, rest, 1));
        }
        let hashes = rest.bytes().take_while(|byte| *byte == b'#').count();
        if (1..=6).contains(&hashes) && rest[hashes..].starts_with(' ') {
            (self.in_heading, self.in_line) = (true, true);
            out.push_str(BOLD.0);
            return Start::Used(hashes + 1);
        }
        for (mark, shown) in [("- ", ITEM), ("* ", ITEM), ("+ ", ITEM), ("> ", QUOTED)] {
            if rest.starts_with(mark) {
                self.in_line = true;
                out.push_str(shown);
                return Start::Used(mark.len());
            }
        }
        let may_be_mark = may_be_fence || matches!(rest, "-" | "*" | "+" | ">") || hashes == rest.len() && hashes <= 6;
        if may_be_mark && !is_end { Start::Waits } else { Start::Plain }
    }
}

enum Start {
    Used(usize),
    Waits,
    Plain,
}

fn keep(out: &mut String, rest: &str, bytes: usize) -> usize {
    out.push_str(&rest[..bytes]);
    bytes
}

fn put(out: &mut String, (on, off): (&str, &str), text: &str) {
    if !text.is_empty() {
        out.extend([on, text, off]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pieces: &[&str]) -> String {
        let mut markdown = Markdown::default();
        let mut out: String = pieces.iter().map(|piece| markdown.push(piece)).collect();
        out.push_str(&markdown.finish());
        // Pieces of one line of code are styled each by itself.
        out.replace("\u{1b}[", "^").replace("^39m^36m", "").replace('\u{2022}', "o").replace('\u{2502}', "|")
    }

    #[test]
    fn marks_become_styles_and_what_is_none_stays() {
        for (text, as_shown) in [
            ("plain 2 * 3 and a_b_c\n", "plain 2 * 3 and a_b_c\n"),
            ("a **bold** word", "a ^1mbold^22m word"),
            ("an *italic* word, 2*3*4", "an ^3mitalic^23m word, 2*3*4"),
            ("run `cargo *test*` now", "run ^36mcargo *test*^39m now"),
            ("``a ` b``", "^36ma ` b^39m"),
            ("# Head **line**\ntext", "^1mHead ^1mline^22m^1m^22m\ntext"),
            ("- one\n  - two\n* three\n", "o one\n  o two\no three\n"),
            ("> said\n", "| said\n"),
            ("#hash and - dash\n", "#hash and - dash\n"),
            ("```rust\nlet *a* = `b`;\n```\nafter", "^2m```rust^22m\n^36mlet *a* = `b`;^39m\n^2m```^22m\nafter"),
            ("never `closed\nand **neither\n", "never `closed\nand **neither\n"),
            ("ends in ** and `", "ends in ** and `"),
            ("**two** and **three**", "^1mtwo^22m and ^1mthree^22m"),
            ("*", "*"),
            ("  ", "  "),
            ("", ""),
        ] {
            assert_eq!(shown(&[text]), as_shown, "{text:?}");
        }
    }

    #[test]
    fn where_the_text_is_cut_makes_no_difference() {
        let text = "# A **b**\n- `c d` *e* **f** g*h\n```sh\n`x` # y\n```\n> q ** r\n~~~\nz";
        let whole = shown(&[text]);
        for one in 0..=text.len() {
            for other in one..=text.len() {
                assert_eq!(shown(&[&text[..one], &text[one..other], &text[other..]]), whole, "{one} {other}");
            }
        }
        let bytes: Vec<&str> = (0..text.len()).map(|at| &text[at..=at]).collect();
        assert_eq!(shown(&bytes), whole);
    }

    #[test]
    fn no_more_is_held_back_than_a_span() {
        let mut markdown = Markdown::default();
        assert_eq!(markdown.push("at once"), "at once");
        assert_eq!(markdown.push(" `held"), " ");
        let long = "x".repeat(SPAN_BYTES_MAX);
        assert!(markdown.push(&long).ends_with(&long), "it is too long to be one");
    }
}
