//! Artifacts: bytes for people to look at, kept with the session.
//!
//! A file as it is now, whatever becomes of it later, or a text, a picture, a
//! recording that a tool made. Nothing is kept here: what is to be kept goes
//! back as a binding that the engine records together with the call's outcome.

use are_core::body::{Effect, Retry};
use are_core::error::{Code, Fault};
use are_core::ids::InvalidId;
use are_core::label::{Label, Labels};
use are_policy::gate::Permit;
use are_policy::manifest::{Manifest, Role};
use are_policy::tools::{ARTIFACT_BYTES_MAX, Binding, UNKNOWN_MEDIA};
use serde::Deserialize;
use serde_json::json;

use crate::declare::{does, intents, ours, roles, tool};
use crate::fs;
use crate::lane::{Answer, Error, Room, read};
use crate::text::{plain, within};

/// The tool's name.
pub(crate) const NAME: &str = "artifact_save";
/// Bytes of a name: what file systems take.
const NAME_BYTES_MAX: usize = 255;
/// Bytes of a media type; those that are registered are shorter.
const MEDIA_TYPE_BYTES_MAX: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    path: Option<String>,
    content: Option<String>,
    name: Option<String>,
    media_type: Option<String>,
}

/// Runs one call.
pub(crate) async fn run(permit: Permit, room: Room) -> Result<Answer, Error> {
    let spent = permit.spend();
    let args: Args = read(&spent.args)?;
    let origin = format!("{}#{}", spent.tool, spent.call);
    let (bytes, name, label) = match (args.path, args.content) {
        (Some(path), None) => {
            let (root, of) = (room.workspace.clone(), path.clone());
            let reading = tokio::task::spawn_blocking(move || fs::whole(&root, &of, ARTIFACT_BYTES_MAX));
            let bytes = reading.await.map_err(|_| stopping())??;
            // SECURITY: what a file holds is anybody's word, as it is for whoever reads it into a conversation.
            (bytes, args.name.unwrap_or(path), room.label.join(&Label::worst(&origin)))
        }
        (None, Some(content)) => {
            let name = args.name.ok_or_else(|| unclear("`content` needs a `name`, such as `report.md`"))?;
            (content.into_bytes(), name, room.label.clone())
        }
        _ => return Err(unclear("either `path` or `content` is needed").into()),
    };
    if !is_kept(bytes.len(), room.artifact_room) {
        return Err(full(bytes.len(), room.artifact_room).into());
    }
    let name = plain_name(&name);
    let media_type = args.media_type.and_then(|text| media_type(&text)).unwrap_or_else(|| guessed(&name));
    Ok(Answer {
        value: json!({"name": name, "media_type": media_type, "bytes": bytes.len()}),
        labels: Labels::new(),
        bindings: vec![Binding::Artifact { name, media_type, bytes, label }],
    })
}

/// True when so many bytes can be kept.
pub(crate) const fn is_kept(bytes: usize, room: u64) -> bool {
    bytes <= ARTIFACT_BYTES_MAX && bytes as u64 <= room
}

/// A file name without directories and without characters that mislead.
pub(crate) fn plain_name(text: &str) -> String {
    let last = text.rsplit(['/', '\\']).find(|part| !part.trim().is_empty()).unwrap_or_default();
    let name = plain(last.trim()).replace('\n', " ");
    let name = within(name.trim_start_matches('.'), NAME_BYTES_MAX).trim();
    if name.is_empty() { "artifact".to_owned() } else { name.to_owned() }
}

/// A media type without parameters, if the text is one.
pub(crate) fn media_type(text: &str) -> Option<String> {
    let read: mime_guess::Mime = text.parse().ok()?; // silent-ok: whoever asks knows what to do without one
    let essence = read.essence_str().to_ascii_lowercase();
    (essence.len() <= MEDIA_TYPE_BYTES_MAX && read.type_() != "*" && read.subtype() != "*").then_some(essence)
}

