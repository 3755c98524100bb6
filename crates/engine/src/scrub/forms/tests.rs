use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::super::{MARK, Scrubber, Stream};

/// Letters, digits and whatever encodings disagree about.
const VALUES: [&str; 4] = [
    "s3cr3t-Canary_0123456789",
    "p@ss/w0rd?&=\"x\" <y>'z'+100%",
    "schlüssel-ñandú-鍵-🔑-0001",
    "{\"client\":\"a\\nb\"}",
];

/// A value as others write it, each with what stands around it.
fn written(value: &str) -> Vec<String> {
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut all = vec![value.to_owned(), hex(value), hex(value).to_uppercase()];
    for before in ["", "x", "xy", "xyz", "user:"] {
        all.push(STANDARD.encode(format!("{before}{value}:tail")));
        all.push(URL_SAFE.encode(format!("{before}{value}")));
    }
    let json = serde_json::json!({ "a": value }).to_string();
    all.push(serde_json::json!({ "nested": json }).to_string());
    all.push(json.replace('/', "\\/"));
    all.push(json);
    all.push(format!("{value:?}"));
    let form: String = value
        .bytes()
        .map(|byte| match byte {
            b' ' => "+".to_owned(),
            byte if byte.is_ascii_alphanumeric() || b"*-._".contains(&byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect();
    all.push(form);
    let every = |upper: bool| -> String {
        value
            .bytes()
            .map(|byte| match byte {
                byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => char::from(byte).to_string(),
                byte if upper => format!("%{byte:02X}"),
                byte => format!("%{byte:02x}"),
            })
            .collect()
    };
    all.extend([every(true), every(false)]);
    all
}

/// The longest piece of what was written that is left.
fn left(written: &str, out: &str) -> usize {
    let is_left = |length: usize| {
        written.char_indices().any(|(at, _)| written.get(at..at + length).is_some_and(|piece| out.contains(piece)))
    };
    (1..=written.len()).take_while(|length| is_left(*length)).last().unwrap_or(0)
}

#[test]
fn a_value_goes_in_every_usual_form_whole_or_in_pieces_of_any_size() {
    let scrubber = Scrubber::new(VALUES).unwrap();
    let mut checked = 0;
    for value in VALUES {
        for form in written(value) {
            let text = format!("before {form} after");
            let whole = scrubber.clean(text.clone());
            assert!(whole.contains(MARK), "{form}");
            for size in [1, 3, 7, 16] {
                let mut stream = Stream::default();
                let mut out = String::new();
                let mut rest = text.as_str();
                while !rest.is_empty() {
                    let (piece, after) = rest.split_at(rest.ceil_char_boundary(size.min(rest.len())));
                    out.push_str(&stream.push(&scrubber, piece.to_owned()));
                    rest = after;
                }
                out.push_str(&stream.finish(&scrubber));
                assert_eq!(out, whole, "{form} in pieces of {size}");
            }
            // Of base64, what the neighbours decide too may stay.
            let neighbours =
                "before  after".len() + "eHl6:dGFpbA==".len() + "{\"nested\":\"{\\\"a\\\":\\\"\\\"}\"}".len() + 8;
            assert!(whole.len() < MARK.len() * 2 + neighbours, "{form}: {whole}");
            assert!(left(value, &whole) < 8, "{form}: {whole}");
            checked += 1;
        }
    }
    println!("{checked} writings of {} values", VALUES.len());
    assert!(checked >= 60);
}

#[test]
fn lines_of_a_private_key_go_one_by_one_and_its_frame_stays() {
    let key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\nAASCBKcwggSjAgEAAoIBAQC7VJTU\n-----END PRIVATE KEY-----\n";
    let scrubber = Scrubber::new([key]).unwrap();
    let shown = scrubber.clean("-----BEGIN PRIVATE KEY-----\n  2: AASCBKcwggSjAgEAAoIBAQC7VJTU\n".to_owned());
    assert_eq!(shown, "-----BEGIN PRIVATE KEY-----\n  2: [secret removed]\n");
    assert_eq!(scrubber.clean(key.to_owned()), MARK);
}

#[test]
fn a_hundred_secrets_cost_little_and_hold_back_little() {
    let values: Vec<String> = (0..100).map(|n| format!("sk-{n:03}-{}", "Qx7".repeat(12))).collect();
    let begun = Instant::now();
    let scrubber = Scrubber::new(values.iter().map(String::as_str)).unwrap();
    let built = begun.elapsed();
    let words = "The quick brown fox jumps over the lazy dog and reads notes.txt, twice. ";
    let text = words.repeat(14_000);
    let begun = Instant::now();
    assert_eq!(scrubber.clean(text.clone()), text);
    let cleaned = begun.elapsed();
    let begun = Instant::now();
    let (mut stream, mut held) = (Stream::default(), 0);
    let tokens: Vec<&str> = words.split_inclusive(' ').collect();
    let rounds = 2_000;
    for _ in 0..rounds {
        for token in &tokens {
            held += usize::from(stream.push(&scrubber, (*token).to_owned()).len() != token.len());
        }
    }
    let streamed = begun.elapsed() / u32::try_from(rounds * tokens.len()).unwrap();
    println!(
        "100 secrets: built in {built:?}, {:.0} MB/s whole, {streamed:?} a token, {held} of {} tokens held back",
        text.len() as f64 / cleaned.as_secs_f64() / 1e6,
        rounds * tokens.len()
    );
    assert_eq!(held, 0, "ordinary words that end in a space begin no form");
}
