//! `lane = "command"`: a command line whose program and shape are fixed.
//!
//! It is run through `process_run`, as a call of its own: decided, recorded and
//! caged like one that a model makes.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use are_core::BoxFuture;
use are_core::error::{Code, Fault};
use are_policy::gate::Permit;
use are_policy::manifest::{Lane, Role};
use are_policy::tools::ToolOutcome;
use serde_json::{Map, Value, json};
use toml::Table;

use super::fill::Text;
use super::{schema_of, text};
use crate::lane::{Answer, Error, Room, Runs};
use crate::registry::load::{Declared, Tool, invalid};

/// What runs it.
const RUNNER: &str = "process_run";
/// Elements of a command line.
const ARGV_MAX: usize = 256;

/// A command line with places.
struct Template {
    argv: Vec<Text>,
    cwd: Option<Text>,
    stdin: Option<Text>,
    /// Arguments that may look like options: they are declared to be some.
    options: BTreeSet<String>,
}

pub(super) fn load(file: &Path, table: &Table, declared: &Declared) -> Result<Tool, Fault> {
    let Some(toml::Value::Array(elements)) = table.get("argv") else {
        return Err(invalid("it has no `argv`", "add `argv = [\"program\", \"{argument}\"]`; there is no shell"));
    };
    if elements.len() > ARGV_MAX {
        return Err(invalid(format!("`argv` has more than {ARGV_MAX} elements"), "shorten it"));
    }
    let element = |value: &toml::Value| match value {
        toml::Value::String(text) if !text.contains('\0') => Text::parse(text),
        _ => Err(invalid("`argv` must be a list of texts", "put each element in quotation marks")),
    };
    let argv: Vec<Text> = elements.iter().map(element).collect::<Result<_, _>>()?;
    if argv.first().is_none_or(|program| program.places().next().is_some() || program.head().is_empty()) {
        return Err(invalid("no argument may choose the program", "write the first element of `argv` in full"));
    }
    let (cwd, stdin) = (text(table, "cwd")?, text(table, "stdin")?);
    if argv.iter().chain(&cwd).chain(&stdin).any(|text| text.secrets().next().is_some()) {
        return Err(invalid(
            "a command line is seen by every process, so no secret stands in it",
            "give it in the environment: `capabilities.env.NAME = \"secret:x\"`",
        ));
    }
    let used: BTreeSet<&str> = argv.iter().chain(&cwd).chain(&stdin).flat_map(Text::places).collect();
    let schema = schema_of(declared, &used)?;
    let in_argv: BTreeSet<&str> = argv.iter().chain(&cwd).flat_map(Text::places).collect();
    for (name, arg) in declared.args().filter(|(name, _)| in_argv.contains(name)) {
        if matches!(arg.kind.as_deref(), Some("array" | "object")) {
            return Err(invalid(
                format!("`args.{name}` is one element of `argv`, so it cannot be a list"),
                "use texts and numbers",
            ));
        }
    }
    let options = declared.args().filter(|(_, arg)| arg.role == Some(Role::Option)).map(|(name, _)| name.to_owned());
    let template = Template { options: options.collect(), argv, cwd, stdin };
    Ok((declared.manifest(file, None, Lane::Command, "", schema)?, Arc::new(template)))
}

impl Template {
    fn fill(&self, args: &Map<String, Value>) -> Result<Value, Fault> {
        let refused = |why: String, help: &str| Err(Fault::new(Code::TOOL_ARGS, why, help));
        let mut argv = Vec::new();
        let mut is_past_options = false;
        // An element whose argument is absent is left out.
        for text in self.argv.iter().filter(|text| text.is_given(args)) {
            let element = text.fill(args, str::to_owned);
            if element.contains('\0') {
                return refused("an argument holds a zero byte".to_owned(), "leave it out");
            }
            let from_outside = text.head().is_empty().then(|| text.places().next()).flatten();
            if let Some(name) = from_outside
                && element.starts_with('-')
                && !is_past_options
                && !self.options.contains(name)
            {
                // SECURITY: a value in the place of a file name must not become an option of the program.
                return refused(
                    format!("argument `{name}` begins with `-`, so the program would take it for an option"),
                    "write it another way, such as `./-name` for a file",
                );
            }
            is_past_options |= element == "--" && text.places().next().is_none();
            argv.push(element);
        }
        let mut call = json!({ "argv": argv });
        let others = [("cwd", &self.cwd), ("stdin", &self.stdin)];
        for (key, text) in others.into_iter().filter_map(|(key, text)| Some((key, text.as_ref()?))) {
            if text.is_given(args) {
                call[key] = text.fill(args, str::to_owned).into();
            }
        }
        Ok(call)
    }
}

impl Runs for Template {
    fn run(&self, permit: Permit, room: Room) -> BoxFuture<'_, Result<Answer, Error>> {
        Box::pin(async move {
            let call = self.fill(&permit.spend().args.to_map())?;
            // From here on the program may have run.
            room.latch.begin()?;
            match room.host.call(RUNNER, call).await {
                ToolOutcome::Completed { value, .. } => Ok(value.into()),
                ToolOutcome::Failed { fault, .. } => Err(Error::Failed(fault)),
                ToolOutcome::Unknown { fault, .. } => Err(Error::Unknown(fault)),
            }
        })
    }
}
