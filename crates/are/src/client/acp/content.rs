//! What an editor sends as a prompt, as the server hears it.
//!
//! Only text is the user's own words. An image is shown as one; what is attached, whole or by its address, is a file. Both
//! are untrusted, whoever chose them: the editor cannot vouch for what others put into them.

use std::path::Path;

use agent_client_protocol::v1::schema::{BlobResourceContents, ContentBlock, EmbeddedResourceResource};
use are_core::error::{Code, Fault};
use are_core::limits::IMAGE_TYPES;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use url::Url;

use crate::cli::output::one_line;

/// Media type of an attached text that comes without a usable one.
const PLAIN: &str = "text/plain";
/// Media type of a file of which only the address was sent (RFC 2483).
const ADDRESSES: &str = "text/uri-list";
/// Bytes of a file's name and of its media type that the server takes.
const NAME_BYTES_MAX: usize = 256;

/// The parts of a prompt of `are.v2`. Files below `workspace` are named by their path in it, as tools know them.
///
/// # Errors
/// ARE-0206 for what is neither text nor image; the editor was told that it is not taken.
pub(super) fn parts(blocks: Vec<ContentBlock>, workspace: Option<&Path>) -> Result<Value, Fault> {
    blocks.into_iter().map(|block| part(block, workspace)).collect::<Result<Vec<_>, _>>().map(Value::Array)
}

fn part(block: ContentBlock, workspace: Option<&Path>) -> Result<Value, Fault> {
    match block {
        ContentBlock::Text(text) => Ok(json!({"type": "text", "text": text.text})),
        ContentBlock::ResourceLink(link) => Ok(file(&link.uri, workspace, ADDRESSES, &link.uri)),
        ContentBlock::Resource(resource) => match resource.resource {
            EmbeddedResourceResource::TextResourceContents(text) => {
                Ok(file(&text.uri, workspace, kind(text.mime_type.as_deref()), &text.text))
            }
            EmbeddedResourceResource::BlobResourceContents(blob) if is_image(&blob) => {
                Ok(image(blob.mime_type.as_deref().unwrap_or_default(), &blob.blob))
            }
            EmbeddedResourceResource::BlobResourceContents(blob) => {
                let text = text_in(&blob).ok_or_else(|| refused("an attached file is no text"))?;
                Ok(file(&blob.uri, workspace, kind(blob.mime_type.as_deref()), &text))
            }
            _ => Err(refused("an attachment is of an unknown kind")),
        },
        ContentBlock::Image(shown) => Ok(image(&shown.mime_type, &shown.data)),
        ContentBlock::Audio(_) => Err(refused("sound is not taken")),
        _ => Err(refused("a part of the prompt is of an unknown kind")),
    }
}

fn image(media_type: &str, data: &str) -> Value {
    json!({"type": "image", "media_type": media_type.to_ascii_lowercase(), "data": data})
}

fn is_image(blob: &BlobResourceContents) -> bool {
    let kind = blob.mime_type.as_deref().unwrap_or_default().to_ascii_lowercase();
    IMAGE_TYPES.contains(&kind.as_str())
}

fn file(address: &str, workspace: Option<&Path>, kind: &str, data: &str) -> Value {
    json!({"type": "file", "name": name(address, workspace), "media_type": kind, "data": data})
}

fn text_in(blob: &BlobResourceContents) -> Option<String> {
    String::from_utf8(STANDARD.decode(&blob.blob).ok()?).ok()
}

/// A media type as the server takes it.
fn kind(told: Option<&str>) -> &str {
    let is_usable =
        |kind: &&str| !kind.is_empty() && kind.len() <= NAME_BYTES_MAX && !kind.chars().any(char::is_control);
    told.filter(is_usable).unwrap_or(PLAIN)
}

/// What an attached file is called: its path in the workspace, another path, or its address; the end of a long one.
fn name(address: &str, workspace: Option<&Path>) -> String {
    let path = Url::parse(address).ok().filter(|url| url.scheme() == "file").and_then(|url| url.to_file_path().ok());
    let below = path.as_deref().map(|path| workspace.and_then(|dir| path.strip_prefix(dir).ok()).unwrap_or(path));
    let name = one_line(&below.map_or_else(|| address.to_owned(), |path| path.display().to_string()));
    if name.len() <= NAME_BYTES_MAX {
        return name;
    }
    let from = name.ceil_char_boundary(name.len() - NAME_BYTES_MAX + '…'.len_utf8());
    format!("…{}", &name[from..])
}

fn refused(what: &str) -> Fault {
    Fault::new(
        Code::REQUEST_INVALID,
        what,
        "only texts and images are taken in a prompt; name the file in words instead",
    )
}

#[cfg(test)]
mod tests;
