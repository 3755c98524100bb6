//! Data to stdout, words to stderr, and nothing from outside that could steer
//! a terminal.

use std::io::{self, IsTerminal, Write};

use are_core::error::Fault;
use serde::Serialize;

use self::markdown::Markdown;
use super::exit::Failure;
use super::meaning;

/// Where the program writes.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// `--json` was given.
    pub is_json: bool,
    /// Stdout is a terminal.
    pub is_terminal: bool,
    /// Stderr may be coloured.
    pub is_coloured: bool,
    /// Stdout is a terminal that may be styled.
    pub is_styled: bool,
}

impl Output {
    /// As the streams of this process are.
    #[must_use]
    pub fn of_process(is_json: bool) -> Self {
        let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let is_terminal = io::stdout().is_terminal();
        Self {
            is_json,
            is_terminal,
            is_coloured: io::stderr().is_terminal() && !is_plain,
            is_styled: is_terminal && !is_plain,
        }
    }

    /// One line of data.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn line(self, text: &str) -> Result<(), Failure> {
        let text = if self.is_terminal { plain(text) } else { text.to_owned() };
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        Ok(out.flush()?)
    }

    /// A piece of text as it comes, seen at once.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn piece(self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        if self.is_terminal {
            out.write_all(plain(text).as_bytes())?;
        } else {
            out.write_all(text.as_bytes())?;
        }
        Ok(out.flush()?)
    }

    /// A piece of an answer, styled by a terminal that can.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(super) fn answer(self, markdown: &mut Markdown, text: &str) -> Result<(), Failure> {
        if !self.is_styled {
            return self.piece(text);
        }
        self.styled(&markdown.push(&plain(text)))
    }

    /// What was held back of an answer, which is over or goes on elsewhere.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(super) fn end_answer(self, markdown: &mut Markdown) -> Result<(), Failure> {
        if self.is_styled { self.styled(&markdown.finish()) } else { Ok(()) }
    }

    fn styled(self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }

    /// One JSON object on a line.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn json(self, value: &impl Serialize) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(value).map_err(io::Error::other)?;
        line.push(b'\n');
        let mut out = io::stdout().lock();
        out.write_all(&line)?;
        Ok(out.flush()?)
    }

    /// Rows with aligned columns below a heading; nothing at all when there are none.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn table(self, heading: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
        if rows.is_empty() {
            return Ok(());
        }
        let heading: Vec<String> = heading.iter().map(|&name| name.to_owned()).collect();
        let all = || std::iter::once(&heading).chain(rows);
        let width = |column: usize| all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        for row in all() {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let cell = one_line(cell);
                let pad = width(column).unwrap_or(0).saturating_sub(cell.chars().count());
                line.push_str(&cell);
                line.extend(std::iter::repeat_n(' ', pad + 2));
            }
            self.line(line.trim_end())?;
        }
        Ok(())
    }

    /// Words on stderr. A closed stderr silences the program but does not stop it.
    pub fn say(self, text: &str) {
        write_stderr(&format!("{}\n", plain(text)));
    }

    /// The same, held back in colour where there is any.
    pub fn aside(self, text: &str) {
        match self.is_coloured {
            true => write_stderr(&format!("\u{1b}[2m{}\u{1b}[0m\n", plain(text))),
            false => self.say(text),
        }
    }

    /// A question whose answer is typed behind it.
    pub fn ask(self, text: &str) {
        write_stderr(&plain(text));
    }

    /// A line that the next one overwrites; an empty one removes it. For terminals only.
    pub fn transient(self, text: &str) {
        write_stderr(&format!("\r\u{1b}[2K\u{1b}[2m{}\u{1b}[0m", one_line(text)));
    }

    /// A fault in three lines: what happened, why, what to do.
    pub fn fault(self, fault: &Fault) {
        write_stderr(&format!("{}\n", fault_text(fault, self.is_coloured)));
    }

    /// Something that is not as it should be, but does not stop the verb.
    pub fn warn(self, text: &str) {
        let head = if self.is_coloured { "\u{1b}[33mwarning\u{1b}[0m" } else { "warning" };
        write_stderr(&format!("{head}: {}\n", plain(text)));
    }
}

fn write_stderr(text: &str) {
    let mut out = io::stderr().lock();
    // silent-ok: there is no third place to report to.
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// The three lines of a fault.
#[must_use]
pub fn fault_text(fault: &Fault, is_coloured: bool) -> String {
    let head = if is_coloured { "\u{1b}[31merror\u{1b}[0m" } else { "error" };
    format!(
        "{head}[{}]: {}\n  why:  {}\n  help: {}",
        fault.code,
        plain(&fault.message),
        meaning::of(fault.code),
        plain(&fault.help)
    )
}

/// The text without characters that steer a terminal or turn its reading direction; they appear as
/// `\u{…}`, so that what is approved is what is seen.
#[must_use]
pub fn plain(text: &str) -> String {
    let is_steering = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(is_steering) {
        return text.to_owned();
    }
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if is_steering(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
        out
    })
}

/// The text in one line.
#[must_use]
pub fn one_line(text: &str) -> String {
    plain(&text.replace(['\n', '\r', '\t'], " "))
}

pub(super) mod markdown;
#[cfg(test)]
mod tests;
