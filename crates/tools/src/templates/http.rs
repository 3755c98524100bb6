//! `lane = "http"`: a request whose host no argument can choose.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use are_core::BoxFuture;
use are_core::body::Effect;
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::SecretName;
use are_policy::address::{Host, Target};
use are_policy::gate::Permit;
use are_policy::manifest::{Capabilities, Lane};
use are_policy::secrets;
use serde_json::{Map, Value};
use toml::Table;

use super::fill::{Text, Tree};
use super::{json_of, schema_of, text};
use crate::http::{Http, Wanted};
use crate::lane::{Answer, Error, Room, Runs};
use crate::registry::load::{Declared, Tool, invalid};
use crate::text::encoded;

/// What the request carries.
enum Body {
    /// A text; arguments are percent-encoded in it.
    Text(Text),
    /// JSON; arguments keep their types in it.
    Json(Tree),
}

/// A request with places.
struct Template {
    method: String,
    url: Text,
    headers: BTreeMap<String, Text>,
    body: Option<Body>,
    http: Arc<Http>,
}

pub(super) fn load(file: &Path, table: &Table, declared: &Declared, http: &Arc<Http>) -> Result<Tool, Fault> {
    let template = read(table, http)?;
    let used = template.places();
    let schema = schema_of(declared, &used)?;
    let mut manifest = declared.manifest(file, None, Lane::Http, "", schema)?;
    let optional = |name: &&str| declared.args().any(|(arg, rule)| arg == *name && rule.required == Some(false));
    if let Some(name) = template.url.places_before('?').find(|name| optional(name)) {
        return Err(invalid(format!("`{{{name}}}` stands in the path, so it cannot be left out"), "make it required"));
    }
    let effects = manifest.effect_by.iter().flat_map(|by| by.map.values().chain(&by.absent));
    if effects.chain([&manifest.effect]).any(|effect| *effect == Effect::None) {
        return Err(invalid(
            "a request leaves the machine, so its effect is not `none`",
            "use `network_read` for one that only reads",
        ));
    }
    let host = template.check(&used)?;
    let secrets = template.secrets();
    match &manifest.capabilities {
        None => manifest.capabilities = Some(Capabilities { http: vec![host], secrets, ..Capabilities::default() }),
        Some(said) if said.http.contains(&host) => {
            if let Some(name) = secrets.iter().find(|name| !said.secrets.contains(name)) {
                return Err(invalid(
                    format!("`capabilities.secrets` does not name `{name}`, which stands in the template"),
                    "name it, or leave `capabilities` out",
                ));
            }
        }
        Some(_) => {
            return Err(invalid(
                format!("`capabilities.http` does not name `{host}`"),
                "name it, or leave `capabilities` out",
            ));
        }
    }
    Ok((manifest, Arc::new(template)))
}

fn read(table: &Table, http: &Arc<Http>) -> Result<Template, Fault> {
    let url = text(table, "url")?.ok_or_else(|| invalid("it has no `url`", "add `url = \"https://…\"`"))?;
    let headers = match table.get("headers") {
        None => BTreeMap::new(),
        Some(toml::Value::Table(headers)) => {
            let read = |name: &String| {
                text(headers, name)?.map(|value| (name.clone(), value)).ok_or_else(|| invalid("no header", "add it"))
            };
            headers.keys().map(read).collect::<Result<_, _>>()?
        }
        Some(_) => return Err(invalid("`headers` must be a table of texts", "write `[headers]`")),
    };
    let body = match table.get("body") {
        None => None,
        Some(toml::Value::String(body)) => Some(Body::Text(Text::parse(body)?)),
        Some(other) => Some(Body::Json(Tree::parse(json_of(other)?)?)),
    };
    let method = match table.get("method") {
        None if body.is_some() => "POST".to_owned(),
        None => "GET".to_owned(),
        Some(method) => method.as_str().unwrap_or_default().to_owned(),
    };
    Ok(Template { method, url, headers, body, http: Arc::clone(http) })
}

