//! Lines from the person at the terminal.
//!
//! Reading a line cannot be interrupted, so a thread of its own does it, one
//! line per request; the thread is left alone when the program ends.

use std::io::{self, IsTerminal};
use std::sync::mpsc;

use rustyline::completion::Completer;
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

/// Reads lines on request.
pub(super) struct Keyboard {
    requests: mpsc::SyncSender<String>,
    lines: answers::Receiver<Option<String>>,
    is_waiting: bool,
}

impl Keyboard {
    /// True when a person can be asked: both sides are a terminal.
    pub(super) fn is_there(out: Output) -> bool {
        !out.is_json && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Starts the thread; `is_edited` gives the person a line editor with history.
    pub(super) fn start(is_edited: bool, out: Output) -> io::Result<Self> {
        let (requests, asked) = mpsc::sync_channel::<String>(REQUESTS_MAX);
        let (sender, lines) = answers::channel(REQUESTS_MAX);
        std::thread::Builder::new().name("keyboard".to_owned()).spawn(move || {
            let mut editor = if is_edited { DefaultEditor::new().ok() } else { None };
            while let Ok(prompt) = asked.recv() {
                let line = read(editor.as_mut(), &prompt, out);
                let is_end = line.is_none();
                if sender.blocking_send(line).is_err() || is_end {
                    break;
                }
            }
        })?;
        Ok(Self { requests, lines, is_waiting: false })
    }

    /// The next line; `None` at the end of input or when the person gave up. Cancel-safe: a line that was
    /// asked for is returned by the next call.
    pub(super) async fn line(&mut self, prompt: &str) -> Option<String> {
        if !self.is_waiting {
            self.requests.try_send(prompt.to_owned()).ok()?;
            self.is_waiting = true;
        }
        let line = self.lines.recv().await;
        self.is_waiting = false;
        line.flatten()
    }
}

/// Asks whether to do what the text says; without a person at a terminal nothing is done.
pub(super) async fn is_confirmed(out: Output, what: &str) -> Result<bool, Failure> {
    if !Keyboard::is_there(out) {
        out.say("error: nobody is at a terminal to confirm this; give `--yes` to do it without asking");
        return Err(Failure::Said(Exit::Usage));
    }
    let mut keyboard = Keyboard::start(false, out)?;
    let line = keyboard.line(&format!("{what}? [y/N] ")).await;
    Ok(line.is_some_and(|line| matches!(line.trim(), "y" | "Y" | "yes")))
}

fn read(editor: Option<&mut DefaultEditor>, prompt: &str, out: Output) -> Option<String> {
    let Some(editor) = editor else {
        if !prompt.is_empty() {
            out.ask(prompt);
        }
        return read_plain();
    };
    let line = editor.readline(prompt).ok()?;
    if !line.trim().is_empty()
        && let Err(error) = editor.add_history_entry(&line)
    {
        tracing::debug!(%error, "the line is not kept in the history");
    }
    Some(line)
}

fn read_plain() -> Option<String> {
    use std::io::{BufRead, Read};
    let mut line = String::new();
    match io::stdin().lock().take(LINE_BYTES_MAX).read_line(&mut line) {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(line.trim_end_matches(['\n', '\r']).to_owned()),
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
