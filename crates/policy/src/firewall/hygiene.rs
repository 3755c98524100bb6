//! Makes text plain: what a reader would see, in one spelling.
//!
//! Compatibility forms (full width, mathematical, circled), accents on Latin
//! letters, case, invisible and direction characters are taken away; what was
//! written in characters that show nothing (tags, variation selectors) is read
//! out as a text of its own. Look-alike letters of other scripts are folded
//! into Latin in a second spelling, so that real Russian or Greek stays itself.
//!
//! SOURCE: UTS 39 (confusables, through `unicode-security`), UAX 15.

use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use super::disguise::{Disguise, Disguises};

/// Direction controls that a text of one direction does not need.
const BIDI: [(char, char); 2] = [('\u{202a}', '\u{202e}'), ('\u{2066}', '\u{2069}')];
/// Characters below this are looked up in a table made once.
const TABLE_END: u32 = 0x600;
/// Fewer hidden bytes than this are a flag's or an emoji's own.
const HIDDEN_BYTES_MIN: usize = 6;
/// Fewer styled letters than this are a formula or a sign.
const STYLED_MIN: u32 = 4;

/// Small capitals in the order of the alphabet, where there is one.
const SMALL_CAPITALS: &str = "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡxʏᴢ";
/// Letters that pass for Latin ones beside those of UTS 39.
const LOOKALIKES: &[(char, char)] = &[
    ('т', 't'),
    ('к', 'k'),
    ('м', 'm'),
    ('н', 'h'),
    ('в', 'b'),
    ('г', 'r'),
    ('п', 'n'),
    ('и', 'n'),
    ('ь', 'b'),
    ('ъ', 'b'),
    ('я', 'r'),
    ('э', 'e'),
    ('є', 'e'),
    ('з', 'e'),
    ('ц', 'u'),
    ('ч', 'y'),
    ('ш', 'w'),
    ('д', 'd'),
    ('л', 'n'),
    ('α', 'a'),
    ('β', 'b'),
    ('γ', 'y'),
    ('δ', 'd'),
    ('ε', 'e'),
    ('ζ', 'z'),
    ('η', 'n'),
    ('θ', 'o'),
    ('ι', 'i'),
    ('κ', 'k'),
    ('λ', 'l'),
    ('μ', 'u'),
    ('ν', 'v'),
    ('ξ', 'e'),
    ('ο', 'o'),
    ('π', 'n'),
    ('ρ', 'p'),
    ('σ', 'o'),
    ('ς', 's'),
    ('τ', 't'),
    ('υ', 'u'),
    ('φ', 'o'),
    ('χ', 'x'),
    ('ψ', 'y'),
    ('ω', 'w'),
    ('ɑ', 'a'),
    ('ɡ', 'g'),
    ('ɩ', 'i'),
    ('ɪ', 'i'),
    ('ı', 'i'),
    ('ł', 'l'),
    ('ø', 'o'),
    ('đ', 'd'),
    ('ħ', 'h'),
    ('ŧ', 't'),
    ('ɓ', 'b'),
    ('ɗ', 'd'),
    ('ɛ', 'e'),
    ('ɔ', 'o'),
    ('ʃ', 's'),
    ('ƒ', 'f'),
    ('ß', 'b'),
    ('€', 'e'),
];

/// A text in its plain spelling.
#[derive(Debug, Default)]
pub(super) struct Plain {
    /// As it reads.
    pub(super) text: String,
    /// With look-alike letters as Latin ones; absent when there are none.
    pub(super) folded: Option<String>,
    /// What characters that show nothing spell.
    pub(super) hidden: String,
    /// How it was disguised.
    pub(super) disguises: Disguises,
}

/// Takes a text's disguises of single characters away.
pub(super) fn plain(raw: &str) -> Plain {
    let mut out = Plain { text: String::with_capacity(raw.len()), ..Plain::default() };
    let mut state = Reading::default();
    let mut rest = raw;
    while !rest.is_empty() {
        let ascii = rest.bytes().position(|byte| !byte.is_ascii()).unwrap_or(rest.len());
        let (run, after) = rest.split_at(ascii);
        state.push_ascii(run, &mut out.text);
        let other = after.char_indices().find(|(_, c)| c.is_ascii()).map_or(after.len(), |(at, _)| at);
        let (run, after) = after.split_at(other);
        for c in run.chars() {
            state.push(c, &mut out.text);
        }
        state.compose(&mut out.text);
        rest = after;
    }
    state.finish(&mut out);
    out
}

/// The text without what shows nothing; case and forms stay.
pub(super) fn visible(raw: &str) -> String {
    raw.chars().filter(|c| !is_invisible(*c)).collect()
}

