use super::*;

fn class(text: &str) -> Class {
    classify(text.parse().expect(text))
}

#[test]
fn every_special_range_is_recognised_at_both_ends() {
    use Class::{
        Benchmark, Broadcast, Documentation, LinkLocal, Loopback, Metadata, Multicast, Private, Public, Reserved,
        Shared, Unspecified,
    };
    let table = [
        ("0.0.0.0", Unspecified),
        ("0.255.255.255", Unspecified),
        ("1.0.0.0", Public),
        ("9.255.255.255", Public),
        ("10.0.0.0", Private),
        ("10.255.255.255", Private),
        ("11.0.0.0", Public),
        ("100.63.255.255", Public),
        ("100.64.0.0", Shared),
        ("100.127.255.255", Shared),
        ("100.128.0.0", Public),
        ("127.0.0.0", Loopback),
        ("127.255.255.255", Loopback),
        ("128.0.0.0", Public),
        ("169.253.255.255", Public),
        ("169.254.0.0", LinkLocal),
        ("169.254.255.255", LinkLocal),
        ("169.254.169.254", Metadata),
        ("100.100.100.200", Metadata),
        ("168.63.129.16", Metadata),
        ("172.15.255.255", Public),
        ("172.16.0.0", Private),
        ("172.31.255.255", Private),
        ("172.32.0.0", Public),
        ("192.0.0.0", Reserved),
        ("192.0.0.255", Reserved),
        ("192.0.1.0", Public),
        ("192.0.2.1", Documentation),
        ("192.88.99.1", Reserved),
        ("192.167.255.255", Public),
        ("192.168.0.0", Private),
        ("192.169.0.0", Public),
        ("198.17.255.255", Public),
        ("198.18.0.0", Benchmark),
        ("198.19.255.255", Benchmark),
        ("198.20.0.0", Public),
        ("198.51.100.7", Documentation),
        ("203.0.113.7", Documentation),
        ("223.255.255.255", Public),
        ("224.0.0.0", Multicast),
        ("239.255.255.255", Multicast),
        ("240.0.0.0", Reserved),
        ("255.255.255.254", Reserved),
        ("255.255.255.255", Broadcast),
        ("::", Unspecified),
        ("::1", Loopback),
        ("::2", Unspecified),
        ("fd00:ec2::254", Metadata),
        ("fd20:ce::254", Metadata),
        ("fc00::", Private),
        ("fdff::1", Private),
        ("fe80::1", LinkLocal),
        ("febf::1", LinkLocal),
        ("fec0::1", Private),
        ("feff::1", Private),
        ("ff02::1", Multicast),
        ("2001:db8::1", Documentation),
        ("3fff::1", Documentation),
        ("3fff:1000::1", Public),
        ("2001:2::1", Benchmark),
        ("2001:10::1", Reserved),
        ("2001:1ff::1", Reserved),
        ("2001:200::1", Public),
        ("2606:4700::1111", Public),
        ("1fff::1", Reserved),
        ("4000::1", Reserved),
        ("100::1", Reserved),
        ("5f00::1", Reserved),
    ];
    for (text, expected) in table {
        assert_eq!(class(text), expected, "{text}");
    }
}

#[test]
fn an_ipv4_address_inside_an_ipv6_one_is_judged_as_itself() {
    let table = [
        ("::ffff:127.0.0.1", Class::Loopback),
        ("::ffff:8.8.8.8", Class::Public),
        ("::ffff:169.254.169.254", Class::Metadata),
        ("::127.0.0.1", Class::Loopback),
        ("::8.8.8.8", Class::Reserved),
        ("::ffff:0:10.0.0.1", Class::Private),
        ("::ffff:0:8.8.8.8", Class::Reserved),
        ("64:ff9b::10.0.0.1", Class::Private),
        ("64:ff9b::8.8.8.8", Class::Public),
        ("64:ff9b::169.254.169.254", Class::Metadata),
        ("64:ff9b:1::8.8.8.8", Class::Private),
        ("64:ff9b:2::8.8.8.8", Class::Reserved),
        ("2002:7f00:1::1", Class::Loopback),
        ("2002:808:808::1", Class::Reserved),
        ("2001:0:808:808::f5ff:fffe", Class::Private),
        ("2001:0:808:808::f7f7:f7f7", Class::Reserved),
    ];
    for (text, expected) in table {
        assert_eq!(class(text), expected, "{text}");
    }
}

