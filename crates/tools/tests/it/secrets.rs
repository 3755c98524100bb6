//! Secrets are put in where a request leaves or a process starts, for the places that they are bound to, and nowhere else.

use std::collections::BTreeMap;
use std::sync::Arc;

use are_core::error::Code;
use are_core::label::Confidentiality;
use are_policy::tools::{Environment, ToolOutcome, Tools};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cage::caged;
use crate::support::{Purse, Reply, Server, World};
use crate::wasm_support::{Lab, guest};

/// Holds what addresses and JSON write otherwise.
const CANARY: &str = "c4n4ry/+\"value\"&0123456789";

/// A server that repeats what it hears, and a world with a secret that is bound to it.
async fn stage() -> (Server, World) {
    let server = Server::start(|heard| {
        let told = format!("{} {:?} {}", heard.line, heard.headers, heard.body);
        Reply::ok("text/plain", told)
    })
    .await;
    let mut world = World::granting(&[server.grant()]);
    world.secrets = Arc::new(Purse::with("key", CANARY, &[&server.grant()], &["leaky"]));
    (server, world)
}

#[tokio::test]
async fn a_value_is_put_into_headers_query_and_body_and_the_answer_tells_of_the_name() {
    let (server, world) = stage().await;
    let args = json!({
        "url": server.url("/a?key=${secret:key}&b=1"),
        "method": "POST",
        "headers": {"Authorization": "Bearer ${secret:key}"},
        "body": {"login": ["x", {"password": "${secret:key}!"}]},
    });
    let (value, labels, _) = world.answer("http_request", args).await;
    let heard = &server.heard()[0];
    assert_eq!(heard.line, "POST /a?key=c4n4ry%2F%2B%22value%22%260123456789&b=1 HTTP/1.1");
    assert_eq!(heard.headers["authorization"], format!("Bearer {CANARY}"));
    let body: Value = serde_json::from_str(&heard.body).unwrap();
    assert_eq!(body, json!({"login": ["x", {"password": format!("{CANARY}!")}]}));
    assert_eq!(value["url"], server.url("/a?key=${secret:key}&b=1"));
    assert_eq!(labels[""].confidentiality, Confidentiality::Secret, "nobody knows in which shape it comes back");
    assert!(labels[""].origins.contains(&"secret:key".to_owned()), "{:?}", labels[""]);
    assert_eq!(*world.secrets.asked.lock().unwrap(), ["key request"], "once for all places");
    let plain = world.answer("http_request", json!({"url": server.url("/")})).await.1;
    assert_eq!(plain[""].confidentiality, Confidentiality::Private);
}

#[derive(Debug, Deserialize)]
struct Attacks {
    case: Vec<Case>,
}

#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    /// `{here}` stands for the server that the secret is bound to, `{port}` for its port, `{there}` for another one.
    args: String,
    code: String,
}

#[tokio::test]
async fn nothing_is_sent_with_a_secret_to_a_place_or_in_a_place_that_it_is_not_for() {
    let attacks: Attacks = toml::from_str(include_str!("../../../../tests/attacks/secrets.toml")).expect("attack file");
    assert!(attacks.case.len() >= 20, "{}", attacks.case.len());
    let (here, mut world) = stage().await;
    let there = Server::start(|_| Reply::ok("text/plain", "caught")).await;
    let grants = format!("{},{},localhost:{}", here.grant(), there.grant(), here.address.port());
    let secrets = Arc::clone(&world.secrets);
    world = World::granting(&[grants]);
    world.secrets = secrets;
    for Case { name, args, code } in attacks.case {
        let args = args.replace("{here}", &here.grant()).replace("{there}", &there.grant());
        let args = args.replace("{port}", &here.address.port().to_string());
        let args: Value = serde_json::from_str(&args).unwrap_or_else(|error| panic!("{name}: {error}"));
        let fault = world.fault("http_request", args).await;
        assert_eq!(fault.code.to_string(), code, "{name}: {fault}");
        assert!(!fault.to_string().contains("c4n4ry") && !fault.help.contains("c4n4ry"), "{name}: {fault}");
    }
    let caught: Vec<_> = here.heard().into_iter().chain(there.heard()).collect();
    assert!(caught.is_empty(), "{caught:?}");
}

