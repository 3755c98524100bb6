//! Files that somebody hands over with a prompt.

use std::path::{Path, PathBuf};

use are_core::error::{Code, Fault};
use are_core::limits::PROMPT_PARTS_MAX;
use are_engine::image;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Env;
use super::output::one_line;
use crate::config::files::read_attachment;

/// Reads them as parts of a prompt.
///
/// # Errors
/// ARE-0003 for one that cannot be read, ARE-0206 for one that is neither text nor image, ARE-0702 for one that is too
/// large or for too many.
pub(super) fn read(env: &Env, files: &[PathBuf]) -> Result<Vec<Value>, Fault> {
    if files.len() >= PROMPT_PARTS_MAX {
        let what = format!("more than {} files are handed over", PROMPT_PARTS_MAX - 1);
        return Err(Fault::new(Code::PROMPT_TOO_LARGE, what, "name the others in words; tools read them"));
    }
    files.iter().map(|path| part(&env.surroundings.absolute(path), path)).collect()
}

/// The content of a prompt: `words`, and the parts behind them.
pub(super) fn content(words: &str, parts: Vec<Value>) -> Value {
    if parts.is_empty() {
        return json!(words);
    }
    std::iter::once(json!({"type": "text", "text": words})).chain(parts).collect()
}

/// The file at `path`, under the name by which it was handed over.
fn part(path: &Path, name: &Path) -> Result<Value, Fault> {
    let bytes = read_attachment(path)?;
    if let Some(media_type) = image::type_of(&bytes) {
        return Ok(json!({"type": "image", "media_type": media_type, "data": STANDARD.encode(bytes)}));
    }
    let name = one_line(&name.display().to_string());
    let Ok(text) = String::from_utf8(bytes) else {
        let what = format!("`{name}` is neither a text nor a PNG, JPEG, GIF or WebP");
        return Err(Fault::new(
            Code::REQUEST_INVALID,
            what,
            "hand over its text, or name it in words: tools may read it",
        ));
    };
    Ok(json!({"type": "file", "name": name, "media_type": "text/plain", "data": text}))
}
