//! The ways in which a value is usually written.
//!
//! A server that echoes a header, a tool that prints its environment and a log
//! line that quotes an argument rarely write a value as it is. Of base64 there
//! are three readings, by where in a longer text the value begins; what its
//! neighbours decide too, at most one character at each end, is left out.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// Shorter texts would tear holes into ordinary ones.
pub(super) const FORM_BYTES_MIN: usize = 8;
/// Bytes of a line of a longer value that is looked for by itself.
const LINE_BYTES_MIN: usize = 16;

/// A value in all its forms, each at least [`FORM_BYTES_MIN`] long.
pub(super) fn of(value: &str) -> Vec<Zeroizing<String>> {
    let mut forms: Vec<Zeroizing<String>> = vec![Zeroizing::new(value.to_owned())];
    let mut add = |form: String| forms.push(Zeroizing::new(form));
    for before in 0..3 {
        add(base64(value, before, true));
        add(base64(value, before, false));
    }
    for is_upper in [false, true] {
        add(value.bytes().map(|byte| hex(byte, is_upper)).collect());
        add(percent(value, is_upper, |_| false));
        add(percent(value, is_upper, |byte| matches!(byte, b'!' | b'*' | b'\'' | b'(' | b')')));
        add(percent(value, is_upper, |byte| !matches!(byte, b' ' | b'"' | b'#' | b'<' | b'>' | b'\'')));
        add(percent(value, is_upper, |byte| matches!(byte, b' ' | b'*')).replace(' ', "+"));
        add(ascii_json(value, is_upper));
    }
    let quoted = json(value);
    add(json(&quoted));
    add(quoted.replace('/', "\\/"));
    add(quoted);
    add(value.escape_debug().to_string());
    let marked = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    add(marked.replace('\'', "&#39;"));
    add(marked.replace('\'', "&#x27;"));
    // A key of several lines is printed line by line; its first and last are everybody's.
    let lines = value.lines().map(str::trim).filter(|line| line.len() >= LINE_BYTES_MIN && !line.starts_with("-----"));
    lines.for_each(|line| add(line.to_owned()));
    forms.retain(|form| form.len() >= FORM_BYTES_MIN);
    forms
}

/// What of the base64 of a longer text the value alone decides, when it begins at a byte whose number leaves that rest.
fn base64(value: &str, before: usize, is_standard: bool) -> String {
    let bytes = Zeroizing::new([vec![0; before], value.as_bytes().to_vec()].concat());
    let whole = if is_standard { STANDARD_NO_PAD.encode(&*bytes) } else { URL_SAFE_NO_PAD.encode(&*bytes) };
    let (from, to) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
    whole[from..to].to_owned()
}

fn hex(byte: u8, is_upper: bool) -> String {
    if is_upper { format!("{byte:02X}") } else { format!("{byte:02x}") }
}

/// Percent-encoded but for the unreserved characters and those that are kept besides.
///
/// SOURCE: RFC 3986 §2.3; WHATWG URL, percent-encode sets.
fn percent(value: &str, is_upper: bool, is_kept: impl Fn(u8) -> bool) -> String {
    let mut out = String::new();
    for byte in value.bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        if is_plain || ((b' '..0x7f).contains(&byte) && is_kept(byte)) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&hex(byte, is_upper));
        }
    }
    out
}

/// Inside the quotation marks of a JSON text.
fn json(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// The same with everything beyond ASCII escaped.
fn ascii_json(value: &str, is_upper: bool) -> String {
    let mut out = String::new();
    for character in json(value).chars() {
        if character.is_ascii() {
            out.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            out.push_str(&if is_upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") });
        }
    }
    out
}

#[cfg(test)]
mod tests;
