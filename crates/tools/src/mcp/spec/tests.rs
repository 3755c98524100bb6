use are_core::error::Code;

use super::Spec;

#[test]
fn the_usual_entries_are_read_and_told_without_their_values() {
    let local = r#"{"type": "stdio", "command": "npx", "args": ["-y", "it's"], "env": {"API_KEY": "hush-hush"},
        "cwd": "/srv/x", "autoApprove": ["all"], "disabled": false}"#;
    let written = Spec::read(local).expect("an entry");
    assert_eq!(
        written.spec.given(),
        ["runs npx -y 'it'\\''s'", "starts in /srv/x", "is told API_KEY", "has no network"]
    );
    assert_eq!(written.ignored, ["autoApprove", "disabled"]);
    assert_eq!(written.spec.secrets(Vec::new()), ["hush-hush"]);

    let remote =
        r#"{"type": "http", "url": "https://example.com/mcp?key=k", "headers": {"Authorization": "Bearer abcdefgh"}}"#;
    let written = Spec::read(remote).expect("an entry");
    assert_eq!(written.spec.given(), ["is reached at https://example.com/mcp?…", "is sent the header Authorization"]);
    assert_eq!(written.spec.secrets(Vec::new()), ["Bearer abcdefgh", "abcdefgh"]);
    assert_eq!(written.spec.host().as_deref(), Some("example.com"));
}

#[test]
fn entries_that_cannot_be_meant_are_refused_with_the_reason() {
    for (entry, why) in [
        ("[]", "no JSON object"),
        ("{", "JSON"),
        (r#"{"command": "a", "command": "b"}"#, "the same key twice"),
        ("{}", "neither how it is started nor where it is"),
        (r#"{"command": "a", "url": "https://x"}"#, "neither how it is started nor where it is, or both"),
        (r#"{"command": ""}"#, "a command line has from 1"),
        (r#"{"command": "a\u0000b"}"#, "zero byte"),
        (r#"{"command": "a", "args": [1]}"#, "`args` must be a text"),
        (r#"{"command": "a", "env": {"1X": "y"}}"#, "no variable"),
        (r#"{"command": "a", "env": {"X": "secret:no name"}}"#, "by no possible name"),
        (r#"{"command": "a", "env": {"X": "a ${secret:}"}}"#, "not followed by the name"),
        (r#"{"command": "a", "env": {"X": "${TOKEN}"}}"#, "nobody fills in"),
        (r#"{"command": "a", "cwd": "here"}"#, "not a whole path"),
        (r#"{"command": "a", "cwd": "/"}"#, "not a whole path"),
        (r#"{"command": "a", "reads": ["/srv/../etc"]}"#, "not a whole path"),
        (r#"{"command": "a", "workspace": "yes"}"#, "`workspace` must be"),
        (r#"{"command": "a", "egress": "a.example"}"#, "`egress` must be"),
        (r#"{"command": "a", "egress": ["a.example,b.example"]}"#, "more than one place"),
        (r#"{"command": "a", "egress": ["https://a.example/"]}"#, "neither a host"),
        (r#"{"command": "a", "egress": ["*.com"]}"#, "neither a host"),
        (r#"{"url": "ftp://x"}"#, "http"),
        (r#"{"url": "https://user:word@x/"}"#, "user"),
        (r#"{"url": "https://x/", "type": "sse"}"#, "replaced"),
        (r#"{"url": "https://x/", "headers": {"Host": "y"}}"#, "set by the client itself"),
        (r#"{"url": "https://x/", "headers": {"Mcp-Session-Id": "y"}}"#, "set by the protocol itself"),
        (r#"{"url": "https://x/", "headers": {"X": "a\nb"}}"#, "line break"),
        (r#"{"url": "https://x/", "headers": {"X": "Bearer ${secret:y} ${z}"}}"#, "nobody fills in"),
        (r#"{"url": "https://x/?key=${secret:y}"}"#, "`url` holds"),
    ] {
        let fault = Spec::read(entry).map(|_| ()).expect_err(entry);
        assert_eq!(fault.code, Code::SERVER_INVALID, "{entry}");
        assert!(fault.message.to_lowercase().contains(&why.to_lowercase()), "{entry}: {}", fault.message);
    }
}

#[test]
fn where_a_server_may_reach_is_part_of_what_it_is_known_by() {
    let given = |entry: &str| Spec::read(entry).expect("an entry").spec.given().pop().expect("a line");
    let open = r#"{"command": "a", "egress": ["api.example.com", "registries"]}"#;
    assert_eq!(given(open), "reaches api.example.com, registries and nothing else");
    let keyed = r#"{"command": "a", "env": {"K": "secret:k"}, "egress": ["api.example.com"]}"#;
    assert_eq!(given(keyed), "reaches api.example.com, as far as its secrets are bound to that, and nothing else");
}

#[test]
fn names_are_plain() {
    for name in ["a", "my-server", "B_2"] {
        super::check_name(name).expect(name);
    }
    for name in ["", "1a", "a.b", "a/b", "../x", "ä", &"a".repeat(33), "a b"] {
        assert_eq!(super::check_name(name).expect_err(name).code, Code::SERVER_INVALID);
    }
}
