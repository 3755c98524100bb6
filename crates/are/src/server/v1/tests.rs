use are_core::digest::Digest;
use are_core::journal::{Record, timestamp};
use are_core::model::StopReason;

use super::*;

fn record(seq: Seq, turn: TurnNo, body: Body) -> Entry {
    let record = Record {
        v: 1,
        session: SessionKey::SYSTEM,
        seq,
        prev: Digest::ZERO,
        timestamp: timestamp(1).unwrap(),
        account: "a".parse().unwrap(),
        agent_id: "a".to_owned(),
        via: None,
        turn: Some(turn),
        body,
        payload: None,
    };
    Entry::Record(Box::new(record), None)
}

fn token(seq: Seq, text: &str) -> Entry {
    Entry::Frame(seq, Frame::Token { text: text.to_owned() })
}

fn restarted(seq: Seq, keep_bytes: u64) -> Entry {
    record(seq, 1, Body::ModelRestarted { attempt: 2, keep_bytes })
}

fn completed(seq: Seq, turn: TurnNo) -> Entry {
    record(seq, turn, Body::TurnCompleted { stop_reason: StopReason::Stop })
}

fn answers(streams: bool, settled: Seq) -> Answers {
    let mine = VecDeque::from([Mine { turn: 1, streams, sent: 0, held: String::new() }]);
    Answers { mine, settled, narrator: Narrator::within(Some(1)), ..Answers::default() }
}

fn sent(mut answers: Answers, entries: &[Entry]) -> (Vec<String>, Option<Code>) {
    entries.iter().for_each(|entry| answers.take(entry));
    (answers.out.into(), answers.fault.map(|fault| fault.code))
}

#[test]
fn pieces_stream_and_the_end_is_empty() {
    let entries = [token(1, "a"), token(2, ""), token(3, "b"), completed(4, 1)];
    assert_eq!(sent(answers(true, 0), &entries), (vec!["a".into(), "b".into(), String::new()], None));
    assert_eq!(sent(answers(false, 0), &entries), (vec!["ab".into(), String::new()], None));
}

#[test]
fn a_restart_takes_back_what_was_not_sent_yet() {
    let entries = [token(1, "aé"), token(2, "b"), restarted(3, 3), token(4, "c"), completed(5, 1)];
    assert_eq!(sent(answers(false, 0), &entries), (vec!["aéc".into(), String::new()], None));
    // The turn is read again after it was cut: nothing void is ever sent.
    assert_eq!(sent(answers(true, 3), &entries), (vec!["aé".into(), "c".into(), String::new()], None));
    assert_eq!(sent(answers(true, 5), &entries), (vec!["aéc".into(), String::new()], None));
}

#[test]
fn a_restart_that_voids_sent_text_ends_the_socket_openly() {
    let entries = [token(1, "a"), token(2, "b"), restarted(3, 1)];
    assert_eq!(sent(answers(true, 0), &entries).1, Some(Code::MODEL_STREAM_BROKEN));
}

#[test]
fn turns_of_others_in_the_same_session_are_not_told() {
    let other = record(1, 2, Body::ModelRestarted { attempt: 1, keep_bytes: 0 });
    let entries = [other, token(2, "x"), completed(3, 2)];
    assert_eq!(sent(answers(true, 0), &entries), (Vec::new(), None));
}

#[test]
fn pieces_are_joined_for_who_lags_and_no_longer_than_the_limit() {
    let mut lagging = answers(true, 0);
    lagging.joins = true;
    let piece = "x".repeat(1000);
    let entries: Vec<_> = (1..=40).map(|seq| token(seq, &piece)).collect();
    let (out, _) = sent(lagging, &entries);
    assert_eq!(out.iter().map(String::len).collect::<Vec<_>>(), [16_000, 16_000, 8000]);
}

#[test]
fn a_message_is_one_of_three_and_every_field_is_known() {
    assert!(matches!(
        read("{\"prompt\":\"x\",\"effort\":\"low\",\"model\":\"m\",\"request_id\":\"r\"}"),
        Ok(Request::Prompt(_))
    ));
    assert!(matches!(read("{\"feedback\":\"x\"}"), Ok(Request::Feedback(_))));
    assert!(matches!(read("{\"cancel\":true}"), Ok(Request::Cancel)));
    for odd in
        ["{\"prompt\":\"x\",\"cancel\":true}", "{\"prompt\":\" \"}", "[]", "{\"prompt\":\"x\",\"effort\":\"most\"}"]
    {
        assert!(read(odd).is_err(), "{odd}");
    }
}