/// A name for what has none: `stem.png` for `image/png`.
pub(crate) fn named(stem: &str, media_type: &str) -> String {
    let extension = mime_guess::get_mime_extensions_str(media_type).and_then(|all| match media_type {
        // The first of several is not always the usual one.
        "image/jpeg" => Some("jpg"),
        "text/plain" => Some("txt"),
        "text/markdown" => Some("md"),
        _ => all.first().copied(),
    });
    plain_name(&extension.map_or_else(|| stem.to_owned(), |extension| format!("{stem}.{extension}")))
}

fn guessed(name: &str) -> String {
    mime_guess::from_path(name)
        .first()
        .and_then(|found| media_type(found.as_ref()))
        .unwrap_or_else(|| UNKNOWN_MEDIA.to_owned())
}

fn unclear(why: &str) -> Fault {
    Fault::new(Code::TOOL_ARGS, why, "give `path` for a file of the workspace, or `content` and `name` for a text")
}

fn full(bytes: usize, room: u64) -> Fault {
    let message = format!(
        "{bytes} bytes are too many: an artifact has at most {ARTIFACT_BYTES_MAX}, and {room} more can be kept for this call"
    );
    Fault::new(Code::TOOL_FAILED, message, "leave it in the workspace and say where it is")
}

fn stopping() -> Fault {
    Fault::new(Code::UNAVAILABLE, "the server is shutting down", "call it again later")
}

/// The manifest.
pub(crate) fn manifest() -> Result<Manifest, InvalidId> {
    Ok(Manifest {
        // Nothing outside of the session's own journal changes, and the same again is the same artifact.
        effect: Effect::None,
        retry: Retry::Pure,
        args: roles(&[
            ("path", Role::Selector),
            ("content", Role::Content),
            ("name", Role::Content),
            ("media_type", Role::Option),
        ]),
        output_fields: ours(&["/bytes"]),
        intents: intents(&["artifact", "attach", "download"], &["附件", "下载"]),
        is_contained: true,
        ..tool(
            NAME,
            "Show the user a file of the workspace as it is now, or a text, to open and download: a report, a picture, a table.",
            json!({
                "path": {"type": "string", "minLength": 1, "maxLength": 4096, "description": "file, relative to the workspace"},
                "content": {"type": "string", "maxLength": 1 << 19, "description": "a text, in the place of a file"},
                "name": {"type": "string", "minLength": 1, "maxLength": NAME_BYTES_MAX, "description": "file name to show; that of the file if absent"},
                "media_type": {"type": "string", "minLength": 3, "maxLength": MEDIA_TYPE_BYTES_MAX, "description": "guessed by the name if absent"},
            }),
            &[],
            does("Make a chart of the sales and show it to me", json!({"path": "sales.png"}), "Here is the chart."),
        )?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_file_names() {
        for (text, name) in [
            ("a/b/chart.png", "chart.png"),
            ("..\\..\\x.txt", "x.txt"),
            ("../..", "artifact"),
            (".bashrc", "bashrc"),
            ("", "artifact"),
            ("报告.md", "报告.md"),
        ] {
            assert_eq!(plain_name(text), name, "{text}");
        }
        assert!(plain_name(&"é".repeat(400)).len() <= NAME_BYTES_MAX);
        assert!(!plain_name("a\u{202e}gnp.exe\u{1b}[31m").chars().any(|c| c.is_control() || c == '\u{202e}'));
    }

    #[test]
    fn media_types_are_read_and_guessed() {
        assert_eq!(media_type("Text/HTML; charset=utf-8").as_deref(), Some("text/html"));
        for wrong in ["", "png", "*/*", "image/*", "a/b\r\nset-cookie: x", &format!("a/{}", "b".repeat(200))] {
            assert_eq!(media_type(wrong), None, "{wrong}");
        }
        assert_eq!(guessed("chart.png"), "image/png");
        assert_eq!(guessed("notes.md"), "text/markdown");
        assert_eq!(guessed("what"), UNKNOWN_MEDIA);
        assert_eq!(named("browser_shot-1", "image/jpeg"), "browser_shot-1.jpg");
        assert_eq!(named("thing", "x/unheard-of"), "thing");
    }
}
