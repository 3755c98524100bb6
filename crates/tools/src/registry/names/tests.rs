use super::*;

#[test]
fn names_become_snake_case() {
    for (text, expected) in [
        ("readFile", "read_file"),
        ("read-file", "read_file"),
        ("read.file", "read_file"),
        ("HTTPGet", "http_get"),
        ("httpGET", "http_get"),
        ("v2Users", "v2_users"),
        ("__init__", "init"),
        ("already_so", "already_so"),
        ("日本", ""),
    ] {
        assert_eq!(snake(text), expected, "{text}");
    }
    assert_eq!(tool_name(Path::new("web-tools.js"), Some("getURL")).expect("name").as_str(), "web_tools_get_url");
    assert_eq!(tool_name(Path::new("weather.toml"), None).expect("name").as_str(), "weather");
    assert!(tool_name(Path::new("日本.toml"), None).is_err());
    assert!(tool_name(Path::new(&format!("{}.toml", "a".repeat(65))), None).is_err());
}

#[test]
fn what_nobody_sees_is_taken_out_of_texts() {
    let hidden = "Read\u{202e} a\u{200b} fi\u{e0041}le\u{0}.\n\n  Twice\u{feff}";
    assert_eq!(visible(hidden), "Read a file. Twice");
    assert_eq!(visible("读取文件 — “é”"), "读取文件 — “é”");
    assert_eq!(visible(&"a ".repeat(5_000)).chars().count(), DESCRIPTION_CHARS_MAX);
}
