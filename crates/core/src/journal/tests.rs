use super::*;
use crate::body::Outcome;
use crate::label::{Confidentiality, Integrity, Levels};
use crate::payload::Part;

fn stamp() -> Stamp {
    Stamp {
        session: SessionKey::new(1_700_000_000_000, &[7; 32]),
        account: "alice".parse().unwrap(),
        agent_id: "main".to_owned(),
        via: None,
        at_ms: 1_700_000_000_123,
    }
}

fn prompt() -> Draft {
    Draft {
        turn: Some(1),
        body: Body::TurnStarted {
            request_id: None,
            thread: "cli".parse().unwrap(),
            integrity: Integrity::User,
            temperature_milli: Some(700),
            effort: None,
            model: None,
            undoes: None,
            headless: false,
            direct: false,
            waits: false,
            compacts: false,
        },
        payload: Some(Payload::Prompt { content: vec![Part::Text { text: "hi".to_owned() }], asked: Box::default() }),
    }
}

#[test]
fn a_record_is_one_audit_line_in_fixed_order() {
    let (row, entry, head) = prompt().seal(&stamp(), Head::EMPTY, [1; 32]).unwrap();
    let line = String::from_utf8(row.bytes.clone()).unwrap();
    let session = stamp().session;
    let digest = Digest::of_payload(&[1; 32], br#"{"kind":"prompt","content":[{"type":"text","text":"hi"}]}"#);
    assert_eq!(
        line,
        format!(
            "{{\"v\":1,\"session\":\"{session}\",\"seq\":1,\"prev\":\"{}\",\"timestamp\":\"2023-11-14T22:13:20.123Z\",\
             \"account\":\"alice\",\"agent_id\":\"main\",\"turn\":1,\"action\":\"turn_started\",\"thread\":\"cli\",\
             \"integrity\":\"user\",\"temperature_milli\":700,\"payload\":\"{digest}\"}}",
            Digest::ZERO
        )
    );
    assert!(!line.contains("hi\""), "the prompt itself is a payload");
    assert_eq!(head, Head { seq: 1, hash: Digest::of_record(&row.bytes) });
    let mut reader = Reader::new(session, Head::EMPTY);
    assert_eq!(reader.next(&row), Ok(entry));
    assert_eq!(reader.head(), head);
}

#[test]
fn the_chain_names_the_first_edited_row() {
    let stamp = stamp();
    let (first, _, head) = prompt().seal(&stamp, Head::EMPTY, [1; 32]).unwrap();
    let frame = Frame::Token { text: "a".to_owned() };
    let (token, _, head) = frame.seal(stamp.session, head).unwrap();
    let decision = Body::Decision {
        call: 1,
        decision: Outcome::Deny,
        would: None,
        rules: vec!["default".to_owned()],
        permissions: vec![],
        labels: Levels { integrity: Integrity::User, confidentiality: Confidentiality::Private },
        policy: Digest::ZERO,
        membership: Default::default(),
    };
    let (second, _, _) = Draft { turn: Some(1), body: decision, payload: None }.seal(&stamp, head, [2; 32]).unwrap();

    let read = |rows: &[&Row]| {
        let mut reader = Reader::new(stamp.session, Head::EMPTY);
        rows.iter().map(|row| reader.next(row)).find_map(Result::err).map(|corrupt| corrupt.seq)
    };
    assert_eq!(read(&[&first, &token, &second]), None);
    assert_eq!(read(&[&first, &second]), Some(2), "a row is missing");
    let mut edited = first.clone();
    edited.bytes = String::from_utf8(edited.bytes).unwrap().replace("700", "701").into_bytes();
    assert_eq!(read(&[&edited, &token, &second]), Some(3), "the successor notices an edit");
    let mut swapped = first.clone();
    swapped.payload = Some(([1; 32], br#"{"kind":"note","note":"x"}"#.to_vec()));
    assert_eq!(read(&[&swapped]), Some(1));
    let mut erased = first;
    erased.payload = None;
    assert_eq!(read(&[&erased, &token, &second]), None, "erasure leaves the chain whole");
}

#[test]
fn every_code_is_unique_and_reads_back() {
    let mut seen = std::collections::BTreeSet::new();
    for code in crate::error::Code::ALL {
        assert!(seen.insert(*code), "{code} twice");
        assert_eq!(code.to_string().parse(), Ok(*code));
    }
}
