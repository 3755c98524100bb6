use super::*;

fn read_text(text: &str) -> Result<Asked, Refused> {
    let end = text.find("\r\n\r\n").map_or(text.len(), |at| at + 4);
    parse(&text.as_bytes()[..end], &text.as_bytes()[end..])
}

#[test]
fn a_connect_names_one_place() {
    for (line, place) in [
        ("CONNECT example.com:443", "example.com:443"),
        ("CONNECT EXAMPLE.com.:443", "example.com:443"),
        ("CONNECT [::1]:80", "[::1]:80"),
        ("CONNECT 0x7f.1:80", "127.0.0.1:80"),
        ("CONNECT [::ffff:127.0.0.1]:80", "127.0.0.1:80"),
        ("CONNECT 2130706433:80", "127.0.0.1:80"),
    ] {
        match read_text(&format!("{line} HTTP/1.1\r\n\r\n")) {
            Ok(Asked::Tunnel { place: read, first }) => {
                assert_eq!((read.to_string().as_str(), first.as_slice()), (place, &[][..]));
            }
            other => panic!("{line}: {other:?}"),
        }
    }
    let with = |lines: &str| read_text(&format!("CONNECT example.com:443 HTTP/1.1\r\n{lines}\r\n"));
    for lines in
        ["Host: example.com:443\r\n", "Host: example.com\r\n", "Proxy-Connection: keep-alive\r\nUser-Agent: x\r\n"]
    {
        assert!(matches!(with(lines), Ok(Asked::Tunnel { .. })), "{lines}");
    }
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    for head in [
        "CONNECT example.com:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n",
        "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\nHost: evil.test\r\n\r\n",
        "CONNECT example.com:443 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        "CONNECT example.com:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "CONNECT example.com:443 HTTP/1.1\r\nHost : example.com\r\n\r\n",
        "CONNECT example.com:443 HTTP/1.1\r\n Host: evil.test\r\n\r\n",
        "CONNECT  example.com:443 HTTP/1.1\r\n\r\n",
        "CONNECT example.com:443 evil.test:443 HTTP/1.1\r\n\r\n",
        "CONNECT https://example.com:443 HTTP/1.1\r\n\r\n",
        "CONNECT user@example.com:443 HTTP/1.1\r\n\r\n",
        "CONNECT example.com:443/ HTTP/1.1\r\n\r\n",
        "CONNECT /etc/passwd HTTP/1.1\r\n\r\n",
        "CONNECT example.com:443 HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET https://example.com/ HTTP/1.1\r\n\r\n",
        "GET http://user@example.com/ HTTP/1.1\r\n\r\n",
        "GET http://example.com/ HTTP/1.1\r\n\r\nGET http://evil.test/ HTTP/1.1\r\n\r\n",
        "GET http://example.com/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST http://example.com/ HTTP/1.1\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\n",
        "\x16\x03\x01\x02\x00\r\n\r\n",
    ] {
        assert!(read_text(head).is_err(), "{head}");
    }
    let many = format!("CONNECT example.com:443 HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(100));
    assert!(read_text(&many).is_err());
}

#[test]
fn a_fetch_is_written_anew() {
    let head = "GET http://Example.com:80/a/../b?c=d HTTP/1.1\r\nHost: evil.test\r\nAccept: */*\r\nProxy-Authorization: x\r\nConnection: keep-alive, accept\r\n\r\n";
    let Ok(Asked::Fetch { place, request }) = read_text(head) else { panic!("not read") };
    assert_eq!(place.to_string(), "example.com:80");
    let expected = "GET /b?c=d HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\nAccept: */*\r\n\r\n";
    assert_eq!(String::from_utf8(request).unwrap(), expected);
}

#[tokio::test]
async fn a_head_without_an_end_is_not_read_for_ever() {
    let endless = vec![b'a'; 1 << 20];
    let mut from = endless.as_slice();
    assert_eq!(read(&mut from).await, Some(Err(Refused(431, "the head of the request is too long"))));
    assert!(from.len() > endless.len() - HEAD_BYTES_MAX - PIECE);
    assert_eq!(read(&mut &b"CONNECT a"[..]).await, None);
}
