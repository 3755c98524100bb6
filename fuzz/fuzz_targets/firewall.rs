//! Texts behind any disguise are judged, the same each time, and what a scan says is within its bounds.
#![no_main]

use std::sync::LazyLock;

use are_policy::firewall::{Channel, Firewall, Verdict};
use libfuzzer_sys::fuzz_target;

static FIREWALL: LazyLock<Firewall> = LazyLock::new(|| Firewall::new().expect("the weights of this program"));

fuzz_target!(|input: (&str, bool)| {
    let (text, is_tool) = input;
    let channel = if is_tool { Channel::Tool } else { Channel::User };
    let found = FIREWALL.scan(text, channel);
    assert!(found.score_milli <= 1_000, "{found:?}");
    assert!(found.verdict == Verdict::Clean || found.score_milli >= 500 || !found.reasons.is_empty(), "{found:?}");
    // Only words in the user's own name are refused.
    assert!(!is_tool || found.verdict != Verdict::Refused, "{found:?}");
    assert_eq!(FIREWALL.scan(text, channel), found);
});
