//! Exported logs: everything that somebody does to one is found, nothing else is, and a verifier that shares no code
//! with ours finds the same.

use std::path::Path;
use std::process::Command;

use are::audit::Key;
use are::audit::note::{Head, sign};
use are_core::digest::Digest;
use are_core::error::Code;
use are_testkit::run::{Chance, is_long, skip};
use serde::Deserialize;

use crate::audit_stage::{Chain, NAME, checkpoint, leaf_of, lines, root, signing, text, verify};

/// A log that was changed, with what is left to verify it.
struct Forged {
    what: &'static str,
    log: Vec<u8>,
    checkpoints: String,
    /// No record before this leaf was touched, and no later one may be named.
    touched: u64,
}

/// Changes a log by chance in one of all ways.
fn forge(chance: &mut Chance, lines: &[Vec<u8>], checkpoints: &str, key: &Key) -> Forged {
    let count = lines.len() as u64;
    let mut changed = lines.to_vec();
    let mut pick = |below: u64| usize::try_from(chance.below(below)).unwrap();
    let at = pick(count);
    let (mut log, mut touched, mut notes) = (None, at, checkpoints.to_owned());
    let what = match pick(13) {
        0 => {
            let byte = pick(changed[at].len() as u64);
            changed[at][byte] = if changed[at][byte] == b'x' { b'y' } else { b'x' };
            "a byte"
        }
        1 => {
            changed.remove(at);
            "a removed line"
        }
        2 => {
            let line = changed[at].clone();
            let place = pick(count + 1);
            changed.insert(place, line);
            // Both are the same bytes, so either may be taken for the one too many.
            touched = place.max(at + 1);
            "a doubled line"
        }
        3 if at > 0 => {
            changed.swap(at, at - 1);
            touched = at - 1;
            "two exchanged lines"
        }
        3 | 4 => {
            changed.truncate(at);
            "a cut end"
        }
        5 => {
            let whole = text(&changed);
            let cut = 1 + pick(changed[lines.len() - 1].len() as u64);
            log = Some(whole[..whole.len() - cut].to_vec());
            touched = lines.len() - 1;
            "a torn end"
        }
        6 => {
            touched = lines.len();
            changed.push(Chain::new(99).line("nobody signed this"));
            "a line behind"
        }
        7 => {
            changed.insert(at, Chain::new(99).line("another session that never was"));
            "a line of a session of its own"
        }
        8 => {
            rechain(&mut changed, at);
            "an edited line with all its chain made anew"
        }
        9 => {
            let head = Head { origin: NAME.to_owned(), size: count, root: Digest::of(&[b"another root"]) };
            notes = sign(&head, &[key]).unwrap();
            touched = 0;
            "a signed root of nothing"
        }
        10 => {
            notes = checkpoint(&changed, &signing(9));
            touched = 0;
            "a checkpoint by another key"
        }
        11 => {
            let head = Head { origin: "other.test".to_owned(), size: count, root: root(&changed) };
            notes = sign(&head, &[&Key::made(NAME, &[1; 32]).unwrap()]).unwrap();
            touched = 0;
            "a checkpoint of another log"
        }
        _ => {
            notes = notes.replacen(&format!("\n{count}\n"), &format!("\n{}\n", count + 1), 1);
            touched = 0;
            "an edited checkpoint"
        }
    };
    Forged { what, log: log.unwrap_or_else(|| text(&changed)), checkpoints: notes, touched: touched as u64 }
}

/// Edits a line and makes every later link of its session anew, as the writer of the store could.
fn rechain(lines: &mut [Vec<u8>], at: usize) {
    let said = |line: &[u8]| serde_json::from_slice::<serde_json::Value>(line).unwrap();
    let session = said(&lines[at])["session"].clone();
    let mut old = Digest::of_record(&lines[at]);
    lines[at] = String::from_utf8(lines[at].clone()).unwrap().replacen("alice", "mallo", 1).into_bytes();
    let mut new = Digest::of_record(&lines[at]);
    for line in lines[at + 1..].iter_mut().filter(|line| said(line)["session"] == session) {
        let before = Digest::of_record(line);
        *line = String::from_utf8(line.clone()).unwrap().replace(&old.to_string(), &new.to_string()).into_bytes();
        (old, new) = (before, Digest::of_record(line));
    }
}

/// A log with checkpoints of some of its sizes, the whole included.
fn signed(chance: &mut Chance, key: &Key) -> (Vec<Vec<u8>>, String) {
    let (sessions, count) = (1 + chance.below(5), 1 + chance.below(40));
    let lines = lines(chance, sessions, count);
    let mut notes = checkpoint(&lines, key);
    for _ in 0..chance.below(3) {
        let size = usize::try_from(chance.below(count)).unwrap();
        notes.push_str(&checkpoint(&lines[..size], key));
    }
    (lines, notes)
}

#[test]
fn whatever_is_done_to_a_log_is_found_and_nothing_else() {
    let (mut chance, key) = (Chance::of_this_run(), signing(1));
    let rounds = if is_long() { 20_000 } else { 1_500 };
    let mut found = std::collections::BTreeMap::new();
    for _ in 0..rounds {
        let (lines, notes) = signed(&mut chance, &key);
        let report = verify(&text(&lines), &notes, &key).unwrap();
        assert_eq!((report.records, report.covered), (lines.len() as u64, lines.len() as u64));
        assert_eq!(report.root, root(&lines));
        let forged = forge(&mut chance, &lines, &notes, &key);
        let fault = verify(&forged.log, &forged.checkpoints, &key).expect_err(forged.what);
        assert_eq!(fault.code, Code::AUDIT_BROKEN, "{}: {fault}", forged.what);
        // What a removed first record leaves is only seen where its session goes on.
        if let Some(leaf) = leaf_of(&fault).filter(|_| forged.what != "a removed line") {
            assert!(leaf <= forged.touched, "{}: leaf {} was touched: {fault}", forged.what, forged.touched);
        }
        *found.entry(forged.what).or_insert(0) += 1;
    }
    println!("{found:?}");
    assert!(found.len() >= 12);
}

