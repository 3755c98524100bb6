//! Checks a file of lines against checkpoints, anywhere and without a server.

use std::io::{BufRead, Read as _};

use are_core::error::{Code, Fault};

use super::checker::{Bad, Beside, Checker, Expected, Report};
use super::key::VerifierKeys;
use super::note;

/// Bytes of one line; records are a few hundred bytes, the largest some hundred thousand.
const LINE_BYTES_MAX: u64 = 16 << 20;
/// Checkpoints that are compared at once: as many as a store keeps.
const CHECKPOINTS_MAX: usize = 10_000;

/// The checkpoints in a text, each signed by a known key, all about one log.
///
/// # Errors
/// ARE-0811 names the first that is not.
pub fn checkpoints(text: &str, keys: &VerifierKeys) -> Result<Vec<Expected>, Fault> {
    let notes = note::split(text);
    let refused = |what: String| {
        Fault::new(Code::AUDIT_BROKEN, what, "use a checkpoint of this log as it was given out, and the log's own keys")
    };
    if notes.is_empty() {
        return Err(refused("there is no checkpoint".to_owned()));
    }
    if notes.len() > CHECKPOINTS_MAX {
        return Err(refused(format!("there are more than {CHECKPOINTS_MAX} checkpoints")));
    }
    let mut origin: Option<String> = None;
    let mut expected = Vec::with_capacity(notes.len());
    for (number, text) in (1..).zip(notes) {
        let head = note::open(text, keys).map_err(|why| refused(format!("checkpoint {number}: {why}")))?;
        if origin.get_or_insert_with(|| head.origin.clone()) != &head.origin {
            return Err(refused(format!("checkpoint {number}: it is about another log than the first")));
        }
        expected.push(Expected { size: head.size, root: head.root });
    }
    Ok(expected)
}

/// Reads a log and checks it. With `allow_more`, lines may follow that no checkpoint covers.
///
/// # Errors
/// ARE-0811 names the first bad record, ARE-0003 when the log cannot be read.
pub fn verify(mut log: impl BufRead, expected: Vec<Expected>, allow_more: bool) -> Result<Report, Fault> {
    let last = expected.iter().map(|one| one.size).max().unwrap_or(0);
    let mut checker = Checker::new(expected);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut log).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(|error| {
            Fault::new(
                Code::CONFIG_UNREADABLE,
                format!("the log cannot be read: {error}"),
                "name a file that you can read",
            )
        })?;
        if read == 0 {
            break;
        }
        let leaf = checker.size();
        let Some(bytes) = line.strip_suffix(b"\n") else {
            return Err(checker.first_of(Bad::new(leaf, None, "its line does not end: the log was cut short")).fault());
        };
        if leaf == last && !allow_more {
            let what = "no checkpoint covers it; `--allow-more` checks what follows by its chains alone";
            return Err(checker.first_of(Bad::new(leaf, None, what)).fault());
        }
        checker.line(bytes, Beside::Unknown).map_err(|bad| bad.fault())?;
    }
    checker.finish().map_err(|bad| bad.fault())
}
