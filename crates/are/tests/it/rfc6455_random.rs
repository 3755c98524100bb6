//! Frames by chance, right ones and wrong ones mixed: every one is answered as RFC 6455 says, and nothing else is said.
//!
//! The generator knows what each frame has to come to, because it makes it so. A socket ends with the first frame that
//! breaks the protocol; then comes the next socket. `ARE_TEST_SEED` repeats a run.

use are_testkit::run::Chance;

use crate::fixture::Fixture;
use crate::rfc6455_wire::{
    Answer, BINARY, CLOSE, CONTINUATION, FIN, JSON_PING, PING, PONG, Raw, TEXT, frame, header, masked,
};

/// Frames in all.
const FRAMES: usize = 100_000;
/// Frames of one socket at most.
const FRAMES_OF_SOCKET: usize = 60;
/// One frame of so many breaks the protocol.
const WRONG_ONE_IN: u64 = 60;
/// Sockets on which bytes without any order are sent.
const NOISE: usize = 300;
const NOISE_BYTES: u64 = 2_000;

/// What one socket is sent, and what has to come back.
#[derive(Default)]
struct Script {
    bytes: Vec<u8>,
    frames: usize,
    answers: Vec<Answer>,
    /// The code that the last frame is answered with.
    close: Option<u16>,
}

impl Script {
    fn push(&mut self, chance: &mut Chance, first: u8, payload: &[u8]) {
        let key = std::array::from_fn(|_| byte(chance));
        self.bytes.extend(masked(first, payload, key));
        self.frames += 1;
    }

    fn end(&mut self, bytes: Vec<u8>, code: u16) {
        self.bytes.extend(bytes);
        self.frames += 1;
        self.close = Some(code);
    }
}

fn byte(chance: &mut Chance) -> u8 {
    u8::try_from(chance.below(256)).unwrap_or_default()
}

fn bytes(chance: &mut Chance, most: u64) -> Vec<u8> {
    (0..chance.below(most + 1)).map(|_| byte(chance)).collect()
}

