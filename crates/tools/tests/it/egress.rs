//! Commands reach what the operator granted, through their proxy, and nothing else.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, Weak};

use are_core::BoxFuture;
use are_core::body::Effect;
use are_core::error::{Code, Fault};
use are_core::ids::CallNo;
use are_policy::manifest::CONNECT;
use are_policy::tools::{Host, ToolOutcome, Tools};
use are_testkit::run;
use are_tools::cage::Report;
use are_tools::{CageOptions, HttpOptions, Resolver};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{Alone, Reply, Server, World, label};

/// Makes the calls of a running command, and remembers them.
struct Through {
    world: Weak<World>,
    parent: CallNo,
    calls: Arc<Mutex<Vec<Value>>>,
}

impl Host for Through {
    fn call<'a>(&'a self, tool: &'a str, args: Value) -> BoxFuture<'a, ToolOutcome> {
        let world = self.world.upgrade().expect("world");
        self.calls.lock().expect("calls").push(json!({"tool": tool, "args": args.clone()}));
        Box::pin(async move {
            let place = world.place();
            world.child_of(Some(self.parent), tool, &args, place).await
        })
    }
}

/// Does not answer, as while a person is asked, until it is told to.
struct Asking(tokio::sync::Notify);

impl Host for Asking {
    fn call<'a>(&'a self, _tool: &'a str, _args: Value) -> BoxFuture<'a, ToolOutcome> {
        Box::pin(async {
            self.0.notified().await;
            ToolOutcome::Failed { fault: Fault::new(Code::DENIED, "a person said no", "do without"), label: label() }
        })
    }
}

/// A world whose commands may reach these places; names lead to this machine.
async fn world(granted: &str, port: u16) -> Option<Arc<World>> {
    let names = ["granted.example", "inner.example", "other.example", "metadata.google.internal"];
    let table = names.map(|name| (name.to_owned(), vec![Ipv4Addr::LOCALHOST.into()]));
    let grants = format!("granted.example:{port}").parse().expect("grants");
    let http = HttpOptions { grants, resolver: Resolver::Fixed(Arc::new(BTreeMap::from(table))) };
    let mut world = World::with(http.clone());
    world.timeout_ms = 120_000;
    let egress = granted.replace("PORT", &port.to_string()).parse().expect("places");
    let options = CageOptions { egress, ..crate::cage::options(&world, true) };
    let report = Report::fresh(&options).await;
    if !report.is_served() || !report.has_namespaces() {
        run::skip(format!("no network namespaces: {report:?}"));
        return None;
    }
    world.registry =
        std::mem::replace(&mut world.registry, World::with(http).registry).caged(options, &report).expect("caged");
    Some(Arc::new(world))
}

const GRANTED: &str = "granted.example:PORT, inner.example:PORT, 127.0.0.1:PORT, *.below.example, metadata.google.internal, 169.254.169.254";

/// Runs a command whose further calls are made, and what it came to.
async fn run(world: &Arc<World>, args: Value) -> (Value, Vec<Value>) {
    let permit = world.permit("process_run", &args);
    let calls = Arc::new(Mutex::new(Vec::new()));
    let mut place = world.place();
    let parent = permit.call().call;
    place.host = Arc::new(Through { world: Arc::downgrade(world), parent, calls: Arc::clone(&calls) });
    let value = match world.registry.run(permit, place).await {
        ToolOutcome::Completed { value, .. } => value,
        other => panic!("{args}: {other:?}"),
    };
    let calls = calls.lock().expect("calls").clone();
    (value, calls)
}

async fn secret() -> Server {
    Server::start(|_| Reply::ok("text/plain", "secret")).await
}

fn python(prelude: &str, port: u16, body: &str) -> String {
    format!("import os\nos.environ['PORT'] = '{port}'\n{prelude}\n{body}\n")
}

#[derive(Deserialize)]
struct Cases {
    prelude: String,
    case: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    python: String,
}

fn cases() -> Cases {
    toml::from_str(include_str!("../../../../tests/attacks/egress.toml")).expect("attacks")
}

