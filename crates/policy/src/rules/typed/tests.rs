use super::*;

#[test]
fn a_path_lies_in_every_directory_above_it_within_the_workspace() {
    for (path, above) in [
        ("a", &["."][..]),
        ("src/a.rs", &["src", "."]),
        ("src/x/a.rs", &["src/x", "src", "."]),
        (".", &[]),
        ("/", &[]),
        ("/etc/passwd", &["/etc", "/"]),
        ("..", &[]),
        ("../a", &[".."]),
        ("../..", &[]),
        ("../../a/b", &["../../a", "../.."]),
        ("..a/b", &["..a", "."]),
    ] {
        assert_eq!(directories(path).unwrap(), above, "{path}");
    }
    assert!(directories(&vec!["a"; PATH_PARTS_MAX].join("/")).is_ok());
    assert!(directories(&vec!["a"; PATH_PARTS_MAX + 1].join("/")).is_err());
    assert_eq!(["a/b", "a", ".", "/", "/x"].map(file_name), ["b", "a", ".", "/", "x"]);
}

#[test]
fn one_place_has_one_name_however_it_is_written() {
    for (text, id) in [
        ("https://API.Example.org/x?y#z", "api.example.org:443"),
        ("http://api.example.org.:80/", "api.example.org:80"),
        ("https://bücher.example/", "xn--bcher-kva.example:443"),
        ("https://good.example@evil.example/", "evil.example:443"),
        ("https:\\\\evil.example\\x", "evil.example:443"),
        ("http://0x7f.1/", "127.0.0.1:80"),
        ("http://2130706433:81/", "127.0.0.1:81"),
        ("http://[::ffff:10.0.0.1]/", "10.0.0.1:80"),
        ("http://[0:0::1]/", "[::1]:80"),
        ("ssh://Git.example.org/repo", "git.example.org"),
        ("git.example.org:22", "git.example.org:22"),
        ("example.org", "example.org"),
        ("LOCALHOST", "localhost"),
        ("db:5432", "db:5432"),
        ("::1", "[::1]"),
        ("[::1]:80", "[::1]:80"),
        ("10.0.0.1", "10.0.0.1"),
    ] {
        assert_eq!(Host::read(text).map(|host| host.id()).as_deref(), Some(id), "{text}");
    }
    for text in
        ["", "bob", "alice@example.org", "mailto:alice@example.org", "a b.org", "src/a.rs", ":80", "a:99999", "."]
    {
        assert_eq!(Host::read(text), None, "{text}");
    }
}

#[test]
fn a_host_belongs_to_itself_without_the_port_and_to_every_domain() {
    let domains = |text: &str| Host::read(text).unwrap().domains();
    assert_eq!(domains("https://api.example.org/"), ["api.example.org", "example.org", "org"]);
    assert_eq!(domains("example.org"), ["org"]);
    assert_eq!(domains("http://10.0.0.1/"), ["10.0.0.1"]);
    assert_eq!(domains("localhost"), [""; 0]);
}

#[test]
fn secrets_are_found_in_every_leaf_and_key() {
    let args = r#"{"a":"x ${secret:one}${secret:two} ${secret:","b":[{"${secret:three}":"\u0024{secret:four}"}]}"#;
    let found = secrets(&Args::parse(args).unwrap()).unwrap();
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), ["four", "one", "three", "two"]);
    let long = format!(r#"{{"a":"${{secret:{}}}"}}"#, "x".repeat(SECRET_NAME_BYTES_MAX + 1));
    assert!(secrets(&Args::parse(&long).unwrap()).is_err());
    let many: String = (0..=SECRETS_MAX).map(|n| format!("${{secret:{n}}}")).collect();
    assert!(secrets(&Args::parse(&format!(r#"{{"a":"{many}"}}"#)).unwrap()).is_err());
}

#[test]
fn a_command_line_is_counted_whole_and_named_in_part() {
    let command = |args: &str| Command::of(&Args::parse(args).unwrap());
    assert_eq!(command(r#"{"argv":"ls"}"#), Command::default());
    let expected = Command { argv: Some((2, vec!["ls".to_owned(), "1".to_owned()])), is_shell: true };
    assert_eq!(command(r#"{"argv":["ls",1],"shell":null}"#), expected);
    let many = format!(r#"{{"argv":[{}"x"]}}"#, "\"x\",".repeat(ARGV_NAMED_MAX));
    let (count, first) = command(&many).argv.unwrap();
    assert_eq!((count, first.len()), (ARGV_NAMED_MAX + 1, ARGV_NAMED_MAX));
}