/// A socket's frames: messages in pieces, control frames anywhere, and perhaps an end.
fn script(chance: &mut Chance) -> Script {
    let mut script = Script::default();
    while script.frames < FRAMES_OF_SOCKET && script.close.is_none() {
        let mut rest: Vec<u8> = JSON_PING.to_vec();
        rest.resize(JSON_PING.len() + usize::try_from(chance.below(300)).unwrap_or_default(), b' ');
        let pieces = 1 + chance.below(4);
        for piece in 0..pieces {
            control(chance, &mut script);
            let is_first = piece == 0;
            if chance.below(WRONG_ONE_IN) == 0 {
                let (bytes, code) = wrong(chance, is_first);
                script.end(bytes, code);
            }
            if script.close.is_some() {
                return script;
            }
            let is_last = piece + 1 == pieces;
            let most = u64::try_from(rest.len()).unwrap_or_default();
            let length = if is_last { rest.len() } else { usize::try_from(chance.below(most)).unwrap_or_default() };
            let piece: Vec<u8> = rest.drain(..length).collect();
            let opcode = if is_first { TEXT } else { CONTINUATION };
            script.push(chance, opcode | if is_last { FIN } else { 0 }, &piece);
        }
        script.answers.push(Answer { opcode: TEXT, payload: br#"{"type":"pong"}"#.to_vec() });
    }
    script
}

/// None or some frames that may stand anywhere.
fn control(chance: &mut Chance, script: &mut Script) {
    for _ in 0..chance.below(3) {
        let payload = bytes(chance, 125);
        if chance.below(2) == 0 {
            script.push(chance, FIN | PONG, &payload);
        } else {
            script.push(chance, FIN | PING, &payload);
            script.answers.push(Answer { opcode: PONG, payload });
        }
    }
}

/// A frame that ends the socket, and the code it is answered with. `is_first`: no message is under way.
fn wrong(chance: &mut Chance, is_first: bool) -> (Vec<u8>, u16) {
    let payload = bytes(chance, 60);
    let good = if is_first { TEXT } else { CONTINUATION };
    let odd = 1 + u8::try_from(chance.below(7)).unwrap_or_default();
    match chance.below(12) {
        0 => (frame(FIN | good | (odd << 4), &payload), 1002),
        1 => (frame(FIN | (2 + odd.min(5)), &payload), 1002),
        2 => (frame(FIN | (0xa + odd.min(5)), &payload), 1002),
        3 => ([header(FIN | good, 0, payload.len()), payload].concat(), 1002),
        4 => (frame(PING, &payload), 1002),
        5 => (frame(FIN | PONG, &[0; 126]), 1002),
        6 if is_first => (frame(FIN | CONTINUATION, &payload), 1002),
        6 => (frame(FIN | TEXT, &payload), 1002),
        7 if is_first => (frame(FIN | BINARY, &payload), 1003),
        7 => (frame(FIN | BINARY, &payload), 1002),
        // Never UTF-8, whatever went before: no byte may be this one.
        8 => (frame(FIN | good, &[&payload[..], b"\xff"].concat()), 1007),
        9 => {
            let announced = (2 << 20) + chance.below(u64::MAX >> 2);
            ([vec![FIN | good, 0x80 | 127], announced.to_be_bytes().to_vec(), vec![0; 4]].concat(), 1009)
        }
        10 => {
            let code = [1000, 1001, 1003, 1011, 3000, 4999][usize::try_from(chance.below(6)).unwrap_or_default()];
            (frame(FIN | CLOSE, &u16::to_be_bytes(code)), code)
        }
        _ => {
            let code =
                [0, 999, 1004, 1005, 1006, 1015, 2999, 5000][usize::try_from(chance.below(8)).unwrap_or_default()];
            (frame(FIN | CLOSE, &u16::to_be_bytes(code)), 1002)
        }
    }
}

#[tokio::test]
async fn a_hundred_thousand_frames_by_chance_are_answered_as_rfc_6455_says() {
    let are = Fixture::start().await;
    let mut chance = Chance::of_this_run();
    let (mut frames, mut sockets, mut closed) = (0, 0, 0);
    while frames < FRAMES {
        let script = script(&mut chance);
        let mut socket = Raw::open(&are, "are.v2").await;
        // In pieces that heed no frame's end.
        let mut rest = &script.bytes[..];
        while !rest.is_empty() {
            let most = u64::try_from(rest.len()).unwrap_or_default();
            let (now, later) = rest.split_at(usize::try_from(1 + chance.below(most)).unwrap_or_default());
            socket.send(now).await;
            rest = later;
        }
        if script.close.is_none() {
            socket.send(&frame(FIN | CLOSE, b"\x03\xe8")).await;
        }
        let mut answers = Vec::new();
        let code = loop {
            let Some(answer) = socket.next().await else { break None };
            if let Some(code) = answer.close_code() {
                break Some(code);
            }
            answers.push(answer);
        };
        assert_eq!(code, script.close.or(Some(1000)), "socket {sockets}: {:02x?}", script.bytes);
        assert_eq!(answers, script.answers, "socket {sockets}: {:02x?}", script.bytes);
        socket.end().await;
        assert_eq!(socket.next().await, None, "nothing follows a close");
        frames += script.frames;
        sockets += 1;
        closed += usize::from(script.close.is_some());
    }
    println!("{frames} frames on {sockets} sockets, {closed} of which a frame ended");
    are.end().await;
}

#[tokio::test]
async fn bytes_without_any_order_end_their_own_socket_and_nothing_else() {
    let are = Fixture::start().await;
    let mut chance = Chance::of_this_run();
    let mut bystander = Raw::open(&are, "are.v2").await;
    for index in 0..NOISE {
        let protocol = if index % 2 == 0 { "are.v1" } else { "are.v2" };
        let mut socket = Raw::open(&are, protocol).await;
        socket.send(&bytes(&mut chance, NOISE_BYTES)).await;
        // Where they look like the begin of a long frame the server waits for the rest.
        socket.end().await;
        while socket.next().await.is_some() {}
        bystander.send(&frame(FIN | PING, b"still here")).await;
        let answer = bystander.next().await;
        assert_eq!(answer, Some(Answer { opcode: PONG, payload: b"still here".to_vec() }));
    }
    are.end().await;
}
