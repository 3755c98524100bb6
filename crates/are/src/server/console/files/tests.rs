use super::*;

/// What a browser fetches before the console is there, on the slowest line.
const PACKED_BYTES_MAX: usize = 150 << 10;

#[test]
fn the_console_is_small_and_every_module_names_files_that_exist() {
    let packed: usize = FILES.iter().map(|file| file.packed.len()).sum();
    println!("{} files, {packed} bytes compressed", FILES.len());
    assert!(FILES.len() >= 20);
    assert!(packed <= PACKED_BYTES_MAX, "{packed} bytes");
    let mut imports = 0;
    for file in FILES {
        let text = String::from_utf8(file.unpacked()).expect(file.name);
        if file.name.starts_with("vendor/") {
            continue;
        }
        for (_, rest) in text.match_indices("from '").map(|(at, head)| (at, &text[at + head.len()..])) {
            let named = rest.split('\'').next().unwrap_or_default();
            let at = url::Url::parse("http://x/").and_then(|base| base.join(file.name)).expect(file.name);
            let named = at.join(named).expect(named);
            imports += 1;
            assert!(FILES.iter().any(|file| format!("/{}", file.name) == named.path()), "{}: {named}", file.name);
        }
    }
    assert!(imports >= 40, "{imports} imports were looked at");
}

#[test]
fn the_page_has_nothing_inline_and_names_only_its_own_files() {
    let page = FILES.iter().find(|file| file.name == "index.html").expect("the page");
    let text = String::from_utf8(page.unpacked()).expect("text");
    assert!(!text.contains("{{"), "{text}");
    assert!(!text.contains("<style") && !text.contains("style=") && !text.contains(" on"), "{text}");
    for part in text.split("<script").skip(1) {
        assert!(part.contains("></script>"), "a script of its own: {part}");
    }
    let named = text.match_indices("=\"/").count();
    assert!(named >= 3, "{text}");
    assert_eq!(text.matches(&format!("/console/{DIGEST}/")).count(), named, "{text}");
}
