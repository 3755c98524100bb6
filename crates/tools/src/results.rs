//! `result_read`: an earlier result in full, a page at a time.
//!
//! A request shows old results shortened once a model's context is full. What
//! was left out stays in the session's journal, and comes back from there with
//! the label it had.

use are_core::BoxFuture;
use are_core::body::{Effect, Retry};
use are_core::error::{Code, Fault};
use are_core::ids::{CallNo, InvalidId};
use are_core::label::Labels;
use are_policy::gate::Permit;
use are_policy::manifest::{Manifest, RESULT_READ, Role};
use are_policy::tools::Earlier;
use serde::Deserialize;
use serde_json::json;

use crate::declare::{OURS, finds, roles, tool};
use crate::lane::{Answer, Error, Room, Runs, read};

/// Bytes of a page when the call does not say: what a small model has room for.
const PAGE: usize = 4_096;
/// Bytes of a page at most.
const PAGE_MAX: usize = 32 << 10;
/// Bytes of a page at least, so that pages come to an end and hold any character.
const PAGE_MIN: usize = 64;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    call: CallNo,
    #[serde(default)]
    offset: usize,
    bytes: Option<usize>,
}

/// Reads results.
pub(crate) struct Reader;

impl Runs for Reader {
    fn run(&self, permit: Permit, room: Room) -> BoxFuture<'_, Result<Answer, Error>> {
        Box::pin(async move {
            let args: Args = read(&permit.spend().args)?;
            let earlier = room.host.earlier(args.call).await?;
            Ok(page(&args, &earlier)?)
        })
    }
}

fn page(args: &Args, Earlier { text, label }: &Earlier) -> Result<Answer, Fault> {
    if args.offset > text.len() {
        let message = format!("the result of call {} ends after {} bytes", args.call, text.len());
        return Err(Fault::new(Code::TOOL_ARGS, message, "read from a smaller offset"));
    }
    let from = text.floor_char_boundary(args.offset);
    let bytes = args.bytes.unwrap_or(PAGE).clamp(PAGE_MIN, PAGE_MAX);
    let to = text.floor_char_boundary(from.saturating_add(bytes));
    let mut value = json!({ "call": args.call, "offset": from, "bytes": text.len(), "text": &text[from..to] });
    if to < text.len() {
        value["next_offset"] = json!(to);
    }
    Ok(Answer { value, labels: Labels::from([("/text".to_owned(), label.clone())]), bindings: Vec::new() })
}

/// The manifest.
pub(crate) fn manifest() -> Result<Manifest, InvalidId> {
    Ok(Manifest {
        effect: Effect::None,
        retry: Retry::Pure,
        args: roles(&[("call", Role::Selector), ("offset", Role::Option), ("bytes", Role::Option)]),
        // Shape and numbers are the runtime's; the text has the label that it had.
        output_default: OURS,
        is_contained: true,
        ..tool(
            RESULT_READ,
            "Read again what an earlier call returned, where it is shown shortened.",
            json!({
                "call": {"type": "integer", "minimum": 1, "maximum": CallNo::MAX, "description": "number of the call"},
                "offset": {"type": "integer", "minimum": 0, "description": "byte to begin with; 0 if absent"},
                "bytes": {"type": "integer", "minimum": PAGE_MIN, "maximum": PAGE_MAX, "description": "4096 if absent"},
            }),
            &["call"],
            finds(
                "What stood in the middle of that log?",
                json!({"call": 3, "offset": 4096}),
                "10:02 disk full",
                "At 10:02 the disk was full.",
            ),
        )?
    })
}

#[cfg(test)]
mod tests {
    use are_core::label::{Confidentiality, Integrity, Label};

    use super::*;

    fn earlier(text: &str) -> Earlier {
        Earlier { text: text.to_owned(), label: Label::new(Integrity::Untrusted, Confidentiality::Secret, "page") }
    }

    #[test]
    fn pages_put_together_are_the_whole_and_bear_its_label() {
        let whole = earlier(&"ä€𝄞x".repeat(40));
        let (mut text, mut offset) = (String::new(), 0);
        loop {
            let Answer { value, labels, .. } =
                page(&Args { call: 3, offset, bytes: Some(65) }, &whole).expect("a page");
            assert_eq!(labels, Labels::from([("/text".to_owned(), whole.label.clone())]));
            text += value["text"].as_str().expect("text");
            let Some(next) = value["next_offset"].as_u64() else { break };
            assert!(next as usize > offset, "each page brings something new");
            offset = next as usize;
        }
        assert_eq!(text, whole.text);
    }

    #[test]
    fn a_page_behind_the_end_is_refused_and_one_at_the_end_is_empty() {
        let whole = earlier("short");
        let beyond = page(&Args { call: 3, offset: 6, bytes: None }, &whole).expect_err("beyond");
        assert_eq!(beyond.code, Code::TOOL_ARGS);
        let Answer { value, .. } = page(&Args { call: 3, offset: 5, bytes: Some(usize::MAX) }, &whole).expect("a page");
        assert_eq!(value, json!({ "call": 3, "offset": 5, "bytes": 5, "text": "" }));
    }
}
