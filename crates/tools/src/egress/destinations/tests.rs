use super::*;

fn covers(granted: &str, place: &str) -> bool {
    let granted: Destinations = granted.parse().unwrap();
    Place::parse(place).is_ok_and(|place| granted.cover(&place))
}

#[test]
fn a_grant_covers_its_host_at_its_port_and_nothing_beside() {
    for (granted, place, expected) in [
        ("example.com", "example.com:443", true),
        ("example.com", "EXAMPLE.com.:80", true),
        ("example.com", "example.com:8443", false),
        ("example.com:8443", "example.com:8443", true),
        ("example.com:8443", "example.com:443", false),
        ("example.com", "www.example.com:443", false),
        ("example.com", "example.com.evil.test:443", false),
        ("example.com", "notexample.com:443", false),
        ("*.example.com", "a.b.example.com:443", true),
        ("*.example.com", "example.com:443", false),
        ("*.example.com", "evilexample.com:443", false),
        ("*.example.com", ".example.com:443", false),
        ("10.1.2.3:80", "10.1.2.3:80", true),
        ("10.1.2.3:80", "0x0a.1.2.3:80", true),
        ("10.1.2.3:80", "[::ffff:10.1.2.3]:80", true),
        ("10.1.2.3:80", "10.1.2.4:80", false),
        ("[fd00::1]:443", "[FD00:0::1]:443", true),
        ("registries", "crates.io:443", true),
        ("registries", "proxy.golang.org:443", true),
        ("npm", "proxy.golang.org:443", false),
        ("mirror:8080", "mirror:8080", true),
        ("münchen.example", "xn--mnchen-3ya.example:443", false),
    ] {
        let is_written = granted.parse::<Destinations>().is_ok();
        assert_eq!(is_written && covers(granted, place), expected, "{granted}: {place}");
    }
}

#[test]
fn what_is_no_place_is_not_read_as_one() {
    for text in [
        "",
        ":443",
        "example.com",
        "example.com:",
        "example.com:0",
        "example.com:65536",
        "example.com:+443",
        "example.com:443:443",
        "user@example.com:443",
        "example.com@evil.test:443",
        "example.com:443/",
        "example.com%2eevil.test:443",
        "example.com:443?x",
        "example.com#:443",
        "exa mple.com:443",
        "a\tb:443",
        "example.com\\:443",
        "[::1:443",
        "::1]:443",
        "exämple.com:443",
        "a..b:443",
        "-:x",
        "[fe80::1%25eth0]:443",
    ] {
        assert!(Place::parse(text).is_err(), "{text}");
    }
    assert!(Place::parse(&format!("{}.example:443", "a".repeat(300))).is_err());
}

#[test]
fn an_entry_that_grants_something_else_than_it_says_is_refused() {
    for text in [
        "*",
        "*.com",
        "*.",
        "registry",
        "localhost",
        "example.com:0",
        "a b",
        "http://example.com",
        "*.1.2.3.4",
        "ex*.com",
    ] {
        let refused = text.parse::<Destinations>().unwrap_err().to_string();
        assert!(refused.contains(text) && refused.contains("`registries`"), "{refused}");
    }
    let many = (0..300).map(|n| format!("h{n}.example")).collect::<Vec<_>>().join(",");
    assert!(many.parse::<Destinations>().is_err());
    let none: Destinations = " , ".parse().unwrap();
    assert!(none.is_empty());
}
