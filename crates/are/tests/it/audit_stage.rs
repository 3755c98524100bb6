//! Logs for tests: sessions whose records come by turns, keys, and the checkpoints that sign them.

use are::audit::note::{Head, sign};
use are::audit::{Key, Report, VerifierKeys, offline};
use are_core::body::Body;
use are_core::digest::Digest;
use are_core::error::Fault;
use are_core::ids::SessionKey;
use are_core::journal::{Draft, Frame, Head as End, Row, Stamp};
use are_core::label::Integrity;
use are_core::payload::Payload;
use are_testkit::run::Chance;

/// The name of every log here.
pub(crate) const NAME: &str = "log.test/audit";

pub(crate) fn signing(seed: u8) -> Key {
    Key::made(NAME, &[seed; 32]).unwrap()
}

pub(crate) fn keys(of: &[&Key]) -> VerifierKeys {
    VerifierKeys::parse(&of.iter().map(|key| key.vkey()).collect::<Vec<_>>().join("\n")).unwrap()
}

/// One session's end, and what comes next in it.
pub(crate) struct Chain {
    stamp: Stamp,
    end: End,
}

impl Chain {
    pub(crate) fn new(number: u64) -> Self {
        let stamp = Stamp {
            session: SessionKey::new(1_780_000_000_000 + number, &[7; 32]),
            account: "alice".parse().unwrap(),
            agent_id: "main".to_owned(),
            via: None,
            at_ms: 1_780_000_000_000,
        };
        Self { stamp, end: End::EMPTY }
    }

    /// Its next record's line.
    pub(crate) fn line(&mut self, words: &str) -> Vec<u8> {
        self.row(words).bytes
    }

    pub(crate) fn session(&self) -> SessionKey {
        self.stamp.session
    }

    pub(crate) fn end(&self) -> End {
        self.end
    }

    /// Its next record; all but the first have a payload.
    pub(crate) fn row(&mut self, words: &str) -> Row {
        let body = match self.end.seq {
            0 => Body::SessionCreated {
                owner: "alice".parse().unwrap(),
                agent: "main".parse().unwrap(),
                parent: None,
                child_of: None,
                engine: "test".to_owned(),
            },
            _ => Body::Steered { integrity: Integrity::User },
        };
        let payload = (self.end.seq > 0).then(|| Payload::Note { note: words.to_owned() });
        let (row, _, end) = Draft { turn: Some(1), body, payload }.seal(&self.stamp, self.end, [9; 32]).unwrap();
        self.end = end;
        row
    }

    /// The record of its deletion.
    pub(crate) fn deleted(&mut self) -> Row {
        let draft = Draft { turn: None, body: Body::SessionDeleted {}, payload: None };
        let (row, _, end) = draft.seal(&self.stamp, self.end, [9; 32]).unwrap();
        self.end = end;
        row
    }

    /// A frame, which is no line but takes a number.
    pub(crate) fn frame(&mut self) {
        let frame = Frame::Token { text: "x".to_owned() };
        self.end = frame.seal(self.stamp.session, self.end).unwrap().2;
    }
}

/// Lines of some sessions by turns.
pub(crate) fn lines(chance: &mut Chance, sessions: u64, count: u64) -> Vec<Vec<u8>> {
    let mut chains: Vec<Chain> = (0..sessions).map(Chain::new).collect();
    let line = |number| {
        let chain = &mut chains[usize::try_from(chance.below(sessions)).unwrap()];
        if chance.below(3) == 0 {
            chain.frame();
        }
        // A session begins with a record.
        if chain.end.seq > 0 && chain.end.hash == Digest::ZERO {
            *chain = Chain { end: End::EMPTY, stamp: chain.stamp.clone() };
        }
        chain.line(&format!("words {number}"))
    };
    (0..count).map(line).collect()
}

/// RFC 6962 §2.1, as the standard words it.
pub(crate) fn root(lines: &[Vec<u8>]) -> Digest {
    match lines {
        [] => Digest::of(&[]),
        [line] => Digest::of(&[&[0], line]),
        lines => {
            let half = 1 << (lines.len() - 1).ilog2();
            Digest::of(&[&[1], &root(&lines[..half]).0, &root(&lines[half..]).0])
        }
    }
}

pub(crate) fn checkpoint(lines: &[Vec<u8>], key: &Key) -> String {
    sign(&Head { origin: NAME.to_owned(), size: lines.len() as u64, root: root(lines) }, &[key]).unwrap()
}

pub(crate) fn text(lines: &[Vec<u8>]) -> Vec<u8> {
    lines.iter().flat_map(|line| line.iter().copied().chain([b'\n'])).collect()
}

/// What `are audit verify --log` does.
pub(crate) fn verify(log: &[u8], checkpoints: &str, key: &Key) -> Result<Report, Fault> {
    offline::verify(log, offline::checkpoints(checkpoints, &keys(&[key]))?, false)
}

/// The leaf that a fault names.
pub(crate) fn leaf_of(fault: &Fault) -> Option<u64> {
    let rest = fault.message.split("leaf ").nth(1)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