#[tokio::test]
async fn a_granted_place_is_reached_by_a_call_of_its_own_and_the_result_says_so() {
    let server = secret().await;
    let port = server.address.port();
    let Some(world) = world(GRANTED, port).await else { return };
    world.write("a.py", python(&cases().prelude, port, "for _ in range(3): assert got(tunnel(f'granted.example:{PORT}'))\nassert got(ask(f'GET http://granted.example:{PORT}/ HTTP/1.1\\r\\n\\r\\n'.encode()))\nprint(tunnel('evil.example:443').decode())"));
    let (value, calls) = run(&world, json!({"argv": ["python3", "a.py"]})).await;
    assert_eq!(value["exit_code"], json!(0), "{value}");
    let stdout = value["stdout"].as_str().expect("text");
    assert!(stdout.starts_with("HTTP/1.1 403 ") && stdout.contains("`ARE_EGRESS`"), "{stdout}");
    // One call for the place, whatever the number of connections; none for what is not granted.
    assert_eq!(calls, [json!({"tool": CONNECT, "args": {"to": format!("granted.example:{port}")}})]);
    let network = &value["network"];
    let reached = &network["reached"][0];
    assert_eq!((&reached["to"], &reached["connections"]), (&json!(format!("granted.example:{port}")), &json!(4)));
    assert!(reached["sent_bytes"].as_u64() > Some(100) && reached["received_bytes"].as_u64() > Some(100), "{network}");
    assert_eq!(
        (&network["refused"][0]["to"], &network["refused"][0]["times"]),
        (&json!("evil.example:443"), &json!(1))
    );
    // What programs find by themselves.
    for program in [
        "curl -sS --max-time 5 http://granted.example:PORT/",
        "python3 -c 'import urllib.request as u; print(u.urlopen(\"http://granted.example:PORT/\").read().decode())'",
    ] {
        let shell = program.replace("PORT", &port.to_string());
        let (value, _) = run(&world, json!({"shell": format!("if command -v {} >/dev/null; then {shell}; else echo secret; fi", program.split(' ').next().expect("name"))})).await;
        assert!(value["stdout"].as_str().is_some_and(|said| said.contains("secret")), "{program}: {value}");
    }
    // The command's own loopback is no business of the proxy.
    let own = "python3 -m http.server 8123 --bind 127.0.0.1 >/dev/null 2>&1 & for _ in $(seq 200); do python3 -c 'import urllib.request as u; u.urlopen(\"http://127.0.0.1:8123/\")' 2>/dev/null && echo served && break; done";
    let (value, _) = run(&world, json!({"shell": own})).await;
    assert_eq!((&value["stdout"], value.get("network")), (&json!("served\n"), None), "{value}");
}

