//! Encodings in which words can be carried: base64, base32, hexadecimal,
//! binary and decimal codes, percent signs, HTML entities, escapes, Morse.
//!
//! What decodes to readable text is handed back to be read like any other;
//! bytes that are no text are dropped. Work is bounded by the text's length
//! and by the number and bytes of what is decoded.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Characters of the shortest encoded run that is looked at.
const RUN_MIN: usize = 12;
/// Runs of one text that are decoded.
const RUNS_MAX: usize = 64;
/// Bytes that are decoded from one text.
const DECODED_BYTES_MAX: usize = 96 << 10;
/// Escapes of one kind that make it worth reading the text without them.
const ESCAPES_MIN: usize = 3;
/// Bytes of the longest entity, `&` and `;` included.
const ENTITY_BYTES_MAX: usize = 10;
/// Codes of the shortest row of numbers that is text.
const CODES_MIN: usize = 5;

const LOOSE: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LOOSE);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LOOSE);

/// Texts that `raw` carries in an encoding.
pub(super) fn decoded(raw: &str) -> Vec<String> {
    let mut out = Decoded::default();
    runs(raw, &mut out);
    codes(raw, &mut out);
    for text in [percent(raw), entities(raw), escapes(raw), morse(raw)].into_iter().flatten() {
        out.keep(text);
    }
    out.texts
}

#[derive(Default)]
struct Decoded {
    texts: Vec<String>,
    bytes: usize,
}

impl Decoded {
    fn is_full(&self) -> bool {
        self.texts.len() >= RUNS_MAX || self.bytes >= DECODED_BYTES_MAX
    }

    fn keep(&mut self, text: String) {
        if !self.is_full() && !text.trim().is_empty() {
            self.bytes += text.len();
            self.texts.push(text);
        }
    }

    fn keep_bytes(&mut self, bytes: Vec<u8>) -> bool {
        match readable(bytes) {
            Some(text) => {
                self.keep(text);
                true
            }
            None => false,
        }
    }
}

/// Bytes as text, if they are one: words rather than noise.
fn readable(bytes: Vec<u8>) -> Option<String> {
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            // UTF-16 is what some systems encode by default.
            let units: Vec<u16> =
                error.as_bytes().chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
            String::from_utf16(&units).ok()?
        }
    };
    let text = if text.contains('\0') { text.replace('\0', "") } else { text };
    let (mut letters, mut all) = (0, 0);
    for c in text.chars() {
        all += 1;
        letters += usize::from(c.is_alphanumeric() || matches!(c, ' ' | '\n'));
        if c.is_control() && !matches!(c, '\n' | '\t' | '\r') {
            return None;
        }
    }
    (all >= 4 && letters * 10 >= all * 7).then_some(text)
}

// ---- runs of an alphabet --------------------------------------------------------

fn runs(raw: &str, out: &mut Decoded) {
    let is_of_run = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=');
    let bytes = raw.as_bytes();
    let mut at = 0;
    while at < bytes.len() && !out.is_full() {
        if !is_of_run(bytes[at]) {
            at += 1;
            continue;
        }
        // PERF: nearly every run is an ordinary word, and those are not copied.
        let word = bytes[at..].iter().position(|byte| !is_of_run(*byte)).unwrap_or(bytes.len() - at);
        if word < RUN_MIN {
            at += word;
            continue;
        }
        let mut run: Vec<u8> = Vec::new();
        let begin = at;
        while at < bytes.len() && is_of_run(bytes[at]) {
            run.push(bytes[at]);
            at += 1;
            // Long encodings are broken into lines.
            let is_long = run.len() >= 40 && run.len() < DECODED_BYTES_MAX;
            if is_long && at + 1 < bytes.len() && bytes[at] == b'\n' && is_of_run(bytes[at + 1]) {
                at += 1;
            }
        }
        if run.len() >= RUN_MIN && at - begin >= RUN_MIN {
            decode_run(&run, out);
        }
    }
}

