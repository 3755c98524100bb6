use std::convert::Infallible;

use proptest::prelude::*;

use super::{Decoder, Event, LINE_BYTES_MAX, Stop};

/// The events' data, with `!` in front of those named `error`.
fn events(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut sink = |event: Event<'_>| -> Result<(), Infallible> {
        let mut data = if event.is_error { b"!".to_vec() } else { Vec::new() };
        data.extend_from_slice(event.data);
        found.push(data);
        Ok(())
    };
    let mut decoder = Decoder::default();
    for piece in pieces {
        decoder.feed(piece, &mut sink).unwrap();
    }
    decoder.end(&mut sink).unwrap();
    found
}

#[test]
fn every_line_ending_ends_a_line() {
    for body in ["data: a\n\ndata: b\n\n", "data: a\r\n\r\ndata: b\r\n\r\n", "data: a\r\rdata: b\r\r"] {
        assert_eq!(events(&[body.as_bytes()]), [b"a", b"b"], "{body:?}");
    }
}

#[test]
fn comments_unknown_fields_and_the_byte_order_mark_are_skipped() {
    let body = "\u{feff}data: a\n: a comment\nid: 7\nretry: 10\nnonsense\n\n: alone\n\n\n\ndata: b\n\n";
    assert_eq!(events(&[body.as_bytes()]), [b"a", b"b"]);
}

#[test]
fn data_lines_are_joined_and_lose_one_space() {
    assert_eq!(events(&[b"data: a\ndata:  b\ndata\ndata:c\n\n"]), [b"a\n b\n\nc"]);
}

#[test]
fn only_the_event_named_error_is_marked() {
    assert_eq!(events(&[b"event: error\ndata: a\n\nevent: message\ndata: b\n\ndata: c\n\n"]), [&b"!a"[..], b"b", b"c"]);
}

#[test]
fn the_last_event_needs_no_empty_line() {
    assert_eq!(events(&[b"data: a"]), [b"a"]);
    assert_eq!(events(&[b"data: a\r"]), [b"a"]);
    assert_eq!(events(&[b": nothing"]), [] as [&[u8]; 0]);
}

#[test]
fn lines_and_events_above_the_limit_are_refused_before_they_are_kept() {
    let mut decoder = Decoder::default();
    let mut sink = |_: Event<'_>| Ok::<(), Infallible>(());
    let piece = vec![b'x'; 64 << 10];
    let refused =
        std::iter::repeat_n(&piece, 64).position(|piece| decoder.feed(piece, &mut sink) == Err(Stop::TooLong));
    assert_eq!(refused, Some(LINE_BYTES_MAX / piece.len()));
    assert!(decoder.line.capacity() <= 2 * LINE_BYTES_MAX);

    let mut decoder = Decoder::default();
    let mut line = b"data: ".to_vec();
    line.extend_from_slice(&piece);
    line.push(b'\n');
    let refused = std::iter::repeat_n(&line, 64).position(|line| decoder.feed(line, &mut sink) == Err(Stop::TooLong));
    assert_eq!(refused, Some(LINE_BYTES_MAX / piece.len() - 1));
}

#[test]
fn a_refusing_sink_stops_the_decoder() {
    let mut seen = 0;
    let mut sink = |_: Event<'_>| {
        seen += 1;
        Err("enough")
    };
    assert_eq!(Decoder::default().feed(b"data: a\n\ndata: b\n\n", &mut sink), Err(Stop::Refused("enough")));
    assert_eq!(seen, 1);
}

proptest! {
    #[test]
    fn splitting_the_bytes_changes_nothing(
        lines in prop::collection::vec("(data: ?|event: error|:|id: )?[a-z: ]{0,6}(\n|\r|\r\n)", 0..40),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let body = lines.concat().into_bytes();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|ends| &body[ends[0]..ends[1]]).collect();
        prop_assert_eq!(events(&pieces), events(&[&body]));
    }
}
