//! Output of commands as text: harmless, whole characters, head and tail.

use std::collections::VecDeque;

use crate::text::{end_within, plain, within};

/// Bytes of the beginning of one stream that are kept.
const HEAD_BYTES: usize = 128 << 10;
/// Bytes of its end that are kept.
const TAIL_BYTES: usize = 128 << 10;
/// Bytes that each half may take as JSON: both halves of both streams fit into a stored result.
const HALF_COST: usize = 220 << 10;
/// Bytes of one character at most.
const CHARACTER_BYTES: usize = 4;

/// What a stream has carried so far.
#[derive(Debug, Default)]
pub(super) struct Kept {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    bytes: u64,
}

impl Kept {
    pub(super) fn push(&mut self, mut piece: &[u8]) {
        self.bytes += piece.len() as u64;
        let room = HEAD_BYTES - self.head.len();
        let (to_head, rest) = piece.split_at(room.min(piece.len()));
        self.head.extend_from_slice(to_head);
        piece = &rest[rest.len().saturating_sub(TAIL_BYTES)..];
        self.tail.extend(piece);
        let over = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..over);
    }

    /// True when something was left out.
    pub(super) fn is_cut(&self) -> bool {
        self.bytes > (self.head.len() + self.tail.len()) as u64
    }

    /// As text, and whether something is left out of it.
    pub(super) fn text(&self) -> (String, bool) {
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        if !self.is_cut() {
            let text = plain(&String::from_utf8_lossy(&[&self.head[..], &tail].concat()).replace("\r\n", "\n"));
            if within(&text, 2 * HALF_COST).len() == text.len() {
                return (text, false);
            }
        }
        let half = |bytes: &[u8]| plain(&String::from_utf8_lossy(bytes).replace("\r\n", "\n"));
        let (head, tail) = (half(&self.head), half(&tail));
        let (head, tail) = (within(&head, HALF_COST), end_within(&tail, HALF_COST));
        let mark = format!("\n[… {} bytes of output in all, the middle is left out …]\n", self.bytes);
        (format!("{head}{mark}{tail}"), true)
    }
}

/// Turns pieces into text without breaking a character.
#[derive(Debug, Default)]
pub(super) struct Live {
    held: Vec<u8>,
}

impl Live {
    pub(super) fn push(&mut self, piece: &[u8]) -> String {
        self.held.extend_from_slice(piece);
        let end = self.held.len();
        // A character that is not yet whole waits for its rest.
        let is_open = |at: &usize| {
            self.held[*at] >= 0xc0
                && std::str::from_utf8(&self.held[*at..]).is_err_and(|error| error.error_len().is_none())
        };
        let whole = (end.saturating_sub(CHARACTER_BYTES - 1)..end).find(is_open).unwrap_or(end);
        let text = plain(&String::from_utf8_lossy(&self.held[..whole]));
        self.held.drain(..whole);
        text
    }

    pub(super) fn finish(&mut self) -> String {
        plain(&String::from_utf8_lossy(&std::mem::take(&mut self.held)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_characters_whatever_the_cut() {
        let text = "aä€🦀\u{1b}[31m z".as_bytes();
        for cut in 0..=text.len() {
            let mut live = Live::default();
            let all = live.push(&text[..cut]) + &live.push(&text[cut..]) + &live.finish();
            assert_eq!(all, "aä€🦀\\u{1b}[31m z", "{cut}");
        }
        let mut live = Live::default();
        assert_eq!(live.push(b"\xff\xfe x\xe2") + &live.finish(), "\u{fffd}\u{fffd} x\u{fffd}");
    }

    #[test]
    fn a_long_stream_keeps_head_and_tail() {
        let mut kept = Kept::default();
        kept.push(b"begin ");
        for _ in 0..1_000 {
            kept.push(&[b'.'; 1_000]);
        }
        kept.push(b" end");
        let (text, is_cut) = kept.text();
        assert!(is_cut && text.starts_with("begin ...") && text.ends_with("... end") && text.contains("1000010 bytes"));
        assert!(text.len() < HEAD_BYTES + TAIL_BYTES + 200);
    }
}
