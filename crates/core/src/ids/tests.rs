use super::*;

#[test]
fn session_keys_are_version_7_and_sort_by_time() {
    let early = SessionKey::new(1_000, &[9; 32]);
    let late = SessionKey::new(2_000, &[1; 32]);
    assert!(early < late);
    assert_eq!(early.0.get_version_num(), 7);
    assert_eq!(early.to_string().parse(), Ok(early));
}

#[test]
fn names_refuse_what_could_leave_their_field() {
    for bad in ["", "A", "a b", "../x", "a\n", "ä", &"a".repeat(65)] {
        assert!(bad.parse::<AccountId>().is_err(), "{bad:?}");
        assert!(bad.parse::<ToolName>().is_err(), "{bad:?}");
    }
    assert!("fs-read".parse::<ToolName>().is_err());
    assert!("a b".parse::<RequestId>().is_err());
    assert!(serde_json::from_str::<AgentName>("\"Up\"").is_err());
}
