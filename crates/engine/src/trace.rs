//! Where turns and calls stand among traces: ids that follow from the journal alone.
//!
//! Whoever makes spans of a session makes the same ones after a restart, so a
//! turn that a crash interrupted goes on in its trace. Nothing here is kept and
//! nothing depends on it: no decision, no request, no record.
//!
//! SOURCE: <https://www.w3.org/TR/trace-context/>, the header `traceparent`.

use std::fmt::Write as _;

use are_core::digest::Digest;
use are_core::ids::{CallNo, Seq, SessionKey, TurnNo};

use crate::state::Turn;

/// What a span is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A turn.
    Turn(TurnNo),
    /// The call of a model that this record requested.
    Model(Seq),
    /// A call of a tool.
    Call(CallNo),
}

/// The trace of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    /// Its id; never all zeros.
    pub id: [u8; 16],
    /// The span outside of the session that the turn is a part of.
    pub parent: Option<[u8; 8]>,
    /// False where whoever began the trace keeps nothing of it.
    pub is_sampled: bool,
}

impl Trace {
    /// Of a turn: the one that it was begun in, else its own.
    #[must_use]
    pub fn of(turn: &Turn) -> Self {
        let given = turn.asked.trace.as_deref().and_then(read);
        given.unwrap_or_else(|| Self {
            id: first(Digest::of(&[b"trace", turn.session.as_bytes(), &turn.no.to_be_bytes()])),
            parent: None,
            is_sampled: true,
        })
    }

    /// What continues the trace below a span, as a `traceparent`.
    #[must_use]
    pub fn below(&self, span: [u8; 8]) -> String {
        let flags = u8::from(self.is_sampled);
        format!("00-{}-{}-{flags:02x}", hex(&self.id), hex(&span))
    }
}

/// Id of a span; never all zeros.
#[must_use]
pub fn span(session: SessionKey, part: Part) -> [u8; 8] {
    let (kind, number): (&[u8], u64) = match part {
        Part::Turn(no) => (b"turn", no.into()),
        Part::Model(seq) => (b"model", seq),
        Part::Call(no) => (b"call", no.into()),
    };
    first(Digest::of(&[kind, session.as_bytes(), &number.to_be_bytes()]))
}

/// The first bytes of a digest. That all of them are zero is a chance of one in 2⁶⁴ and would make the id invalid.
fn first<const N: usize>(digest: Digest) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&digest.0[..N]);
    if bytes == [0; N] {
        bytes[N - 1] = 1;
    }
    bytes
}

/// Reads a `traceparent`; `None` for one that is not of version 00 or names nothing.
fn read(text: &str) -> Option<Trace> {
    let mut parts = text.split('-');
    let (version, id, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version != "00" || parts.next().is_some() {
        return None;
    }
    let (id, span, [flags]) = (bytes::<16>(id)?, bytes::<8>(span)?, bytes::<1>(flags)?);
    (id != [0; 16] && span != [0; 8]).then_some(Trace { id, parent: Some(span), is_sampled: flags & 1 == 1 })
}

fn bytes<const N: usize>(hex: &str) -> Option<[u8; N]> {
    if hex.len() != 2 * N || !hex.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a `String` does not fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_as_it_is_written_and_nothing_else_is() {
        let trace = read(GIVEN).unwrap();
        assert_eq!((trace.is_sampled, trace.parent), (true, Some([0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7])));
        assert_eq!(trace.below(trace.parent.unwrap()), GIVEN);
        assert!(!read(&format!("{}00", &GIVEN[..53])).unwrap().is_sampled);
        for wrong in [
            "",
            "00",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn spans_of_one_number_are_told_apart_by_what_they_are_of() {
        let session: SessionKey = "0190a0b0-0000-7000-8000-0123456789ab".parse().unwrap();
        let ids = [Part::Turn(1), Part::Model(1), Part::Call(1), Part::Call(2)].map(|part| span(session, part));
        assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), ids.len());
        assert_eq!(span(session, Part::Call(2)), ids[3]);
    }
}
