//! Other readings of a plain text: letters pushed apart, digits for letters,
//! scrambled words, letters replaced in a fixed way, text read backwards.
//!
//! A reading is offered only when something of it is recognised, so that an
//! ordinary text has none. Each is one pass; their number is bounded.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use super::disguise::Disguise;
use super::lexicon::Lexicon;
use super::sieve::Sieve;

/// Letters of the shortest row of single letters that is read as words.
const SPACED_MIN: usize = 6;
/// Letters of the longest word that is looked for in a row of letters.
const WORD_MAX: usize = 16;
/// Letters of one row that are divided into words; the rest stays together.
const ROW_MAX: usize = 4_096;
/// Letters of the shortest key word that is recognised with its letters in disorder.
const SCRAMBLED_MIN: usize = 6;
/// Different key words that must be recognised in a cipher.
const CIPHER_WORDS_MIN: usize = 2;

/// Words that attacks cannot do without; looked for under each cipher.
const KEYWORDS: &[&str] = &[
    "ignore",
    "disregard",
    "forget",
    "override",
    "bypass",
    "previous",
    "prior",
    "above",
    "earlier",
    "instructions",
    "instruction",
    "system",
    "prompt",
    "reveal",
    "password",
    "passwords",
    "secret",
    "secrets",
    "rules",
    "guidelines",
    "developer",
    "output",
    "memory",
    "access",
    "admin",
    "restrictions",
    "print",
    "your",
    "hidden",
    "message",
    "confidential",
    "credentials",
    "token",
    "assistant",
    "unrestricted",
    "execute",
    "delete",
    "everything",
    "pretend",
    "jailbreak",
    "grant",
    "show",
    "safety",
    "filters",
    "security",
    "configuration",
    "without",
    "all",
    "the",
    "full",
    "data",
    "initial",
    "directives",
    "commands",
    "privileges",
    "disable",
    "restricted",
    "respond",
    "answer",
];
/// Common words between which rows of letters are divided.
const COMMON: &[&str] = &[
    "a", "i", "the", "and", "to", "of", "in", "is", "it", "you", "your", "that", "this", "for", "on", "with", "as",
    "are", "be", "at", "or", "from", "have", "an", "they", "we", "not", "what", "all", "can", "will", "my", "me", "do",
    "how", "if", "any", "now", "no", "by", "but", "out", "up", "tell", "give", "show", "please", "were", "was", "been",
    "there", "their", "which", "when", "who", "about", "into", "given", "before", "after", "above", "below", "then",
    "here", "just", "only", "like", "would", "should", "could", "must", "us", "them", "full", "every", "make", "use",
];

/// Readings of `text`, whose look-alike letters are already Latin ones in `folded`.
pub(super) fn readings(text: &str, folded: Option<&str>) -> Vec<(String, Disguise)> {
    let mut out = Vec::new();
    let latin = folded.unwrap_or(text);
    out.extend(folded.map(|text| (text.to_owned(), Disguise::Lookalikes)));
    let leet = by_paragraph(latin, leet);
    let closed = by_paragraph(latin, closed_up);
    let both = leet.as_deref().and_then(|leet| by_paragraph(leet, closed_up));
    out.extend([closed, both].into_iter().flatten().map(|text| (text, Disguise::Spaced)));
    out.extend(deciphered(leet.as_deref().unwrap_or(latin)));
    if leet.is_some() {
        out.extend(deciphered(latin));
    }
    out.extend(leet.map(|text| (text, Disguise::Leet)));
    out
}

/// The paragraphs that read otherwise, as they read then; what stays the same is read elsewhere.
fn by_paragraph(text: &str, read: impl Fn(&str) -> Option<String>) -> Option<String> {
    // PERF: a text of one line is not searched for the ends of paragraphs.
    if !text.contains('\n') {
        return read(text);
    }
    let changed: Vec<String> = text.split("\n\n").filter_map(read).collect();
    (!changed.is_empty()).then(|| changed.join("\n\n"))
}

// ---- digits for letters ---------------------------------------------------------

