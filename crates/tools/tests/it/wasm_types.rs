//! Every WIT type goes in and out, and says in its schema what it takes.

use are_core::body::{Effect, Retry};
use are_core::error::Code;
use are_policy::tools::Tools as _;
use serde_json::{Value, json};

use crate::wasm_support::{ECHO, Lab, refusal, wasm};

/// WIT types with the core function that gives them back, and values that must come back as they went in.
fn types() -> Vec<(&'static str, &'static str, Vec<Value>)> {
    vec![
        ("bool", "i32", vec![json!(true), json!(false)]),
        ("s8", "i32", vec![json!(-128), json!(127)]),
        ("u8", "i32", vec![json!(0), json!(255)]),
        ("s16", "i32", vec![json!(-32768), json!(32767)]),
        ("u16", "i32", vec![json!(65535)]),
        ("s32", "i32", vec![json!(i32::MIN), json!(i32::MAX)]),
        ("u32", "i32", vec![json!(u32::MAX)]),
        (
            "s64",
            "i64",
            vec![json!(-9_007_199_254_740_991_i64), json!(i64::MIN.to_string()), json!(i64::MAX.to_string())],
        ),
        ("u64", "i64", vec![json!(0), json!(9_007_199_254_740_991_u64), json!(u64::MAX.to_string())]),
        ("float32", "f32", vec![json!(0.1), json!(-2.5), json!("NaN"), json!("-Infinity")]),
        ("float64", "f64", vec![json!(0.1), json!(1e300), json!("Infinity")]),
        ("char", "i32", vec![json!("a"), json!("é"), json!("𝄞")]),
        ("string", "pair", vec![json!(""), json!("naïve 𝄞\n")]),
        ("(list u8)", "pair", vec![json!(""), json!("AP+A")]),
        ("(list u16)", "pair", vec![json!([]), json!([1, 65535])]),
        ("(list (list string))", "pair", vec![json!([["a", "b"], []])]),
        ("(list (tuple u8 string bool))", "pair", vec![json!([[1, "x", true]])]),
        ("(list (option u32))", "pair", vec![json!([null, 7])]),
        ("(list (option (option string)))", "pair", vec![json!([null, {"some": null}, {"some": "x"}])]),
        ("(list (result u32 (error string)))", "pair", vec![json!([{"ok": 1}, {"err": "no"}])]),
        ("(list (result))", "pair", vec![json!([{"ok": null}, {"err": null}])]),
        ("$color", "i32", vec![json!("red"), json!("dark-blue")]),
        ("$rights", "i32", vec![json!([]), json!(["read", "run-it"])]),
        ("(list $point)", "pair", vec![json!([{"x": 1.5, "label": "a"}, {"x": 0.0, "label": null}])]),
        ("(list $shape)", "pair", vec![json!([{"dot": null}, {"circle": 2.5}, {"at": {"x": 1.0, "label": "b"}}])]),
    ]
}

