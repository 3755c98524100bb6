//! A JavaScript file through the registry: its further calls are decided and run like any other.

use std::sync::{Arc, Mutex, Weak};

use are_core::BoxFuture;
use are_core::error::Code;
use are_core::label::Integrity;
use are_policy::tools::{Host, Place, ToolOutcome, Tools};
use serde_json::{Value, json};

use crate::support::{Reply, Server, World};
use crate::wasm_support::served;

const MODULE: &str = "module.exports = {
  async readFile(path) { return fs.readFileSync(path); },
  async executeCommand(cmd) {
    if (!securityPolicy.allows(cmd)) throw new SecurityError('Command not allowed');
    return spawn(cmd, { shell: true });
  },
  async httpGet(url) { return fetch(url); }
};
";

/// Sends the calls of a script through the rules and the registry of its world.
#[derive(Default)]
struct Through(Mutex<Weak<World>>);

impl Host for Through {
    fn call<'a>(&'a self, tool: &'a str, args: Value) -> BoxFuture<'a, ToolOutcome> {
        let world = self.0.lock().expect("world").upgrade().expect("world");
        Box::pin(async move { world.registry.run(world.permit(tool, &args), world.place()).await })
    }
}

async fn run(world: &Arc<World>, tool: &str, args: Value) -> ToolOutcome {
    let host = Through(Mutex::new(Arc::downgrade(world)));
    let place = Place { host: Arc::new(host), ..world.place() };
    world.registry.run(world.permit(tool, &args), place).await
}

fn scripted(mut world: World, source: &str) -> Arc<World> {
    let tools = world.root.path().join("tools");
    std::fs::create_dir(&tools).expect("folder");
    std::fs::write(tools.join("dev.js"), source).expect("script");
    world.registry = served(world.registry, &tools).expect("a script");
    Arc::new(world)
}

#[tokio::test]
async fn the_documented_module_reads_files_and_fetches_through_the_registry() {
    let server = Server::start(|_| Reply::ok("text/plain", "körper")).await;
    let unchecked =
        MODULE.replace("    if (!securityPolicy.allows(cmd)) throw new SecurityError('Command not allowed');\n", "");
    for source in [MODULE, &unchecked] {
        let world = scripted(World::granting(&[server.grant()]), source);
        world.write("a.txt", "grüße\n");
        let ToolOutcome::Completed { value, labels, .. } = run(&world, "dev_read_file", json!({"path": "a.txt"})).await
        else {
            panic!("it failed")
        };
        assert_eq!(value, json!("grüße\n"));
        assert_eq!(labels[""].integrity, Integrity::Untrusted);

        let outcome = run(&world, "dev_http_get", json!({"url": server.url("/x")})).await;
        let ToolOutcome::Completed { value, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!((&value["status"], &value["body"]), (&json!(200), &json!("körper")));
        assert_eq!(value["headers"]["content-type"], json!("text/plain"));
        assert_eq!(value.as_object().map(|object| object.len()), Some(3));
    }
    assert_eq!(server.heard().len(), 2);
}

#[tokio::test]
async fn what_a_tool_refuses_a_script_is_refused_too() {
    let world = scripted(World::new(), MODULE);
    for (tool, args, expected) in [
        ("dev_read_file", json!({"path": "../outside"}), "ARE-0507"),
        ("dev_read_file", json!({"path": "none.txt"}), "ARE-0510"),
        ("dev_http_get", json!({"url": "http://127.0.0.1:1/"}), "ARE-0508"),
    ] {
        let ToolOutcome::Failed { fault, label } = run(&world, tool, args).await else { panic!("{tool} ran") };
        assert_eq!(fault.code, Code::TOOL_FAILED);
        assert!(fault.message.starts_with("tools/dev.js:") && fault.message.contains(expected), "{}", fault.message);
        assert_eq!(label.integrity, Integrity::Untrusted, "a script can put anything into its errors");
    }
    let fault = world.fault("dev_read_file", json!({"path": "a", "more": 1})).await;
    assert_eq!(fault.code, Code::TOOL_ARGS, "arguments are checked before the script sees them");
}