#[tokio::test]
async fn no_attack_on_the_proxy_or_past_it_gets_out() {
    let server = secret().await;
    let port = server.address.port();
    let Some(world) = world(GRANTED, port).await else { return };
    let Cases { prelude, case } = cases();
    assert!(case.len() >= 16, "the attack file was read: {}", case.len());
    let mut broken = Vec::new();
    for case in &case {
        world.write("attack.py", python(&prelude, port, &case.python));
        let shell = "if python3 attack.py; then echo GOT-OUT; else echo HELD; fi";
        let (value, calls) = run(&world, json!({"shell": shell, "timeout_ms": 60_000})).await;
        let said = format!("{}{}", value["stdout"], value["stderr"]);
        if said.contains("GOT-OUT") || !said.contains("HELD") || said.contains("Traceback") {
            broken.push(format!("{}: {value} {calls:?}", case.name));
        }
    }
    println!("{} attacks, {} got out", case.len(), broken.len());
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[tokio::test]
async fn a_command_is_denied_what_its_own_call_is_denied_while_another_has_it() {
    let server = secret().await;
    let port = server.address.port();
    let Some(world) = world(GRANTED, port).await else { return };
    let body = "said = tunnel(f'granted.example:{PORT}')\nprint(said.decode())\nopen('reached', 'w').close() if got(said) else None\nwhile got(said) and not os.path.exists('stop'): pass";
    world.write("a.py", python(&cases().prelude, port, body));
    let allowed = run(&world, json!({"argv": ["python3", "a.py"]}));
    let denied = async {
        while !world.path("reached").exists() {
            tokio::task::yield_now().await;
        }
        // The same place, from another command at the same time, whose call nobody allows.
        let args = json!({"argv": ["python3", "a.py"]});
        let mut place = world.place();
        place.host = Arc::new(Alone);
        let outcome = world.registry.run(world.permit("process_run", &args), place).await;
        world.write("stop", "");
        outcome
    };
    let ((_, calls), denied) = tokio::join!(allowed, denied);
    assert_eq!(calls.len(), 1);
    let ToolOutcome::Completed { value, .. } = denied else { panic!("{denied:?}") };
    let stdout = value["stdout"].as_str().expect("text");
    assert!(stdout.contains(" 403 ") && stdout.contains("is not called here"), "{value}");
    assert_eq!(value["network"]["reached"], json!([]), "{value}");
}

#[tokio::test]
async fn neither_many_nor_slow_connections_keep_the_proxy_or_take_it_with_them() {
    let server = secret().await;
    let port = server.address.port();
    let Some(world) = world(GRANTED, port).await else { return };
    // Ten thousand in all, as many at once as there are descriptors; then those that say nothing; then one that does.
    let body = r#"
import errno
total = 0
while total < 10000:
    held = []
    for _ in range(2000):
        s = socket.socket()
        s.setblocking(False)
        try:
            s.connect(PROXY)
        except BlockingIOError:
            pass
        held.append(s)
    total += len(held)
    for s in held:
        s.close()
slow = []
for _ in range(100):
    s = socket.socket()
    s.setblocking(False)
    try:
        s.connect(PROXY)
        s.send(b"CONNECT ")
    except OSError:
        pass
    slow.append(s)
for _ in range(60):
    try:
        said = tunnel(f"granted.example:{PORT}")
    except OSError:
        continue
    if got(said):
        print("served")
        break
print("over")
"#;
    world.write("a.py", python(&cases().prelude, port, body));
    let descriptors = || std::fs::read_dir("/proc/self/fd").expect("descriptors").count();
    let before = descriptors();
    let most = Arc::new(Mutex::new(0));
    let watch = {
        let most = Arc::clone(&most);
        tokio::spawn(async move {
            loop {
                let now = descriptors();
                {
                    let mut most = most.lock().expect("number");
                    *most = now.max(*most);
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        })
    };
    let (value, calls) = run(&world, json!({"argv": ["python3", "a.py"], "timeout_ms": 100_000})).await;
    watch.abort();
    let most = *most.lock().expect("number");
    println!("descriptors before {before}, at most {most}; {value}");
    assert!(value["stdout"].as_str().is_some_and(|said| said.ends_with("over\n")), "{value}");
    assert!(calls.len() <= 1 && most < before + 64 * 2 + 60, "before {before}, at most {most}");
}

#[tokio::test]
async fn while_a_person_is_asked_the_command_waits_and_its_end_ends_that() {
    let server = secret().await;
    let port = server.address.port();
    let Some(world) = world(GRANTED, port).await else { return };
    world.write("a.py", python(&cases().prelude, port, "print(tunnel(f'granted.example:{PORT}').decode())"));
    let asking = Arc::new(Asking(tokio::sync::Notify::new()));
    let args = json!({"argv": ["python3", "a.py"]});
    let mut place = world.place();
    place.host = Arc::clone(&asking) as Arc<dyn Host>;
    asking.0.notify_one();
    let ToolOutcome::Completed { value, .. } = world.registry.run(world.permit("process_run", &args), place).await
    else {
        panic!("no result")
    };
    assert!(value["stdout"].as_str().is_some_and(|said| said.contains("a person said no")), "{value}");
    assert_eq!(value["network"]["refused"][0]["why"], json!("a person said no"), "{value}");
    // Nobody answers: the deadline ends the command, and with it the question.
    let args = json!({"argv": ["python3", "a.py"], "timeout_ms": 1_000});
    let mut place = world.place();
    place.host = Arc::clone(&asking) as Arc<dyn Host>;
    let ToolOutcome::Completed { value, .. } = world.registry.run(world.permit("process_run", &args), place).await
    else {
        panic!("no result")
    };
    assert_eq!(value["timed_out"], json!(true), "{value}");
    // Tasks that are ended are gone when the runtime has looked at them.
    while Arc::strong_count(&asking) > 1 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn only_a_running_command_connects_and_a_model_hears_of_no_such_tool() {
    let Some(world) = world("registries", 1).await else { return };
    let fault = world.fault(CONNECT, json!({"to": "crates.io:443"})).await;
    assert!(fault.message.contains("only a running command"), "{fault}");
    let fault = world.fault(CONNECT, json!({"to": "granted.example:443"})).await;
    assert_eq!(fault.code, Code::DENIED, "{fault}");
    let tools = world.registry.snapshot();
    let (manifest, digest) = tools.get(CONNECT).expect("the declaration");
    assert_eq!(manifest.effect, Effect::Send);
    assert!(tools.specs().iter().all(|spec| spec.name.as_str() != CONNECT));
    let run = tools.specs().iter().find(|spec| spec.name.as_str() == "process_run").expect("process_run");
    assert!(run.description.contains("only to registries"), "{}", run.description);
    let Some(other) = self::world("registries, example.com", 1).await else { return };
    assert_ne!(other.registry.snapshot().get(CONNECT).expect("the declaration").1, digest, "other grants, other tool");
}
