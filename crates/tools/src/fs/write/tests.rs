use super::*;

#[test]
fn occurrences_are_counted_with_their_overlaps() {
    assert_eq!(only_occurrence("abc", "b"), Ok(Some(1)));
    assert_eq!(only_occurrence("abc", "x"), Ok(None));
    assert_eq!(only_occurrence("aaa", "aa"), Err(Again));
    assert_eq!(only_occurrence("éé", "é"), Err(Again));
    assert_eq!(only_occurrence("é", "é"), Ok(Some(0)));
    assert_eq!(only_occurrence("ab", "abc"), Ok(None));
}

proptest::proptest! {
    #[test]
    fn an_edit_changes_exactly_what_it_names(text in "[abé\n]{0,12}", old in "[abé\n]{1,3}") {
        let places = (0..text.len()).filter(|at| text.is_char_boundary(*at) && text[*at..].starts_with(&old)).count();
        match only_occurrence(&text, &old) {
            Ok(Some(at)) => proptest::prop_assert!(places == 1 && text[at..].starts_with(&old)),
            Ok(None) => proptest::prop_assert_eq!(places, 0),
            Err(Again) => proptest::prop_assert!(places > 1),
        }
    }
}
