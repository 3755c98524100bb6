//! The keys that a manifest may hold, so that a misspelt one is found.

use are_core::error::Fault;
use toml::{Table, Value};

use crate::registry::load::invalid;
use crate::registry::names::nearest;

/// Keys of the whole file and of a `[tools.NAME]` table.
const SECTION: &[&str] = &[
    "description",
    "version",
    "effect",
    "effect_by",
    "retry",
    "args",
    "output",
    "capabilities",
    "limits",
    "intents",
    "example",
];
/// Keys that stand only at the top.
const TOP: &[&str] = &["lane", "tools", "test"];
/// The template of a request.
const HTTP: &[&str] = &["method", "url", "headers", "body"];
/// The template of a command line.
const COMMAND: &[&str] = &["argv", "cwd", "stdin"];
/// Tables inside, by their dotted names; `*` is any name.
const INSIDE: &[(&str, &[&str])] = &[
    ("effect_by", &["arg", "map", "absent"]),
    ("args.*", &["role", "type", "description", "required", "enum"]),
    ("output", &["default", "fields"]),
    ("capabilities", &["fs", "http", "commands", "secrets", "env"]),
    ("limits", &["timeout_ms", "memory_bytes", "output_bytes"]),
    ("example", &["ask", "arguments", "result", "answer"]),
    ("test", &["tool", "name", "args", "expect", "fails", "files"]),
];

/// The lanes whose implementation is the manifest itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Template {
    Http,
    Command,
}

/// Which lane the file says that it is for.
pub(super) fn lane(table: &Table) -> Result<Option<Template>, Fault> {
    match table.get("lane").map(Value::as_str) {
        None => Ok(None),
        Some(Some("http")) => Ok(Some(Template::Http)),
        Some(Some("command")) => Ok(Some(Template::Command)),
        Some(_) => Err(invalid(
            "`lane` must be `http` or `command`",
            "leave it out of a manifest that lies beside another file",
        )),
    }
}

/// Refuses the first unknown key.
pub(super) fn check(table: &Table, lane: Option<Template>) -> Result<(), Fault> {
    let template = template_keys(lane);
    let known: Vec<&str> = [SECTION, TOP, template].concat();
    check_names(table, "", &known)?;
    check_section(table, "")?;
    for (name, section) in table.get("tools").and_then(Value::as_table).into_iter().flatten() {
        let at = format!("tools.{name}.");
        if let Some(section) = section.as_table() {
            check_names(section, &at, SECTION)?;
            check_section(section, &at)?;
        }
    }
    for test in table.get("test").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_table) {
        check_names(test, "test.", keys_of("test"))?;
    }
    Ok(())
}

fn check_section(section: &Table, at: &str) -> Result<(), Fault> {
    for (name, value) in section {
        let Some(inner) = value.as_table() else { continue };
        if name == "args" {
            for (arg, value) in inner {
                if let Some(value) = value.as_table() {
                    check_names(value, &format!("{at}args.{arg}."), keys_of("args.*"))?;
                }
            }
        } else if !keys_of(name).is_empty() {
            check_names(inner, &format!("{at}{name}."), keys_of(name))?;
        }
    }
    Ok(())
}

fn keys_of(table: &str) -> &'static [&'static str] {
    INSIDE.iter().find(|(name, _)| *name == table).map_or(&[], |(_, keys)| keys)
}

fn check_names(table: &Table, at: &str, known: &[&str]) -> Result<(), Fault> {
    let Some(unknown) = table.keys().find(|key| !known.contains(&key.as_str())) else { return Ok(()) };
    let help = match nearest(unknown, known.iter().copied()) {
        _ if HTTP.contains(&unknown.as_str()) => "it needs `lane = \"http\"`".to_owned(),
        _ if COMMAND.contains(&unknown.as_str()) => "it needs `lane = \"command\"`".to_owned(),
        Some(near) => format!("did you mean `{at}{near}`?"),
        None => format!("known here: {}", known.join(", ")),
    };
    Err(invalid(format!("the key `{at}{unknown}` is not known"), help))
}

const fn template_keys(lane: Option<Template>) -> &'static [&'static str] {
    match lane {
        None => &[],
        Some(Template::Http) => HTTP,
        Some(Template::Command) => COMMAND,
    }
}

/// Takes the template out, with its lane.
pub(super) fn take_template(table: &mut Table, lane: Option<Template>) -> Option<Table> {
    lane?;
    let keys = template_keys(lane).iter().chain(&["lane"]);
    Some(keys.filter_map(|key| table.remove_entry(*key)).collect())
}
