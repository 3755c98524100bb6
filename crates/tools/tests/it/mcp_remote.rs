//! Servers of tools over HTTP, through the one client of all tools.

use are_core::error::Code;
use are_policy::tools::ToolOutcome;
use serde_json::{Value, json};

use crate::support::{Heard, Reply, Server, World};

/// How a server on a network answers, beside what is usual.
#[derive(Clone, Copy, Default)]
struct Manner {
    /// Answers come as a stream of events.
    is_stream: bool,
    /// What a call comes to instead of an answer.
    call: Option<fn() -> Reply>,
}

fn answered(message: &Value, manner: Manner) -> Reply {
    let result = match message["method"].as_str().unwrap_or_default() {
        "initialize" => json!({
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "far", "version": "2"},
        }),
        "tools/list" => json!({"tools": [
            {"name": "ask", "description": "Asks.", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": true}},
            {"name": "act", "description": "Acts.", "inputSchema": {"type": "object"}},
        ]}),
        "tools/call" => match manner.call {
            Some(reply) => return reply(),
            None => json!({"content": [{"type": "text", "text": format!("did {}", message["params"]["name"])}]}),
        },
        _ if manner.is_stream => return Reply::Bytes(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n".to_vec()),
        // Some answer what nobody waits for, and under no number.
        _ => return Reply::ok("application/json", r#"{"jsonrpc": "2.0", "result": {}}"#),
    };
    let answer = json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string();
    if manner.is_stream {
        return Reply::ok("text/event-stream", format!(": hello\n\nevent: message\ndata: {answer}\n\n"));
    }
    Reply::ok("application/json", answer)
}

async fn far(manner: Manner) -> Server {
    Server::start(move |heard: &Heard| match heard.line.split(' ').next() {
        Some("POST") => answered(&serde_json::from_str(&heard.body).unwrap_or_default(), manner),
        _ => Reply::Bytes(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n".to_vec()),
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_on_a_network_is_asked_with_what_was_consented_to() {
    for is_stream in [false, true] {
        let server = far(Manner { is_stream, ..Manner::default() }).await;
        let world = World::living(&[server.grant()], &[]);
        let entry = json!({"url": server.url("/mcp?key=k"), "headers": {"Authorization": "Bearer hush-hush"}});
        let examined = world.examine("far", &entry).await.expect("examined");
        assert_eq!(examined.revision, "2025-06-18");
        assert!(
            !format!("{examined:?}").contains("hush") && !format!("{examined:?}").contains("key=k"),
            "{examined:?}"
        );
        assert_eq!(world.add("far", &entry).await, []);
        assert_eq!(world.ok("far_ask", json!({})).await, json!({"text": "did \"ask\""}));
        assert_eq!(world.ok("far_act", json!({})).await, json!({"text": "did \"act\""}));
        let posts: Vec<Heard> = server.heard().into_iter().filter(|heard| heard.line.starts_with("POST")).collect();
        assert!(posts.iter().all(|heard| heard.line.starts_with("POST /mcp?key=k ")));
        assert!(posts.iter().all(|heard| heard.headers["authorization"] == "Bearer hush-hush"));
        let calls: Vec<&Heard> = posts.iter().filter(|heard| heard.body.contains("tools/call")).collect();
        assert_eq!(calls.len(), 2);
        assert!(
            calls.iter().all(|heard| heard.headers["mcp-protocol-version"] == "2025-06-18"),
            "{:?}",
            calls[0].headers
        );
        // One hello for both calls, beside those of looking twice.
        assert_eq!(posts.iter().filter(|heard| heard.body.contains("\"initialize\"")).count(), 3);
        let served = are_policy::tools::Tools::snapshot(&world.registry);
        let (manifest, _) = served.get("far_ask").expect("served");
        assert_eq!(manifest.capabilities.as_ref().expect("hosts").http, [server.address.to_string()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_on_a_network_does_instead_of_answering_has_an_outcome() {
    let huge: fn() -> Reply = || Reply::ok("application/json", vec![b' '; 9 << 20]);
    let endless: fn() -> Reply = || Reply::ok("text/event-stream", vec![b'x'; 9 << 20]);
    let broken: fn() -> Reply =
        || Reply::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nContent-Type: application/json\r\n\r\n{".to_vec());
    let elsewhere: fn() -> Reply = || Reply::redirect(307, "http://169.254.169.254/");
    let forgotten: fn() -> Reply = || Reply::Bytes(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec());
    let busy: fn() -> Reply = || Reply::Bytes(b"HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n".to_vec());
    let failing: fn() -> Reply = || Reply::Bytes(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_vec());
    let page: fn() -> Reply = || Reply::ok("text/html", "<p>log in</p>");
    for (name, reply, is_known) in [
        ("a result that is too large", huge, false),
        ("an event without end", endless, false),
        ("an answer that breaks off", broken, false),
        ("a redirect to another place", elsewhere, true),
        ("a place that is not there any more", forgotten, true),
        ("too busy", busy, true),
        ("an error of its own", failing, false),
        ("a page for people", page, false),
    ] {
        let server = far(Manner { call: Some(reply), ..Manner::default() }).await;
        let mut world = World::living(&[server.grant()], &[]);
        assert_eq!(world.add("far", &json!({"url": server.url("/mcp")})).await, []);
        // A stream that breaks off is taken up again for a while, as the protocol says.
        world.timeout_ms = 4_000;
        let read = world.run("far_ask", json!({})).await;
        assert!(matches!(read, ToolOutcome::Failed { .. }), "{name}: {read:?}");
        let acted = world.run("far_act", json!({})).await;
        match (&acted, is_known) {
            (ToolOutcome::Failed { .. }, true) | (ToolOutcome::Unknown { .. }, false) => {}
            (other, _) => panic!("{name}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_for_a_login_says_what_to_do() {
    let server = Server::start(|_| {
        Reply::Bytes(b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 0\r\n\r\n".to_vec())
    })
    .await;
    let world = World::living(&[server.grant()], &[]);
    let fault = world.examine("far", &json!({"url": server.url("/")})).await.expect_err("a login");
    assert_eq!(fault.code, Code::SERVER_LOGIN);
    assert!(fault.message.contains("asks for a login") && fault.help.contains("are mcp login far"), "{fault}");
    // One that is sent a header of that kind has no login: the header is what is wrong.
    let entry = json!({"url": server.url("/"), "headers": {"Authorization": "Bearer wrong-one"}});
    let fault = world.examine("far", &entry).await.expect_err("a login");
    assert_eq!(fault.code, Code::SERVER_LOGIN, "{fault}");
}
