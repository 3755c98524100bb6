//! Bounds a rule's text before Cedar reads it.
//!
//! Cedar parses, checks, evaluates and drops expressions by recursion and gives
//! up where the stack of the calling thread ends, so an unbounded rule could
//! abort the process or be decided otherwise in a replay on another thread.
//! The nesting of an expression is at most its brackets plus its operators;
//! counting both over the text keeps it far from either.

use super::check::RULES_MAX;

/// Brackets that may be open at once.
pub(super) const DEPTH_MAX: u32 = 32;
/// Operator characters and keywords of one rule; a set of tools needs none of them.
pub(super) const OPERATORS_MAX: u32 = 256;

/// Cedar's words that nest expressions; the conditions of a rule become one chain.
const NESTING_WORDS: [&[u8]; 9] = [b"if", b"then", b"else", b"has", b"like", b"in", b"is", b"when", b"unless"];

/// A text that is too complex, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooComplex {
    pub(super) line: u32,
    pub(super) message: String,
}

/// Lines on which the statements begin, or why the text is refused. The text need not be valid.
pub(super) fn scan(text: &str) -> Result<Vec<u32>, TooComplex> {
    let bytes = text.as_bytes();
    let mut lines = Vec::new();
    let (mut at, mut line, mut depth, mut operators, mut is_between) = (0, 1_u32, 0_u32, 0_u32, true);
    while let Some(&byte) = bytes.get(at) {
        let end = token_end(bytes, at);
        let token = &bytes[at..end];
        let is_blank = byte.is_ascii_whitespace() || token.starts_with(b"//");
        if !is_blank && is_between {
            if lines.len() == RULES_MAX {
                return Err(TooComplex { line, message: format!("more than {RULES_MAX} rules") });
            }
            lines.push(line);
            (operators, is_between) = (0, false);
        }
        match byte {
            _ if is_blank => {}
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b';' if depth == 0 => is_between = true,
            b'&' | b'|' | b'+' | b'-' | b'*' | b'/' | b'%' | b'.' | b'!' | b'<' | b'>' | b'=' => operators += 1,
            _ if NESTING_WORDS.contains(&token) => operators += 1,
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Err(TooComplex { line, message: format!("brackets nest deeper than {DEPTH_MAX}") });
        }
        if operators > OPERATORS_MAX {
            return Err(TooComplex { line, message: format!("a rule has more than {OPERATORS_MAX} operators") });
        }
        line += token.iter().map(|byte| u32::from(*byte == b'\n')).sum::<u32>();
        at = end;
    }
    Ok(lines)
}

/// End of the token that begins at `at`: a comment, a string, a word, or one byte.
fn token_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let length = match rest[0] {
        b'/' if rest.starts_with(b"//") => rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
        b'"' => string_length(rest),
        byte if is_word(byte) => rest.iter().position(|byte| !is_word(*byte)).unwrap_or(rest.len()),
        _ => 1,
    };
    at + length
}

fn string_length(rest: &[u8]) -> usize {
    let mut is_escaped = false;
    for (index, byte) in rest.iter().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return index + 1,
            _ => {}
        }
    }
    rest.len()
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests;
