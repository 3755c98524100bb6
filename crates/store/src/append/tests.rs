use super::*;

use are_core::ids::SessionKey;
use are_core::journal::Row;
use are_core::store::Durability;

fn row(seq: u64, class: Class, bytes: &[u8]) -> Row {
    Row { seq, class, bytes: bytes.to_vec(), payload: None }
}

fn append(expect: Head, rows: Vec<Row>, head: Head) -> Append {
    Append {
        session: SessionKey::from_bytes([1; 16]),
        fence: 1,
        expect,
        rows,
        head,
        durability: Durability::Written,
        changes: Vec::new(),
    }
}

#[test]
fn records_move_the_hash_while_frames_do_not() {
    let record = Digest::of_record(b"r");
    let sound = append(
        Head { seq: 4, hash: Digest::ZERO },
        vec![row(5, Class::Record, b"r"), row(6, Class::Frame, b"f")],
        Head { seq: 6, hash: record },
    );
    assert!(inspect(&sound).unwrap().creates.is_none());
}

#[test]
fn rows_that_do_not_follow_the_expected_head_are_refused() {
    let expect = Head { seq: 4, hash: Digest::ZERO };
    let hash = Digest::of_record(b"r");
    let head = Head { seq: 5, hash };
    let mut frame_with_payload = row(5, Class::Frame, b"f");
    frame_with_payload.payload = Some(([0; 32], Vec::new()));
    for (rows, head) in [
        (vec![row(6, Class::Record, b"r")], Head { seq: 6, hash }),
        (vec![row(4, Class::Record, b"r")], head),
        (vec![row(5, Class::Record, b"r"), row(5, Class::Frame, b"f")], head),
        (vec![row(5, Class::Record, b"r")], Head { seq: 6, hash }),
        (vec![row(5, Class::Record, b"r")], Head { seq: 5, hash: Digest::ZERO }),
        (vec![row(5, Class::Frame, b"r")], head),
        (vec![frame_with_payload], Head { seq: 5, hash: Digest::ZERO }),
        (vec![], head),
    ] {
        let refused = append(expect, rows, head);
        assert_eq!(inspect(&refused).unwrap_err(), StoreError::HeadMoved { found: expect }, "{refused:?}");
    }
    let at_the_end = Head { seq: u64::MAX, hash: Digest::ZERO };
    assert!(inspect(&append(at_the_end, vec![row(0, Class::Frame, b"f")], at_the_end)).is_err());
}
