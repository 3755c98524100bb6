use are_core::journal::{Record, timestamp};

use super::*;

fn ended(seq: u64, bytes: usize) -> (usize, Entry) {
    let record = Record {
        v: 1,
        session: SessionKey::SYSTEM,
        seq,
        prev: Digest::ZERO,
        timestamp: timestamp(0).unwrap(),
        account: "alice".parse().unwrap(),
        agent_id: "main".to_owned(),
        via: None,
        turn: Some(1),
        body: Body::TurnCancelled {},
        payload: None,
    };
    (bytes, Entry::Record(Box::new(record), None))
}

fn account(name: &str) -> AccountId {
    name.parse().unwrap()
}

async fn seq(inbox: &mut Inbox) -> u64 {
    inbox.next().await.unwrap().entry.seq()
}

#[tokio::test]
async fn a_reader_sees_its_own_accounts_notices_in_order_and_goes_on_where_it_stopped() {
    let inboxes = Inboxes::new(Digest::ZERO);
    let mut alice = inboxes.open(account("alice"), None, false);
    assert!(!alice.is_resumed());
    inboxes.publish(&account("alice"), SessionKey::SYSTEM, &[ended(1, 10)]);
    inboxes.publish(&account("bob"), SessionKey::SYSTEM, &[ended(2, 10)]);
    inboxes.publish(&account("alice"), SessionKey::SYSTEM, &[ended(3, 10), ended(4, 10)]);
    assert_eq!((seq(&mut alice).await, seq(&mut alice).await), (1, 3));
    let mut again = inboxes.open(account("alice"), Some(&alice.id()), false);
    assert!(again.is_resumed());
    assert_eq!(seq(&mut again).await, 4);
    // Of another life, of the future, or nonsense: begin with what waits.
    for last in ["ffffffffffff-1", "000000000000-99", "000000000000-", "x", ""] {
        assert!(!inboxes.open(account("alice"), Some(last), false).is_resumed(), "{last}");
    }
}

#[tokio::test]
async fn the_ring_is_bounded_and_a_slow_reader_is_told_to_begin_again() {
    for (count, bytes) in [(RING_NOTICES as u64 + 1, 1), (3, RING_BYTES / 2)] {
        let inboxes = Inboxes::new(Digest::ZERO);
        let (mut slow, first) = (inboxes.open(account("alice"), None, false), "000000000000-0");
        for number in 1..=count {
            inboxes.publish(&account("alice"), SessionKey::SYSTEM, &[ended(number, bytes)]);
        }
        let kept = inboxes.ring.lock().unwrap().notices.len();
        assert_eq!(kept as u64, count - 1);
        assert_eq!(slow.next().await.unwrap_err().code, Code::SLOW_READER);
        assert!(!inboxes.open(account("alice"), Some(first), false).is_resumed());
        assert!(inboxes.open(account("alice"), Some("000000000000-1"), false).is_resumed());
    }
}
