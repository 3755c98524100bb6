//! A scripted server of the Model Context Protocol over standard streams, for tests.
//!
//! `mcp_server SCRIPT`, where SCRIPT is a JSON object: `tools` and `later` (the
//! tools from a call that says so on), `revision`, `capabilities`, `resources`,
//! `prompts`, `hello` (how it answers the first word: `never`, `wrong_id`,
//! `exit`, `error`), `pages` (`endless`), `many` (that many tools), `noise` (lines printed before), and
//! `calls`: by tool name what a call of it comes to, a `result`, an `error`, or
//! something to `do`. What it hears it appends to `heard.jsonl` where it starts.
//! It speaks lines of JSON by hand, so that it can say what no library would.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead as _, Read as _, Write as _};

use serde_json::{Value, json};

type Said = Result<(), Box<dyn Error>>;

struct Server {
    script: Value,
    heard: File,
    /// What is declared from here on.
    tools: Value,
}

fn main() -> Said {
    let script: Value = serde_json::from_str(&std::env::args().nth(1).ok_or("mcp_server SCRIPT")?)?;
    let heard = File::options().create(true).append(true).open("heard.jsonl")?;
    let numbered = |n| json!({"name": format!("t{n}"), "inputSchema": {"type": "object"}});
    let many = |count| Value::Array((0..count).map(numbered).collect());
    let tools = script["many"].as_u64().map_or_else(|| script["tools"].clone(), many);
    for line in script["noise"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        writeln!(std::io::stdout(), "{line}")?;
    }
    let mut server = Server { script, heard, tools };
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        writeln!(server.heard, "{line}")?;
        let message: Value = serde_json::from_str(&line)?;
        server.answer(&message)?;
    }
    Ok(())
}

fn say(message: &Value) -> Said {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{message}")?;
    Ok(out.flush()?)
}

fn reply(id: &Value, result: &Value) -> Said {
    say(&json!({"jsonrpc": "2.0", "id": id, "result": result}))
}

fn refuse(id: &Value, code: i32, message: &str) -> Said {
    say(&json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}}))
}

impl Server {
    fn answer(&mut self, message: &Value) -> Said {
        let id = &message["id"];
        match message["method"].as_str() {
            Some("initialize") => self.hello(id),
            Some("tools/list") => self.list(id, &message["params"]),
            Some("tools/call") => self.call(id, &message["params"]),
            Some("resources/list") => reply(id, &json!({"resources": self.script["resources"]})),
            Some("resources/read") => {
                let uri = &message["params"]["uri"];
                match self.script["resources"].as_array().into_iter().flatten().find(|one| one["uri"] == *uri) {
                    Some(one) => reply(id, &json!({"contents": [{"uri": uri, "text": one["name"]}]})),
                    None => refuse(id, -32002, "there is no such resource"),
                }
            }
            Some("prompts/list") => reply(id, &json!({"prompts": self.script["prompts"]})),
            Some("prompts/get") => {
                let text = format!("{} {}", message["params"]["name"], message["params"]["arguments"]);
                let said = json!({"role": "user", "content": {"type": "text", "text": text}});
                reply(id, &json!({"messages": [said]}))
            }
            Some("ping") => reply(id, &json!({})),
            Some(_) if id.is_null() => Ok(()),
            Some(_) => refuse(id, -32601, "unknown method"),
            None => Ok(()),
        }
    }

    fn hello(&self, id: &Value) -> Said {
        match self.script["hello"].as_str() {
            Some("never") => return Ok(()),
            Some("exit") => {
                writeln!(std::io::stderr(), "cannot find \u{1b}[31mmy settings")?;
                std::process::exit(3);
            }
            Some("error") => return refuse(id, -32602, "not with \u{1b}[2Jyou"),
            Some("wrong_id") => return reply(&json!(4711), &self.about()),
            _ => {}
        }
        reply(id, &self.about())
    }

    fn about(&self) -> Value {
        let capabilities = match &self.script["capabilities"] {
            Value::Null => json!({"tools": {"listChanged": true}}),
            other => other.clone(),
        };
        let revision = self.script["revision"].as_str().unwrap_or("2025-11-25");
        let info = json!({"name": "scripted", "version": "1.0"});
        json!({"protocolVersion": revision, "capabilities": capabilities, "serverInfo": info})
    }

    fn list(&self, id: &Value, params: &Value) -> Said {
        let page = params["cursor"].as_str().and_then(|cursor| cursor.parse::<u32>().ok()).unwrap_or(0);
        let mut result = json!({"tools": self.tools});
        if self.script["pages"] == "endless" {
            result = json!({"tools": [], "nextCursor": (page + 1).to_string()});
        }
        reply(id, &result)
    }

