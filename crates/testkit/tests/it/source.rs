//! Files of the repository, and Rust sources without comments, strings and tests.

use std::fs;
use std::path::{Path, PathBuf};

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

/// A file with its path from the root, `/` between the parts.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Text {
    /// True when the file holds only tests.
    pub(crate) fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    /// True for what ships: sources of crates that are not the test kit, without tests.
    pub(crate) fn is_product(&self) -> bool {
        self.path.contains("/src/") && !self.is_test() && !self.path.starts_with("crates/testkit/")
    }

    /// Code without comments, strings and test modules; lines stay where they are.
    pub(crate) fn code(&self) -> String {
        without_tests(&stripped(&self.text, true))
    }

    /// Code with strings but without comments.
    pub(crate) fn code_with_strings(&self) -> String {
        stripped(&self.text, false)
    }
}

/// One file by its path from the root.
pub(crate) fn file(path: &str) -> Text {
    let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    Text { path: path.to_owned(), text }
}

/// Every file below `under` for which `wanted` holds, by path. Links and build output are left out.
pub(crate) fn files(under: &str, wanted: impl Fn(&str) -> bool) -> Vec<Text> {
    let root = root();
    let mut found = Vec::new();
    let mut waiting = vec![root.join(under)];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
            let entry = entry.expect("an entry");
            let kind = entry.file_type().expect("its kind");
            let name = entry.file_name().to_string_lossy().into_owned();
            if kind.is_dir() && !["target", ".git", "node_modules"].contains(&name.as_str()) {
                waiting.push(entry.path());
            } else if kind.is_file() {
                let path = entry.path().strip_prefix(&root).expect("below the root").to_string_lossy().into_owned();
                if wanted(&path) {
                    found.push(file(&path));
                }
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Every Rust source of the workspace.
pub(crate) fn rust() -> Vec<Text> {
    files("crates", |path| path.ends_with(".rs"))
}

/// The Rust sources that ship.
pub(crate) fn product() -> Vec<Text> {
    rust().into_iter().filter(Text::is_product).collect()
}

/// Blanks out comments, and with `is_deep` the insides of strings and characters too.
pub(crate) fn stripped(text: &str, is_deep: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let is_word_before = at > 0 && is_word(bytes[at - 1]);
        let (length, is_comment) = if rest.starts_with(b"//") {
            (rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()), true)
        } else if rest.starts_with(b"/*") {
            (block_comment(rest), true)
        } else if let Some(length) = raw_string(rest).filter(|_| !is_word_before) {
            (length, false)
        } else if rest[0] == b'"' {
            (quoted(rest, b'"'), false)
        } else if rest[0] == b'\'' && is_character(rest) {
            (quoted(rest, b'\''), false)
        } else {
            at += 1;
            continue;
        };
        if is_comment || is_deep {
            let kept = usize::from(!is_comment);
            for byte in &mut out[at + kept..at + length - kept] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
        }
        at += length;
    }
    String::from_utf8(out).expect("whole characters are blanked out")
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_u32, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at.min(rest.len())
}

/// Length of a raw string that begins here.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let prefix = if rest.starts_with(b"br") { 2 } else { usize::from(rest.starts_with(b"r")) };
    let hashes = rest.get(prefix..)?.iter().take_while(|byte| **byte == b'#').count();
    if prefix == 0 || rest.get(prefix + hashes) != Some(&b'"') {
        return None;
    }
    let end = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    let body = prefix + hashes + 1;
    let length = rest[body..].windows(end.len()).position(|window| window == end);
    Some(length.map_or(rest.len(), |length| body + length + end.len()))
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A quote begins a character unless it begins a lifetime.
fn is_character(rest: &[u8]) -> bool {
    match rest.get(1) {
        Some(b'\\') => true,
        Some(byte) if byte.is_ascii() => rest.get(2) == Some(&b'\''),
        Some(_) => true,
        None => false,
    }
}

