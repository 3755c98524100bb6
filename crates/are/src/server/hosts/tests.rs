use super::*;

fn loopback() -> Hosts {
    let listening = vec!["127.0.0.1:8888".parse().unwrap(), "[::1]:8888".parse().unwrap()];
    Hosts::new(
        listening,
        &["agents.lan".into(), "proxy:9000".into()],
        &["https://app.example".into()],
        Some("https://are.example/x"),
    )
    .unwrap()
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(*name, value.parse().unwrap());
    }
    map
}

fn host(hosts: &Hosts, host: &str) -> Result<OurHost, Code> {
    hosts.check_host(&Uri::from_static("/"), &headers(&[("host", host)]), None).map_err(|fault| fault.code)
}

#[test]
fn our_own_and_configured_hosts_pass() {
    let hosts = loopback();
    for ours in [
        "localhost:8888",
        "LOCALHOST:8888",
        "127.0.0.1:8888",
        "[::1]:8888",
        "agents.lan",
        "agents.lan:1234",
        "proxy:9000",
        "are.example",
        "127.0.0.2:8888",
    ] {
        assert!(host(&hosts, ours).is_ok(), "{ours}");
    }
}

#[test]
fn foreign_hosts_are_refused() {
    let hosts = loopback();
    for foreign in [
        "evil.example",
        "localhost.evil.example:8888",
        "127.0.0.1.nip.io:8888",
        "localhost:9999",
        "localhost",
        "proxy:9001",
        "10.0.0.1:8888",
        "[::2]:8888",
        "0.0.0.0:8888",
        "2130706433:8888",
        "localhost.:8888",
        "localhost:99999",
    ] {
        assert_eq!(host(&hosts, foreign), Err(Code::HOST_REFUSED), "{foreign}");
    }
    for odd in ["user@localhost:8888", "local host", ""] {
        assert_eq!(host(&hosts, odd), Err(Code::REQUEST_INVALID), "{odd}");
    }
}

#[test]
fn a_missing_or_doubled_host_and_a_foreign_absolute_form_are_refused() {
    let hosts = loopback();
    let check = |uri, map: &HeaderMap| hosts.check_host(&Uri::from_static(uri), map, None).map_err(|fault| fault.code);
    assert_eq!(check("/", &headers(&[])), Err(Code::REQUEST_INVALID));
    let twice = headers(&[("host", "localhost:8888"), ("host", "localhost:8888")]);
    assert_eq!(check("/", &twice), Err(Code::REQUEST_INVALID));
    let one = headers(&[("host", "localhost:8888")]);
    assert_eq!(check("http://evil.example/", &one), Err(Code::HOST_REFUSED));
}

#[test]
fn a_server_on_all_addresses_takes_mapped_ports_and_the_address_it_was_reached_at() {
    let hosts = Hosts::new(vec!["0.0.0.0:8888".parse().unwrap()], &[], &[], None).unwrap();
    assert!(host(&hosts, "localhost:9999").is_ok());
    let map = headers(&[("host", "172.17.0.2:8888")]);
    let check = |local| hosts.check_host(&Uri::from_static("/"), &map, local);
    assert!(check("172.17.0.2".parse().ok()).is_ok());
    assert!(check("172.17.0.3".parse().ok()).is_err());
}

#[test]
fn only_the_same_or_a_configured_origin_passes() {
    let hosts = loopback();
    let ours = host(&hosts, "localhost:8888").unwrap();
    let check =
        |origin: &str| hosts.check_origin(&headers(&[("origin", origin)]), Some(&ours)).map_err(|fault| fault.code);
    assert!(hosts.check_origin(&headers(&[]), Some(&ours)).is_ok());
    for good in ["http://localhost:8888", "https://localhost:8888", "https://app.example", "https://are.example"] {
        assert_eq!(check(good), Ok(()), "{good}");
    }
    for foreign in [
        "null",
        "",
        "http://localhost:3000",
        "http://localhost",
        "http://127.0.0.1:8888",
        "https://app.example:444",
        "http://app.example",
        "https://evil.example",
        "file://",
        "http://localhost:8888/",
        "http://localhost:8888.evil.example",
        "chrome-extension://abc",
        "http://user@localhost:8888/x",
    ] {
        assert_eq!(check(foreign), Err(Code::ORIGIN_REFUSED), "{foreign}");
    }
    let twice = headers(&[("origin", "http://localhost:8888"), ("origin", "http://localhost:8888")]);
    assert!(hosts.check_origin(&twice, Some(&ours)).is_err());
    assert!(hosts.check_origin(&headers(&[("origin", "http://localhost:8888")]), None).is_err());
}
