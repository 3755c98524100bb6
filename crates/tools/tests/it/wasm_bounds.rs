//! What a guest cannot do: run on, take more than its share, harm others, or make compiling it a burden.

use std::time::Instant;

use are_core::error::Code;
use are_policy::tools::ToolOutcome;
use serde::Deserialize;
use serde_json::json;

use crate::wasm_support::{ECHO, Lab, refusal, runs, wasm};

#[derive(Deserialize)]
struct Attacks {
    guest: Vec<Attack>,
}

#[derive(Deserialize)]
struct Attack {
    name: String,
    module: String,
    code: Code,
    says: String,
}

/// Milliseconds that a guest of these tests may take.
const TIMEOUT_MS: u64 = 200;

fn healthy() -> String {
    format!(
        r#"(component {ECHO}
          (func (export "echo") (param "value" u32) (result u32) (canon lift (core func $i "i32"))))"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_guest_runs_on_takes_all_or_harms_another() {
    let text = include_str!("../../../../tests/attacks/wasm.toml");
    let attacks: Attacks = toml::from_str(text).expect("attacks");
    let healthy = healthy();
    for attack in &attacks.guest {
        let module = runs(&attack.module);
        let lab = Lab::new(&[("bad", &module, ""), ("good", &healthy, "")]);
        let begun = Instant::now();
        let fault = match lab.run_within("bad_run", json!({}), TIMEOUT_MS).await {
            ToolOutcome::Failed { fault, .. } => fault,
            other => panic!("{}: {other:?}", attack.name),
        };
        println!("{}: {} ms, {fault}", attack.name, begun.elapsed().as_millis());
        assert_eq!(fault.code, attack.code, "{}: {fault}", attack.name);
        assert!(fault.message.contains(&attack.says), "{}: {fault}", attack.name);
        assert_eq!(lab.ok("good_echo", json!({"value": 7})).await, json!(7), "after {}", attack.name);
    }
    println!("{} guests", attacks.guest.len());
    assert!(attacks.guest.len() >= 14);
}

#[tokio::test]
async fn endless_guests_do_not_keep_the_only_thread_of_a_runtime() {
    let (endless, healthy) = (runs(r#"(func (export "run") (loop (br 0)))"#), healthy());
    let lab = Lab::new(&[("bad", &endless, ""), ("good", &healthy, "")]);
    let endless = async {
        let (one, two) =
            tokio::join!(lab.run_within("bad_run", json!({}), 1_000), lab.run_within("bad_run", json!({}), 1_000));
        assert!(matches!((one, two), (ToolOutcome::Failed { .. }, ToolOutcome::Failed { .. })));
        Instant::now()
    };
    let others = async {
        for value in 0..20 {
            assert_eq!(lab.ok("good_echo", json!({"value": value})).await, json!(value));
        }
        Instant::now()
    };
    let (endless, others) = tokio::join!(endless, others);
    assert!(others < endless, "the others waited for the endless ones");
}

#[tokio::test]
async fn nothing_survives_from_call_to_call() {
    let counter = r#"(component
      (core module $m
        (memory (export "memory") 2)
        (global $n (mut i32) (i32.const 0))
        (func (export "count") (result i32)
          (global.set $n (i32.add (global.get $n) (i32.const 1)))
          (i32.store (i32.const 70000) (i32.add (i32.load (i32.const 70000)) (i32.const 1)))
          (drop (memory.grow (i32.const 1)))
          (i32.add (i32.mul (global.get $n) (i32.const 100))
            (i32.add (i32.mul (i32.load (i32.const 70000)) (i32.const 10)) (memory.size)))))
      (core instance $i (instantiate $m))
      (func (export "count") (result u32) (canon lift (core func $i "count"))))"#;
    let lab = Lab::new(&[("c", counter, "")]);
    for _ in 0..300 {
        assert_eq!(lab.ok("c_count", json!({})).await, json!(113));
    }
}

/// Few pages, more places than the kernel is asked for at once, and more than is kept between calls.
#[tokio::test]
async fn every_page_that_was_written_is_as_it_was() {
    let write = r#"(component
      (core module $m
        (memory (export "memory") 64)
        (data (i32.const 4096) "\07")
        (func (export "write") (param $pages i32) (param $stride i32) (result i32)
          (local $at i32) (local $sum i32)
          (loop $next
            (local.set $sum (i32.add (local.get $sum) (i32.load (local.get $at))))
            (i32.store (local.get $at) (i32.const 1000))
            (local.set $at (i32.add (local.get $at) (local.get $stride)))
            (local.set $pages (i32.sub (local.get $pages) (i32.const 1)))
            (br_if $next (local.get $pages)))
          (local.get $sum)))
      (core instance $i (instantiate $m))
      (func (export "write") (param "pages" u32) (param "stride" u32) (result u32)
        (canon lift (core func $i "write"))))"#;
    let lab = Lab::new(&[("w", write, "")]);
    for _ in 0..20 {
        for (pages, stride, initial) in [(3, 4096, 7), (50, 8192, 0), (900, 4096, 7)] {
            let found = lab.ok("w_write", json!({"pages": pages, "stride": stride})).await;
            assert_eq!(found, json!(initial), "{pages} pages, each {stride} bytes after the other");
        }
    }
}

