use super::*;

fn occurs(value: &str, text: &str) -> bool {
    Needle::new(value).is_some_and(|needle| Text::new(text).find(&needle, 0).is_some())
}

#[test]
fn a_value_occurs_only_whole() {
    for (value, text, expected) in [
        ("alice", "Write to Alice, please", true),
        ("alice", "malice", false),
        ("5", "in 2025", false),
        ("acme.example", "see acme.example.", true),
        ("acme.example", "see acme.example.org", false),
        ("acme.example", "see www.acme.example", false),
        ("bob@acme.example", "to bob@acme.example!", true),
        ("bob@acme.example", "to jim.bob@acme.example", false),
        ("bob@acme.example", "to bob-acme.example", false),
        ("bob.acme.example", "to bob@acme.example", false),
        ("https://a.example/x", "open https://a.example/x now", true),
        ("https://a.example/x", "open https://a.example/x?y=1", false),
        ("a.example/x", "open https://a.example/x", false),
        ("Weekly_Report", "the weekly report", true),
        ("weekly-report", "the Weekly Report", true),
        ("out/count.txt", "write it to out/count.txt", true),
        ("/etc/passwd", "read etc/passwd", false),
        ("etc/passwd", "read /etc/passwd", false),
        ("/etc/passwd", "read /etc/passwd", true),
        ("UK12345", "IBAN:UK12345", true),
        ("alice@a.example", "发给alice@a.example吧", true),
        ("会议", "把会议纪要发给她", true),
        ("general", "a general-purpose tool", false),
        (".nvmrc", "Our .nvmrc is ancient.", true),
        ("#general", "post it to general", true),
        ("*draft*", "delete draft", false),
        ("/srv/reports/..", "delete /srv/reports/", false),
        ("/srv/reports/", "delete /srv/reports/.", true),
    ] {
        assert_eq!(occurs(value, text), expected, "{value} in {text}");
    }
}

#[test]
fn a_value_in_disguise_is_no_value() {
    for value in ["alice\u{200b}", "\u{ff41}lice", "al\u{ad}ice", "alice\u{e0041}"] {
        assert!(!occurs(value, "alice"), "{value:?}");
    }
    // A homoglyph is another letter.
    assert!(!occurs("\u{430}lice", "alice"));
    // In the text it is looked through, so that a disguised source is still the source.
    assert!(occurs("alice", "a\u{200b}lice"));
}

#[test]
fn an_item_stands_alone_in_its_line_or_field() {
    for (value, text, expected) in [
        ("UK12345", "Please pay:\nIBAN: UK12345\nThanks", true),
        ("UK12345", "Send it to UK12345. If not, tell me", false),
        ("general", "- general\n- random", true),
        ("random", "general, random, other", true),
        ("two words", "1. two words\n2. more", true),
        ("98", "Rental\t98\nTotal 98", true),
        ("x", "x", true),
        ("bob", "Ask bob, he knows", false),
    ] {
        let (needle, text) = (Needle::new(value).unwrap(), Text::new(text));
        let at = text.find(&needle, 0).unwrap();
        assert_eq!(text.is_item(at, needle.text.len()), expected, "{value}");
    }
}

#[test]
fn an_address_is_the_same_without_https_and_its_last_slash() {
    let bare = |value: &str| Needle::new(value).unwrap().bare().map(|bare| bare.text.as_str().to_owned());
    assert_eq!(bare("https://a.example/"), Some("a.example".to_owned()));
    assert_eq!(bare("http://a.example"), None);
    assert_eq!(bare("a.example/x"), None);
}