/// The text of a component that gives back a value of each type.
fn echo() -> String {
    let function = |(index, (kind, core, _)): (usize, (&str, &str, Vec<Value>))| {
        format!(
            r#"(func (export "echo-{index}") (param "value" {kind}) (result {kind})
                (canon lift (core func $i "{core}") (memory $i "memory") (realloc (func $i "realloc"))))"#
        )
    };
    let functions: String = types().into_iter().enumerate().map(function).collect();
    format!(
        r#"(component {ECHO}
          (type $color' (enum "red" "dark-blue")) (import "color" (type $color (eq $color')))
          (type $rights' (flags "read" "write" "run-it")) (import "rights" (type $rights (eq $rights')))
          (type $point' (record (field "x" float64) (field "label" (option string))))
          (import "point" (type $point (eq $point')))
          (type $shape' (variant (case "dot") (case "circle" float32) (case "at" $point)))
          (import "shape" (type $shape (eq $shape')))
          {functions})"#
    )
}

#[tokio::test]
async fn every_type_goes_in_and_comes_out_as_it_was() {
    let lab = Lab::new(&[("t", &echo(), "")]);
    let mut count = 0;
    for (index, (kind, _, values)) in types().into_iter().enumerate() {
        for value in values {
            let back = lab.ok(&format!("t_echo_{index}"), json!({"value": value})).await;
            assert_eq!(back, value, "{kind}");
            count += 1;
        }
    }
    println!("{count} values of {} types", types().len());
    assert!(count >= 40);
}

#[tokio::test]
async fn what_does_not_fit_a_type_is_refused_before_it_runs() {
    let lab = Lab::new(&[("t", &echo(), "")]);
    for (index, value) in [
        (1, json!(128)),
        (1, json!("1")),
        (2, json!(-1)),
        (2, json!(1.5)),
        (7, json!("9223372036854775808")),
        (8, json!("-1")),
        (11, json!("ab")),
        (13, json!("no base64!")),
        (13, json!([256])),
        (16, json!([[1, "x"]])),
        (19, json!([{"ok": 1, "err": "no"}])),
        (21, json!("green")),
        (22, json!(["fly"])),
        (23, json!([{"label": "x"}])),
        (23, json!([{"x": 1.0, "y": 2.0}])),
        (24, json!([{"square": 1}])),
        (24, json!([{}])),
        (24, json!([{"dot": 1}])),
    ] {
        let fault = lab.fault(&format!("t_echo_{index}"), json!({"value": value})).await;
        assert_eq!(fault.code, Code::TOOL_ARGS, "{index} {value}: {fault}");
    }
}

#[tokio::test]
async fn bytes_may_be_given_as_numbers_and_options_may_be_left_out() {
    let lab = Lab::new(&[("t", &echo(), "")]);
    assert_eq!(lab.ok("t_echo_13", json!({"value": [0, 255, 128]})).await, json!("AP+A"));
    assert_eq!(lab.ok("t_echo_23", json!({"value": [{"x": 1}]})).await, json!([{"x": 1.0, "label": null}]));
}

#[test]
fn a_schema_says_what_its_function_takes() {
    let lab = Lab::new(&[("t", &echo(), "")]);
    let property = |index: usize| lab.manifest(&format!("t_echo_{index}")).schema["properties"]["value"].clone();
    assert_eq!(property(1), json!({"type": "integer", "minimum": -128, "maximum": 127}));
    assert_eq!(property(8)["type"], json!(["integer", "string"]));
    assert_eq!(property(21), json!({"type": "string", "enum": ["red", "dark-blue"]}));
    let point = &property(23)["items"];
    assert_eq!(point["required"], json!(["x"]));
    assert_eq!(point["properties"]["label"]["type"], json!(["string", "null"]));
    let shape = &property(24)["items"];
    assert_eq!((&shape["maxProperties"], &shape["properties"]["dot"]), (&json!(1), &json!({"type": "null"})));
}

#[test]
fn a_component_that_imports_nothing_has_no_effect_and_any_other_the_worst() {
    let lab = Lab::new(&[("t", &echo(), "")]);
    let manifest = lab.manifest("t_echo_0");
    assert_eq!((manifest.effect, manifest.retry), (Effect::None, Retry::Pure));
    let reaching = r#"(component
      (import "are:host/variable@0.1.0" (instance))
      (core module $m (func (export "run")))
      (core instance $i (instantiate $m))
      (func (export "run") (canon lift (core func $i "run"))))"#;
    let lab = Lab::new(&[("r", reaching, "")]);
    assert_eq!(lab.manifest("r_run").effect, Effect::Credential);
}

/// `checked: func(n: u32) -> result<u32, string>`: an error for zero.
const CHECKED: &str = r#"(component
  (core module $m
    (memory (export "memory") 1)
    (data (i32.const 64) "zero is not allowed")
    (func (export "checked") (param i32) (result i32)
      (if (i32.eqz (local.get 0))
        (then
          (i32.store8 (i32.const 0) (i32.const 1))
          (i32.store (i32.const 4) (i32.const 64))
          (i32.store (i32.const 8) (i32.const 19)))
        (else
          (i32.store8 (i32.const 0) (i32.const 0))
          (i32.store (i32.const 4) (local.get 0))))
      (i32.const 0)))
  (core instance $i (instantiate $m))
  (func (export "checked") (param "n" u32) (result (result u32 (error string)))
    (canon lift (core func $i "checked") (memory $i "memory"))))"#;

#[tokio::test]
async fn an_error_of_a_function_is_an_error_of_the_tool() {
    let lab = Lab::new(&[("c", CHECKED, "")]);
    assert_eq!(lab.ok("c_checked", json!({"n": 5})).await, json!(5));
    let fault = lab.fault("c_checked", json!({"n": 0})).await;
    assert_eq!(fault.code, Code::TOOL_FAILED);
    assert!(fault.message.contains("zero is not allowed"), "{fault}");
}

#[tokio::test]
async fn functions_of_exported_interfaces_are_tools_with_the_words_of_their_author() {
    let text = r#"(component
      (core module $m (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))
      (core instance $i (instantiate $m))
      (func $add (param "left" u32) (param "right" u32) (result u32) (canon lift (core func $i "add")))
      (instance $sums (export "addUp" (func $add)))
      (export "acme:math/sums@1.2.0" (instance $sums)))"#;
    let lab = Lab::new(&[("my-Calc", &text.replace("addUp", "add-up"), "")]);
    assert_eq!(lab.ok("my_calc_sums_add_up", json!({"left": 2, "right": 3})).await, json!(5));
    let documented = r#"(component
      (core module $m (func (export "run")))
      (core instance $i (instantiate $m))
      (func (export "run") (canon lift (core func $i "run")))
      (@custom "package-docs" "\01{\"worlds\":{\"root\":{\"func_exports\":{\"run\":{\"docs\":\"Does nothing, well.\"}}}}}"))"#;
    let lab = Lab::new(&[("d", documented, "")]);
    assert_eq!(lab.manifest("d_run").description, "Does nothing, well.");
}

/// A function that takes a handle, beside others.
fn pollable(others: &str) -> String {
    format!(
        r#"(component
          (import "wasi:io/poll@0.2.0" (instance $poll (export "pollable" (type (sub resource)))))
          (alias export $poll "pollable" (type $p))
          (core module $m (func (export "wait") (param i32)) (func (export "fine")))
          (core instance $i (instantiate $m))
          (func (export "wait") (param "on" (own $p)) (canon lift (core func $i "wait")))
          {others})"#
    )
}

