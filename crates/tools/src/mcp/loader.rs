//! From what was consented to to tools.
//!
//! Each tool stands for itself: one whose schema cannot be enforced, whose name
//! is taken by another of the same server, or that the server declares otherwise
//! by now is refused, and the others are served. A manifest beside the file
//! says more of its tools, as for every other kind.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use are_core::body::{Effect, Retry};
use are_core::digest::Digest;
use are_core::error::Fault;
use are_policy::manifest::{ArgRule, CallLimits, Capabilities, Lane, Manifest, OutputLabel, Role};
use serde_json::{Value, json};

use super::call::{Call, What};
use super::consent::{Agreed, Consent};
use super::import;
use super::noted;
use super::runtime::Runtime;
use super::server::Server;
use crate::registry::load::{Beside, Declared, Loaded, Loads, Tool, invalid};
use crate::registry::names::{tool_name, visible};
use crate::text::{plain, short};

/// The loader.
pub(crate) struct Consented(Arc<Runtime>);

impl Consented {
    pub(crate) const fn on(runtime: Arc<Runtime>) -> Self {
        Self(runtime)
    }
}

impl Loads for Consented {
    fn extensions(&self) -> &'static [&'static str] {
        &[super::ENDING]
    }

    fn is_partial(&self) -> bool {
        true
    }

    fn revision(&self) -> u64 {
        self.0.revision()
    }

    fn keeps_beside(&self, file: &Path, bytes: &[u8]) -> Option<String> {
        Some(noted::file_name(file.file_stem()?.to_str()?, Digest::of(&[bytes])))
    }

    fn load(&self, file: &Path, bytes: Vec<u8>, declared: &Declared, _: &Beside) -> Result<Loaded, Fault> {
        let name = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        super::check_name(&name).map_err(|fault| invalid(fault.message, fault.help))?;
        let consent = Consent::read(&bytes)?;
        let server = self.0.server(&name, Digest::of(&[&bytes]), consent);
        let mut loading = Loading { file, declared, server, tools: Vec::new(), refused: Vec::new() };
        loading.all()?;
        Ok(Loaded { tools: loading.tools, refused: loading.refused, anchor: Some(loading.server) })
    }
}

struct Loading<'a> {
    file: &'a Path,
    declared: &'a Declared,
    server: Arc<Server>,
    tools: Vec<Tool>,
    refused: Vec<Fault>,
}

