//! The registry as `tools/list` shows it.
//!
//! Hints are made from the manifest, whose worst case counts: what a tool may
//! do decide the rules, for each call.

use are_core::body::{Effect, Retry};
use are_core::error::Fault;
use are_core::ids::ToolName;
use are_policy::manifest::{Manifest, RESULT_READ, SEARCH, ToolSet};
use rmcp::model::{ListToolsResult, MetaObject, Tool, ToolAnnotations};
use serde_json::{Map, Value};

use crate::server::problem::invalid;

/// Tools of one page.
const PAGE_TOOLS: usize = 100;
/// Bytes of declarations of one page, beyond which a further tool begins the next one.
const PAGE_BYTES: u64 = 256 << 10;

/// The tools after the one that `cursor` names.
pub(super) fn page(set: &ToolSet, cursor: Option<&str>) -> Result<ListToolsResult, Fault> {
    let after: Option<ToolName> = match cursor {
        None => None,
        Some(cursor) => {
            let name = cursor.parse();
            Some(name.map_err(|_| invalid("this is no cursor of this list", "send the last `nextCursor`"))?)
        }
    };
    // Models that need a tool to find tools have clients for that.
    let shown = set
        .iter()
        .map(|(manifest, _)| manifest)
        .filter(|manifest| ![SEARCH, RESULT_READ].contains(&manifest.name.as_str()));
    let mut rest = shown.skip_while(|manifest| after.as_ref().is_some_and(|after| manifest.name <= *after)).peekable();
    let (mut tools, mut bytes) = (Vec::new(), 0);
    let mut last: Option<&ToolName> = None;
    while let Some(manifest) = rest.peek() {
        let size = are_policy::manifest::bytes_of(&manifest.spec());
        if tools.len() >= PAGE_TOOLS || (!tools.is_empty() && bytes + size > PAGE_BYTES) {
            break;
        }
        bytes += size;
        last = Some(&manifest.name);
        tools.push(shown_as(manifest));
        rest.next();
    }
    let has_more = rest.peek().is_some();
    let mut page = ListToolsResult::with_all_items(tools);
    page.next_cursor = last.filter(|_| has_more).map(ToString::to_string);
    Ok(page)
}

fn shown_as(manifest: &Manifest) -> Tool {
    let schema = manifest.schema.as_object().cloned().unwrap_or_default();
    let (effect, retry) = (manifest.effect, manifest.retry);
    let is_kept_within = manifest.is_contained || effect == Effect::None;
    let annotations = ToolAnnotations::default()
        .read_only(matches!(effect, Effect::None | Effect::NetworkRead))
        // What was sent, shared, paid or shown to others is not taken back.
        .destructive(!matches!(effect, Effect::None | Effect::NetworkRead | Effect::Create))
        .idempotent(matches!(retry, Retry::Pure | Retry::Idempotent))
        .open_world(!is_kept_within);
    let mut meta = Map::new();
    meta.insert("are/effect".to_owned(), serde_json::to_value(effect).unwrap_or(Value::Null));
    Tool::new(manifest.name.to_string(), manifest.description.clone(), schema)
        .with_annotations(annotations)
        .with_meta(MetaObject(meta))
}