fn decode_run(run: &[u8], out: &mut Decoded) {
    if run.len().is_multiple_of(2)
        && run.iter().all(u8::is_ascii_hexdigit)
        && let Some(bytes) = hex(run)
        && out.keep_bytes(bytes)
    {
        return;
    }
    if run.len().is_multiple_of(8)
        && run.iter().all(|byte| matches!(byte, b'0' | b'1'))
        && out.keep_bytes(run.chunks(8).map(binary).collect())
    {
        return;
    }
    let is_base32 = run.iter().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'2'..=b'7' | b'='));
    if is_base32 && out.keep_bytes(base32(run)) {
        return;
    }
    // A prefix such as `data=` or `--` may stand before it.
    let trimmed: Vec<u8> = run.iter().copied().skip_while(|byte| matches!(byte, b'=' | b'-')).collect();
    let trimmed = match trimmed.iter().position(|byte| *byte == b'=') {
        Some(at) if at + 2 < trimmed.len() && trimmed[at + 1] != b'=' => &trimmed[at + 1..],
        _ => &trimmed[..],
    };
    let bytes = STANDARD.decode(trimmed).or_else(|_| URL_SAFE.decode(trimmed)).or_else(|_| {
        // One character too many is what a sentence's end or a word before it leaves.
        let whole = trimmed.len() - trimmed.len() % 4;
        STANDARD.decode(&trimmed[..whole])
    });
    if let Ok(bytes) = bytes {
        out.keep_bytes(bytes);
    }
}

fn hex(digits: &[u8]) -> Option<Vec<u8>> {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    digits.chunks_exact(2).map(|pair| Some(value(pair[0])? << 4 | value(pair[1])?)).collect()
}

fn binary(bits: &[u8]) -> u8 {
    bits.iter().fold(0, |byte, bit| byte << 1 | (bit & 1))
}

fn base32(run: &[u8]) -> Vec<u8> {
    let (mut bits, mut held, mut out) = (0_u32, 0, Vec::new());
    for byte in run.iter().take_while(|byte| **byte != b'=') {
        let value = if byte.is_ascii_uppercase() { byte - b'A' } else { byte - b'2' + 26 };
        bits = bits << 5 | u32::from(value);
        held += 5;
        if held >= 8 {
            held -= 8;
            out.extend(u8::try_from(bits >> held & 0xff));
        }
    }
    out
}

// ---- rows of numbers ------------------------------------------------------------

fn codes(raw: &str, out: &mut Decoded) {
    let mut row: Vec<&str> = Vec::new();
    let mut rest = raw;
    while !rest.is_empty() && !out.is_full() {
        let (mut piece, after) = rest.split_at(piece_bytes(rest));
        rest = after.char_indices().nth(1).map_or("", |(at, _)| &after[at..]);
        if piece.is_empty() {
            continue;
        }
        while let Some(inner) = piece.strip_prefix("0x") {
            piece = inner;
        }
        while let Some(inner) = piece.strip_prefix("\\x") {
            piece = inner;
        }
        if piece.len() <= 8 && !piece.is_empty() && piece.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            row.push(piece);
        } else if !row.is_empty() {
            decode_row(&row, out);
            row.clear();
        }
    }
    if !out.is_full() {
        decode_row(&row, out);
    }
}

/// Bytes before what separates numbers.
fn piece_bytes(text: &str) -> usize {
    let is_separator =
        |byte: u8| matches!(byte, b' ' | b',' | b';' | b':' | b'[' | b']' | b'(' | b')' | b'"' | b'.' | b'\t'..=b'\r');
    // PERF: by bytes, since nearly all separators are ASCII; of other characters only blanks are.
    let is_end = |(at, byte): (usize, u8)| {
        is_separator(byte) || byte >= 0xc2 && text[at..].starts_with(|c: char| c.is_whitespace())
    };
    text.bytes().enumerate().position(is_end).unwrap_or(text.len())
}

fn decode_row(row: &[&str], out: &mut Decoded) {
    if row.len() < CODES_MIN {
        return;
    }
    let all = |is: fn(&str) -> bool| row.iter().all(|piece| is(piece));
    if all(|piece| piece.len() == 8 && piece.bytes().all(|byte| matches!(byte, b'0' | b'1'))) {
        out.keep_bytes(row.iter().map(|piece| binary(piece.as_bytes())).collect());
        return;
    }
    if all(|piece| piece.len() == 2)
        && out.keep_bytes(row.iter().filter_map(|piece| hex(piece.as_bytes())).flatten().collect())
    {
        return;
    }
    let numbers: Option<Vec<u8>> = row.iter().map(|piece| piece.parse().ok()).collect();
    if let Some(numbers) = numbers.filter(|numbers| numbers.iter().all(|code| (9..127).contains(code))) {
        out.keep_bytes(numbers);
    }
}

// ---- escapes in a text ----------------------------------------------------------

