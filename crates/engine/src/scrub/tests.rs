use proptest::prelude::*;

use super::*;

const KEY: &str = "sk-live-0123456789";

fn streamed(pieces: &[&str]) -> String {
    let scrubber = Scrubber::new(vec![KEY.to_owned()]);
    let mut stream = Stream::default();
    let mut out: String = pieces.iter().map(|piece| stream.push(&scrubber, (*piece).to_owned())).collect();
    out.push_str(&stream.finish(&scrubber));
    out
}

#[test]
fn a_value_split_over_pieces_is_removed_and_ordinary_text_is_not_delayed() {
    assert_eq!(streamed(&["a sk-li", "ve-01234", "56789 b"]), "a [secret removed] b");
    let scrubber = Scrubber::new(vec![KEY.to_owned()]);
    assert_eq!(Stream::default().push(&scrubber, "hello ".to_owned()), "hello ");
    assert_eq!(streamed(&["sk-", "lift"]), "sk-lift");
}

#[test]
fn values_are_removed_from_json_keys_and_leaves() {
    let scrubber = Scrubber::new(vec![KEY.to_owned()]);
    let value = serde_json::json!({ KEY: [format!("x{KEY}y")] });
    let clean = serde_json::json!({ "[secret removed]": ["x[secret removed]y"] });
    assert_eq!(scrubber.clean_json(value), clean);
}

proptest! {
    #[test]
    fn no_split_lets_a_value_through(before in "[a-zé -]{0,9}", after in "[sk a-zé-]{0,9}", cuts in prop::collection::vec(0usize..40, 0..6)) {
        let text = format!("{before}{KEY}{after}");
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| text.floor_char_boundary(cut.min(text.len()))).collect();
        cuts.push(0);
        cuts.push(text.len());
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
        let out = streamed(&pieces);
        prop_assert!(!out.contains(KEY));
        prop_assert_eq!(out, text.replace(KEY, MARK));
    }
}
