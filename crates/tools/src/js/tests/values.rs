//! What goes in and comes out.

use are_core::error::Code;
use serde_json::json;

use super::world::{World, fault, load, value};
use crate::lane::Error;

#[tokio::test]
async fn results_are_json() {
    for (source, expected) in [
        ("exports.f = () => undefined", json!(null)),
        (
            "exports.f = async () => ({ a: [1, 'x', null, undefined, NaN], b: undefined })",
            json!({"a": [1, "x", null, null, null]}),
        ),
        ("exports.f = () => new Date(0)", json!("1970-01-01T00:00:00.000Z")),
        ("exports.f = () => ({ m: new Map([['a', 1]]), s: new Set([2]) })", json!({"m": {"a": 1}, "s": [2]})),
        ("exports.f = () => [Buffer.from('hé'), new Uint8Array([255, 0])]", json!(["hé", {"base64": "/wA="}])),
        ("exports.f = () => new Response('x', { status: 404 })", json!({"status": 404, "headers": {}, "body": "x"})),
        ("exports.f = () => 'a\\ud800b'", json!("a\u{fffd}b")),
        ("exports.f = () => ({ e: new TypeError('no') })", json!({"e": {"name": "TypeError", "message": "no"}})),
    ] {
        assert_eq!(value(source).await, expected, "{source}");
    }
}

#[tokio::test]
async fn what_is_no_json_is_a_fault_that_says_so() {
    for (source, expected) in [
        ("exports.f = () => 10n", "a BigInt is no JSON"),
        ("exports.f = () => { const o = {}; o.o = o; return o; }", "circular"),
        ("exports.f = () => Symbol('s')", "a symbol"),
        ("exports.f = () => () => 1", "a function"),
        ("exports.f = () => new Proxy({}, { ownKeys() { throw new Error('trap'); } })", "trap"),
    ] {
        let fault = fault(source).await;
        assert_eq!(fault.code, Code::TOOL_FAILED, "{source}");
        assert!(
            fault.message.contains(expected) && fault.message.starts_with("tools/x.js"),
            "{source}: {}",
            fault.message
        );
    }
}

#[tokio::test]
async fn whatever_is_thrown_names_file_and_line() {
    for (source, expected) in [
        ("exports.f = () => {\n\n  throw new TypeError('bad');\n};", "tools/x.js:3: TypeError: bad"),
        ("exports.f = async () => {\n  await null;\n  undefined.x;\n};", "tools/x.js:3: TypeError: "),
        ("exports.f = () => { throw 'text'; };", "tools/x.js: thrown: text"),
        ("exports.f = () => { throw null; };", "tools/x.js: thrown: null"),
        ("exports.f = () => { throw { code: 7 }; };", "tools/x.js: Error: { code: 7 }"),
        (
            "exports.f = () => { throw new Proxy({}, { get() { throw 1; } }); };",
            "tools/x.js: something that cannot be looked at was thrown",
        ),
        (
            "exports.f = async () => {\n  Promise.reject(new Error('lost'));\n  await new Promise((r) => setTimeout(r, 1));\n};",
            "tools/x.js:2: Error: lost",
        ),
        (
            "exports.f = () => {\n  fs.readFileSync('none.txt');\n};",
            "tools/x.js:2: Error: ARE-0510: `none.txt` does not exist",
        ),
    ] {
        let fault = fault(source).await;
        assert!(fault.message.starts_with(expected), "{source}: {}", fault.message);
        assert_eq!(fault.code, Code::TOOL_FAILED);
    }
    let sibling = World::with(
        "const l = require('./lib');\nexports.f = () => l.g();",
        &[("lib.js", "exports.g = () => {\n\n\n  throw new Error('deep'); };")],
    );
    assert_eq!(sibling.failed("x_f", json!({})).await.message, "tools/lib.js:4: Error: deep");
}

#[tokio::test]
async fn an_error_is_bounded_however_long_it_is() {
    let fault =
        fault("exports.f = () => { const e = new Error('x'.repeat(1e6)); e.name = 'n'.repeat(1e6); throw e; }").await;
    assert!(fault.message.len() < 3_000, "{}", fault.message.len());
}

#[tokio::test]
async fn a_further_call_without_a_known_outcome_leaves_none() {
    let world = World::new("exports.f = () => exec('unknown')");
    let Err(Error::Unknown(fault)) = world.run("x_f", json!({})).await else { panic!("it is known") };
    assert_eq!(fault.code, Code::TOOL_OUTCOME_UNKNOWN);
    let world = World::new("exports.f = async () => { try { await exec('unknown') } catch (e) { return e.message } }");
    assert_eq!(world.ok("x_f", json!({})).await, json!("the connection was lost"));
}

#[test]
fn a_file_that_cannot_be_tools_says_why() {
    for (source, expected) in [
        ("exports.f = () => {\n  let x = ;\n}", "tools/x.js:2: SyntaxError"),
        ("import fs from 'fs';\nexport const f = 1;", "tools/x.js:1: SyntaxError"),
        ("module.exports = 5", "module.exports is no object"),
        ("exports.a = 1", "it exports no function"),
        ("exports.f = (a, { b }) => 1", "`f`: parameter 2"),
        ("exports.äöü = () => 1; exports.f = 1", "no letter or digit"),
        ("/** @effect nonsense */\nexports.f = () => 1", "`f`: `@effect nonsense` is not known"),
        ("/** @role b selector */\nexports.f = (a) => 1", "`@role` names `b`"),
        ("/** @retry pure */\nexports.f = (a) => 1", "`@retry pure` needs"),
        ("throw new Error('at once')", "tools/x.js:1: Error: at once"),
        ("\nfs.writeFileSync('a', 'b')", "tools/x.js:2: Error: ARE-0503: files, commands and the network"),
        ("fetch('http://a/')", "while its file is loaded"),
        ("setTimeout(() => {}, 1)", "a timer can be set by a tool only"),
        ("for (;;) {}", "takes longer than"),
        ("const a = []; for (;;) a.push(new Array(1e5).fill(1))", "out of memory"),
        ("exports.f = () => 1; globalThis.big = 'x'.repeat(2e7) + 1", "leaves more than"),
        ("(function f() { f(); })()", "Maximum call stack"),
        ("Object.prototype.toJSON = () => 'x'; exports.f = () => 1", "cannot be read"),
        ("Promise.reject(new Error('later')); exports.f = () => 1", "later"),
    ] {
        let Err(fault) = load("x.js", source, &[]) else { panic!("{source}") };
        assert_eq!(fault.code, Code::MANIFEST_INVALID, "{source}");
        assert!(fault.message.contains(expected), "{source}: {}", fault.message);
        assert!(!fault.help.is_empty());
    }
}
