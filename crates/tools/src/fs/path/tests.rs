use super::*;

#[test]
fn a_path_is_read_as_it_looks_and_never_leaves() {
    let workspace = Path::new("/srv/work");
    let inside = [
        ("notes.txt", "notes.txt"),
        ("./a//b/", "a/b"),
        ("a/../b", "b"),
        ("a/b/../..", ""),
        (".", ""),
        ("...", "..."),
        ("..a/b..", "..a/b.."),
        ("~/x", "~/x"),
        ("/srv/work", ""),
        ("/srv/work/a", "a"),
        ("//srv/./work/a/../b", "b"),
        ("/../srv/work/a", "a"),
        ("a\\..\\..", "a\\..\\.."),
        ("%2e%2e/x", "%2e%2e/x"),
        ("．．/x", "．．/x"),
        ("a\nb", "a\nb"),
        (" ", " "),
    ];
    for (text, expected) in inside {
        assert_eq!(below(workspace, text), Ok(PathBuf::from(expected)), "{text:?}");
    }
    let long_name = "n".repeat(256);
    let long_path = "d/".repeat(2100);
    let outside = [
        "",
        "..",
        "../x",
        "a/../../x",
        "./..",
        "/",
        "/etc/passwd",
        "/srv",
        "/srv/work/../other",
        "/srv/workshop",
        "/srv/work/../../etc",
        "a\0b",
        &long_name,
        &long_path,
    ];
    for text in outside {
        assert_eq!(below(workspace, text).map_err(|fault| fault.code), Err(Code::PATH_REFUSED), "{text:?}");
    }
}

proptest::proptest! {
    #[test]
    fn whatever_is_accepted_holds_plain_names_only(text in "[a./\\-]{0,24}") {
        if let Ok(path) = below(Path::new("/a/b"), &text) {
            proptest::prop_assert!(path.components().all(|part| matches!(part, Component::Normal(_))));
        }
    }
}
