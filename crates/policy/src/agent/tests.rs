use super::*;

#[test]
fn a_pattern_means_whole_names() {
    let cases = [
        ("fs_read", "fs_read", true),
        ("fs_read", "fs_read_all", false),
        ("fs_*", "fs_read", true),
        ("fs_*", "fs_", true),
        ("fs_*", "afs_read", false),
        ("*", "http_request", true),
        ("*_request", "http_request", true),
        ("*_request", "http_requests", false),
        ("a*b*c", "a_b_c", true),
        ("a*b*c", "a_c_b", false),
        ("a*a", "a", false),
        ("a*a", "aa", true),
        ("**", "x", true),
    ];
    for (pattern, name, expected) in cases {
        let pattern: ToolPattern = pattern.parse().expect("a pattern");
        assert_eq!(pattern.matches(&name.parse().expect("a name")), expected, "{pattern} {name}");
    }
}

#[test]
fn what_is_no_pattern_is_refused() {
    for text in ["", "Not A Tool", "fs-read", "*****", "fs_[rw]*", &"a".repeat(81)] {
        assert!(text.parse::<ToolPattern>().is_err(), "{text}");
    }
    assert!(serde_json::from_str::<ToolPattern>("\"a b\"").is_err());
}
