//! Bounded text for results, by what a value costs once it is written as JSON, and text for addresses.

use std::fmt::Write as _;

/// Bytes that a character takes inside a JSON string.
pub(crate) const fn json_cost(character: char) -> usize {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        other => other.len_utf8(),
    }
}

/// The longest start of `text` that takes at most `budget` bytes inside a JSON string.
pub(crate) fn within(text: &str, budget: usize) -> &str {
    let mut cost = 0;
    for (at, character) in text.char_indices() {
        cost += json_cost(character);
        if cost > budget {
            return &text[..at];
        }
    }
    text
}

/// The start of `text` as UTF-8: `None` when it is not text. A character that
/// is cut off at the end is left out when `is_cut` says that more follows.
pub(crate) fn utf8_start(bytes: &[u8], is_cut: bool) -> Option<&str> {
    if bytes.contains(&0) {
        return None;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if is_cut && error.error_len().is_none() => std::str::from_utf8(&bytes[..error.valid_up_to()]).ok(),
        Err(_) => None,
    }
}

/// The longest end of `text` that takes at most `budget` bytes inside a JSON string.
pub(crate) fn end_within(text: &str, budget: usize) -> &str {
    let mut cost = 0;
    for (at, character) in text.char_indices().rev() {
        cost += json_cost(character);
        if cost > budget {
            return &text[at + character.len_utf8()..];
        }
    }
    text
}

/// The text without what steers a terminal or turns its reading direction; that appears as `\u{…}`.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        let is_steering = (character.is_control() && !matches!(character, '\n' | '\t'))
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if is_steering {
            plain.extend(character.escape_unicode());
        } else {
            plain.push(character);
        }
    }
    plain
}

/// Text short enough for a message.
pub(crate) fn short(text: &str) -> String {
    const CHARS_MAX: usize = 120;
    let cut: String = text.chars().take(CHARS_MAX).collect();
    if cut.len() == text.len() { cut } else { format!("{cut}…") }
}

/// Percent-encoded but for the characters that mean nothing anywhere in an address.
///
/// SOURCE: RFC 3986 §2.3, unreserved characters.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // silent-ok: writing to a string cannot fail.
            let _written = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests;