fn leet(text: &str) -> Option<String> {
    if !has_leet(text) {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    let mut changed = false;
    for piece in text.split_inclusive([' ', '\n', '\t']) {
        // PERF: most words have none of these.
        if !has_leet(piece) {
            out.push_str(piece);
            continue;
        }
        let letters = piece.bytes().filter(u8::is_ascii_alphabetic).count();
        let signs = piece.chars().filter(|c| leet_letter(*c).is_some()).count();
        let is_address = piece.contains("://") || piece.contains('/') || piece.contains('=');
        if signs == 0 || letters == 0 || letters + signs < 2 || is_address || piece.len() > 64 {
            out.push_str(piece);
            continue;
        }
        changed |= push_leet(piece, &mut out);
    }
    changed.then_some(out)
}

/// One piece between blanks; `1` is an `l` where that makes a word. True when it is a word then.
fn push_leet(piece: &str, out: &mut String) -> bool {
    let core = piece.trim_end_matches(['!', '|', ' ', '\n', '\t', '.', ',', '?', ')', '+']);
    let with = |one: char| -> String {
        core.chars().map(|c| if matches!(c, '1' | '|') { one } else { leet_letter(c).unwrap_or(c) }).collect()
    };
    let (i, l) = (with('i'), with('l'));
    let is_word = |word: &str| {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric());
        word.len() > 2 && (Lexicon::get().knows(word) || COMMON.contains(&word))
    };
    let read = if i != l && !is_word(&i) && is_word(&l) { &l } else { &i };
    out.push_str(read);
    out.push_str(&piece[core.len()..]);
    read != core && is_word(read)
}

/// Whether a text has what may stand for a letter.
fn has_leet(text: &str) -> bool {
    // PERF: one comparison and one look at a table of bits for each byte.
    const SIGNS: u64 = {
        let signs = *b"013456789!|@$+";
        let mut set = 0;
        let mut at = 0;
        while at < signs.len() {
            if signs[at] < 64 {
                set |= 1 << signs[at];
            }
            at += 1;
        }
        set
    };
    text.bytes().any(|byte| byte < 64 && SIGNS & (1 << byte) != 0 || byte == b'|' || byte == b'@')
}

const fn leet_letter(c: char) -> Option<char> {
    Some(match c {
        '0' => 'o',
        '1' | '!' | '|' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '6' | '9' => 'g',
        '7' | '+' => 't',
        '8' => 'b',
        _ => return None,
    })
}

// ---- letters pushed apart -------------------------------------------------------

/// The text with rows of single letters read as words, and words that were cut put together.
fn closed_up(text: &str) -> Option<String> {
    let mut out = String::new();
    // What is before this is in `out`.
    let mut kept = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let (word, next) = word_bytes(rest);
        // PERF: a word of Latin letters that is followed by a blank is what most of a text is.
        if word > 1 && next.is_none_or(|next| matches!(next, b' ' | b',' | b'\n')) {
            at += word;
            continue;
        }
        let is_letter = rest.starts_with(|c: char| c.is_alphanumeric());
        if is_letter {
            let found = row(rest).map(|(words, used)| (format!(" {words}"), used)).or_else(|| rejoined(rest));
            if let Some((words, used)) = found {
                out.push_str(&text[kept..at]);
                out.push_str(&words);
                at += used;
                kept = at;
                // What follows at once is the same word's, not another's beginning.
                at += rest[used..].find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len() - used);
                continue;
            }
        }
        at += rest.find(|c: char| c.is_alphanumeric() != is_letter).unwrap_or(rest.len());
    }
    if kept == 0 {
        return None;
    }
    out.push_str(&text[kept..]);
    Some(out)
}

/// Length of the Latin letters and digits at the beginning, and the byte after them.
fn word_bytes(text: &str) -> (usize, Option<u8>) {
    let len = text.bytes().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(text.len());
    (len, text.as_bytes().get(len).copied())
}

/// A row of single letters at the beginning: its words and its length.
fn row(text: &str) -> Option<(String, usize)> {
    // PERF: most words have a second letter.
    if text.chars().nth(1).is_some_and(char::is_alphanumeric) {
        return None;
    }
    let mut words: Vec<String> = vec![String::new()];
    let (mut letters, mut used) = (0, 0);
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if !c.is_alphanumeric() || chars.peek().is_some_and(|(_, next)| next.is_alphanumeric()) || letters >= ROW_MAX {
            break;
        }
        letters += 1;
        used = at + c.len_utf8();
        if let Some(word) = words.last_mut() {
            word.push(c);
        }
        let mut between = 0;
        let mut has_blank = false;
        while let Some((_, c)) = chars.next_if(|(_, c)| !c.is_alphanumeric()) {
            between += 1;
            has_blank |= c == '\n' || c == '/' || c == '|';
        }
        if between > 4 {
            break;
        }
        // A wider gap is one between words: `i g n o r e   a l l`.
        if between > 1 || has_blank {
            words.push(String::new());
        }
    }
    if letters < SPACED_MIN {
        return None;
    }
    // With the same wide gap everywhere nothing was a word of its own.
    let is_even = words.iter().all(|word| word.chars().count() <= 1);
    let words = if is_even { vec![words.concat()] } else { words };
    let words: Vec<String> = words.iter().filter(|word| !word.is_empty()).map(|word| divided(word)).collect();
    Some((words.join(" "), used))
}

