use proptest::prelude::*;

use super::*;

fn words(text: &str) -> Words {
    Words::of(text).unwrap()
}

fn token(seq: Seq, text: &str) -> Entry {
    Entry::Frame(seq, Frame::Token { text: text.to_owned() })
}

#[test]
fn all_words_must_stand_in_the_text_in_any_case_and_order() {
    let text = "The GRAND total of the März invoice is 42 €.";
    for there in ["total", "42 grand", "märz", "INVOICE tOtAl", "€"] {
        assert_eq!(words(there).excerpt(text).as_deref(), Some(text), "{there}");
    }
    assert_eq!(words("total missing").excerpt(text), None);
    assert_eq!(words("列出").excerpt("请列出文件").as_deref(), Some("请列出文件"));
}

#[test]
fn an_excerpt_is_one_line_around_the_first_word() {
    let text = format!("{}\n\tneedle   here {}", "a ".repeat(200), "b ".repeat(200));
    let excerpt = words("here needle").excerpt(&text).unwrap();
    assert!(
        excerpt.starts_with("… a a") && excerpt.contains("a needle here b") && excerpt.ends_with("b …"),
        "{excerpt}"
    );
    assert!(excerpt.chars().count() <= BEFORE_CHARS + FROM_CHARS + 4, "{excerpt}");
    assert!(!excerpt.contains(['\n', '\t']));
}

#[test]
fn nothing_and_too_much_are_refused() {
    let (long, many) = ("x".repeat(TEXT_BYTES_MAX + 1), "x ".repeat(WORDS_MAX + 1));
    for odd in ["", " \n ", &long, &many] {
        assert_eq!(Words::of(odd).unwrap_err().code, Code::REQUEST_INVALID, "{odd}");
    }
}

#[test]
fn an_answer_is_one_text_however_it_was_cut() {
    let words = words("half done");
    let mut reader = Reader::new(&words, 4);
    for (seq, text) in [(5, "It is ha"), (6, "lf way"), (7, " DONE")] {
        assert_eq!(reader.take(&token(seq, text)), None);
        assert_eq!((reader.begun(), reader.last()), (4, seq), "reading goes on before it, never in its middle");
    }
    let found = reader.end().unwrap();
    assert_eq!((found.seq, found.turn, found.excerpt.as_str()), (7, None, "It is half way DONE"));
    assert_eq!(reader.end(), None);
}

proptest! {
    #[test]
    fn no_text_and_no_words_make_it_fail(text in "\\PC{0,300}", needle in "\\PC{1,8}") {
        if let Ok(words) = Words::of(&needle) {
            drop(words.excerpt(&text));
            let around = format!("{text}{needle}{text}");
            // Some letters change with what stands around them, as the sigma at the end of a word does.
            if around.to_lowercase().contains(&needle.to_lowercase()) && !needle.contains(char::is_whitespace) {
                prop_assert!(words.excerpt(&around).is_some());
            }
        }
    }
}
