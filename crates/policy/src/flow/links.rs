//! Addresses and links inside content: ways out that are not in any argument
//! of their own.
//!
//! Found are what people and programs follow: URLs, e-mail addresses, `www.`
//! names and host names with a path. A bare host name is not told from a file
//! or method name and is left alone; a destination argument is always traced.

use std::sync::LazyLock;

use regex::Regex;

/// Links of one text that are looked at.
pub(super) const LINKS_MAX: usize = 64;

#[expect(clippy::expect_used, reason = "a constant pattern; a test of this module compiles it")]
static LINK: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"(?ix) [a-z][a-z0-9+.-]{1,15}://[^\s"'<>)\]]+
        | [\w.+-]+@[\w-]+(?:\.[\w-]+)+
        | \bwww\.[^\s"'<>)\]]+
        | \b(?:[a-z0-9-]+\.)+[a-z]{2,}/[^\s"'<>)\]]*"#,
    )
    .expect("the pattern is valid")
});

/// The host of a link, without scheme, user and port.
pub(super) fn host(link: &str) -> &str {
    let rest = link.split_once("://").map_or(link, |(_, rest)| rest);
    let rest = rest.split(['/', '?', '#', '\\']).next().unwrap_or(rest);
    let rest = rest.rsplit('@').next().unwrap_or(rest);
    rest.split(':').next().unwrap_or(rest)
}

/// The links of a text, up to one more than are looked at, without the punctuation of the sentence around them.
pub(super) fn in_text(text: &str) -> Vec<&str> {
    LINK.find_iter(text)
        .map(|found| found.as_str().trim_end_matches(['.', ',', ';', ':', '!', '?', ')']))
        .take(LINKS_MAX + 1)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::in_text;

    #[test]
    fn links_are_found_and_names_are_not() {
        let text =
            "See https://a.example/x?y=1, www.b.example or mail bob@c.example; d.example/q. Not lib.rs, fs.read, v1.2";
        assert_eq!(in_text(text), ["https://a.example/x?y=1", "www.b.example", "bob@c.example", "d.example/q"]);
    }
}
