//! The console's sources: what came from elsewhere is what it says, and both languages say the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use are_core::digest::Digest;
use serde::Deserialize;

fn console() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("console")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vendored {
    file: Vec<File>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    package: String,
    version: String,
    path: String,
    sha256: String,
    replaced: Option<(String, String)>,
    #[serde(default)]
    appended: String,
    licence: String,
    text: String,
}

#[test]
fn what_came_from_elsewhere_is_unchanged_but_for_what_stands_beside_it() {
    let dir = console().join("vendor");
    let list: Vendored = toml::from_str(&fs::read_to_string(dir.join("vendor.toml")).unwrap()).unwrap();
    let listed: BTreeSet<_> = list.file.iter().map(|file| file.name.clone()).collect();
    let there: BTreeSet<_> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !["vendor.toml", "licences"].contains(&name.as_str()))
        .collect();
    assert_eq!(listed, there);
    for file in &list.file {
        let text = fs::read_to_string(dir.join(&file.name)).unwrap();
        let mut text = text.strip_suffix(&file.appended).unwrap_or_else(|| panic!("{}", file.name)).to_owned();
        if let Some((before, after)) = &file.replaced {
            assert_eq!(text.matches(after).count(), 1, "{}", file.name);
            text = text.replace(after, before);
        }
        assert_eq!(Digest::of(&[text.as_bytes()]).to_string(), file.sha256, "{}", file.name);
        assert!(!file.version.is_empty() && !file.path.is_empty() && !file.package.is_empty());
        assert!(["MIT", "Apache-2.0"].contains(&file.licence.as_str()), "{}", file.licence);
        assert!(fs::read_to_string(dir.join(&file.text)).unwrap().len() > 500, "{}", file.text);
    }
    assert!(list.file.len() >= 5);
}

/// The keys of a dictionary, each on a line of its own.
fn keys(language: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(console().join(format!("words.{language}.js"))).unwrap();
    let row = |line: &str| {
        let (key, words) = line.trim().strip_prefix('\'')?.split_once("': '")?;
        Some((key.to_owned(), words.strip_suffix("',")?.to_owned()))
    };
    text.lines().filter_map(row).collect()
}

/// The names in braces of a text.
fn filled(words: &str) -> BTreeSet<&str> {
    words.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect()
}

#[test]
fn both_languages_have_the_same_words_and_every_word_that_is_used() {
    let (en, zh) = (keys("en"), keys("zh"));
    assert!(en.len() >= 300, "{}", en.len());
    assert_eq!(en.iter().map(|(key, _)| key).collect::<Vec<_>>(), zh.iter().map(|(key, _)| key).collect::<Vec<_>>());
    for ((key, en), (_, zh)) in en.iter().zip(&zh) {
        assert!(!en.is_empty() && !zh.is_empty(), "{key}");
        assert_eq!(filled(en), filled(zh), "{key}");
    }
    let known: BTreeSet<_> = en.iter().map(|(key, _)| key.as_str()).collect();
    let mut used = 0;
    for dir in [console(), console().join("pages")] {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|kind| kind != "js") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for (at, _) in text.match_indices("t('") {
                // Only the function of that name, not the end of a longer one.
                if text[..at].ends_with(|before: char| before.is_ascii_alphanumeric() || before == '.') {
                    continue;
                }
                let key = text[at + 3..].split('\'').next().unwrap();
                used += 1;
                assert!(known.contains(key), "{}: `{key}`", path.display());
            }
        }
    }
    println!("{} words, used {used} times", en.len());
    assert!(used >= 300, "{used}");
}

#[test]
fn no_module_makes_markup_out_of_text_or_reaches_elsewhere() {
    let mut looked_at = 0;
    for dir in [console(), console().join("pages")] {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|kind| !["js", "css", "html"].contains(&kind.to_str().unwrap_or_default())) {
                continue;
            }
            looked_at += 1;
            let text = fs::read_to_string(&path).unwrap();
            for word in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "//cdn",
                "https://unpkg",
            ] {
                assert!(!text.contains(word), "{}: {word}", path.display());
            }
            assert!(text.lines().count() < 500, "{} is long", path.display());
        }
    }
    assert!(looked_at >= 40, "{looked_at}");
}