#[derive(Default)]
struct Reading {
    tags: String,
    selectors: Vec<u8>,
    styled: u32,
    marks: u32,
    has_lookalikes: bool,
    disguises: Disguises,
    /// Where characters begin that may compose with what follows.
    open: Option<usize>,
}

impl Reading {
    fn push_ascii(&mut self, run: &str, out: &mut String) {
        for byte in run.bytes() {
            if byte >= b' ' && byte != 0x7f || matches!(byte, b'\n' | b'\t') {
                out.push(char::from(byte.to_ascii_lowercase()));
            } else if byte == b'\r' {
                out.push('\n');
            }
        }
    }

    fn push(&mut self, c: char, out: &mut String) {
        match u32::from(c) {
            code @ 0xe0020..=0xe007e => self.tags.extend(char::from_u32(code - 0xe0000)),
            code @ 0xfe00..=0xfe0f => self.selectors.extend(u8::try_from(code - 0xfe00)),
            code @ 0xe0100..=0xe01ef => self.selectors.extend(u8::try_from(code - 0xe0100 + 16)),
            _ if BIDI.iter().any(|(first, last)| (*first..=*last).contains(&c)) => {
                self.disguises.insert(Disguise::Direction);
            }
            _ if is_invisible(c) => {
                if out.ends_with(|c: char| c.is_ascii_alphabetic()) {
                    self.disguises.insert(Disguise::Invisible);
                }
            }
            code @ 0x1f1e6..=0x1f1ff => self.push_styled(code - 0x1f1e6, out),
            code @ 0x1f150..=0x1f169 => self.push_styled(code - 0x1f150, out),
            code @ 0x1f170..=0x1f189 => self.push_styled(code - 0x1f170, out),
            0x3000..=0x9fff | 0xac00..=0xd7a3 => out.push(punctuation(c)),
            _ => self.push_letter(c, out),
        }
    }

    fn push_styled(&mut self, letter: u32, out: &mut String) {
        self.styled += 1;
        out.extend(u8::try_from(letter).map(|letter| char::from(b'a' + letter)));
    }

    fn push_letter(&mut self, c: char, out: &mut String) {
        if is_combining_mark(c) && out.ends_with(|c: char| c.is_ascii_alphanumeric()) {
            self.marks += 1;
            return;
        }
        if let Some(letter) = small_capital(c) {
            self.styled += 1;
            out.push(letter);
            return;
        }
        for c in std::iter::once(c).nfkc() {
            let base = if is_accented_latin(c) { c.nfd().next().unwrap_or(c) } else { c };
            if base.is_ascii() {
                if c.is_ascii() && c.is_alphanumeric() {
                    self.styled += 1;
                }
                out.push(base.to_ascii_lowercase());
                continue;
            }
            self.has_lookalikes |= latin(base).is_some();
            if is_combining_mark(base) || ('\u{1100}'..='\u{11ff}').contains(&base) {
                self.open.get_or_insert_with(|| out.char_indices().next_back().map_or(0, |(at, _)| at));
            }
            out.extend(base.to_lowercase().filter(|c| !is_arabic_mark(*c)).map(of_arabic).map(simplified));
        }
    }

    /// Puts letters and their marks together that came apart (Japanese voicing marks, Korean syllables).
    fn compose(&mut self, out: &mut String) {
        if let Some(from) = self.open.take() {
            let composed: String = out[from..].nfkc().collect();
            out.truncate(from);
            out.push_str(&composed);
        }
    }

    fn finish(self, out: &mut Plain) {
        out.disguises = self.disguises;
        let bytes = self.selectors.len();
        if self.tags.len() >= HIDDEN_BYTES_MIN {
            out.hidden.push_str(&self.tags);
            out.disguises.insert(Disguise::Hidden);
        }
        if bytes >= HIDDEN_BYTES_MIN
            && let Ok(text) = String::from_utf8(self.selectors)
            && text.chars().filter(|c| c.is_alphanumeric()).count() * 2 > text.chars().count()
        {
            out.hidden.push('\n');
            out.hidden.push_str(&text);
            out.disguises.insert(Disguise::Hidden);
        }
        if self.styled >= STYLED_MIN {
            out.disguises.insert(Disguise::Styled);
        }
        if self.marks >= STYLED_MIN {
            out.disguises.insert(Disguise::Marks);
        }
        if self.has_lookalikes {
            out.folded = Some(out.text.chars().map(|c| latin(c).unwrap_or(c)).collect());
        }
    }
}

