//! Any words of a user, and a conversation about decisions in any order: each line is answered or refused, and a decision is one of three.
#![no_main]

use are_policy::replay::Replay;
use are_policy::rules::{Profile, Rules};
use libfuzzer_sys::fuzz_target;

/// The tools of the session.
const TOOLS: &str = r#"[{"name":"send_mail","description":"Send a mail","effect":"send","parameters":{"type":"object","properties":{"to":{"type":"string"},"body":{"type":"string"}}}}]"#;

fuzz_target!(|input: (&str, &str)| {
    let (prompt, text) = input;
    let tools: serde_json::Value = serde_json::from_str(TOOLS).expect("tools");
    let begin = serde_json::json!({"type": "session_start", "user_prompt": prompt, "tools": tools}).to_string();
    let rules = Rules::new(Profile::Strict, &[]).expect("the profile alone");
    let mut replay = Replay::new(rules);
    drop(replay.answer(&begin));
    for line in text.lines().take(32) {
        if let Ok(answer) = replay.answer(line)
            && let Some(decision) = answer.get("decision")
        {
            assert!(["allow", "ask", "deny"].iter().any(|known| decision == known), "{answer}");
        }
    }
});
