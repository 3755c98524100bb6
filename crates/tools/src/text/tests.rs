use super::*;

#[test]
fn the_cost_of_a_character_is_what_the_encoder_writes() {
    for character in (0..0x3000).filter_map(char::from_u32).chain(['\u{10ffff}', '😀']) {
        let written = serde_json::to_string(&character.to_string()).expect("json").len() - 2;
        assert_eq!(json_cost(character), written, "{character:?}");
    }
}

#[test]
fn text_is_cut_at_a_character_within_its_budget() {
    assert_eq!(within("aé😀", 7), "aé😀");
    assert_eq!(within("aé😀", 6), "aé");
    assert_eq!(within("a\u{1}b", 6), "a");
    assert_eq!(within("abc", 0), "");
}

#[test]
fn a_cut_character_is_left_out_and_broken_bytes_are_no_text() {
    assert_eq!(utf8_start("aé".as_bytes(), true), Some("aé"));
    assert_eq!(utf8_start(&"aé".as_bytes()[..2], true), Some("a"));
    assert_eq!(utf8_start(&"aé".as_bytes()[..2], false), None);
    assert_eq!(utf8_start(b"a\xffb", true), None);
    assert_eq!(utf8_start(b"a\0b", true), None);
}
