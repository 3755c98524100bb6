//! What scripts can use, and what it comes to outside.

use are_core::error::Code;
use are_core::label::{Confidentiality, Integrity};
use serde_json::json;

use super::world::{World, load, value};

#[tokio::test]
async fn files_are_used_by_calls_of_their_own() {
    let world = World::new(
        "exports.f = async () => {
           fs.mkdirSync('d', { recursive: true });
           fs.writeFileSync('d/a.txt', 'one');
           fs.appendFileSync('d/a.txt', '+two');
           await fs.promises.writeFile('d/b.txt', Buffer.from('three'));
           await require('node:fs/promises').rename('d/b.txt', 'd/c.txt');
           fs.unlinkSync('d/c.txt');
           const stat = fs.statSync('d/a.txt');
           let code;
           try { fs.readFileSync('nothing'); } catch (error) { code = error.code; }
           const called = await new Promise((resolve) => fs.readFile('d/a.txt', 'utf8', (error, text) => resolve(text)));
           return [fs.readFileSync('d/a.txt', 'utf8'), fs.existsSync('d/c.txt'), fs.readdirSync('d'), stat.size,
                   stat.isFile(), fs.statSync('d').isDirectory(), code, called];
         }",
    );
    let value = world.ok("x_f", json!({})).await;
    assert_eq!(value, json!(["one+two", false, ["a.txt"], 7, true, true, "ENOENT", "one+two"]));
    let names: Vec<String> = world.calls().into_iter().map(|(tool, _)| tool).collect();
    assert_eq!(names.iter().filter(|name| *name == "fs_write").count(), 3);
    assert!(names.contains(&"fs_move".to_owned()) && names.contains(&"fs_delete".to_owned()));
}

#[tokio::test]
async fn a_long_file_is_read_whole_and_a_binary_one_not_at_all() {
    let world = World::new("exports.f = (path) => fs.readFileSync(path, 'utf8').length");
    let long: String = "äöü\n".repeat(100_000);
    std::fs::write(world.path("long"), &long).expect("file");
    assert_eq!(world.ok("x_f", json!({"path": "long"})).await, json!(400_000));
    std::fs::write(world.path("binary"), [0, 255, 1]).expect("file");
    assert!(world.failed("x_f", json!({"path": "binary"})).await.message.contains("is not text"));
}

#[tokio::test]
async fn no_path_leads_out_of_the_workspace() {
    let world = World::new("exports.f = (path) => fs.readFileSync(path, 'utf8')");
    for path in ["/etc/passwd", "../x", "a/../../x", "file:///etc/passwd", "\0/etc/passwd"] {
        let fault = world.failed("x_f", json!({"path": path})).await;
        assert!(!fault.message.contains("root:"), "{path}: {}", fault.message);
    }
}

#[tokio::test]
async fn commands_are_run_exactly_as_they_are_given() {
    let world = World::new(
        "exports.f = async () => {
           const { spawn, exec, spawnSync, execSync } = require('child_process');
           await spawn('git', ['log', '-n', 1], { cwd: 'd', stdin: 'in', timeout: 1500 });
           await exec('a | b');
           spawnSync('c d');
           return [execSync('e').toString(), await spawn('x', ['y'], { shell: true }).catch((error) => error.message)];
         }",
    );
    let value = world.ok("x_f", json!({})).await;
    assert_eq!(value[0], json!(r#"{"shell":"e"}"#));
    assert!(value[1].as_str().is_some_and(|text| text.contains("one string")));
    let asked: Vec<_> = world.calls().into_iter().map(|(_, args)| args).collect();
    assert_eq!(
        asked,
        [
            json!({"argv": ["git", "log", "-n", "1"], "cwd": "d", "stdin": "in", "timeout_ms": 1500}),
            json!({"shell": "a | b"}),
            json!({"argv": ["c d"]}),
            json!({"shell": "e"}),
        ]
    );
}

#[tokio::test]
async fn requests_go_out_as_they_were_written() {
    let world = World::new(
        "exports.f = async () => {
           const first = await fetch(new URL('/a?b=1', 'https://example.com'), { method: 'post', body: new URLSearchParams({ q: 'ä b' }), headers: { 'X-A': '1' } });
           return [first.ok, first.status, first.headers.get('Content-Type'), await first.text(), first.bodyUsed,
                   await first.text().catch((error) => error.message)];
         }",
    );
    let value = world.ok("x_f", json!({})).await;
    assert_eq!(value, json!([true, 200, "text/plain", "körper", true, "the body was read already"]));
    let headers = json!({"content-type": "application/x-www-form-urlencoded;charset=UTF-8", "x-a": "1"});
    let asked = json!({"url": "https://example.com/a?b=1", "method": "POST", "body": "q=%C3%A4+b", "headers": headers});
    assert_eq!(world.calls(), [("http_request".to_owned(), asked)]);
}

