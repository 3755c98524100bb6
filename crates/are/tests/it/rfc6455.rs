//! RFC 6455, section by section: what a client may send, and what it may not.
//!
//! Each case is sent on a socket of its own, in one write or byte by byte, and
//! what comes back is read strictly. A case that is right is followed by a ping,
//! so that a server which merely keeps silent does not pass.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::fixture::{ADMIN, Fixture, PATIENCE, status_of};
use crate::rfc6455_wire::{
    Answer, BINARY, CLOSE, CONTINUATION, FIN, JSON_PING, KEY, PING, PONG, Raw, TEXT, frame, header, masked, text,
};

/// As many as the set is to have at least.
const CASES_MIN: usize = 128;
/// What the last ping says.
const LAST: &[u8] = b"are you there";

/// What is to come back.
#[derive(Debug, Clone)]
enum Comes {
    /// These frames and nothing else, and the socket goes on.
    Frames(Vec<Answer>),
    /// A close frame with this code; what comes before does not matter.
    Close(u16),
    /// Either of two, where the RFC leaves it open.
    CloseOrGoesOn(u16),
}

struct Case {
    section: &'static str,
    name: String,
    bytes: Vec<u8>,
    comes: Comes,
}

#[derive(Default)]
struct Cases {
    section: &'static str,
    all: Vec<Case>,
}

impl Cases {
    fn section(&mut self, section: &'static str) {
        self.section = section;
    }

    fn add(&mut self, name: impl Into<String>, bytes: impl Into<Vec<u8>>, comes: Comes) {
        self.all.push(Case { section: self.section, name: name.into(), bytes: bytes.into(), comes });
    }

    fn answered(&mut self, name: impl Into<String>, bytes: impl Into<Vec<u8>>, frames: Vec<Answer>) {
        self.add(name, bytes, Comes::Frames(frames));
    }

    fn closes(&mut self, name: impl Into<String>, bytes: impl Into<Vec<u8>>, code: u16) {
        self.add(name, bytes, Comes::Close(code));
    }
}

fn says(text: &str) -> Answer {
    Answer { opcode: TEXT, payload: text.as_bytes().to_vec() }
}

fn pong(payload: &[u8]) -> Answer {
    Answer { opcode: PONG, payload: payload.to_vec() }
}

