//! The module that the documents show, as it stands.

use are_core::body::{Effect, Retry};
use are_policy::manifest::{Lane, Role};
use serde_json::json;

use super::world::World;

const MODULE: &str = "module.exports = {
  async readFile(path) { return fs.readFileSync(path); },
  async executeCommand(cmd) {
    if (!securityPolicy.allows(cmd)) throw new SecurityError('Command not allowed');
    return spawn(cmd, { shell: true });
  },
  async httpGet(url) { return fetch(url); }
};
";

#[tokio::test]
async fn the_documented_module_works_as_it_stands_and_without_its_check() {
    let unchecked: String =
        MODULE.lines().filter(|line| !line.contains("allows")).map(|line| format!("{line}\n")).collect();
    for source in [MODULE, &unchecked] {
        let world = World::new(source);
        std::fs::write(world.path("a.txt"), "grüße\n").expect("file");
        assert_eq!(world.ok("x_read_file", json!({"path": "a.txt"})).await, json!("grüße\n"));
        let done = world.ok("x_execute_command", json!({"cmd": "ls -l | wc 'a b'"})).await;
        let asked = json!({"shell": "ls -l | wc 'a b'"});
        assert_eq!(done, json!({"exit_code": 0, "signal": null, "stdout": asked.to_string(), "stderr": ""}));
        let got = world.ok("x_http_get", json!({"url": "https://example.com/"})).await;
        assert_eq!(got, json!({"status": 200, "headers": {"content-type": "text/plain"}, "body": "körper"}));
        let calls = world.calls();
        let names: Vec<&str> = calls.iter().map(|(tool, _)| tool.as_str()).collect();
        assert_eq!(names, ["fs_read", "process_run", "http_request"], "each use is a call of its own");
        assert_eq!(calls[2].1, json!({"url": "https://example.com/"}));

        *world.host.forbidden.lock().expect("forbidden") = Some("rm");
        let fault = world.failed("x_execute_command", json!({"cmd": "rm -rf ."})).await;
        let is_checked = source == MODULE;
        assert_eq!(world.calls().len(), if is_checked { 3 } else { 4 }, "{}", fault.message);
        let expected = if is_checked {
            "tools/x.js:4: SecurityError: Command not allowed"
        } else {
            "tools/x.js:4: SecurityError: ARE-0601: the rules forbid it"
        };
        assert_eq!(fault.message, expected);
    }
}

#[tokio::test]
async fn what_is_not_declared_is_the_worst_case() {
    let world = World::new(MODULE);
    let manifest = world.manifest("x_read_file");
    assert_eq!((manifest.lane, manifest.effect, manifest.retry), (Lane::Js, Effect::Credential, Retry::AtMostOnce));
    assert!(manifest.args.is_empty() && !manifest.is_contained);
    assert_eq!(
        manifest.schema,
        json!({"type": "object", "properties": {"path": {}}, "required": ["path"], "additionalProperties": false})
    );
}

#[tokio::test]
async fn a_comment_declares_what_a_manifest_would() {
    let world = World::new(
        "/**
          * Adds up.
          * @param {number[]} numbers - what to add
          * @param {'sum'|'mean'} [how=sum]
          * @effect none
          * @retry pure
          * @timeout 2s
          * @role numbers content
          * @label platform
          */
         exports.addUp = (numbers, how = 'sum') => {
           const sum = numbers.reduce((a, b) => a + b, 0);
           return { how, result: how === 'sum' ? sum : sum / numbers.length };
         };",
    );
    let manifest = world.manifest("x_add_up");
    assert_eq!(manifest.description, "Adds up.");
    assert_eq!((manifest.effect, manifest.retry, manifest.limits.timeout_ms), (Effect::None, Retry::Pure, 2000));
    assert_eq!(manifest.args["numbers"].role, Role::Content);
    assert_eq!(
        manifest.schema["properties"],
        json!({"numbers": {"type": "array", "items": {"type": "number"}, "description": "what to add"}, "how": {"type": "string", "enum": ["sum", "mean"]}})
    );
    assert_eq!(manifest.schema["required"], json!(["numbers"]));
    assert_eq!(world.ok("x_add_up", json!({"numbers": [1, 2.5]})).await, json!({"how": "sum", "result": 3.5}));
    assert_eq!(world.ok("x_add_up", json!({"numbers": [1, 3], "how": "mean"})).await["result"], json!(2));
}

#[tokio::test]
async fn arguments_reach_parameters_of_every_form() {
    let world = World::new(
        "exports.rest = (first, ...more) => [first, more];
         exports.object = ({ path, limit = 10 }) => [path, limit];
         exports.none = () => 'none';
         exports.self = function () { return Object.keys(this); };
         exports.constant = 5;",
    );
    assert_eq!(world.ok("x_rest", json!({"first": 1, "more": [2, 3]})).await, json!([1, [2, 3]]));
    assert_eq!(world.ok("x_object", json!({"path": "a"})).await, json!(["a", 10]));
    assert_eq!(world.ok("x_none", json!({})).await, json!("none"));
    assert_eq!(world.ok("x_self", json!({})).await, json!(["rest", "object", "none", "self", "constant"]));
}
