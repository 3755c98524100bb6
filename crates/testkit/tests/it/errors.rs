//! Every error code has its page, and every page its code.

use std::collections::BTreeSet;

use are_core::error::Code;

use crate::source::{file, files};

/// What every page says, in this order.
const SECTIONS: [&str; 3] = ["## What it means", "## Causes", "## What to do"];

#[test]
fn error_codes_and_pages_are_the_same_set() {
    let pages = files("docs/errors", |path| path.contains("/ARE-") && path.ends_with(".md"));
    let codes: BTreeSet<String> = Code::ALL.iter().map(ToString::to_string).collect();
    let named: BTreeSet<String> = pages
        .iter()
        .map(|page| page.path.trim_start_matches("docs/errors/").trim_end_matches(".md").to_owned())
        .collect();
    println!("{} codes, {} pages", codes.len(), pages.len());
    assert!(codes.len() >= 60);
    assert_eq!(codes, named);
    for page in &pages {
        let name = page.path.trim_start_matches("docs/errors/").trim_end_matches(".md");
        assert!(page.text.starts_with(&format!("# {name}: ")), "{} begins with its code and a title", page.path);
        let places: Vec<_> = SECTIONS.iter().map(|section| page.text.find(section)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{} has the three sections", page.path);
    }
}

#[test]
fn the_index_of_error_pages_lists_them_all() {
    let index = file("docs/errors/README.md").text;
    for code in Code::ALL {
        assert!(index.contains(&format!("[{code}]({code}.md)")), "the index lacks {code}");
    }
    let listed = index.matches("](ARE-").count();
    println!("{listed} pages in the index");
    assert_eq!(listed, Code::ALL.len());
}