/// A row of letters as the fewest known words; unknown letters stay together.
fn divided(row: &str) -> String {
    static WORDS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| COMMON.iter().chain(KEYWORDS).copied().collect());
    let lexicon = Lexicon::get();
    let ends: Vec<usize> = row.char_indices().map(|(at, _)| at).chain([row.len()]).collect();
    let count = ends.len() - 1;
    // Cheapest division of each beginning: its cost and where its last word begins.
    let mut best: Vec<(u32, usize)> = vec![(0, 0); count + 1];
    for end in 1..=count {
        let mut cheapest = (best[end - 1].0 + 4, end - 1);
        for begin in end.saturating_sub(WORD_MAX)..end {
            let word = &row[ends[begin]..ends[end]];
            if WORDS.contains(word) || (end - begin > 2 && lexicon.knows_exactly(word)) {
                let cost = best[begin].0 + 2;
                if cost <= cheapest.0 {
                    cheapest = (cost, begin);
                }
            }
        }
        best[end] = cheapest;
    }
    let mut cuts = vec![count];
    while let Some(&at) = cuts.last()
        && at > 0
    {
        cuts.push(best[at].1);
    }
    cuts.reverse();
    let mut out = String::with_capacity(row.len() * 2);
    for pair in cuts.windows(2) {
        let was_letter = pair[1] - pair[0] == 1 && !WORDS.contains(&row[ends[pair[0]]..ends[pair[1]]]);
        if !out.is_empty() && !was_letter {
            out.push(' ');
        }
        out.push_str(&row[ends[pair[0]]..ends[pair[1]]]);
    }
    out
}

/// A known word that was cut by single signs: `ig-nore`, `pre.vious`.
fn rejoined(text: &str) -> Option<(String, usize)> {
    let is_joint = |c: char| matches!(c, '-' | '.' | '_' | '*' | '·' | '~' | '+');
    // Most words end here.
    let mut after = text.chars().skip_while(char::is_ascii_alphanumeric);
    if !(after.next().is_some_and(is_joint) && after.next().is_some_and(|c| c.is_ascii_alphanumeric())) {
        return None;
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && !is_joint(c));
    let piece = text[..end.unwrap_or(text.len())].trim_end_matches(|c: char| !c.is_alphanumeric());
    if piece.len() > 2 * WORD_MAX || !piece.contains(|c: char| !c.is_ascii_alphanumeric()) {
        return None;
    }
    let joined: String = piece.chars().filter(char::is_ascii_alphanumeric).collect();
    (joined.len() >= 5 && Lexicon::get().knows(&joined)).then_some((joined, piece.len()))
}

// ---- ciphers --------------------------------------------------------------------

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Cipher {
    Shift(u8),
    Mirrored,
    Backwards,
}

type Ciphers = HashMap<String, Vec<(Cipher, usize)>>;

