//! What a server answers, as a result: text together, the rest in parts, all of
//! it within what the tool may return. Pictures, recordings and other bytes that
//! no model reads as text become artifacts, for people to look at.

use are_core::label::{Label, Labels};
use are_policy::manifest::CallLimits;
use are_policy::tools::{Binding, UNKNOWN_MEDIA};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmcp::model::{CallToolResult, ContentBlock, GetPromptResult, ReadResourceResult, ResourceContents};
use serde_json::{Map, Value, json};

use crate::artifact;
use crate::lane::Answer;
use crate::text::within;

/// Parts of one result.
const PARTS_MAX: usize = 256;
/// Bytes kept for what stands around the content.
const FRAME_BYTES: usize = 1 << 10;
/// Bytes that stay in the result; more of them are an artifact.
const INLINE_BYTES_MAX: usize = 1 << 10;
/// What stands in the place of a secret value.
const HIDDEN: &str = "[secret]";

/// A text without values that nobody is to see.
pub(super) fn scrubbed(text: &str, secrets: &[String]) -> String {
    let hide = |text: String, secret: &String| {
        if text.contains(secret.as_str()) { text.replace(secret, HIDDEN) } else { text }
    };
    secrets.iter().fold(text.to_owned(), hide)
}

/// The same in every text of a value, names included.
fn scrub(value: &mut Value, secrets: &[String]) {
    match value {
        Value::String(text) => *text = scrubbed(text, secrets),
        Value::Array(items) => items.iter_mut().for_each(|item| scrub(item, secrets)),
        Value::Object(members) => {
            let taken = std::mem::take(members);
            members.extend(taken.into_iter().map(|(name, mut value)| {
                scrub(&mut value, secrets);
                (scrubbed(&name, secrets), value)
            }));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What a result is read under.
pub(super) struct Under<'a> {
    pub(super) limits: &'a CallLimits,
    /// Values that nobody is to see.
    pub(super) secrets: &'a [String],
    /// The tool's name, which artifacts are named after.
    pub(super) tool: &'a str,
    /// Bytes of artifacts that can still be kept.
    pub(super) artifact_room: u64,
}

/// Gathers a result until there is no more room.
struct Gathered<'a> {
    under: &'a Under<'a>,
    artifact_room: u64,
    artifacts: Vec<Binding>,
    room: usize,
    text: String,
    parts: Vec<Value>,
    is_cut: bool,
}

impl<'a> Gathered<'a> {
    fn under(under: &'a Under<'a>) -> Self {
        let room = usize::try_from(under.limits.output_bytes).unwrap_or(usize::MAX).saturating_sub(FRAME_BYTES);
        let (artifact_room, artifacts) = (under.artifact_room, Vec::new());
        Self { under, artifact_room, artifacts, room, text: String::new(), parts: Vec::new(), is_cut: false }
    }

    fn text(&mut self, text: &str) {
        let separated = if self.text.is_empty() { text.to_owned() } else { format!("\n{text}") };
        let shown = within(&separated, self.room);
        self.is_cut |= shown.len() < separated.len();
        self.room -= cost(shown);
        self.text.push_str(shown);
    }

    /// A part, or a word about it where it is too large; true for the part.
    fn part(&mut self, part: Value, about: Value) -> bool {
        for (part, is_whole) in [(part, true), (about, false)] {
            let bytes = part.to_string().len() + 1;
            if bytes <= self.room && self.parts.len() < PARTS_MAX {
                self.room -= bytes;
                self.parts.push(part);
                return is_whole;
            }
            self.is_cut = true;
        }
        false
    }

    /// A part of encoded bytes: few of them as they are, more as an artifact, or a word about them.
    fn bytes(&mut self, mut part: Value, data: String) {
        let mut about = part.clone();
        about["left_out_bytes"] = (data.len() / 4 * 3).into();
        match STANDARD.decode(&data) {
            Ok(bytes) if self.hides(&bytes) => {
                self.is_cut = true;
                part = about.clone();
            }
            Ok(bytes) if bytes.len() > INLINE_BYTES_MAX && self.can_keep(&bytes) => {
                let media_type = part["mime_type"].as_str().and_then(artifact::media_type);
                let media_type = media_type.unwrap_or_else(|| UNKNOWN_MEDIA.to_owned());
                let stem = format!("{}-{}", self.under.tool, self.artifacts.len() + 1);
                let name = artifact::named(&stem, &media_type);
                part["artifact"] = json!({"name": name, "bytes": bytes.len()});
                // What is kept is told, or it is not kept.
                if self.part(part, about) {
                    self.artifact_room -= bytes.len() as u64;
                    // What the whole result was made from is added to it.
                    let label = Label::worst(self.under.tool);
                    self.artifacts.push(Binding::Artifact { name, media_type, bytes, label });
                }
                return;
            }
            _ => part["data_base64"] = data.into(),
        }
        self.part(part, about);
    }

    fn can_keep(&self, bytes: &[u8]) -> bool {
        self.artifacts.len() < PARTS_MAX && artifact::is_kept(bytes.len(), self.artifact_room)
    }

    /// True when a value stands in the bytes that nobody is to see.
    fn hides(&self, bytes: &[u8]) -> bool {
        let holds =
            |secret: &String| !secret.is_empty() && bytes.windows(secret.len()).any(|at| at == secret.as_bytes());
        self.under.secrets.iter().any(holds)
    }

    fn block(&mut self, block: ContentBlock) {
        let (part, about) = match block {
            ContentBlock::Text(text) => return self.text(&text.text),
            ContentBlock::Image(image) => {
                return self.bytes(json!({"type": "image", "mime_type": image.mime_type}), image.data);
            }
            ContentBlock::Audio(audio) => {
                return self.bytes(json!({"type": "audio", "mime_type": audio.mime_type}), audio.data);
            }
            ContentBlock::Resource(embedded) => return self.resource(embedded.resource),
            ContentBlock::ResourceLink(link) => {
                let part = json!({
                    "type": "resource_link",
                    "uri": link.uri,
                    "name": link.name,
                    "description": link.description,
                    "mime_type": link.mime_type,
                });
                (part, json!({"type": "resource_link", "left_out": true}))
            }
            _ => (json!({"type": "unknown"}), json!({"type": "unknown"})),
        };
        self.part(part, about);
    }

    fn resource(&mut self, contents: ResourceContents) {
        let (part, about) = match contents {
            ResourceContents::TextResourceContents { uri, mime_type, text, .. } => {
                let about =
                    json!({"type": "resource", "uri": uri, "mime_type": mime_type, "left_out_bytes": text.len()});
                (json!({"type": "resource", "uri": uri, "mime_type": mime_type, "text": text}), about)
            }
            ResourceContents::BlobResourceContents { uri, mime_type, blob, .. } => {
                return self.bytes(json!({"type": "resource", "uri": uri, "mime_type": mime_type}), blob);
            }
            _ => (json!({"type": "unknown"}), json!({"type": "unknown"})),
        };
        self.part(part, about);
    }

    fn done(self, mut value: Map<String, Value>) -> Answer {
        if !self.text.is_empty() {
            value.insert("text".to_owned(), self.text.into());
        }
        if !self.parts.is_empty() {
            value.insert("parts".to_owned(), self.parts.into());
        }
        if self.is_cut {
            value.insert("truncated".to_owned(), true.into());
        }
        let mut value = Value::Object(value);
        scrub(&mut value, self.under.secrets);
        Answer { value, labels: Labels::new(), bindings: self.artifacts }
    }
}

fn cost(text: &str) -> usize {
    text.chars().map(crate::text::json_cost).sum()
}

/// What a tool returned: `text`, `structured`, `parts`.
pub(super) fn of_call(result: CallToolResult, under: &Under<'_>) -> Answer {
    let mut gathered = Gathered::under(under);
    let mut value = Map::new();
    let structured = result.structured_content.filter(|structured| {
        let bytes = structured.to_string().len();
        let fits = bytes <= gathered.room;
        gathered.is_cut |= !fits;
        gathered.room -= if fits { bytes } else { 0 };
        fits
    });
    for block in result.content {
        let is_repeated = |text: &str| {
            structured
                .as_ref()
                .is_some_and(|value| serde_json::from_str::<Value>(text).is_ok_and(|said| said == *value))
        };
        match &block {
            // Servers repeat what is structured as text, for clients that know only that.
            ContentBlock::Text(text) if is_repeated(&text.text) => {}
            _ => gathered.block(block),
        }
    }
    value.extend(structured.map(|structured| ("structured".to_owned(), structured)));
    gathered.done(value)
}

/// A result of which a part is of no known kind, with a word in the place of such parts.
pub(super) fn salvaged(mut result: Value) -> Option<CallToolResult> {
    let parts = result.get_mut("content")?.as_array_mut()?;
    for part in parts.iter_mut().filter(|part| serde_json::from_value::<ContentBlock>((*part).clone()).is_err()) {
        let kind = crate::text::short(&crate::text::plain(part["type"].as_str().unwrap_or_default()));
        *part = json!({"type": "text", "text": format!("[a part of the kind `{kind}`, which is not known here]")});
    }
    serde_json::from_value(result).ok()
}

/// The words of a tool that failed.
pub(super) fn of_failure(result: &CallToolResult, secrets: &[String]) -> String {
    /// Bytes of the words; a model reads them.
    const BYTES_MAX: usize = 4 << 10;
    let texts = result.content.iter().filter_map(|block| match block {
        ContentBlock::Text(text) => Some(text.text.as_str()),
        _ => None,
    });
    let text = texts.collect::<Vec<_>>().join("\n");
    let text = if text.trim().is_empty() { "the tool says that it failed, and not why".to_owned() } else { text };
    crate::text::plain(within(&scrubbed(&text, secrets), BYTES_MAX))
}

/// What a resource holds.
pub(super) fn of_resource(result: ReadResourceResult, under: &Under<'_>) -> Answer {
    let mut gathered = Gathered::under(under);
    for contents in result.contents {
        gathered.resource(contents);
    }
    gathered.done(Map::new())
}

/// What a prompt says.
pub(super) fn of_prompt(result: GetPromptResult, under: &Under<'_>) -> Answer {
    let mut gathered = Gathered::under(under);
    for message in result.messages {
        let role = format!("{:?}", message.role).to_ascii_lowercase();
        match message.content {
            ContentBlock::Text(text) => {
                let about = json!({"role": role, "left_out_bytes": text.text.len()});
                gathered.part(json!({"role": role, "text": text.text}), about);
            }
            other => gathered.block(other),
        }
    }
    let description = result.description.map(|text| ("description".to_owned(), crate::text::short(&text).into()));
    gathered.done(description.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(output_bytes: u64) -> CallLimits {
        CallLimits { output_bytes, ..CallLimits::default() }
    }

    fn read(result: CallToolResult, output_bytes: u64, secrets: &[String]) -> Answer {
        let limits = limits(output_bytes);
        of_call(result, &Under { limits: &limits, secrets, tool: "web_shot", artifact_room: 50_000 })
    }

    fn result(value: Value) -> CallToolResult {
        serde_json::from_value(value).expect("a result")
    }

    #[test]
    fn each_kind_of_content_has_its_place() {
        let told = result(json!({
            "content": [
                {"type": "text", "text": "one"},
                {"type": "text", "text": "{\"sum\": 3}"},
                {"type": "text", "text": "two"},
                {"type": "image", "data": "AAAA", "mimeType": "image/png"},
                {"type": "audio", "data": "BBBB", "mimeType": "audio/wav"},
                {"type": "resource_link", "uri": "file:///x", "name": "x"},
                {"type": "resource", "resource": {"uri": "file:///y", "mimeType": "text/plain", "text": "y"}},
                {"type": "resource", "resource": {"uri": "file:///z", "blob": "CCCC"}},
            ],
            "structuredContent": {"sum": 3},
        }));
        assert_eq!(
            read(told, 100_000, &[]).value,
            json!({
                "structured": {"sum": 3},
                "text": "one\ntwo",
                "parts": [
                    {"type": "image", "mime_type": "image/png", "data_base64": "AAAA"},
                    {"type": "audio", "mime_type": "audio/wav", "data_base64": "BBBB"},
                    {"type": "resource_link", "uri": "file:///x", "name": "x", "description": null, "mime_type": null},
                    {"type": "resource", "uri": "file:///y", "mime_type": "text/plain", "text": "y"},
                    {"type": "resource", "uri": "file:///z", "mime_type": null, "data_base64": "CCCC"},
                ],
            })
        );
    }

    #[test]
    fn a_part_of_no_known_kind_takes_nothing_else_down() {
        let told = json!({"content": [{"type": "hologram", "data": 5}, {"type": "text", "text": "seen"}, 7]});
        let value = read(salvaged(told).expect("a result"), 20_000, &[]).value;
        let unknown = |kind: &str| format!("[a part of the kind `{kind}`, which is not known here]");
        assert_eq!(value, json!({"text": format!("{}\nseen\n{}", unknown("hologram"), unknown(""))}));
        for other in [json!("what is this"), json!({"content": 5}), json!(null)] {
            assert!(salvaged(other).is_none());
        }
    }

    #[test]
    fn what_is_too_much_is_left_out_and_said() {
        let data = "A".repeat(80_000);
        let told = result(json!({
            "content": [
                {"type": "image", "data": data, "mimeType": "image/png"},
                {"type": "text", "text": "\u{1}".repeat(40_000)},
                {"type": "image", "data": "AAAA", "mimeType": "image/png"},
            ],
            "structuredContent": {"long": data},
        }));
        let value = read(told, 20_000, &[]).value;
        assert!(value.to_string().len() <= 20_000, "{}", value.to_string().len());
        assert_eq!((&value["truncated"], &value["structured"]), (&json!(true), &Value::Null));
        assert_eq!(value["parts"][0], json!({"type": "image", "mime_type": "image/png", "left_out_bytes": 60_000}));
    }

    #[test]
    fn bytes_become_artifacts_while_there_is_room_and_nothing_in_them_is_hidden() {
        let encoded = |bytes: &[u8]| STANDARD.encode(bytes);
        let (one, two) = (vec![7; 30_000], vec![8; 30_000]);
        let secret = [vec![9; 2_000], b"hush-hush".to_vec()].concat();
        let told = result(json!({"content": [
            {"type": "image", "data": encoded(&one), "mimeType": "image/png"},
            {"type": "image", "data": encoded(&two), "mimeType": "image/png"},
            {"type": "resource", "resource": {"uri": "file:///z", "blob": encoded(&secret), "mimeType": "a\r\nb"}},
        ]}));
        let answer = read(told, 20_000, &["hush-hush".to_owned()]);
        assert_eq!(
            answer.value["parts"][0],
            json!({"type": "image", "mime_type": "image/png", "artifact": {"name": "web_shot-1.png", "bytes": 30_000}})
        );
        assert_eq!(answer.value["parts"][1]["left_out_bytes"], 30_000);
        assert_eq!(answer.value["parts"][2]["left_out_bytes"], 2_010);
        assert_eq!(answer.value["parts"][2]["data_base64"], Value::Null);
        let kept = answer.bindings.iter().map(|binding| match binding {
            Binding::Artifact { name, media_type, bytes, .. } => (name.as_str(), media_type.as_str(), bytes.len()),
            other => panic!("{other:?}"),
        });
        let kept: Vec<_> = kept.collect();
        assert_eq!(kept, [("web_shot-1.png", "image/png", 30_000)]);
        let hidden = result(json!({"content": [{"type": "image", "data": encoded(&secret), "mimeType": "image/png"}]}));
        let answer = read(hidden, 20_000, &["hush-hush".to_owned()]);
        assert_eq!((&answer.value["truncated"], answer.bindings.len()), (&json!(true), 0));
    }

    #[test]
    fn secret_values_are_taken_out_of_texts_and_names() {
        let told = result(json!({
            "content": [{"type": "text", "text": "the key is hush-hush!"}],
            "structuredContent": {"hush-hush": ["x hush-hush y"]},
        }));
        let value = read(told, 20_000, &["hush-hush".to_owned()]).value;
        assert_eq!(value, json!({"text": "the key is [secret]!", "structured": {"[secret]": ["x [secret] y"]}}));
    }
}
