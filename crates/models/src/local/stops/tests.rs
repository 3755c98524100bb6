use super::*;

/// What is shown of pieces, and whether a stop was met.
fn shown(stops: &[&str], pieces: &[&str]) -> (String, bool) {
    let mut watch = Stops::new(&stops.iter().map(|&stop| stop.to_owned()).collect::<Vec<_>>());
    let mut out = String::new();
    for piece in pieces {
        out.extend(watch.push((*piece).to_owned()));
    }
    out.extend(watch.end());
    (out, watch.is_met())
}

#[test]
fn an_answer_ends_before_the_first_stop_however_it_is_split() {
    let text = "one two END three";
    for at in 0..=text.len() {
        let (head, tail) = text.split_at(at);
        assert_eq!(shown(&["END", "three"], &[head, tail]), ("one two ".to_owned(), true), "{at}");
    }
    let letters: Vec<String> = text.chars().map(String::from).collect();
    let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
    assert_eq!(shown(&["END"], &letters), ("one two ".to_owned(), true));
}

#[test]
fn what_only_begins_like_a_stop_is_shown() {
    assert_eq!(shown(&["END", ""], &["an EN", "emy, EN"]), ("an ENemy, EN".to_owned(), false));
    assert_eq!(shown(&["é!"], &["caf", "é", "?"]), ("café?".to_owned(), false));
    assert_eq!(shown(&[], &["all", " of it"]), ("all of it".to_owned(), false));
}