/// The Latin letter that `c` passes for, in lower case.
pub(super) fn latin(c: char) -> Option<char> {
    static TABLE: LazyLock<Box<[Option<char>]>> =
        LazyLock::new(|| (0..TABLE_END).map(|code| char::from_u32(code).and_then(lookalike)).collect());
    match c {
        '\0'..='\u{7f}' => None,
        '€' => Some('e'),
        c if u32::from(c) < TABLE_END => TABLE.get(u32::from(c) as usize).copied().flatten(),
        // Cherokee, letter-like signs, Lisu, Coptic, Canadian syllables, phonetic extensions.
        '\u{13a0}'..='\u{13ff}'
        | '\u{1400}'..='\u{167f}'
        | '\u{1d00}'..='\u{1dbf}'
        | '\u{2100}'..='\u{214f}'
        | '\u{2c80}'..='\u{2cff}'
        | '\u{a4d0}'..='\u{a4ff}'
        | '\u{a640}'..='\u{a69f}'
        | '\u{ab30}'..='\u{abbf}' => lookalike(c),
        _ => None,
    }
}

fn lookalike(c: char) -> Option<char> {
    if u32::from(c) < 0xc0 {
        return None;
    }
    let mut lower = c.to_lowercase();
    let lower = lower.next().unwrap_or(c);
    let own = LOOKALIKES.iter().find(|(known, _)| *known == lower).map(|(_, letter)| *letter);
    let standard = || {
        let mut buffer = [0; 4];
        let mut prototype = unicode_security::skeleton(c.encode_utf8(&mut buffer));
        let first = prototype.next().filter(char::is_ascii_alphabetic)?;
        prototype.next().is_none().then(|| first.to_ascii_lowercase())
    };
    own.or_else(standard)
}

fn small_capital(c: char) -> Option<char> {
    if u32::from(c) < 0x250 {
        return None;
    }
    let at = SMALL_CAPITALS.chars().position(|known| known == c)?;
    u8::try_from(at).ok().map(|at| char::from(b'a' + at))
}

const fn is_accented_latin(c: char) -> bool {
    matches!(c, '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}')
}

const fn is_arabic_mark(c: char) -> bool {
    matches!(c, '\u{64b}'..='\u{652}' | '\u{640}' | '\u{670}')
}

const fn of_arabic(c: char) -> char {
    match c {
        'أ' | 'إ' | 'آ' | 'ٱ' => 'ا',
        'ى' => 'ي',
        'ة' => 'ه',
        other => other,
    }
}

/// Full-width punctuation of East Asian texts, and traditional characters of the lexicon's words.
const fn punctuation(c: char) -> char {
    match c {
        '\u{3000}' => ' ',
        '。' => '.',
        '、' => ',',
        other => simplified(other),
    }
}

const fn simplified(c: char) -> char {
    match c {
        '請' => '请',
        '說' => '说',
        '統' => '统',
        '從' => '从',
        '現' => '现',
        '開' => '开',
        '規' => '规',
        '則' => '则',
        '輸' => '输',
        '給' => '给',
        '權' => '权',
        '無' => '无',
        '視' => '视',
        '記' => '记',
        '憶' => '忆',
        '內' => '内',
        '數' => '数',
        '據' => '据',
        '執' => '执',
        '運' => '运',
        '關' => '关',
        '繞' => '绕',
        '過' => '过',
        '與' => '与',
        '對' => '对',
        '話' => '话',
        '碼' => '码',
        '顯' => '显',
        '為' => '为',
        '這' => '这',
        '個' => '个',
        '擬' => '拟',
        '隱' => '隐',
        '發' => '发',
        '應' => '应',
        '當' => '当',
        '審' => '审',
        '戶' => '户',
        '鑰' => '钥',
        '訴' => '诉',
        '詞' => '词',
        '設' => '设',
        '約' => '约',
        '棄' => '弃',
        '復' => '复',
        '製' => '制',
        '機' => '机',
        '種' => '种',
        '員' => '员',
        '級' => '级',
        '條' => '条',
        '誡' => '诫',
        '導' => '导',
        '轉' => '转',
        '寫' => '写',
        '讀' => '读',
        '聽' => '听',
        '後' => '后',
        '間' => '间',
        '問' => '问',
        '題' => '题',
        '實' => '实',
        '體' => '体',
        '檢' => '检',
        '測' => '测',
        '試' => '试',
        '環' => '环',
        '變' => '变',
        other => other,
    }
}

/// Control characters, and what fonts show as nothing, but for tags and selectors.
///
/// SOURCE: Unicode, DerivedCoreProperties.txt, `Default_Ignorable_Code_Point`.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2065}'
        | '\u{206a}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e001f}'
        | '\u{e007f}'..='\u{e00ff}' | '\u{e01f0}'..='\u{e0fff}')
}