impl Loading<'_> {
    fn all(&mut self) -> Result<(), Fault> {
        let server = Arc::clone(&self.server);
        if let Some(fault) = server.locked() {
            self.refused.push(fault);
            return Ok(());
        }
        let consent = &server.consent;
        let mut named: BTreeMap<String, Vec<&Agreed>> = BTreeMap::new();
        for agreed in &consent.tools {
            match tool_name(self.file, Some(&agreed.name)) {
                Ok(name) => named.entry(name.as_str().to_owned()).or_default().push(agreed),
                Err(fault) => self.refuse(&agreed.name, fault),
            }
        }
        let further = self.further(&named)?;
        let known: BTreeSet<&str> =
            named.keys().map(String::as_str).chain(further.iter().map(|(base, _)| base.name.as_str())).collect();
        if let Some(stranger) = self.declared.strangers(self.file, &known.into_iter().collect::<Vec<_>>()).first() {
            let why = format!("`tools.{stranger}` in the manifest is none of its tools");
            return Err(invalid(why, "`are mcp list` shows them"));
        }
        for (name, agreed) in named {
            match agreed.as_slice() {
                [only] => self.tool(only),
                several => {
                    let names: Vec<String> = several.iter().map(|one| format!("`{}`", shown(&one.name))).collect();
                    let why = format!("its tools {} all become `{name}`", names.join(" and "));
                    self.refused.push(invalid(why, "the server must name them apart"));
                }
            }
        }
        for (base, what) in further {
            let export = what_export(&what);
            self.add(&export, base, what);
        }
        Ok(())
    }

    fn tool(&mut self, agreed: &Agreed) {
        if let Some(fault) = self.server.refused(&agreed.name) {
            self.refused.push(fault);
            return;
        }
        match self.base(agreed) {
            Ok(base) => self.add(&agreed.name, base, What::Tool(agreed.name.clone())),
            Err(fault) => self.refuse(&agreed.name, fault),
        }
    }

    fn add(&mut self, export: &str, base: Manifest, what: What) {
        match self.declared.over(self.file, Some(export), base) {
            Ok(manifest) => {
                let call = Call::new(Arc::clone(&self.server), what, &manifest);
                self.tools.push((manifest, Arc::new(call)));
            }
            Err(fault) => self.refused.push(fault),
        }
    }

    fn refuse(&mut self, tool: &str, fault: Fault) {
        let message = format!("`{}`: {}", shown(tool), fault.message);
        self.refused.push(Fault { message, ..fault });
    }

    fn base(&self, agreed: &Agreed) -> Result<Manifest, Fault> {
        let declared = agreed.schema.as_object().cloned().unwrap_or_default();
        let schema =
            import::schema(&declared).map_err(|why| invalid(why, "it can be served once the server changes it"))?;
        let description = visible(&agreed.description);
        let description = if description.is_empty() {
            format!("The tool {} of the server {}.", shown(&agreed.name), self.server.name)
        } else {
            description
        };
        self.manifest(&agreed.name, &description, schema, (agreed.effect, agreed.retry))
    }

    fn manifest(
        &self,
        export: &str,
        description: &str,
        schema: Value,
        (effect, retry): (Effect, Retry),
    ) -> Result<Manifest, Fault> {
        let http = self.server.consent.server.host().into_iter().collect();
        Ok(Manifest {
            name: tool_name(self.file, Some(export))?,
            description: description.to_owned(),
            lane: Lane::Mcp,
            version: "1".to_owned(),
            schema,
            example: None,
            effect,
            effect_by: None,
            retry,
            args: BTreeMap::new(),
            output_default: OutputLabel::default(),
            output_fields: BTreeMap::new(),
            is_contained: false,
            capabilities: Some(Capabilities { http, ..Capabilities::default() }),
            limits: CallLimits::default(),
            intents: BTreeMap::new(),
        })
    }

    /// Tools that come with what a server offers beside tools, unless it has such of that name.
    fn further(&self, named: &BTreeMap<String, Vec<&Agreed>>) -> Result<Vec<(Manifest, What)>, Fault> {
        let consent = &self.server.consent;
        let mut further = Vec::new();
        if consent.resources {
            further.extend([What::Resources, What::Resource]);
        }
        if !consent.prompts.is_empty() {
            further.push(What::Prompt);
        }
        let mut made = Vec::new();
        for what in further {
            let (description, schema, roles) = self.declaration_of(&what);
            let reading = (Effect::NetworkRead, Retry::Idempotent);
            let mut manifest = self.manifest(&what_export(&what), &description, schema, reading)?;
            manifest.args = roles.iter().map(|(name, role)| ((*name).to_owned(), ArgRule { role: *role })).collect();
            if !named.contains_key(manifest.name.as_str()) {
                made.push((manifest, what));
            }
        }
        Ok(made)
    }

    fn declaration_of(&self, what: &What) -> (String, Value, &'static [(&'static str, Role)]) {
        let server = &self.server.name;
        match what {
            What::Resources => (
                format!("List what the server {server} has to read, a page at a time."),
                json!({
                    "type": "object",
                    "properties": {"cursor": {"type": "string", "maxLength": 1024, "description": "`next_cursor` of the page before"}},
                    "additionalProperties": false,
                }),
                &[("cursor", Role::Option)],
            ),
            What::Prompt => {
                let names: Vec<&str> = self.server.consent.prompts.iter().map(|prompt| prompt.name.as_str()).collect();
                (
                    visible(&format!("Get a prompt of the server {server}. There are: {}.", names.join(", "))),
                    json!({
                        "type": "object",
                        "properties": {
                            "name": {"type": "string", "minLength": 1, "maxLength": 256, "description": "which prompt"},
                            "arguments": {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 64, "description": "its arguments"},
                        },
                        "required": ["name"],
                        "additionalProperties": false,
                    }),
                    &[("name", Role::Selector), ("arguments", Role::Content)],
                )
            }
            What::Resource | What::Tool(_) => (
                format!("Read a resource of the server {server}."),
                json!({
                    "type": "object",
                    "properties": {"uri": {"type": "string", "minLength": 1, "maxLength": 4096, "description": "which resource"}},
                    "required": ["uri"],
                    "additionalProperties": false,
                }),
                &[("uri", Role::Selector)],
            ),
        }
    }
}

/// What the name of a further tool ends in.
fn what_export(what: &What) -> String {
    match what {
        What::Tool(name) => name.clone(),
        What::Resources => "resource_list".to_owned(),
        What::Resource => "resource_read".to_owned(),
        What::Prompt => "prompt_get".to_owned(),
    }
}

fn shown(name: &str) -> String {
    short(&plain(name))
}
