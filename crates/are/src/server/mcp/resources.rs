//! Skills of the data directory as resources: `skill://NAME/FILE`.
//!
//! To read one is a call of `skill_read`, decided and recorded as any. Where
//! there are none, or the agent may not read them, resources are not offered.

use are_core::error::{Code, Fault};
use percent_encoding::percent_decode_str;
use rmcp::ErrorData;
use rmcp::model::{
    ConstString, ListResourceTemplatesRequestMethod, ListResourceTemplatesResult, ListResourcesRequestMethod,
    ListResourcesResult, ReadResourceRequestMethod, ReadResourceResponse, ReadResourceResult, Resource,
    ResourceContents, ResourceTemplate,
};
use serde_json::{Value, json};

use super::results;
use crate::server::app::App;

/// The tool that reads them.
pub(super) const READER: &str = "skill_read";
const SCHEME: &str = "skill://";
const MAIN: &str = "SKILL.md";
const MEDIA_TYPE: &str = "text/markdown";

/// True when there are some.
pub(super) fn are_there(app: &App) -> bool {
    !app.settings.skills.is_empty() && app.engine.offered_tools().get(READER).is_some()
}

fn must_be_there<M: ConstString>(app: &App) -> Result<(), ErrorData> {
    if are_there(app) { Ok(()) } else { Err(ErrorData::method_not_found::<M>()) }
}

fn none() -> ErrorData {
    results::error(&Fault::new(Code::NOT_FOUND, "there is no such resource", "`resources/list` shows what there is"))
}

/// All of them; there are few.
pub(super) fn list(app: &App) -> Result<ListResourcesResult, ErrorData> {
    must_be_there::<ListResourcesRequestMethod>(app)?;
    let resource = |(name, description): &(String, String)| {
        Resource::new(format!("{SCHEME}{name}/{MAIN}"), name).with_description(description).with_mime_type(MEDIA_TYPE)
    };
    Ok(ListResourcesResult::with_all_items(app.settings.skills.iter().map(resource).collect()))
}

/// How further files of a skill are named.
pub(super) fn templates(app: &App) -> Result<ListResourceTemplatesResult, ErrorData> {
    must_be_there::<ListResourceTemplatesRequestMethod>(app)?;
    let template = ResourceTemplate::new(format!("{SCHEME}{{name}}/{{+file}}"), "skill file")
        .with_description("A file of a skill that its SKILL.md refers to");
    Ok(ListResourceTemplatesResult::with_all_items(vec![template]))
}

/// A file of a skill.
pub(super) struct Wanted {
    name: String,
    file: String,
}

/// What an address means.
pub(super) fn wanted(app: &App, uri: &str) -> Result<Wanted, ErrorData> {
    must_be_there::<ReadResourceRequestMethod>(app)?;
    let (name, file) = uri.strip_prefix(SCHEME).and_then(|rest| rest.split_once('/')).ok_or_else(none)?;
    let plain =
        |text: &str| percent_decode_str(text).decode_utf8().map(std::borrow::Cow::into_owned).map_err(|_| none());
    Ok(Wanted { name: plain(name)?, file: plain(file)? })
}

impl Wanted {
    /// What to call the reader with.
    pub(super) fn args(&self) -> Value {
        json!({"name": self.name, "file": self.file})
    }

    /// The text in what it returned.
    pub(super) fn contents(&self, uri: &str, value: &Value) -> Result<ReadResourceResponse, ErrorData> {
        let text = match &value["content"] {
            Value::String(text) => text.clone(),
            // One of the workspace, as the file tool returned it.
            other => other["content"].as_str().map(str::to_owned).ok_or_else(none)?,
        };
        let kind = if self.file.ends_with(".md") { MEDIA_TYPE } else { "text/plain" };
        Ok(ReadResourceResult::new(vec![ResourceContents::text(text, uri).with_mime_type(kind)]).into())
    }
}