    fn call(&mut self, id: &Value, params: &Value) -> Said {
        let name = params["name"].as_str().unwrap_or_default();
        let action = self.script["calls"][name].clone();
        if action.get("result").is_some() {
            return reply(id, &action["result"]);
        }
        if let Some(error) = action.get("error") {
            return say(&json!({"jsonrpc": "2.0", "id": id, "error": error}));
        }
        let text = |text: &str| json!({"content": [{"type": "text", "text": text}]});
        match action["do"].as_str() {
            // Back comes what was sent, and what it was told to keep to itself.
            Some("echo") => reply(id, &text(&params["arguments"].to_string())),
            Some("variables") => {
                let mut all: Vec<String> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
                all.sort();
                reply(id, &text(&all.join("\n")))
            }
            Some("read") => {
                let path = params["arguments"]["path"].as_str().unwrap_or_default();
                let read = std::fs::read_to_string(path).unwrap_or_else(|error| format!("cannot: {error}"));
                reply(id, &text(&read))
            }
            Some("write") => {
                let path = params["arguments"]["path"].as_str().unwrap_or_default();
                let wrote =
                    std::fs::write(path, "x").map_or_else(|error| format!("cannot: {error}"), |()| "done".to_owned());
                reply(id, &text(&wrote))
            }
            Some("connect") => {
                let place = params["arguments"]["place"].as_str().unwrap_or_default();
                let reached = std::net::TcpStream::connect(place);
                reply(id, &text(&reached.map_or_else(|error| format!("cannot: {error}"), |_| "reached".to_owned())))
            }
            // As a library would that heeds the proxy of its environment.
            Some("fetch") => {
                let address = params["arguments"]["address"].as_str().unwrap_or_default();
                reply(id, &text(&fetched(address).unwrap_or_else(|error| format!("cannot: {error}"))))
            }
            // Asks all that a server may ask.
            Some("ask_once") => {
                for method in ["roots/list", "sampling/createMessage", "elicitation/create", "ping", "made/up"] {
                    say(&json!({"jsonrpc": "2.0", "id": method, "method": method, "params": asked(method)}))?;
                }
                reply(id, &text("asked"))
            }
            Some("die") => std::process::exit(9),
            Some("hang") => Ok(()),
            Some("wrong_id") => reply(&json!("another"), &text("for somebody else")),
            Some("unreadable") => say(&json!({"jsonrpc": "2.0", "id": id, "result": "what is this"})),
            Some("huge") => huge(id, action["bytes"].as_u64().unwrap_or(1 << 30)),
            Some("flood") => flood(),
            Some("ask") => ask(),
            Some("progress") => {
                let token = &params["_meta"]["progressToken"];
                for step in 1..=3 {
                    let told =
                        json!({"progressToken": token, "progress": step, "total": 3, "message": "\u{1b}[1mstep"});
                    say(&json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": told}))?;
                }
                let logged = json!({"level": "info", "data": "a line"});
                say(&json!({"jsonrpc": "2.0", "method": "notifications/message", "params": logged}))?;
                reply(id, &text("arrived"))
            }
            Some("change") => {
                self.tools = self.script["later"].clone();
                say(&json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}))?;
                reply(id, &text("changed"))
            }
            _ => refuse(id, -32602, "there is no such tool"),
        }
    }
}

/// What the proxy answers to a request for an address.
fn fetched(address: &str) -> Result<String, Box<dyn Error>> {
    let proxy = std::env::var("HTTP_PROXY")?;
    let mut stream = std::net::TcpStream::connect(proxy.trim_start_matches("http://"))?;
    write!(stream, "GET {address} HTTP/1.1\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The parameters of a question.
fn asked(method: &str) -> Value {
    match method {
        "sampling/createMessage" => json!({"messages": [], "maxTokens": 1}),
        "elicitation/create" => {
            json!({"message": "your password?", "requestedSchema": {"type": "object", "properties": {}}})
        }
        _ => json!({}),
    }
}

/// An answer that goes on and on.
fn huge(id: &Value, bytes: u64) -> Said {
    let mut out = std::io::stdout().lock();
    write!(out, "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"content\":[{{\"type\":\"text\",\"text\":\"")?;
    let piece = vec![b'x'; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(piece.len() as u64);
        out.write_all(&piece[..usize::try_from(now)?])?;
        left -= now;
    }
    writeln!(out, "\"}}]}}}}")?;
    Ok(out.flush()?)
}

/// Notifications without end.
fn flood() -> Said {
    let line = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}});
    loop {
        say(&line)?;
    }
}

/// Asks without end, and reads none of the answers.
fn ask() -> Said {
    for id in 0_u64.. {
        say(&json!({"jsonrpc": "2.0", "id": format!("q{id}"), "method": "ping"}))?;
    }
    Ok(())
}
