use std::path::PathBuf;

use super::super::door::Door;
use super::*;

fn follower(current: u64) -> Follower {
    Follower {
        client: Client::new(Door::Socket(PathBuf::from("nowhere.sock"))),
        socket: None,
        place: Place::default(),
        session: None,
        epoch: None,
        seen: Some(0),
        current: Some(current),
        mine: None,
        pending: None,
        bytes_max: None,
        ready: VecDeque::new(),
        lost_since: None,
        pause: PAUSE_FIRST,
    }
}

#[test]
fn a_prompt_that_waits_does_not_take_the_words_of_the_turn_that_runs() {
    for beside in ["turn_started", "firewall", "feedback"] {
        let mut follower = follower(1);
        follower.take(Message::Event(json!({"type": beside, "turn": 2, "seq": 1})));
        follower.take(Message::Token { first: 2, last: 2, text: "word".to_owned() });
        assert_eq!(follower.ready.back().and_then(Item::turn), Some(1), "{beside}");
    }
    let mut follower = follower(1);
    follower.take(Message::Event(json!({"type": "model_requested", "turn": 2, "seq": 1})));
    follower.take(Message::Token { first: 2, last: 2, text: "word".to_owned() });
    assert_eq!(follower.ready.back().and_then(Item::turn), Some(2));
}
