//! The one-line sugar: `allow = ["process_run cargo test *", "fs_write docs/*"]`.
//!
//! Each line becomes one Cedar permit in a rule file of its own, so that it is
//! checked, shown, stored and replayed like any other rule, and adds nothing to
//! the decision. A permit's name is made from its line alone: it stays the same
//! wherever the line stands.
//!
//! What a line means depends on its tool's declaration: elements of a command
//! line for a tool with `argv`, a path for a contained tool, else an address or
//! an exact object. Nothing is guessed: a line that says nothing, or
//! everything, or could not match, is an error.

use std::collections::BTreeSet;

use are_core::digest::Digest;
use url::Url;

use super::object::plain_path;
use super::typed::{ARGV, ARGV_NAMED_MAX, Host};
use crate::manifest::{Manifest, ToolSet};

/// The rule file that the lines become.
pub const ALLOW_FILE: &str = "are.toml.cedar";
/// Bytes of one line.
pub const ALLOW_LINE_BYTES_MAX: usize = 512;
/// Bytes of the tool's name that a rule's name repeats.
const NAME_BYTES_MAX: usize = 40;
/// Hexadecimal digits of the line's digest in a rule's name; 512 rules will not meet by chance.
const NAME_DIGITS: usize = 10;

/// Why a line is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllowError {
    /// There is no such tool.
    #[error("`{line}` in `allow` names the tool `{tool}`, which does not exist")]
    UnknownTool {
        /// The line.
        line: String,
        /// The name.
        tool: String,
    },
    /// The line is not understood.
    #[error("`{line}` in `allow` {problem}")]
    Line {
        /// The line.
        line: String,
        /// What is wrong with it.
        problem: String,
        /// What to write instead.
        help: String,
    },
}

/// What a line says of the calls of its tool, as a Cedar condition; or the problem and the help.
type Condition = Result<String, (String, String)>;

/// The rule file that `lines` stand for; `None` when there are none.
///
/// # Errors
/// The first line that is no rule.
pub fn expand<'a>(
    lines: impl IntoIterator<Item = &'a str>,
    tools: &ToolSet,
) -> Result<Option<(String, String)>, AllowError> {
    let mut text = String::new();
    let mut known = BTreeSet::new();
    for line in lines {
        let words: Vec<_> = line.split_whitespace().collect();
        let plain = words.join(" ");
        let rule = rule(&plain, &words, tools)?;
        if known.insert(plain) {
            text.push_str(&rule);
        }
    }
    Ok((!text.is_empty()).then(|| (ALLOW_FILE.to_owned(), text)))
}

fn rule(line: &str, words: &[&str], tools: &ToolSet) -> Result<String, AllowError> {
    let shown: String = line.chars().take(ALLOW_LINE_BYTES_MAX).filter(|c| !c.is_control()).collect();
    let wrong = |problem: String, help: String| AllowError::Line { line: shown.clone(), problem, help };
    if line.len() > ALLOW_LINE_BYTES_MAX || line.chars().any(char::is_control) {
        let problem = format!("is longer than {ALLOW_LINE_BYTES_MAX} bytes or holds a control character");
        return Err(wrong(problem, "write a Cedar rule instead".to_owned()));
    }
    let Some((tool, pattern)) = words.split_first() else {
        return Err(wrong("is empty".to_owned(), "write for example `fs_write docs/*`, or drop it".to_owned()));
    };
    if tool.contains('*') {
        let help = "begin with the name of one tool, as in `fs_write docs/*`; the profile `observe` permits everything";
        return Err(wrong("would permit every tool".to_owned(), help.to_owned()));
    }
    let Some((manifest, _)) = tools.get(tool) else {
        return Err(AllowError::UnknownTool { line: shown, tool: (*tool).to_owned() });
    };
    let condition = condition(manifest, pattern).map_err(|(problem, help)| wrong(problem, help))?;
    let digest = Digest::of(&[line.as_bytes()]).to_string();
    let (tool, name) = (&manifest.name, &manifest.name.as_str()[..manifest.name.as_str().len().min(NAME_BYTES_MAX)]);
    Ok(format!(
        "// {line}\n@id(\"allow.{name}.{}\")\npermit(principal, action, resource == Tool::\"{tool}\")\nwhen {{ {condition} }};\n",
        &digest[..NAME_DIGITS],
    ))
}

fn condition(manifest: &Manifest, pattern: &[&str]) -> Condition {
    let tool = &manifest.name;
    let has_argv = has_argv(manifest);
    let example = match (has_argv, manifest.is_contained) {
        (true, _) => format!("`{tool} cargo test *`"),
        (false, true) => format!("`{tool} docs/*`"),
        (false, false) => format!("`{tool} docs.example.org`"),
    };
    if pattern.is_empty() {
        return Err((format!("does not say what `{tool}` may do"), format!("write for example {example}")));
    }
    let text = pattern.join(" ");
    let is_everything = match has_argv {
        true => pattern.iter().all(|element| *element == "*"),
        false => text.contains('*') && text.chars().all(|c| matches!(c, '*' | '/' | '.' | ' ')),
    };
    if is_everything {
        let rule = format!("permit(principal, action, resource == Tool::\"{tool}\");");
        let help = format!("write for example {example}; if every call is meant, write the Cedar rule `{rule}`");
        return Err((format!("would permit everything that `{tool}` can do"), help));
    }
    match (has_argv, manifest.is_contained) {
        (true, _) => argv(pattern),
        (false, true) => path(tool.as_str(), &text),
        (false, false) => address(tool.as_str(), &text),
    }
}