#[test]
fn a_host_has_one_normal_form_whatever_its_spelling() {
    let loopback = Host::Ip(Ipv4Addr::LOCALHOST.into());
    for text in [
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "0x7F.1",
        "017700000001",
        "0177.0.0.01",
        "127.1",
        "127.0.1",
        "127.0.0.1.",
        "%31%32%37.0.0.1",
        "１２７.0.0.1",
        "127。0。0。1",
        "127．0｡0.1",
        "①②⑦.0.0.1",
    ] {
        assert_eq!(Host::parse(text), Ok(loopback.clone()), "{text}");
    }
    for text in ["LOCALHOST", "localhost.", "ｌocalhost", "loc%61lhost", "LocalHost"] {
        assert_eq!(Host::parse(text), Ok(Host::Name("localhost".to_owned())), "{text}");
    }
    for text in [
        "",
        ".",
        "a..b",
        "127.0.0.1..",
        "256.256.256.256",
        "1.2.3.4.5",
        "0x7f.0.0.0.1",
        "a b",
        "a%00b",
        "[fe80::1%25eth0]",
        "[fe80::1%eth0]",
        "::1",
        "[::1",
        "a/b",
        "a@b",
        "a:1",
        &"a".repeat(64),
    ] {
        assert!(Host::parse(text).is_err(), "{text}");
    }
    assert_eq!(Host::parse("bücher.example"), Ok(Host::Name("xn--bcher-kva.example".to_owned())));
    assert_eq!(Host::parse("[::1]").map(|host| host.to_string()).as_deref(), Ok("[::1]"));
}

#[test]
fn a_url_that_programs_read_differently_is_refused() {
    for text in [
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_x",
        "javascript:1",
        "//example.com",
        "http://",
        "http://example.com:0/",
        "http://example.com:65536/",
        "http://user@example.com/",
        "http://user:pass@example.com/",
        "http://@example.com/",
        "http://example.com\\@127.0.0.1/",
        "http://127.0.0.1\t/",
        "http://exa\nmple.com/",
        " http://example.com/",
        "http://[::1%25lo]/",
        "http://a..b/",
        "http:\\\\127.0.0.1/",
    ] {
        assert!(Target::parse(text).is_err(), "{text}");
    }
    assert!(Target::parse(&format!("http://example.com/{}", "a".repeat(URL_BYTES_MAX))).is_err());

    let target = Target::parse("HTTPS://EXAMPLE.com.:8443/a?b=@#c").expect("a plain url");
    assert_eq!((target.host.to_string().as_str(), target.port), ("example.com", 8443));
    assert_eq!(target.url.fragment(), None);
    assert_eq!(Target::parse("http:/127.1").map(|target| target.host), Host::parse("127.0.0.1"));
}

#[test]
fn grants_cover_a_host_at_a_port_and_nothing_beside_it() {
    let grants: Grants = "intranet.example:8080, 10.0.0.5:80, localhost:11434, [fd00::1]:443,".parse().expect("grants");
    let check = |host: &str, port, address: &str| {
        let host = Host::parse(host).expect(host);
        may_connect(&host, port, address.parse().expect(address), &grants).is_ok()
    };
    assert!(check("intranet.example", 8080, "10.1.2.3"));
    assert!(check("INTRANET.example.", 8080, "127.0.0.1"));
    assert!(!check("intranet.example", 8081, "10.1.2.3"), "another port");
    assert!(!check("other.example", 8080, "10.1.2.3"), "another name for the same place");
    assert!(!check("intranet.example", 8080, "169.254.169.254"), "a name never reaches metadata");
    assert!(!check("intranet.example", 8080, "169.254.1.1"), "nor the wire");
    assert!(!check("intranet.example", 8080, "0.0.0.0"));
    assert!(check("10.0.0.5", 80, "10.0.0.5"));
    assert!(!check("10.0.0.5", 80, "10.0.0.6"), "a written address is not resolved to another");
    assert!(check("localhost", 11434, "::1") && check("127.0.0.1", 11434, "127.0.0.1") && check("[::1]", 11434, "::1"));
    assert!(!check("127.0.0.2", 11434, "127.0.0.2") && !check("a.localhost", 11434, "127.0.0.1"));
    assert!(check("[fd00::1]", 443, "fd00::1"));
    assert!(check("example.com", 443, "93.184.215.14"));
    assert!(!check("x.localhost", 80, "93.184.215.14"), "the name says this machine");

    let odd: Grants = "0.0.0.0:80,255.255.255.255:80,169.254.169.254:80".parse().expect("grants");
    let may = |text: &str| may_resolve(&Host::parse(text).expect(text), 80, &odd).is_ok();
    assert!(!may("0.0.0.0") && !may("255.255.255.255"), "never granted");
    assert!(may("169.254.169.254"), "metadata is granted by its own address only");
    assert!(may_resolve(&Host::parse("localhost").expect("host"), 80, &odd).is_err());
}

#[test]
fn a_grant_without_host_or_port_is_refused_by_name() {
    for text in
        ["localhost", "localhost:", ":80", "localhost:0", "localhost:99999", "::1:80", "http://a:80", "a b:80", "*:80"]
    {
        assert_eq!(text.parse::<Grants>(), Err(InvalidGrant(text.to_owned())), "{text}");
    }
    assert!("".parse::<Grants>().expect("empty").is_empty());
}