/// The answer to [`JSON_PING`].
fn json_pong() -> Answer {
    says(r#"{"type":"pong"}"#)
}

/// A JSON ping of so many bytes; blanks behind it say nothing.
fn padded(length: usize) -> Vec<u8> {
    let mut bytes = JSON_PING.to_vec();
    bytes.resize(length, b' ');
    bytes
}

/// A text message in pieces of these lengths; the last one takes the rest.
fn in_pieces(payload: &[u8], lengths: &[usize]) -> Vec<Vec<u8>> {
    let (mut rest, mut pieces) = (payload, Vec::new());
    for (index, length) in lengths.iter().enumerate() {
        let (piece, after) = rest.split_at(*length);
        pieces.push(frame(if index == 0 { TEXT } else { CONTINUATION }, piece));
        rest = after;
    }
    pieces.push(frame(FIN | if lengths.is_empty() { TEXT } else { CONTINUATION }, rest));
    pieces
}

fn masking(cases: &mut Cases) {
    cases.section("5.1, 5.3 masking");
    for (name, first, payload) in [
        ("text", FIN | TEXT, JSON_PING),
        ("an empty text", FIN | TEXT, b""),
        ("a ping", FIN | PING, b"x"),
        ("a pong", FIN | PONG, b"x"),
        ("a close", FIN | CLOSE, b"\x03\xe8"),
        ("a continuation", FIN | CONTINUATION, b"x"),
    ] {
        cases.closes(
            format!("{name} without a mask"),
            [header(first, 0, payload.len()), payload.to_vec()].concat(),
            1002,
        );
    }
    let long = padded(200);
    cases.closes("a longer text without a mask", [header(FIN | TEXT, 0, long.len()), long].concat(), 1002);
    let second = [frame(TEXT, b"{\"type\""), header(FIN | CONTINUATION, 0, 1), b":".to_vec()].concat();
    cases.closes("a first piece with and the second without a mask", second, 1002);
    for key in [[0; 4], [0xff; 4], [1, 2, 3, 4], [0, 0, 0, 1]] {
        cases.answered(format!("the key {key:02x?}"), masked(FIN | TEXT, JSON_PING, key), vec![json_pong()]);
    }
    let other = [masked(TEXT, &JSON_PING[..4], [1; 4]), masked(FIN | CONTINUATION, &JSON_PING[4..], [2; 4])].concat();
    cases.answered("another key for each piece", other, vec![json_pong()]);
}

fn framing(cases: &mut Cases) {
    cases.section("5.2 reserved bits and opcodes");
    for bits in [0x40, 0x20, 0x10, 0x60, 0x50, 0x30, 0x70] {
        cases.closes(format!("text with reserved bits {bits:02x}"), frame(FIN | TEXT | bits, JSON_PING), 1002);
    }
    for (name, opcode) in [("a ping", PING), ("a pong", PONG), ("a close", CLOSE)] {
        cases.closes(format!("{name} with a reserved bit"), frame(FIN | opcode | 0x40, b""), 1002);
    }
    let pieces = [frame(TEXT, b"{"), frame(FIN | CONTINUATION | 0x40, b"}")].concat();
    cases.closes("a continuation with a reserved bit", pieces, 1002);
    for opcode in [0x3, 0x4, 0x5, 0x6, 0x7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        cases.closes(format!("opcode {opcode:x}"), frame(FIN | opcode, b"x"), 1002);
    }
    cases.closes("a reserved opcode between pieces", [frame(TEXT, b"{"), frame(FIN | 0x3, b"")].concat(), 1002);

    cases.section("5.2 payload length");
    for length in [15, 124, 125, 126, 127, 128, 65_535, 65_536, 65_537, 1 << 20] {
        cases.answered(format!("{length} bytes"), text(&padded(length)), vec![json_pong()]);
    }
    for (name, mut bytes) in [
        ("16 bits for what fits in 7", vec![FIN | TEXT, 0x80 | 126, 0, 15]),
        ("64 bits for what fits in 7", vec![FIN | TEXT, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 15]),
    ] {
        bytes.extend([0; 4]);
        bytes.extend(JSON_PING);
        // A sender must not; what a receiver does about it is left open.
        cases.add(name, bytes, Comes::CloseOrGoesOn(1002));
    }
    for (name, length) in [("2 MiB", 2_u64 << 20), ("2^32 bytes", 1 << 32), ("2^63 - 1 bytes", u64::MAX >> 1)] {
        let announced = [vec![FIN | TEXT, 0x80 | 127], length.to_be_bytes().to_vec(), vec![0; 4]].concat();
        cases.closes(format!("{name}, announced only"), announced, 1009);
    }
    let pieces = [frame(TEXT, &padded(700_000)), frame(CONTINUATION, &padded(700_000)), frame(FIN, &padded(700_000))];
    cases.closes("pieces that are too large together", pieces.concat(), 1009);
}

fn fragmentation(cases: &mut Cases) {
    cases.section("5.4 fragmentation");
    for (name, lengths) in [
        ("two pieces", vec![7]),
        ("three pieces", vec![1, 6]),
        ("an empty first piece", vec![0]),
        ("an empty piece in the middle", vec![7, 0]),
        ("an empty last piece", vec![15]),
        ("only empty pieces before the whole", vec![0, 0, 0]),
        ("a piece for each byte", vec![1; 15]),
    ] {
        cases.answered(name, in_pieces(JSON_PING, &lengths).concat(), vec![json_pong()]);
    }
    cases.answered("500 empty pieces", in_pieces(JSON_PING, &[0; 500]).concat(), vec![json_pong()]);
    let twice = [in_pieces(JSON_PING, &[3]), in_pieces(JSON_PING, &[9])].concat().concat();
    cases.answered("one message in pieces after another", twice, vec![json_pong(), json_pong()]);
    let [first, last] = &in_pieces(JSON_PING, &[7])[..] else { unreachable!("two pieces") };
    for (name, between, frames) in [
        ("a ping between pieces", frame(FIN | PING, b"now"), vec![pong(b"now"), json_pong()]),
        ("a pong between pieces", frame(FIN | PONG, b"now"), vec![json_pong()]),
        (
            "two pings between pieces",
            [frame(FIN | PING, b"1"), frame(FIN | PING, b"2")].concat(),
            vec![pong(b"1"), pong(b"2"), json_pong()],
        ),
    ] {
        cases.answered(name, [first.clone(), between, last.clone()].concat(), frames);
    }
    let closed = [first.clone(), frame(FIN | CLOSE, b"\x03\xe8")].concat();
    cases.closes("a close between pieces", closed, 1000);
    for (name, bytes) in [
        ("a continuation of nothing", frame(FIN | CONTINUATION, b"x")),
        ("an unfinished continuation of nothing", frame(CONTINUATION, b"x")),
        ("an empty continuation of nothing", frame(FIN | CONTINUATION, b"")),
        ("a continuation after a whole message", [text(JSON_PING), frame(FIN | CONTINUATION, b"x")].concat()),
        ("a text between pieces", [first.clone(), text(JSON_PING)].concat()),
        ("a first piece between pieces", [first.clone(), frame(TEXT, b"x")].concat()),
        ("a binary message between pieces", [first.clone(), frame(FIN | BINARY, b"x")].concat()),
        ("a ping in pieces", frame(PING, b"x")),
        ("a pong in pieces", frame(PONG, b"x")),
        ("a close in pieces", frame(CLOSE, b"\x03\xe8")),
    ] {
        cases.closes(name, bytes, 1002);
    }
}

fn control(cases: &mut Cases) {
    cases.section("5.5 control frames");
    for (name, opcode) in [("ping", PING), ("pong", PONG), ("close", CLOSE)] {
        cases.closes(format!("a {name} of 126 bytes"), frame(FIN | opcode, &[b'x'; 126]), 1002);
        cases.closes(format!("a {name} of 70,000 bytes"), frame(FIN | opcode, &[b'x'; 70_000]), 1002);
    }
    cases.section("5.5.1, 7.4 close");
    cases.closes("a close without a code", frame(FIN | CLOSE, b""), 1005);
    cases.closes("half a code", frame(FIN | CLOSE, b"\x03"), 1002);
    for code in [1000_u16, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        cases.closes(format!("{code}"), frame(FIN | CLOSE, &code.to_be_bytes()), code);
    }
    for code in [0_u16, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        cases.closes(format!("{code}, which nobody may send"), frame(FIN | CLOSE, &code.to_be_bytes()), 1002);
    }
    let reason = |reason: &[u8]| frame(FIN | CLOSE, &[b"\x03\xe8", reason].concat());
    cases.closes("a reason", reason("going, \u{e0} bient\u{f4}t".as_bytes()), 1000);
    cases.closes("the longest reason", reason(&[b'x'; 123]), 1000);
    cases.closes("too long a reason", reason(&[b'x'; 124]), 1002);
    cases.closes("a reason that is not UTF-8", reason(b"\xff"), 1007);
    cases.closes("a reason that is cut within a character", reason(b"\xe2\x82"), 1007);
    cases.closes("text after a close", [reason(b""), text(JSON_PING)].concat(), 1000);
    cases.closes("a second close", [reason(b""), frame(FIN | CLOSE, b"\x03\xe9")].concat(), 1000);
    cases.closes("what breaks the protocol after a close", [reason(b""), frame(FIN | 0x3, b"")].concat(), 1000);

    cases.section("5.5.2, 5.5.3 ping and pong");
    for payload in [&b""[..], b"x", b"\x00\xff\xfe", &[b'x'; 125]] {
        let name = format!("a ping of {} bytes", payload.len());
        cases.answered(name, frame(FIN | PING, payload), vec![pong(payload)]);
    }
    cases.answered("a pong that nobody asked for", frame(FIN | PONG, b"x"), Vec::new());
    cases.answered("a pong of bytes that are no text", frame(FIN | PONG, b"\xff\xfe"), Vec::new());
    let ten: Vec<u8> = (0..10).flat_map(|index| frame(FIN | PING, &[index])).collect();
    cases.answered("ten pings at once", ten, (0..10).map(|index| pong(&[index])).collect());
    let both = [frame(FIN | PING, b"1"), text(JSON_PING), frame(FIN | PING, b"2")].concat();
    cases.answered("a message between pings", both, vec![pong(b"1"), json_pong(), pong(b"2")]);
}

fn data(cases: &mut Cases) {
    cases.section("5.6 data frames");
    // Binary messages mean nothing here.
    cases.closes("binary", frame(FIN | BINARY, JSON_PING), 1003);
    cases.closes("nothing, as binary", frame(FIN | BINARY, b""), 1003);
    cases.closes("binary in pieces", [frame(BINARY, b"{"), frame(FIN | CONTINUATION, b"}")].concat(), 1003);
    cases.closes("bytes that are no text, as binary", frame(FIN | BINARY, b"\xff\xfe"), 1003);

    cases.section("5.6, 8.1 UTF-8");
    for echoed in [
        "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}",
        "\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}",
        "\u{d7ff}\u{e000}\u{fffd}",
        "\u{fdd0}\u{fffe}\u{1fffe}",
        "\u{feff}",
        "\u{1f468}\u{200d}\u{1f469}",
    ] {
        let asked = format!(r#"{{"type":"ping","id":"{echoed}"}}"#);
        let answer = says(&format!(r#"{{"type":"pong","id":"{echoed}"}}"#));
        let code_points: Vec<String> = echoed.chars().map(|one| format!("{:x}", u32::from(one))).collect();
        cases.answered(code_points.join(" "), text(asked.as_bytes()), vec![answer.clone()]);
        let each = vec![1; asked.len() - 1];
        cases.answered(
            format!("{}, a piece for each byte", code_points.join(" ")),
            in_pieces(asked.as_bytes(), &each).concat(),
            vec![answer],
        );
    }
    for bytes in [
        &b"\x80"[..],
        b"\xbf",
        b"\xc0\x80",
        b"\xc0\xaf",
        b"\xc1\xbf",
        b"\xc3\x28",
        b"\xe0\x80\x80",
        b"\xe0\x9f\xbf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xf0\x80\x80\x80",
        b"\xf0\x8f\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xfe",
        b"\xff",
        b"\xe2\x82",
        b"\xf0\x9f\x98",
        b"\xc3",
    ] {
        cases.closes(format!("{bytes:02x?}"), text(&[b"{\"a\":\"", bytes].concat()), 1007);
    }
    let pieces = [frame(TEXT, b"\xe2\x82"), frame(FIN | CONTINUATION, b"\x28")].concat();
    cases.closes("a character that goes on wrong in the next piece", pieces, 1007);
    let pieces = [frame(TEXT, b"\xe2\x82"), frame(FIN | CONTINUATION, b"")].concat();
    cases.closes("a character that the last piece does not end", pieces, 1007);
}

fn all() -> Vec<Case> {
    let mut cases = Cases::default();
    masking(&mut cases);
    framing(&mut cases);
    fragmentation(&mut cases);
    control(&mut cases);
    data(&mut cases);
    cases.all
}

#[tokio::test]
async fn frames_are_answered_as_rfc_6455_says_section_by_section() {
    let are = Fixture::start().await;
    let cases = all();
    let wrong = {
        let mut wrong = Vec::new();
        for case in &cases {
            for is_slow in [false, true] {
                // Byte by byte shows what rests on whole frames in one read; long ones say nothing more by it.
                if is_slow && case.bytes.len() > 2_000 {
                    continue;
                }
                // Frames are read the same way for both, but each says itself how it closes. The plain one knows no
                // message that asks for nothing.
                let protocols: &[&str] = match case.comes {
                    Comes::Close(_) if !case.name.ends_with("after a whole message") => &["are.v2", "are.v1"],
                    Comes::Close(_) | Comes::Frames(_) | Comes::CloseOrGoesOn(_) => &["are.v2"],
                };
                for protocol in protocols {
                    if let Err(why) = play(&are, (case, protocol), is_slow).await {
                        let how = if is_slow { " byte by byte" } else { "" };
                        wrong.push(format!("{}: {} on {protocol}{how}: {why}", case.section, case.name));
                    }
                }
            }
        }
        wrong
    };
    let count = cases.len() + HANDSHAKES;
    println!("{count} cases of RFC 6455, {HANDSHAKES} of them handshakes");
    assert!(count >= CASES_MIN, "{count} cases");
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    are.end().await;
}

async fn play(are: &Fixture, (case, protocol): (&Case, &str), is_slow: bool) -> Result<(), String> {
    let mut socket = Raw::open(are, protocol).await;
    if is_slow {
        for byte in &case.bytes {
            socket.send(std::slice::from_ref(byte)).await;
        }
    } else {
        socket.send(&case.bytes).await;
    }
    let is_to_go_on = matches!(case.comes, Comes::Frames(_) | Comes::CloseOrGoesOn(_));
    if is_to_go_on {
        socket.send(&frame(FIN | PING, LAST)).await;
    }
    let mut answers = Vec::new();
    while let Some(answer) = socket.next().await {
        let is_last = answer.close_code().is_some() || (is_to_go_on && answer == pong(LAST));
        answers.push(answer);
        if is_last {
            break;
        }
    }
    let code = answers.last().and_then(Answer::close_code);
    let shown = || format!("{answers:?}");
    match &case.comes {
        Comes::Frames(frames) => {
            let expected: Vec<Answer> = frames.iter().cloned().chain([pong(LAST)]).collect();
            if answers == expected { Ok(()) } else { Err(shown()) }
        }
        Comes::Close(expected) if code == Some(*expected) => {
            // After its close frame the server says nothing, and ends once we do.
            socket.end().await;
            match socket.next().await {
                None => Ok(()),
                Some(more) => Err(format!("after the close: {more:?}")),
            }
        }
        Comes::CloseOrGoesOn(expected) if code.is_none_or(|code| code == *expected) => Ok(()),
        Comes::Close(_) | Comes::CloseOrGoesOn(_) => Err(shown()),
    }
}

/// Handshakes in the test below.
const HANDSHAKES: usize = 38;

#[tokio::test]
async fn handshakes_are_taken_and_refused_as_rfc_6455_says() {
    let are = Fixture::start().await;
    let (host, bearer) = (format!("Host: {}", are.host()), format!("Authorization: Bearer {ADMIN}"));
    let key = format!("Sec-WebSocket-Key: {KEY}");
    let (upgrade, connection, version) = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13");
    let with = |header: &'static str| vec![connection, upgrade, version, key.as_str(), header];
    let keyed = |header: &'static str| vec![connection, upgrade, version, header];
    let cases: Vec<(&str, &str, Vec<&str>, u16)> = vec![
        ("1.3 the example", "GET /ws HTTP/1.1", vec![connection, upgrade, version, &key], 101),
        ("4.2.1 at the root", "GET / HTTP/1.1", vec![connection, upgrade, version, &key], 101),
        ("4.2.1 another method", "POST /ws HTTP/1.1", vec![connection, upgrade, version, &key], 405),
        ("4.2.1 HEAD", "HEAD /ws HTTP/1.1", vec![connection, upgrade, version, &key], 405),
        ("4.2.1 no upgrade", "GET /ws HTTP/1.1", vec![connection, version, &key], 404),
        ("4.2.1 to something else", "GET /ws HTTP/1.1", vec![connection, "Upgrade: h2c", version, &key], 404),
        ("4.2.1 case of `Upgrade`", "GET /ws HTTP/1.1", vec![connection, "Upgrade: WebSocket", version, &key], 101),
        ("4.2.1 one of several", "GET /ws HTTP/1.1", vec![connection, "Upgrade: h2c, websocket", version, &key], 101),
        ("4.2.1 no `Connection`", "GET /ws HTTP/1.1", vec![upgrade, version, &key], 400),
        ("4.2.1 `keep-alive` only", "GET /ws HTTP/1.1", vec!["Connection: keep-alive", upgrade, version, &key], 400),
        (
            "4.2.1 `keep-alive, Upgrade`",
            "GET /ws HTTP/1.1",
            vec!["Connection: keep-alive, Upgrade", upgrade, version, &key],
            101,
        ),
        ("4.2.1 case of `upgrade`", "GET /ws HTTP/1.1", vec!["Connection: UPGRADE", upgrade, version, &key], 101),
        ("4.2.1 no version", "GET /ws HTTP/1.1", vec![connection, upgrade, &key], 426),
        ("4.4 version 0", "GET /ws HTTP/1.1", vec![connection, upgrade, "Sec-WebSocket-Version: 0", &key], 426),
        ("4.4 version 8", "GET /ws HTTP/1.1", vec![connection, upgrade, "Sec-WebSocket-Version: 8", &key], 426),
        ("4.4 version 14", "GET /ws HTTP/1.1", vec![connection, upgrade, "Sec-WebSocket-Version: 14", &key], 426),
        ("4.4 version 013", "GET /ws HTTP/1.1", vec![connection, upgrade, "Sec-WebSocket-Version: 013", &key], 426),
        ("4.4 no number", "GET /ws HTTP/1.1", vec![connection, upgrade, "Sec-WebSocket-Version: x", &key], 426),
        ("4.2.1 no key", "GET /ws HTTP/1.1", vec![connection, upgrade, version], 400),
        ("4.2.1 two keys", "GET /ws HTTP/1.1", vec![connection, upgrade, version, &key, &key], 400),
        ("4.2.1 an empty key", "GET /ws HTTP/1.1", keyed("Sec-WebSocket-Key: "), 400),
        ("4.2.1 15 bytes", "GET /ws HTTP/1.1", keyed("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA"), 400),
        ("4.2.1 17 bytes", "GET /ws HTTP/1.1", keyed("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA="), 400),
        ("4.2.1 no base64", "GET /ws HTTP/1.1", keyed("Sec-WebSocket-Key: ??????????????????????=="), 400),
        ("4.2.1 case of a name", "GET /ws HTTP/1.1", keyed("sec-websocket-KEY: AAAAAAAAAAAAAAAAAAAAAA=="), 101),
        ("4.1 a body", "GET /ws HTTP/1.1", with("Content-Length: 5"), 400),
        ("4.1 a body of none", "GET /ws HTTP/1.1", with("Content-Length: 0"), 101),
        ("4.1 a body in chunks", "GET /ws HTTP/1.1", with("Transfer-Encoding: chunked"), 400),
        ("1.9 are.v2", "GET /ws HTTP/1.1", with("Sec-WebSocket-Protocol: are.v2"), 101),
        ("1.9 are.v1", "GET /ws HTTP/1.1", with("Sec-WebSocket-Protocol: are.v1"), 101),
        ("1.9 an unknown one first", "GET /ws HTTP/1.1", with("Sec-WebSocket-Protocol: chat, are.v2"), 101),
        ("1.9 only unknown ones", "GET /ws HTTP/1.1", with("Sec-WebSocket-Protocol: chat, superchat"), 400),
        ("1.9 another case", "GET /ws HTTP/1.1", with("Sec-WebSocket-Protocol: ARE.V2"), 400),
        ("9.1 an extension", "GET /ws HTTP/1.1", with("Sec-WebSocket-Extensions: permessage-deflate"), 101),
        ("9.1 an unknown one", "GET /ws HTTP/1.1", with("Sec-WebSocket-Extensions: x; y=\"z\", q"), 101),
        ("10.2 a foreign origin", "GET /ws HTTP/1.1", with("Origin: https://evil.example"), 403),
        ("10.2 the origin `null`", "GET /ws HTTP/1.1", with("Origin: null"), 403),
        ("4.1 HTTP/1.0", "GET /ws HTTP/1.0", vec![connection, upgrade, version, &key], 405),
    ];
    assert_eq!(cases.len(), HANDSHAKES);
    for (name, line, headers, status) in cases {
        let headers: Vec<&str> = [host.as_str(), &bearer].into_iter().chain(headers).collect();
        let request = format!("{line}\r\n{}\r\n\r\n", headers.join("\r\n"));
        let answer = head_of(&are, &request).await;
        assert_eq!(status_of(&answer), status, "{name}\n{answer}");
        let head = answer.to_ascii_lowercase();
        if status == 101 {
            let accept = if name == "4.2.1 case of a name" {
                "sec-websocket-accept: icx+yqv66kxgm0fcwalwlflwtai="
            } else {
                "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="
            };
            assert!(head.contains(accept), "{name}\n{answer}");
            assert!(!head.contains("sec-websocket-extensions"), "{name}: none is spoken\n{answer}");
            let selected = ["are.v1", "are.v2"].map(|one| head.contains(&format!("sec-websocket-protocol: {one}")));
            let is_v2 = ["1.9 are.v2", "1.9 an unknown one first"].contains(&name);
            assert_eq!(selected, [name == "1.9 are.v1", is_v2], "{name}\n{answer}");
        }
        if status == 426 {
            assert!(head.contains("sec-websocket-version: 13"), "{name}: what is spoken is said\n{answer}");
        }
    }
    are.end().await;
}

/// What the server answers, up to the end of its header.
async fn head_of(are: &Fixture, request: &str) -> String {
    let mut stream = TcpStream::connect(are.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    let reading = async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
    };
    timeout(PATIENCE, reading).await.expect("the server answers");
    String::from_utf8_lossy(&head).into_owned()
}