#[tokio::test]
async fn a_function_that_cannot_be_a_tool_leaves_the_others_served() {
    let text = pollable(r#"(func (export "fine") (canon lift (core func $i "fine")))"#);
    let lab = Lab::new(&[("h", &text, "")]);
    assert_eq!(lab.ok("h_fine", json!({})).await, Value::Null);
    assert!(lab.world.registry.snapshot().get("h_wait").is_none());
}

#[test]
fn what_cannot_be_a_tool_is_refused_with_the_reason() {
    let why = refusal(&wasm(&pollable("")));
    assert!(why.contains("`wait`") && why.contains("JSON cannot carry"), "{why}");
    assert!(refusal(&wasm("(module)")).contains("core module"));
    assert!(refusal(&wasm("(component)")).contains("exports none"));
    assert!(refusal(b"no wasm at all").contains("not WebAssembly"));
    let missing = r#"(component (import "acme:x/y@1.0.0" (instance (export "f" (func)))) )"#;
    assert!(refusal(&wasm(missing)).contains("needs what is not given"));
}

/// As compilers of whole languages make them: everything of WASI is imported, sockets that share the types of
/// `wasi:io` included, whether it is used or not.
#[tokio::test]
async fn unused_sockets_are_no_hindrance_and_used_ones_end_the_call() {
    let component = r#"(component
      (import "wasi:io/poll@0.2.9" (instance $poll (export "pollable" (type (sub resource)))))
      (alias export $poll "pollable" (type $pollable))
      (import "wasi:sockets/network@0.2.9" (instance $network (export "network" (type (sub resource)))))
      (alias export $network "network" (type $network-type))
      (import "wasi:sockets/instance-network@0.2.9" (instance $instance
        (alias outer 1 $network-type (type $of-network))
        (export "network" (type (eq $of-network)))
        (export "instance-network" (func (result (own 0))))))
      (import "wasi:sockets/udp@0.2.9" (instance $udp
        (alias outer 1 $pollable (type $of-poll))
        (export "pollable" (type $shared (eq $of-poll)))
        (export "udp-socket" (type $socket (sub resource)))
        (export "[method]udp-socket.subscribe" (func (param "self" (borrow $socket)) (result (own $shared))))))
      (core func $open (canon lower (func $instance "instance-network")))
      (core module $m
        (import "net" "open" (func $open (result i32)))
        (func (export "seven") (result i32) i32.const 7)
        (func (export "open") (result i32) call $open))
      (core instance $i (instantiate $m (with "net" (instance (export "open" (func $open))))))
      (func (export "seven") (result u32) (canon lift (core func $i "seven")))
      (func (export "open") (result u32) (canon lift (core func $i "open"))))"#;
    let lab = Lab::new(&[("net", component, "")]);
    assert_eq!(lab.ok("net_seven", json!({})).await, json!(7));
    let fault = lab.fault("net_open", json!({})).await;
    assert!(fault.message.contains("there are no sockets"), "{}", fault.message);
}
