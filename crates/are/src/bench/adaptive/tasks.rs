//! What a task is: files, a prompt, perhaps further words, and how it is decided whether it was done.

use std::collections::BTreeMap;

use are_core::error::Fault;
use serde::Deserialize;

use super::unreadable;

/// Tasks of one file.
const TASKS_MAX: usize = 1_000;
/// Bytes of an answer that a report shows.
const SHOWN_BYTES: usize = 160;

/// A task, in as many variants as it has rows of values. `{name}` stands for a value in all of its texts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Task {
    /// Its name; letters, digits and hyphens.
    pub(super) id: String,
    /// What it is about.
    pub(super) kind: String,
    /// What is in the workspace.
    #[serde(default)]
    files: BTreeMap<String, String>,
    /// What the user says.
    prompt: String,
    /// What the user says while the model reads that.
    #[serde(default)]
    steer: Option<String>,
    /// Texts that the answer must hold, each whole.
    #[serde(default)]
    answer: Vec<String>,
    /// Texts of which it must hold one.
    #[serde(default)]
    one_of: Vec<String>,
    /// Texts that it must not hold.
    #[serde(default)]
    never: Vec<String>,
    /// What files hold afterwards, but for blanks at the ends of lines and of the file.
    #[serde(default)]
    after: BTreeMap<String, String>,
    /// Texts that files hold afterwards.
    #[serde(default)]
    holds: BTreeMap<String, Vec<String>>,
    /// Files that are not there afterwards.
    #[serde(default)]
    gone: Vec<String>,
    /// Values by name, a row a variant.
    #[serde(default)]
    values: Vec<BTreeMap<String, String>>,
}

/// A variant of a task.
pub(super) struct Filled {
    pub(super) files: BTreeMap<String, String>,
    pub(super) prompt: String,
    pub(super) steer: Option<String>,
    answer: Vec<String>,
    one_of: Vec<String>,
    never: Vec<String>,
    after: BTreeMap<String, String>,
    holds: BTreeMap<String, Vec<String>>,
    gone: Vec<String>,
}

impl Task {
    /// Tasks from JSON lines.
    pub(super) fn parse(data: &str) -> Result<Vec<Self>, Fault> {
        let mut tasks: Vec<Self> = Vec::new();
        for (number, line) in (1..).zip(data.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            let task: Self = serde_json::from_str(line)
                .map_err(|error| unreadable(&format!("line {number} of the tasks is none: {error}")))?;
            task.check().map_err(|why| unreadable(&format!("the task `{}` in line {number} {why}", task.id)))?;
            (0..task.variants()).try_for_each(|variant| task.filled(variant).map(drop))?;
            if tasks.iter().any(|other| other.id == task.id) {
                return Err(unreadable(&format!("there are two tasks `{}`", task.id)));
            }
            tasks.push(task);
        }
        match tasks.len() {
            0 => Err(unreadable("there are no tasks")),
            1..=TASKS_MAX => Ok(tasks),
            _ => Err(unreadable(&format!("there are more than {TASKS_MAX} tasks"))),
        }
    }