#[tokio::test]
async fn a_redirect_to_another_host_does_not_take_the_secret_along() {
    let there = Server::start(|_| Reply::ok("text/plain", "caught")).await;
    let location = there.url("/?from=here");
    let here = Server::start(move |heard| match heard.line.as_str() {
        "GET /again HTTP/1.1" => Reply::ok("text/plain", heard.headers["x-key"].clone()),
        line if line.starts_with("GET /own") => Reply::redirect(307, "/again"),
        _ => Reply::redirect(302, &location),
    })
    .await;
    let mut world = World::granting(&[here.grant(), there.grant()]);
    world.secrets = Arc::new(Purse::with("key", CANARY, &[&here.grant()], &[]));
    let headers = json!({"X-Key": "${secret:key}"});
    let value = world.ok("http_request", json!({"url": here.url("/"), "headers": headers})).await;
    assert_eq!(value["status"], 302);
    assert!(there.heard().is_empty());
    // Within the origin that it is bound to it stays; the address that is told of then holds no value.
    let value = world.ok("http_request", json!({"url": here.url("/own?k=${secret:key}"), "headers": headers})).await;
    assert_eq!((&value["status"], &value["url"]), (&json!(200), &json!(here.url("/again"))));
}

#[tokio::test]
async fn a_template_names_its_secrets_and_no_argument_chooses_where_they_go() {
    let (server, _) = stage().await;
    let template = format!(
        "lane = \"http\"\ndescription = \"Asks.\"\nurl = \"{}\"\nheaders.Authorization = \"Bearer ${{secret:key}}\"\n\
         [args.id]\nrole = \"selector\"\n",
        server.url("/item/{id}?k=${secret:key}")
    );
    let mut world = World::living(&[server.grant()], &[("ask.toml", &template)]);
    world.secrets = Arc::new(Purse::with("key", CANARY, &[&server.grant()], &[]));
    let manifest = world.registry.snapshot().get("ask").expect("it is served").0.clone();
    let named: Vec<String> =
        manifest.capabilities.expect("capabilities").secrets.iter().map(ToString::to_string).collect();
    assert_eq!(named, ["key"]);
    let (value, labels, _) = world.answer("ask", json!({"id": "7"})).await;
    assert_eq!(server.heard()[0].headers["authorization"], format!("Bearer {CANARY}"));
    assert_eq!(value["url"], server.url("/item/7?k=${secret:key}"));
    assert_eq!(labels[""].confidentiality, Confidentiality::Secret);
    // What an argument says is an argument: in an address it is encoded.
    world.ok("ask", json!({"id": "${secret:key}"})).await;
    assert!(server.heard()[1].line.starts_with("GET /item/%24%7Bsecret%3Akey%7D?"), "{:?}", server.heard()[1]);
    for (broken, why) in [
        ("url = \"https://a.example/${secret:key}/\"", "only the query"),
        ("url = \"https://${secret:key}.example/\"", "host"),
        ("url = \"https://a.example/?k=${secret:not a name}\"", "name of a secret"),
        (
            "url = \"https://a.example/?k=${secret:key}\"\n[capabilities]\nhttp = [\"a.example\"]",
            "`capabilities.secrets`",
        ),
    ] {
        let text = format!("lane = \"http\"\ndescription = \"Asks.\"\n{broken}\n");
        let world = World::living(&[], &[("bad.toml", &text)]);
        let problems = world.registry.shelf().expect("a shelf").problems();
        assert!(problems[0].why.contains(why), "{broken}: {problems:?}");
    }
}

#[tokio::test]
async fn a_command_gets_what_its_tool_gives_it_and_the_next_one_nothing() {
    for has_namespaces in [true, false] {
        let (_, world) = stage().await;
        let Some(mut world) = caged(world, has_namespaces).await else { continue };
        let variables = [("GIVEN", "secret:key"), ("PLAIN", "as it is")];
        let variables: BTreeMap<_, _> =
            variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        world.environment = Environment { tool: "leaky".to_owned(), variables: variables.clone() };
        let shell = json!({"shell": "printf '%s|%s' \"$GIVEN\" \"$PLAIN\""});
        let (value, labels, _) = world.answer("process_run", shell.clone()).await;
        assert_eq!(value["stdout"], format!("{CANARY}|as it is"));
        assert_eq!(labels[""].confidentiality, Confidentiality::Secret);
        assert_eq!(*world.secrets.asked.lock().unwrap(), ["key process"]);
        // Another tool's, and no tool's.
        world.environment = Environment { tool: "other".to_owned(), variables };
        assert_eq!(world.fault("process_run", shell.clone()).await.code, Code::SECRET_BOUND);
        world.environment = Environment::default();
        assert_eq!(world.ok("process_run", shell).await["stdout"], "|");
        // While nothing is given, nothing of it is in any process that a command can see.
        let look =
            json!({"shell": "cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n' | grep -c c4n4ry; env | grep -c c4n4ry"});
        assert_eq!(world.ok("process_run", look).await["stdout"], "0\n0\n");
    }
}