#[test]
fn a_checkpoint_that_somebody_else_kept_finds_a_log_that_was_rolled_back_or_begun_anew() {
    let (mut chance, key) = (Chance::of_this_run(), signing(1));
    let whole = lines(&mut chance, 3, 20);
    let kept = checkpoint(&whole[..15], &key);
    // Rolled back, and signed anew by the right key.
    let fault = verify(&text(&whole[..10]), &format!("{}{kept}", checkpoint(&whole[..10], &key)), &key).unwrap_err();
    assert_eq!(leaf_of(&fault), Some(10), "{fault}");
    // Begun anew with other words, and signed by the right key.
    let anew = lines(&mut chance, 2, 20);
    let fault = verify(&text(&anew), &format!("{}{kept}", checkpoint(&anew, &key)), &key).unwrap_err();
    assert!(fault.message.contains("a checkpoint of 15 leaves"), "{fault}");
    // A log that only grew.
    assert!(verify(&text(&whole), &format!("{}{kept}", checkpoint(&whole, &key)), &key).is_ok());
}

/// What `examples/audit/verify.py` says: its exit code and words.
fn by_stranger(dir: &Path, log: &[u8], checkpoints: &str, key: &Key) -> (Option<i32>, String) {
    let put = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/audit/verify.py");
    let output = Command::new("python3")
        .arg(script)
        .args([put("log", log), put("checkpoint", checkpoints.as_bytes()), put("key", key.vkey().as_bytes())])
        .output()
        .unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_verifier_that_shares_no_code_with_ours_agrees() {
    if Command::new("python3").arg("--version").output().is_err() {
        return skip("there is no `python3`");
    }
    let (mut chance, key) = (Chance::of_this_run(), signing(1));
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..if is_long() { 300 } else { 20 } {
        let (lines, notes) = signed(&mut chance, &key);
        let (code, said) = by_stranger(dir.path(), &text(&lines), &notes, &key);
        assert_eq!(code, Some(0), "{said}");
        let forged = forge(&mut chance, &lines, &notes, &key);
        let (code, said) = by_stranger(dir.path(), &forged.log, &forged.checkpoints, &key);
        assert_eq!(code, Some(6), "{}: {said}", forged.what);
    }
}

#[derive(Deserialize)]
struct Attacks {
    log: Vec<Attack>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attack {
    name: String,
    leaf: u64,
    edit: Option<Edit>,
    remove: Option<usize>,
    double: Option<usize>,
    exchange: Option<[usize; 2]>,
    put_in: Option<usize>,
    cut: Option<usize>,
    cut_bytes: Option<usize>,
    ends: Option<String>,
    append: Option<String>,
    #[serde(default)]
    extend: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    line: usize,
    find: String,
    put: String,
    /// Put back at the end of the object.
    also: Option<String>,
}

#[test]
fn the_known_attacks_on_a_log_are_named_by_their_first_bad_record() {
    let text_of = include_str!("../../../../tests/attacks/audit.toml");
    let attacks: Attacks = toml::from_str(text_of).unwrap();
    let key = signing(1);
    // Two sessions by turns: even leaves are the first one's, odd ones the second's.
    let mut chains = [Chain::new(1), Chain::new(2)];
    let lines: Vec<Vec<u8>> = (0..12).map(|number| chains[number % 2].line("words")).collect();
    let notes: String = [4, 8, 12].iter().map(|size| checkpoint(&lines[..*size], &key)).collect();
    assert!(verify(&text(&lines), &notes, &key).is_ok());
    for attack in &attacks.log {
        let mut changed = lines.clone();
        if let Some(Edit { line, find, put, also }) = &attack.edit {
            let old = String::from_utf8(changed[*line].clone()).unwrap();
            assert!(old.contains(find), "{}: {old}", attack.name);
            let mut new = old.replacen(find, put, 1);
            if let Some(also) = also {
                new = format!("{},{}}}", new.trim_end_matches('}'), also.trim_end_matches(','));
            }
            changed[*line] = new.into_bytes();
        }
        attack.remove.into_iter().for_each(|line| drop(changed.remove(line)));
        attack.double.into_iter().for_each(|line| changed.insert(line + 1, changed[line].clone()));
        attack.exchange.into_iter().for_each(|[one, other]| changed.swap(one, other));
        attack.put_in.into_iter().for_each(|line| changed.insert(line, Chain::new(77).line("foreign")));
        attack.cut.into_iter().for_each(|count| changed.truncate(12 - count));
        attack.append.iter().for_each(|line| changed.push(line.clone().into_bytes()));
        if attack.extend {
            changed.push(chains[0].line("more"));
        }
        let mut log = text(&changed);
        if let Some(ends) = &attack.ends {
            log = changed.iter().flat_map(|line| line.iter().chain(ends.as_bytes())).copied().collect();
        }
        log.truncate(log.len() - attack.cut_bytes.unwrap_or(0));
        let fault = verify(&log, &notes, &key).expect_err(&attack.name);
        println!("{}: {}", attack.name, fault.message);
        assert_eq!(leaf_of(&fault), Some(attack.leaf), "{}: {fault}", attack.name);
    }
    assert!(attacks.log.len() >= 14);
}
