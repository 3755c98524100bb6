use super::*;

#[test]
fn tokens_come_single_or_joined() {
    let token = |first, last| Some(Message::Token { first, last, text: "a".to_owned() });
    assert_eq!(read(r#"[3,"a"]"#), token(3, 3));
    assert_eq!(read(r#"[3,5,"a"]"#), token(3, 5));
    for text in ["[3]", r#"["a",3]"#, "[1,2,3,4]", "7", "not json"] {
        assert_eq!(read(text), None, "{text}");
    }
}

#[test]
fn a_close_code_of_ours_is_a_refusal_and_one_of_a_restart_is_not() {
    assert!(
        matches!(closed(4201, "ARE-0201 no credential"), Broken::Refused(fault) if fault.code == Code::UNAUTHENTICATED)
    );
    assert!(matches!(closed(4213, "ARE-0213 stopping"), Broken::Lost(_)));
    assert!(matches!(closed(1012, ""), Broken::Lost(_)));
    assert!(matches!(closed(1009, ""), Broken::Refused(_)));
}
