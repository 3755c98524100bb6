use super::*;

fn url(address: &str) -> String {
    match Door::web(address, None) {
        Ok(Door::Web { url, .. }) => url.to_string(),
        Ok(Door::Socket(_)) => panic!("a socket"),
        Err(fault) => fault.message,
    }
}

#[test]
fn only_web_addresses_without_credentials_are_doors() {
    assert_eq!(url("ws://localhost:1/x?token=y#z"), "http://localhost:1/");
    assert_eq!(url("wss://a.example"), "https://a.example/");
    assert_eq!(url("http://u:p@a.example"), "`ARE_URL` contains a credential; set `ARE_TOKEN` instead");
    assert_eq!(url("ftp://a.example"), "`ARE_URL` is neither http nor https");
    assert_eq!(url("localhost"), "`ARE_URL` is not an address");
}

#[test]
fn plain_http_beyond_loopback_is_exposed() {
    for (address, is_exposed) in [
        ("http://localhost:8888", false),
        ("http://127.0.0.1", false),
        ("http://[::1]:1", false),
        ("https://a.example", false),
        ("http://a.example", true),
        ("http://10.0.0.1", true),
    ] {
        assert_eq!(Door::web(address, None).map(|door| door.is_exposed()).ok(), Some(is_exposed), "{address}");
    }
}