#[tokio::test]
async fn calls_that_do_not_wait_for_each_other_run_together_but_not_all() {
    let world = World::new(
        "exports.f = async () => (await Promise.all(Array.from({ length: 40 }, (_, i) => fetch(`http://a/${i}`)))).length",
    );
    assert_eq!(world.ok("x_f", json!({})).await, json!(40));
    let most = world.host.running.lock().expect("running").1;
    assert!((2..=8).contains(&most), "{most}");
    let urls: Vec<_> = world.calls().iter().map(|(_, args)| args["url"].as_str().expect("url").to_owned()).collect();
    assert_eq!(urls, (0..40).map(|i| format!("http://a/{i}")).collect::<Vec<_>>(), "begun in the script's order");
}

#[tokio::test]
async fn what_nobody_awaits_still_has_an_outcome() {
    let world = World::new("exports.f = () => { fs.promises.writeFile('a.txt', 'x'); return 1; }");
    assert_eq!(world.ok("x_f", json!({})).await, json!(1));
    assert_eq!(std::fs::read_to_string(world.path("a.txt")).expect("file"), "x");
}

#[tokio::test]
async fn a_result_is_never_labelled_better_than_what_it_was_made_of() {
    let world = World::new(
        "/** @label platform public */ exports.f = async () => (await fetch('http://a/')).text();\n/** @label platform public */ exports.g = () => 1;",
    );
    let labels = world.run("x_f", json!({})).await.expect("answer").labels;
    assert_eq!((labels[""].integrity, labels[""].confidentiality), (Integrity::Untrusted, Confidentiality::Secret));
    assert!(labels[""].origins.contains(&"web".to_owned()));
    assert!(world.run("x_g", json!({})).await.expect("answer").labels.is_empty(), "as declared");
}

#[tokio::test]
async fn a_denial_is_an_error_that_a_script_can_catch() {
    let world = World::new(
        "exports.f = async () => { try { await exec('rm x') } catch (e) { return [e instanceof SecurityError, e.code, e.message] } }",
    );
    *world.host.forbidden.lock().expect("forbidden") = Some("rm");
    assert_eq!(world.ok("x_f", json!({})).await, json!([true, "EACCES", "the rules forbid it"]));
}

#[tokio::test]
async fn nothing_survives_from_call_to_call() {
    let world = World::new(
        "let n = 0; const seen = []; exports.f = () => { n += 1; globalThis.g = (globalThis.g ?? 0) + 1; Array.prototype.mine = 1; seen.push(1); return [n, g, seen.length]; }",
    );
    for _ in 0..3 {
        assert_eq!(world.ok("x_f", json!({})).await, json!([1, 1, 1]));
    }
    let random = World::new("exports.f = () => [Math.random(), crypto.randomUUID()]");
    assert_ne!(random.ok("x_f", json!({})).await, random.ok("x_f", json!({})).await);
}