/// The text under each cipher in which enough key words are written, and with scrambled key words put right.
fn deciphered(text: &str) -> Vec<(String, Disguise)> {
    static CIPHERS: LazyLock<Ciphers> = LazyLock::new(ciphers);
    static SCRAMBLED: LazyLock<HashMap<Vec<u8>, &'static str>> = LazyLock::new(scrambled);
    let mut seen: HashMap<Cipher, HashSet<usize>> = HashMap::new();
    let mut is_scrambled = false;
    static FIRST: LazyLock<Sieve> = LazyLock::new(|| Sieve::of(CIPHERS.keys()));
    for word in words(text) {
        if FIRST.may_hold(word.as_bytes()) {
            for (cipher, key) in CIPHERS.get(word).into_iter().flatten() {
                seen.entry(*cipher).or_default().insert(*key);
            }
        }
        is_scrambled = is_scrambled || unscrambled(word, &SCRAMBLED).is_some();
    }
    let enough = seen.iter().filter(|(_, keys)| keys.len() >= CIPHER_WORDS_MIN);
    let mut found: Vec<Cipher> = enough.map(|(cipher, _)| *cipher).collect();
    found.sort_unstable_by_key(|cipher| match cipher {
        Cipher::Backwards => 0,
        Cipher::Mirrored => 1,
        Cipher::Shift(by) => 2 + u32::from(*by),
    });
    let mut out: Vec<_> = found.iter().take(3).map(|cipher| (read(text, *cipher), Disguise::Cipher)).collect();
    if found.contains(&Cipher::Backwards) {
        out.push((text.chars().rev().collect(), Disguise::Cipher));
    }
    if is_scrambled {
        let put_right = |word: &str| unscrambled(word, &SCRAMBLED).map(str::to_owned);
        out.push((map_words(text, put_right), Disguise::Scrambled));
    }
    out
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    // PERF: by bytes; none of another character's is a letter, so each piece is whole.
    let pieces = text.as_bytes().split(|byte| !byte.is_ascii_alphabetic());
    pieces.filter(|word| (3..=WORD_MAX).contains(&word.len())).filter_map(|word| std::str::from_utf8(word).ok())
}

fn ciphers() -> Ciphers {
    let mut table = Ciphers::new();
    for (key, word) in KEYWORDS.iter().enumerate().filter(|(_, word)| word.len() >= 4) {
        let all = (1..26).map(Cipher::Shift).chain([Cipher::Mirrored, Cipher::Backwards]);
        for cipher in all {
            let written: String = match cipher {
                Cipher::Shift(by) => word.chars().map(|c| shifted(c, by)).collect(),
                Cipher::Mirrored => word.chars().map(mirrored).collect(),
                Cipher::Backwards => word.chars().rev().collect(),
            };
            if !Lexicon::get().knows_exactly(&written) {
                table.entry(written).or_default().push((cipher, key));
            }
        }
    }
    table
}

fn read(text: &str, cipher: Cipher) -> String {
    match cipher {
        Cipher::Shift(by) => text.chars().map(|c| shifted(c, 26 - by)).collect(),
        Cipher::Mirrored => text.chars().map(mirrored).collect(),
        Cipher::Backwards => map_words(text, |word| Some(word.chars().rev().collect())),
    }
}

fn shifted(c: char, by: u8) -> char {
    match c {
        'a'..='z' => char::from((c as u8 - b'a' + by) % 26 + b'a'),
        other => other,
    }
}

fn mirrored(c: char) -> char {
    match c {
        'a'..='z' => char::from(b'z' - (c as u8 - b'a')),
        other => other,
    }
}

/// First letter, last letter and those between in order: what a reader needs of a word.
fn signature(word: &str) -> Vec<u8> {
    let mut letters = word.as_bytes().to_vec();
    let last = letters.len() - 1;
    letters[1..last].sort_unstable();
    letters
}

/// What words of one signature share, whatever the order of their letters.
const fn ends(word: &str) -> [u8; 3] {
    let bytes = word.as_bytes();
    // Below 256: no longer word is asked about.
    [bytes[0], bytes[bytes.len() - 1], bytes.len() as u8]
}

fn scrambled() -> HashMap<Vec<u8>, &'static str> {
    KEYWORDS.iter().filter(|word| word.len() >= SCRAMBLED_MIN).map(|word| (signature(word), *word)).collect()
}

fn unscrambled(word: &str, table: &HashMap<Vec<u8>, &'static str>) -> Option<&'static str> {
    static ENDS: LazyLock<Sieve> = LazyLock::new(|| {
        let ends: Vec<_> = KEYWORDS.iter().filter(|word| word.len() >= SCRAMBLED_MIN).map(|word| ends(word)).collect();
        Sieve::of(&ends)
    });
    if word.len() < SCRAMBLED_MIN || !word.is_ascii() || !ENDS.may_hold(&ends(word)) {
        return None;
    }
    table.get(&signature(word)).copied().filter(|known| *known != word)
}

fn map_words(text: &str, change: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = first.is_ascii_alphabetic();
        let end = rest.find(|c: char| c.is_ascii_alphabetic() != is_word).unwrap_or(rest.len());
        let piece = &rest[..end];
        match if is_word { change(piece) } else { None } {
            Some(other) => out.push_str(&other),
            None => out.push_str(piece),
        }
        rest = &rest[end..];
    }
    out
}