impl Template {
    fn places(&self) -> BTreeSet<&str> {
        let mut places: Vec<&str> = self.url.places().collect();
        places.extend(self.headers.values().flat_map(Text::places));
        match &self.body {
            Some(Body::Text(text)) => places.extend(text.places()),
            Some(Body::Json(tree)) => tree.places(&mut places),
            None => {}
        }
        places.into_iter().collect()
    }

    /// Secrets that it names by itself, each once.
    fn secrets(&self) -> Vec<SecretName> {
        let mut found: Vec<&SecretName> = self.url.secrets().collect();
        found.extend(self.headers.values().flat_map(Text::secrets));
        match &self.body {
            Some(Body::Text(text)) => found.extend(text.secrets()),
            Some(Body::Json(tree)) => tree.secrets(&mut found),
            None => {}
        }
        let found: BTreeSet<SecretName> = found.into_iter().cloned().collect();
        found.into_iter().collect()
    }

    /// Tries the template on harmless arguments, so that what can never work is found now; the host it asks.
    fn check(&self, used: &BTreeSet<&str>) -> Result<String, Fault> {
        let head = self.url.head();
        let rest = head.split_once("://").map(|(_, rest)| rest).unwrap_or_default();
        if !rest.contains('/') {
            return Err(invalid(
                "no argument may choose the host",
                "write scheme and host in full, as in `https://api.example.com/{path}`",
            ));
        }
        secrets::check_url(&self.url.fill(&Map::new(), str::to_owned))
            .map_err(|fault| invalid(fault.message, fault.help))?;
        let sample: Map<String, Value> = used.iter().map(|name| ((*name).to_owned(), "x".into())).collect();
        let wanted = self.fill(&sample).map_err(|fault| invalid(fault.message, fault.help))?;
        let target =
            Target::parse(wanted.url()).map_err(|refusal| invalid(refusal.to_string(), "write a whole address"))?;
        wanted.check(&Digest::ZERO).map_err(|fault| invalid(fault.message, "mend the template"))?;
        let usual = if target.url.scheme() == "https" { 443 } else { 80 };
        let host = match &target.host {
            Host::Ip(address) => address.to_string(),
            Host::Name(name) => name.clone(),
        };
        Ok(if target.port == usual { host } else { format!("{host}:{}", target.port) })
    }

    fn fill(&self, args: &Map<String, Value>) -> Result<Wanted, Fault> {
        let url = self.url.fill(args, encoded);
        // Dots are the one thing that means something in a path and needs no encoding.
        if url::Url::parse(&url).is_ok_and(|parsed| parsed.as_str() != url) {
            return Err(Fault::new(
                Code::TOOL_ARGS,
                "an argument would lead to another address than its place in the template says",
                "an argument in a path is one name, neither empty nor `.` or `..`",
            ));
        }
        let path = url.split(['?', '#']).next().unwrap_or_default();
        if path.split_once("://").is_some_and(|(_, rest)| rest.contains("//")) {
            return Err(Fault::new(Code::TOOL_ARGS, "an argument in the path is empty", "give it a value"));
        }
        let mut headers = Map::new();
        for (name, value) in self.headers.iter().filter(|(_, value)| value.is_given(args)) {
            headers.insert(name.clone(), value.fill(args, str::to_owned).into());
        }
        let body = match &self.body {
            None => None,
            Some(Body::Text(text)) => Some(text.fill(args, encoded).into()),
            Some(Body::Json(tree)) => tree.fill(args),
        };
        Ok(Wanted::new(url, &self.method, headers, body))
    }
}

impl Runs for Template {
    fn run(&self, permit: Permit, room: Room) -> BoxFuture<'_, Result<Answer, Error>> {
        Box::pin(async move {
            let spent = permit.spend();
            let wanted = self.fill(&spent.args.to_map())?;
            self.http.perform(wanted, &spent.key, &room).await
        })
    }
}