/// Blanks out what `#[cfg(test)]` is on: a module with its body, or one item.
fn without_tests(code: &str) -> String {
    let mut out = code.as_bytes().to_vec();
    let mut from = 0;
    while let Some(found) = code[from..].find("#[cfg(test)]") {
        let start = from + found;
        let end = start + item(&code[start..]);
        for byte in &mut out[start..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        from = end;
    }
    String::from_utf8(out).expect("only ASCII is written")
}

/// Length of an item: up to its `;`, or to the end of its braces.
pub(crate) fn item(code: &str) -> usize {
    let mut depth = 0_u32;
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Positions at which `wanted` stands as a whole word, or as whole path segments.
pub(crate) fn places(code: &str, wanted: &str) -> Vec<usize> {
    let bytes = code.as_bytes();
    let is_free = |at: Option<&u8>| at.is_none_or(|byte| !is_word(*byte));
    code.match_indices(wanted)
        .map(|(at, _)| at)
        .filter(|at| is_free(at.checked_sub(1).and_then(|before| bytes.get(before))))
        .filter(|at| is_free(bytes.get(at + wanted.len())))
        .collect()
}

/// Line of a position, from 1.
pub(crate) fn line(code: &str, at: usize) -> usize {
    1 + code[..at].bytes().filter(|byte| *byte == b'\n').count()
}

/// Lines on which a path such as `std::fs` is named, also in a group such as `std::{fs, io}`.
pub(crate) fn mentions(code: &str, path: &str) -> Vec<usize> {
    let mut lines: Vec<usize> = places(code, path).into_iter().map(|at| line(code, at)).collect();
    if let Some((head, last)) = path.rsplit_once("::") {
        let group = format!("{head}::{{");
        for (at, _) in code.match_indices(&group) {
            let body = &code[at + group.len()..];
            let body = &body[..closing(body)];
            if !places(body, last).is_empty() {
                lines.push(line(code, at));
            }
        }
    }
    lines
}

/// Position of the brace that closes a group whose opening one is behind.
fn closing(body: &str) -> usize {
    let mut depth = 1_u32;
    for (at, byte) in body.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    body.len()
}

/// Names of an enumeration's variants.
pub(crate) fn variants(code: &str, enumeration: &str) -> Vec<String> {
    let head = format!("enum {enumeration} {{");
    let start = code.find(&head).unwrap_or_else(|| panic!("no `{head}`")) + head.len();
    let body = &code[start..];
    let body = &body[..closing(body)];
    let mut depth = 0_u32;
    let mut names = Vec::new();
    let mut word = String::new();
    for character in body.chars().chain([',']) {
        match character {
            '(' | '{' | '[' | ',' if depth == 0 && !word.is_empty() => names.push(std::mem::take(&mut word)),
            _ => {}
        }
        match character {
            '(' | '{' | '[' => depth += 1,
            ')' | '}' | ']' => depth = depth.saturating_sub(1),
            _ if depth == 0 && (character.is_alphanumeric() || character == '_') => word.push(character),
            _ => {}
        }
        if depth > 0 {
            word.clear();
        }
    }
    names
}

/// `PascalCase` as `snake_case`.
pub(crate) fn snake(name: &str) -> String {
    let mut out = String::new();
    for character in name.chars() {
        if character.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(character.to_lowercase());
    }
    out
}

#[test]
fn the_scanner_takes_out_comments_strings_and_tests_and_nothing_else() {
    let text = concat!(
        "use std::{fs, io}; // std::process\n",
        "/* a /* nested */ unsafe */ let a = \"std::fs \\\" x\"; let b = r#\"un\"safe\"#;\n",
        "let c = '\"'; let d: &'static str = \"x\"; let e = '\\'';\n",
        "#[cfg(test)]\nmod tests { fn f() { unsafe {} } }\n",
        "fn last() {}\n"
    );
    let code = Text { path: String::new(), text: text.to_owned() }.code();
    assert_eq!(code.lines().count(), text.lines().count());
    assert!(!code.contains("unsafe") && !code.contains("process") && !code.contains("tests"));
    assert!(code.contains("fn last() {}") && code.contains("&'static str"));
    assert_eq!(mentions(&code, "std::fs"), [1]);
    assert!(mentions(&code, "std::process").is_empty());
    assert_eq!(variants("enum A { #[x] One(B), Two { c: D }, Three }", "A"), ["One", "Two", "Three"]);
    assert_eq!(snake("PingPong"), "ping_pong");
}