#[tokio::test]
async fn memory_is_what_the_manifest_asks_for() {
    let grow = runs(
        r#"(memory 1)
        (func (export "run")
          (if (i32.eq (memory.grow (i32.const 1500)) (i32.const -1)) (then unreachable)))"#,
    );
    let small = "limits = {timeout_ms = 5000, output_bytes = 1000, memory_bytes = 1000000}";
    let large = "limits = {timeout_ms = 5000, output_bytes = 1000, memory_bytes = 200000000}";
    let lab = Lab::new(&[("small", &grow, small), ("usual", &grow, ""), ("large", &grow, large)]);
    assert!(lab.fault("small_run", json!({})).await.message.contains("more memory"));
    assert!(lab.fault("usual_run", json!({})).await.message.contains("more memory"));
    lab.ok("large_run", json!({})).await;
}

#[tokio::test]
async fn a_result_beyond_the_limit_is_an_error_and_costs_no_memory() {
    // A list of two hundred million elements that take no memory in the guest but would in the host.
    let list = |element: &str, count: u32| {
        format!(
            r#"(component
              (core module $m
                (memory (export "memory") 64)
                (func (export "many") (result i32)
                  (i32.store (i32.const 0) (i32.const 0))
                  (i32.store (i32.const 4) (i32.const {count}))
                  (i32.const 0)))
              (core instance $i (instantiate $m))
              (func (export "many") (result (list {element})) (canon lift (core func $i "many") (memory $i "memory"))))"#
        )
    };
    let (bools, strings, bytes) = (list("bool", 4_000_000), list("string", 400_000), list("u8", 3_000_000));
    let small = "limits = {timeout_ms = 20000, output_bytes = 100000}";
    let lab = Lab::new(&[("b", &bools, small), ("s", &strings, small), ("y", &bytes, small)]);
    for tool in ["b_many", "s_many", "y_many"] {
        let fault = lab.fault(tool, json!({})).await;
        assert_eq!(fault.code, Code::TOOL_FAILED);
        println!("{tool}: {fault}");
    }
}

/// A number as WebAssembly writes it.
fn leb(mut number: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let byte = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            out.push(byte);
            return out;
        }
        out.push(byte | 0x80);
    }
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id], leb(content.len()).as_slice(), content].concat()
}

/// A component that holds one core module with these sections.
fn component(sections: &[Vec<u8>]) -> Vec<u8> {
    let module = [b"\0asm\x01\0\0\0".as_slice(), &sections.concat()].concat();
    [b"\0asm\x0d\0\x01\0".as_slice(), &section(1, &module)].concat()
}

/// A vector of `count` equal items.
fn many(count: usize, item: &[u8]) -> Vec<u8> {
    [leb(count), item.repeat(count)].concat()
}

#[test]
fn what_would_take_long_to_compile_is_not_begun() {
    let one_type = section(1, &[1, 0x60, 0, 0]);
    let cases: [(&str, Vec<u8>, &str); 6] = [
        ("100 MB", component(&[section(0, &vec![0; 100 << 20])]), "bytes"),
        ("a million imports", component(&[one_type.clone(), section(2, &many(1_000_000, &[0, 0, 0, 0]))]), "imports"),
        (
            "200,000 functions",
            component(&[
                one_type.clone(),
                section(3, &many(200_000, &[0])),
                section(10, &many(200_000, &[2, 0, 0x0b])),
            ]),
            "functions",
        ),
        (
            "one huge function",
            component(&[one_type.clone(), section(3, &[1, 0]), {
                let body = [&[0], [0x01].repeat(600 << 10).as_slice(), &[0x0b]].concat();
                section(10, &[leb(1), leb(body.len()), body].concat())
            }]),
            "a function has",
        ),
        ("a million globals", component(&[section(6, &many(1_000_000, &[0x7f, 0, 0x41, 0, 0x0b]))]), "declarations"),
        ("nested components", nested(8), "nested deeper"),
    ];
    for (name, bytes, says) in cases {
        let begun = Instant::now();
        let why = refusal(&bytes);
        println!("{name}: {} ms, {why}", begun.elapsed().as_millis());
        assert!(why.contains(says), "{name}: {why}");
    }
}

fn nested(levels: usize) -> Vec<u8> {
    wasm(&format!("(component {} {})", "(component ".repeat(levels), ")".repeat(levels)))
}

#[test]
fn instances_that_multiply_are_refused() {
    let twice = "(instance (instantiate $c)) ".repeat(80);
    assert!(refusal(&wasm(&format!("(component (component $c) {twice})"))).contains("instances"));
}
