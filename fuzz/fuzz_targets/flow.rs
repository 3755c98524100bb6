//! A conversation about decisions in any order: each line is answered or refused, and a decision is one of three.
#![no_main]

use are_policy::replay::Replay;
use are_policy::rules::{Profile, Rules};
use libfuzzer_sys::fuzz_target;

/// A session to begin with, so that not all lines fail for want of one.
const BEGIN: &str = r#"{"type":"session_start","user_prompt":"send the report to bob@example.com","tools":[{"name":"send_mail","description":"Send a mail","effect":"send","parameters":{"type":"object","properties":{"to":{"type":"string"},"body":{"type":"string"}}}}]}"#;

fuzz_target!(|text: &str| {
    let rules = Rules::new(Profile::Strict, &[]).expect("the profile alone");
    let mut replay = Replay::new(rules);
    drop(replay.answer(BEGIN));
    for line in text.lines().take(32) {
        if let Ok(answer) = replay.answer(line)
            && let Some(decision) = answer.get("decision")
        {
            assert!(["allow", "ask", "deny"].iter().any(|known| decision == known), "{answer}");
        }
    }
});