#[tokio::test]
async fn a_command_line_holds_no_secret_and_a_given_value_is_declared_as_what_it_is() {
    let base = "lane = \"command\"\ndescription = \"Runs.\"\n";
    for (text, why) in [
        ("argv = [\"deploy\", \"${secret:key}\"]", "no secret stands in it"),
        ("argv = [\"deploy\"]\nstdin = \"${secret:key}\"", "no secret stands in it"),
        ("argv = [\"deploy\"]\neffect = \"modify\"\ncapabilities.env.A = \"secret:key\"", "the effect `credential`"),
        ("argv = [\"deploy\"]\ncapabilities.env.A = \"secret:not a name\"", "`secret` must be"),
        ("argv = [\"deploy\"]\ncapabilities.env.\"A=B\" = \"x\"", "is no variable"),
    ] {
        let world = World::living(&[], &[("deploy.toml", &format!("{base}{text}\n"))]);
        let problems = world.registry.shelf().expect("a shelf").problems();
        assert!(problems[0].why.contains(why), "{text}: {problems:?}");
    }
    let good = format!("{base}argv = [\"deploy\"]\ncapabilities.env.A = \"secret:key\"\ncapabilities.env.B = \"x\"\n");
    let world = World::living(&[], &[("deploy.toml", &good)]);
    let manifest = world.registry.snapshot().get("deploy").expect("it is served").0.clone();
    assert_eq!(manifest.effect, are_core::body::Effect::Credential);
}

/// `are:host/secret` and a log line that says what it gave.
fn asks_for_secret() -> String {
    let imports = r#"
      (import "are:host/types@0.1.0" (instance $types
        (type $error' (record (field "code" string) (field "message" string)))
        (export "error" (type (eq $error')))))
      (alias export $types "error" (type $error))
      (import "are:host/secret@0.1.0" (instance $secret
        (alias outer 1 $error (type $e'))
        (export "error" (type $e (eq $e')))
        (export "get" (func (param "name" string) (result (result string (error $e)))))))
      (import "are:host/log@0.1.0" (instance $log
        (type $level' (enum "debug" "info" "warn" "error"))
        (export "level" (type $level (eq $level')))
        (export "write" (func (param "level" $level) (param "text" string)))))"#;
    let lowered = r#"
      (core func $get (canon lower (func $secret "get") (memory $libc "memory") (realloc (func $libc "realloc"))))
      (core func $say (canon lower (func $log "write") (memory $libc "memory")))
      (core instance $host (export "get" (func $get)) (export "say" (func $say)))"#;
    let module = r#"(import "host" "get" (func $get (param i32 i32 i32)))
          (import "host" "say" (func $say (param i32 i32 i32)))
          (data (i32.const 64) "key")
          (func (export "run") (result i32)
            (call $get (i32.const 64) (i32.const 3) (i32.const 16))
            (call $say (i32.const 1) (i32.load (i32.const 20)) (i32.load (i32.const 24)))
            (i32.load8_u (i32.const 16)))"#;
    guest(imports, lowered, module)
}

#[tokio::test]
async fn a_component_gets_the_name_and_the_value_only_where_both_sides_agree() {
    let text = asks_for_secret();
    let purse = |tools: &[&str]| Arc::new(Purse::with("key", CANARY, &["a.example"], tools));
    let lab = |declared: &str, tools: &[&str]| {
        let mut world = World::new();
        world.secrets = purse(tools);
        Lab::with(&[("k", &text, declared)], world)
    };
    // Nothing declared: the name, and nobody is asked for anything.
    let plain = lab("", &["k_run"]);
    assert_eq!(plain.ok("k_run", json!({})).await, json!(0));
    assert_eq!(plain.said("log"), "info: ${secret:key}\n");
    assert!(plain.calls().is_empty() && plain.world.secrets.asked.lock().unwrap().is_empty());
    // Declared and granted: a call of its own, and then the value.
    let declared = "effect = \"credential\"\n[capabilities]\nsecrets = [\"key\"]\n";
    let granted = lab(declared, &["k_run"]);
    assert_eq!(granted.ok("k_run", json!({})).await, json!(0));
    assert_eq!(granted.said("log"), format!("info: {CANARY}\n"));
    assert_eq!(granted.calls(), [("secret_disclose".to_owned(), json!({"name": "key"}))]);
    assert_eq!(*granted.world.secrets.asked.lock().unwrap(), ["key guest"]);
    // Declared, and the owner did not agree.
    let refused = lab(declared, &["another"]);
    assert_eq!(refused.ok("k_run", json!({})).await, json!(1));
    assert_eq!(refused.said("log"), "info: ARE-0804\n");
    // What such a tool returns is as confidential as what it was given.
    let permit = granted.world.permit("k_run", &json!({}));
    let ToolOutcome::Completed { labels, .. } = granted.world.registry.run(permit, granted.world.place()).await else {
        panic!("it ran before")
    };
    assert_eq!(labels[""].confidentiality, Confidentiality::Secret);
}