fn percent(raw: &str) -> Option<String> {
    let bytes = raw.as_bytes();
    let is_escape = |at: &usize| bytes.get(at + 1..at + 3).is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit));
    // Two blanks make a sentence of three words.
    if raw.match_indices('%').map(|(at, _)| at).filter(is_escape).take(2).count() < 2 {
        return None;
    }
    let decoded = percent_encoding::percent_decode_str(raw).decode_utf8_lossy();
    Some(decoded.replace('+', " "))
}

fn entities(raw: &str) -> Option<String> {
    replaced(raw, '&', |rest| {
        // Looked for nearby only, or a text of `&` alone would take for ever.
        let near = &rest[1..rest.floor_char_boundary(ENTITY_BYTES_MAX)];
        let (name, _) = near.split_once(';')?;
        let c = match name.strip_prefix('#') {
            Some(number) => {
                let hex = number.strip_prefix(['x', 'X']);
                let code = hex.map_or_else(|| number.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok())?;
                char::from_u32(code)?
            }
            None => match name {
                "lt" => '<',
                "gt" => '>',
                "amp" => '&',
                "quot" => '"',
                "apos" => '\'',
                "nbsp" => ' ',
                _ => return None,
            },
        };
        Some((c, name.len() + 2))
    })
}

fn escapes(raw: &str) -> Option<String> {
    replaced(raw, '\\', |rest| {
        let digits = |from: usize, len: usize, radix: u32| {
            let digits = rest.get(from..from + len)?;
            let is_number = digits.chars().all(|c| c.is_digit(radix));
            is_number.then(|| u32::from_str_radix(digits, radix).ok()).flatten()
        };
        let (code, used) = match rest.as_bytes().get(1)? {
            b'u' if rest.as_bytes().get(2) == Some(&b'{') => {
                let len = rest.get(3..)?.find('}').filter(|len| *len <= 6)?;
                (digits(3, len, 16)?, len + 4)
            }
            b'u' => (digits(2, 4, 16)?, 6),
            b'U' => (digits(2, 8, 16)?, 10),
            b'x' => (digits(2, 2, 16)?, 4),
            b'0'..=b'7' => (digits(1, 3, 8)?, 4),
            _ => return None,
        };
        Some((char::from_u32(code)?, used))
    })
}

/// The text with what begins with `mark` replaced, where there is enough of it.
fn replaced(raw: &str, mark: char, read: impl Fn(&str) -> Option<(char, usize)>) -> Option<String> {
    if raw.matches(mark).take(ESCAPES_MIN).count() < ESCAPES_MIN {
        return None;
    }
    let mut out = String::with_capacity(raw.len());
    let mut count = 0;
    let mut rest = raw;
    while let Some(at) = rest.find(mark) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some((c, used)) = read(rest) {
            out.push(c);
            count += 1;
            rest = &rest[used..];
        } else {
            out.push(mark);
            rest = &rest[mark.len_utf8()..];
        }
    }
    out.push_str(rest);
    (count >= ESCAPES_MIN).then_some(out)
}

// ---- Morse ----------------------------------------------------------------------

/// Letters of the shortest text.
const MORSE_MIN: usize = 3 * CODES_MIN;
/// The alphabet, in order.
const MORSE: [&str; 26] = [
    ".-", "-...", "-.-.", "-..", ".", "..-.", "--.", "....", "..", ".---", "-.-", ".-..", "--", "-.", "---", ".--.",
    "--.-", ".-.", "...", "-", "..-", "...-", ".--", "-..-", "-.--", "--..",
];

fn morse(raw: &str) -> Option<String> {
    // PERF: the last bytes of these signs; most texts have fewer of them than a Morse text has letters.
    let signs = raw.bytes().filter(|byte| matches!(byte, b'.' | b'-' | 0xb7 | 0x92 | 0x93)).count();
    if signs < MORSE_MIN {
        return None;
    }
    let mut out = String::new();
    let mut letters = 0;
    for piece in raw.split(' ') {
        let code = piece.trim_matches(|c: char| !matches!(c, '.' | '-' | '·' | '−' | '–'));
        if matches!(piece.trim(), "/" | "|" | "") {
            out.push(' ');
            continue;
        }
        if code.is_empty() || code.len() > 15 {
            continue;
        }
        let code = code.replace('·', ".").replace(['−', '–'], "-");
        if let Some(at) = MORSE.iter().position(|known| *known == code) {
            letters += 1;
            out.extend(u8::try_from(at).map(|at| char::from(b'a' + at)));
        }
    }
    (letters >= MORSE_MIN).then_some(out)
}