#[tokio::test]
async fn files_beside_a_script_can_be_required_and_are_part_of_what_it_is() {
    let source = "const { two } = require('./lib'); const data = require('./data.json'); exports.f = () => [two(), data.a, require('./lib.js') === require('./lib')];";
    let world = World::with(source, &[("lib.js", "exports.two = () => 2;"), ("data.json", "{\"a\": 1}")]);
    assert_eq!(world.ok("x_f", json!({})).await, json!([2, 1, true]));
    let other = World::with(source, &[("lib.js", "exports.two = () => 3;"), ("data.json", "{\"a\": 1}")]);
    assert_ne!(world.manifest("x_f").digest(), other.manifest("x_f").digest());
    let unrelated =
        World::with(source, &[("lib.js", "exports.two = () => 2;"), ("data.json", "{\"a\": 1}"), ("z.js", "1")]);
    assert_eq!(world.manifest("x_f").digest(), unrelated.manifest("x_f").digest());
    for name in ["../lib", "./../lib", "./sub/lib", "/etc/passwd", "./none", "net", "http"] {
        let source = format!("const l = require('{name}'); exports.f = () => 1;");
        let Err(fault) = load("x.js", &source, &[("lib.js", ""), ("sub/lib.js", "")]) else { panic!("{name}") };
        assert!(fault.message.contains("Cannot find module"), "{name}: {}", fault.message);
    }
}

#[tokio::test]
async fn the_console_is_live_output() {
    let world = World::new(
        "exports.f = () => { console.log('a %s', 'b', { c: [1, new Map([[1, 'x']])] }); console.error(new Error('no')); }",
    );
    world.ok("x_f", json!({})).await;
    let output = world.output.lock().expect("output").clone();
    assert_eq!((output[0].stream, output[0].text.as_str()), ("stdout", "a b { c: [ 1, Map(1) { 1 => 'x' } ] }\n"));
    assert!(
        output[1].stream == "stderr" && output[1].text.starts_with("Error: no\n    at <anonymous> (tools/x.js:1:"),
        "{output:?}"
    );
}

#[tokio::test]
async fn the_usual_globals_are_there() {
    let source = "exports.f = async () => {
      const order = [];
      setTimeout(() => order.push('late'), 20);
      const every = setInterval(() => { if (order.push('tick') >= 3) clearInterval(every); }, 1);
      queueMicrotask(() => order.push('micro'));
      await new Promise((resolve) => setTimeout(resolve, 40));
      const url = new URL('http://u:p@exämple.com:81/a/../b?x=1#h');
      url.searchParams.append('y', 'ä &');
      const { join, basename, extname } = require('path');
      return [order, url.href, Buffer.from('aGk=', 'base64').toString(), Buffer.from('ÿ', 'latin1').toString('hex'),
        new TextDecoder().decode(new TextEncoder().encode('ü€😀')), join('a', '..', 'b', 'c.txt'), basename('x/y.js', '.js'), extname('a.b.c'),
        /^[0-9a-f-]{36}$/.test(crypto.randomUUID()), atob(btoa('x')), typeof process.env.HOME, new Date(2020, 0, 1).toISOString()];
    }";
    assert_eq!(
        value(source).await,
        json!([
            ["micro", "tick", "tick", "late"],
            "http://u:p@xn--exmple-cua.com:81/b?x=1&y=%C3%A4+%26#h",
            "hi",
            "ff",
            "ü€😀",
            "b/c.txt",
            "y",
            ".c",
            true,
            "x",
            "undefined",
            "2020-01-01T00:00:00.000Z"
        ])
    );
    for name in ["WebAssembly", "Worker", "XMLHttpRequest", "Deno", "std", "os", "native", "door", "ask", "begin"] {
        assert_eq!(value(&format!("exports.f = () => typeof {name}")).await, json!("undefined"), "{name}");
    }
}

#[tokio::test]
async fn a_time_out_after_an_effect_leaves_its_outcome_unknown() {
    let mut world = World::new("exports.f = () => exec('forever'); exports.g = () => { for (;;) {} }");
    world.timeout_ms = 100;
    let crate::lane::Error::Unknown(fault) = world.run("x_f", json!({})).await.expect_err("late") else {
        panic!("known")
    };
    assert_eq!(fault.code, Code::TOOL_OUTCOME_UNKNOWN);
    assert_eq!(world.failed("x_g", json!({})).await.code, Code::TOOL_TIMEOUT);
}