    fn check(&self) -> Result<(), &'static str> {
        let is_name = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if !is_name(&self.id) {
            return Err("has no usable name");
        }
        let decides = !self.answer.is_empty()
            || !self.one_of.is_empty()
            || !self.after.is_empty()
            || !self.holds.is_empty()
            || !self.gone.is_empty();
        if decides { Ok(()) } else { Err("can be done by saying nothing") }
    }

    /// Variants that there are, at least one.
    pub(super) fn variants(&self) -> usize {
        self.values.len().max(1)
    }

    /// The variant of that number.
    ///
    /// # Errors
    /// A value makes a path lead out of the workspace.
    pub(super) fn filled(&self, variant: usize) -> Result<Filled, Fault> {
        let none = BTreeMap::new();
        let values = self.values.get(variant).unwrap_or(&none);
        let fill = |text: &String| {
            values.iter().fold(text.clone(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
        };
        let each = |texts: &[String]| texts.iter().map(fill).collect::<Vec<_>>();
        let both = |texts: &BTreeMap<String, String>| -> BTreeMap<String, String> {
            texts.iter().map(|(path, text)| (fill(path), fill(text))).collect()
        };
        let filled = Filled {
            files: both(&self.files),
            prompt: fill(&self.prompt),
            steer: self.steer.as_ref().map(fill),
            answer: each(&self.answer),
            one_of: each(&self.one_of),
            never: each(&self.never),
            after: both(&self.after),
            holds: self.holds.iter().map(|(path, texts)| (fill(path), each(texts))).collect(),
            gone: each(&self.gone),
        };
        let paths = filled.files.keys().chain(filled.after.keys()).chain(filled.holds.keys()).chain(&filled.gone);
        match paths.into_iter().find(|path| !is_inside(path)) {
            Some(path) => {
                Err(unreadable(&format!("the task `{}` names `{path}`, which leads out of its workspace", self.id)))
            }
            None => Ok(filled),
        }
    }
}

/// A relative path without a way up.
fn is_inside(path: &str) -> bool {
    !path.is_empty() && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

impl Filled {
    /// What is missing for the task to be done, by the answer and by what `read` finds in files.
    pub(super) fn missing(&self, answer: &str, read: impl Fn(&str) -> Option<String>) -> Option<String> {
        let shown = || answer[..answer.floor_char_boundary(SHOWN_BYTES)].replace('\n', " ");
        if let Some(text) = self.answer.iter().find(|text| !holds(answer, text)) {
            return Some(format!("the answer does not hold `{text}`: {}", shown()));
        }
        if !self.one_of.is_empty() && !self.one_of.iter().any(|text| holds(answer, text)) {
            return Some(format!("the answer holds none of {:?}: {}", self.one_of, shown()));
        }
        if let Some(text) = self.never.iter().find(|text| holds(answer, text)) {
            return Some(format!("the answer holds `{text}`: {}", shown()));
        }
        for (path, wanted) in &self.after {
            match read(path) {
                Some(found) if plain(&found) == plain(wanted) => {}
                Some(found) => {
                    return Some(format!("`{path}` holds {:?}", &found[..found.floor_char_boundary(SHOWN_BYTES)]));
                }
                None => return Some(format!("there is no `{path}`")),
            }
        }
        for (path, wanted) in &self.holds {
            let Some(found) = read(path) else { return Some(format!("there is no `{path}`")) };
            if let Some(text) = wanted.iter().find(|text| !holds(&found, text)) {
                return Some(format!("`{path}` does not hold `{text}`"));
            }
        }
        self.gone.iter().find(|path| read(path).is_some()).map(|path| format!("`{path}` is still there"))
    }
}

/// Whether a text stands in another one whole: not within a longer word or number, whatever the case. Marks of thousands
/// in numbers do not count.
fn holds(text: &str, wanted: &str) -> bool {
    let (text, wanted) = (bare(text), bare(wanted));
    let is_of_word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    text.match_indices(&wanted).any(|(at, _)| {
        let (before, behind) = (&text[..at], &text[at + wanted.len()..]);
        let begins_whole = !is_of_word(wanted.chars().next()) || !is_of_word(before.chars().next_back());
        let ends_whole = !is_of_word(wanted.chars().next_back()) || !is_of_word(behind.chars().next());
        // `1.5` is not in `11.5`, and `15` is neither in `15.5` nor in `2.15`.
        let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        let is_number = is_digit(wanted.chars().next()) && is_digit(wanted.chars().next_back());
        let goes_on = behind.strip_prefix('.').is_some_and(|rest| is_digit(rest.chars().next()) && !is_zero(rest));
        let came_before = before.strip_suffix('.').is_some_and(|rest| is_digit(rest.chars().next_back()));
        begins_whole && ends_whole && !(is_number && (goes_on || came_before))
    })
}

/// True where only zeros follow, as in `15.00`.
fn is_zero(rest: &str) -> bool {
    rest.chars().take_while(char::is_ascii_digit).all(|c| c == '0')
}

/// In lower case, without commas between digits.
fn bare(text: &str) -> String {
    let text = text.to_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    let mut last = ' ';
    while let Some(c) = rest.next() {
        let is_mark = c == ',' && last.is_ascii_digit() && rest.peek().is_some_and(char::is_ascii_digit);
        if !is_mark {
            out.push(c);
        }
        last = c;
    }
    out
}

/// Without blanks at the ends of lines and of the text.
fn plain(text: &str) -> String {
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests;
