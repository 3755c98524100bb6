//! Lines from the person at the terminal.
//!
//! Reading a line cannot be interrupted, so a thread of its own does it, one
//! line per request; the thread is left alone when the program ends.

use std::io::{self, IsTerminal};
use std::sync::mpsc;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{ColorMode, DefaultEditor, Editor, Helper};
use tokio::sync::mpsc as answers;

use super::exit::{Exit, Failure};
use super::output::Output;
use zeroize::Zeroizing;

/// Lines asked for ahead; one at a time is all that happens.
const REQUESTS_MAX: usize = 1;
/// Bytes of one line; a prompt is not longer.
const LINE_BYTES_MAX: u64 = are_core::limits::PROMPT_BYTES_MAX as u64;

/// What came of asking for a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// This.
    Said(String),
    /// The person interrupted.
    Interrupted,
    /// The input is over, or the person gave up.
    End,
}

impl Line {
    /// What was said.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Said(text) => Some(text),
            Self::Interrupted | Self::End => None,
        }
    }
}

/// A wish for a line.
struct Request {
    prompt: String,
    /// True where the history takes it.
    is_kept: bool,
}

/// Reads lines on request.
pub(super) struct Keyboard {
    requests: mpsc::SyncSender<Request>,
    lines: answers::Receiver<Line>,
    is_waiting: bool,
}

impl Keyboard {
    /// True when a person can be asked: both sides are a terminal.
    pub(super) fn is_there(out: Output) -> bool {
        !out.is_json && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Starts the thread; with `history`, oldest first, the person has a line editor that goes back to it.
    pub(super) fn start(history: Option<Vec<String>>, out: Output) -> io::Result<Self> {
        let (requests, asked) = mpsc::sync_channel::<Request>(REQUESTS_MAX);
        let (sender, lines) = answers::channel(REQUESTS_MAX);
        std::thread::Builder::new().name("keyboard".to_owned()).spawn(move || {
            let mut editor = history.and_then(edited);
            while let Ok(request) = asked.recv() {
                let line = read(editor.as_mut(), &request, out);
                let is_end = line == Line::End;
                if sender.blocking_send(line).is_err() || is_end {
                    break;
                }
            }
        })?;
        Ok(Self { requests, lines, is_waiting: false })
    }

    /// The next line, which the history takes. Cancel-safe: a line that was asked for is returned by the next call of
    /// this or [`answer`](Self::answer).
    pub(super) async fn line(&mut self, prompt: &str) -> Line {
        self.next(prompt, true).await
    }

    /// The next line, an answer to a question. As cancel-safe as [`line`](Self::line).
    pub(super) async fn answer(&mut self, prompt: &str) -> Line {
        self.next(prompt, false).await
    }

    async fn next(&mut self, prompt: &str, is_kept: bool) -> Line {
        if !self.is_waiting {
            if self.requests.try_send(Request { prompt: prompt.to_owned(), is_kept }).is_err() {
                return Line::End;
            }
            self.is_waiting = true;
        }
        let line = self.lines.recv().await;
        self.is_waiting = false;
        line.unwrap_or(Line::End)
    }
}

/// A line editor that goes back to `history`; none where the terminal cannot have one.
fn edited(history: Vec<String>) -> Option<DefaultEditor> {
    let mut editor = DefaultEditor::new().ok()?;
    for line in &history {
        remember(&mut editor, line);
    }
    Some(editor)
}

fn remember(editor: &mut DefaultEditor, line: &str) {
    if line.trim().is_empty() {
        return;
    }
    if let Err(error) = editor.add_history_entry(line) {
        tracing::debug!(%error, "the line is not kept in the history");
    }
}

/// Asks whether to do what the text says; without a person at a terminal nothing is done.
pub(super) async fn is_confirmed(out: Output, what: &str) -> Result<bool, Failure> {
    if !Keyboard::is_there(out) {
        out.say("error: nobody is at a terminal to confirm this; give `--yes` to do it without asking");
        return Err(Failure::Said(Exit::Usage));
    }
    let mut keyboard = Keyboard::start(None, out)?;
    let line = keyboard.answer(&format!("{what}? [y/N] ")).await;
    Ok(line.text().is_some_and(|line| matches!(line.trim(), "y" | "Y" | "yes")))
}

fn read(editor: Option<&mut DefaultEditor>, Request { prompt, is_kept }: &Request, out: Output) -> Line {
    let Some(editor) = editor else {
        if !prompt.is_empty() {
            out.ask(prompt);
        }
        return read_plain();
    };
    match editor.readline(prompt) {
        Ok(line) => {
            if *is_kept {
                remember(editor, &line);
            }
            Line::Said(line)
        }
        Err(ReadlineError::Interrupted) => Line::Interrupted,
        Err(_) => Line::End,
    }
}

fn read_plain() -> Line {
    use std::io::{BufRead, Read};
    let mut line = String::new();
    match io::stdin().lock().take(LINE_BYTES_MAX).read_line(&mut line) {
        Ok(0) | Err(_) => Line::End,
        Ok(_) => Line::Said(line.trim_end_matches(['\n', '\r']).to_owned()),
    }
}

/// Shows a star for each character.
struct Stars;

impl Helper for Stars {}

impl Completer for Stars {
    type Candidate = String;
}

impl Hinter for Stars {
    type Hint = String;
}

impl Validator for Stars {}

impl Highlighter for Stars {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> std::borrow::Cow<'l, str> {
        "*".repeat(line.chars().count()).into()
    }

    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        true
    }
}

/// A line that is not shown; `None` when the person gave up.
pub(super) fn hidden(prompt: &str) -> Option<Zeroizing<String>> {
    let config = rustyline::Config::builder().color_mode(ColorMode::Forced).max_history_size(0).ok()?.build();
    let mut editor: Editor<Stars, DefaultHistory> = Editor::with_config(config).ok()?;
    editor.set_helper(Some(Stars));
    editor.readline(prompt).ok().map(Zeroizing::new)
}