/// True when the tool takes a command line as a list.
pub(super) fn has_argv(manifest: &Manifest) -> bool {
    manifest.schema.get("properties").is_some_and(|properties| properties.get(ARGV).is_some())
}

/// Element by element; a `*` at the end stands for any further ones, anywhere else for itself.
fn argv(pattern: &[&str]) -> Condition {
    let (elements, is_open) = match pattern {
        [elements @ .., "*"] => (elements, true),
        elements => (elements, false),
    };
    if elements.len() > ARGV_NAMED_MAX {
        let help = format!("end it after at most {ARGV_NAMED_MAX} elements with ` *`");
        return Err((format!("names more than {ARGV_NAMED_MAX} elements"), help));
    }
    if let Some(quoted) = elements.iter().find(|element| element.contains(['"', '\'', '\\'])) {
        let help = "elements are split at white space and nothing else; for others write a Cedar rule about \
                    `context.argv`";
        return Err((
            format!("holds quotes or a backslash in {quoted}, which are not read as a shell reads them"),
            help.to_owned(),
        ));
    }
    let (compare, count) = (if is_open { ">=" } else { "==" }, elements.len());
    let mut condition = format!("!context.is_shell && context has argv && context.argv.count {compare} {count}");
    for (at, element) in elements.iter().enumerate() {
        condition.push_str(&format!(" && context.argv has \"{at}\" && context.argv[\"{at}\"] == {}", quoted(element)));
    }
    Ok(condition)
}

/// A path, everything below a directory, or a pattern in which `*` is any text.
fn path(tool: &str, text: &str) -> Condition {
    let plain = plain_path(text);
    if plain.starts_with('/') || plain.split('/').next() == Some("..") {
        let help = format!("write it as seen from the workspace: `{tool} docs/*`");
        return Err(("leaves the workspace, and nothing outside can be reached".to_owned(), help));
    }
    let (directory, is_below) = match plain.strip_suffix("/*") {
        Some(directory) => (directory, true),
        None => (plain.as_str(), false),
    };
    if directory.contains('*') {
        let pattern = quoted(&plain);
        return Ok(format!(
            "context has path && context.path in Path::\".\" && context has object && context.object like {pattern}"
        ));
    }
    let entity = format!("Path::{}", quoted(directory));
    Ok(match is_below {
        true => format!("context has path && context.path in {entity} && context.path != {entity}"),
        false => format!("context has path && context.path == {entity}"),
    })
}

/// A whole address with `*` in its path, a host, `*.` and a domain, or an exact object.
fn address(tool: &str, text: &str) -> Condition {
    if let Some((scheme, rest)) = text.split_once("://") {
        return url(tool, text, scheme, rest);
    }
    if let Some(domain) = text.strip_prefix("*.") {
        return match Host::read(domain) {
            Some(host) if host.ip().is_none() && host.port.is_none() => {
                let name = quoted(&host.name());
                Ok(format!("context has host && context.host in Host::{name} && context.host.name != {name}"))
            }
            Some(_) | None => {
                Err((format!("`{domain}` is no domain"), format!("write for example `{tool} *.example.org`")))
            }
        };
    }
    if text.contains('*') {
        let help = format!("write a host, `{tool} *.example.org`, or an address, `{tool} https://example.org/docs/*`");
        return Err(("has a `*` where none is understood".to_owned(), help));
    }
    if let Some(host) = Host::read(text) {
        return Ok(match host.port {
            Some(_) => format!("context has host && context.host == Host::{}", quoted(&host.id())),
            None => format!("context has host && context.host.name == {}", quoted(&host.name())),
        });
    }
    if text.contains('/') && text.split('/').next().and_then(Host::read).is_some() {
        return Err(("is an address without a scheme".to_owned(), format!("write `{tool} https://{text}`")));
    }
    Ok(format!("context has object && context.object == {}", quoted(text)))
}

fn url(tool: &str, text: &str, scheme: &str, rest: &str) -> Condition {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('*') {
        let help = format!("write `{tool} {}` for the host, or a whole address with `*` in its path", authority);
        return Err(("has a `*` in its host".to_owned(), help));
    }
    match Url::parse(text) {
        Ok(url) if Host::read(text).is_some() && !authority.contains('@') => Ok(match url.as_str() {
            normal if normal.contains('*') => format!("context has url && context.url like {}", quoted(normal)),
            normal => format!("context has url && context.url == {}", quoted(normal)),
        }),
        Ok(_) | Err(_) => Err((
            "is not a whole address".to_owned(),
            format!("write for example `{tool} {scheme}://example.org/docs/*`"),
        )),
    }
}

/// A Cedar string, or a pattern in which `*` is any text. Control characters were refused before.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests;
