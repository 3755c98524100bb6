//! What a component reaches of the world: its output, and calls that are decided one by one.

use are_core::error::Code;
use are_policy::rules::{Profile, Rules};
use are_policy::tools::ToolOutcome;
use serde_json::json;

use crate::support::{Reply, Server, World};
use crate::wasm_support::{Lab, guest};

/// `wasi:cli/stdout` as a core function `write(pointer, length) -> 0 when it was taken`.
fn prints(body: &str) -> String {
    let imports = r#"
      (import "wasi:io/error@0.2.0" (instance $error (export "error" (type (sub resource)))))
      (alias export $error "error" (type $error-type))
      (import "wasi:io/streams@0.2.0" (instance $streams
        (alias outer 1 $error-type (type $e'))
        (export "output-stream" (type $os (sub resource)))
        (export "error" (type $e (eq $e')))
        (type $failure' (variant (case "last-operation-failed" (own $e)) (case "closed")))
        (export "stream-error" (type $failure (eq $failure')))
        (export "[method]output-stream.blocking-write-and-flush"
          (func (param "self" (borrow $os)) (param "contents" (list u8)) (result (result (error $failure)))))))
      (alias export $streams "output-stream" (type $stream))
      (import "wasi:cli/stdout@0.2.0" (instance $stdout
        (alias outer 1 $stream (type $s'))
        (export "output-stream" (type $s (eq $s')))
        (export "get-stdout" (func (result (own $s))))))"#;
    let lowered = r#"
      (core func $get (canon lower (func $stdout "get-stdout")))
      (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
        (memory $libc "memory")))
      (core instance $host (export "get" (func $get)) (export "write" (func $write)))"#;
    let module = format!(
        r#"(import "host" "get" (func $get (result i32)))
          (import "host" "write" (func $raw (param i32 i32 i32 i32)))
          (global $stdout (mut i32) (i32.const 0))
          (func $write (param i32 i32) (result i32)
            (call $raw (global.get $stdout) (local.get 0) (local.get 1) (i32.const 16))
            (i32.load8_u (i32.const 16)))
          {body}"#
    );
    guest(imports, lowered, &module)
}

#[tokio::test]
async fn output_arrives_in_whole_characters_and_steers_no_terminal() {
    // "é" in two writes, a bell, a clear screen, a carriage return, and half a character at the end.
    let text = prints(
        r#"(data (i32.const 64) "a\c3") (data (i32.const 70) "\a9\n\1b[2J\07\r\0ab\c2\9b\e2\82")
          (func (export "run") (result i32)
            (global.set $stdout (call $get))
            (drop (call $write (i32.const 64) (i32.const 2)))
            (call $write (i32.const 70) (i32.const 14)))"#,
    );
    let lab = Lab::new(&[("p", &text, "")]);
    assert_eq!(lab.ok("p_run", json!({})).await, json!(0));
    assert_eq!(lab.said("stdout"), "aé\n␛[2J␇\nb\u{fffd}\u{fffd}");
    assert!(lab.calls().is_empty());
}

#[tokio::test]
async fn a_gigabyte_of_output_ends_at_the_limit() {
    let text = prints(
        r#"(func (export "run") (result i32)
            (local $count i32)
            (global.set $stdout (call $get))
            (memory.fill (i32.const 1024) (i32.const 120) (i32.const 4096))
            (loop
              (if (call $write (i32.const 1024) (i32.const 4096)) (then (return (local.get $count))))
              (local.set $count (i32.add (local.get $count) (i32.const 1)))
              (br_if 0 (i32.lt_u (local.get $count) (i32.const 262144))))
            (i32.const -1))"#,
    );
    let lab = Lab::new(&[("p", &text, "")]);
    let written = lab.ok("p_run", json!({})).await;
    let said = lab.said("stdout");
    println!("{written} writes of 4096 bytes were taken, {} bytes arrived", said.len());
    assert_eq!(written, json!(256));
    assert!(said.len() < (1 << 20) + 100 && said.ends_with("[the rest of the output is left out]\n"));
}

/// `are:host` variables and log lines as core functions.
fn asks(body: &str) -> String {
    let imports = r#"
      (import "are:host/types@0.1.0" (instance $types
        (type $error' (record (field "code" string) (field "message" string)))
        (export "error" (type (eq $error')))))
      (alias export $types "error" (type $error))
      (import "are:host/variable@0.1.0" (instance $variable
        (alias outer 1 $error (type $e'))
        (export "error" (type $e (eq $e')))
        (export "get" (func (param "name" string) (result (result string (error $e)))))))
      (import "are:host/log@0.1.0" (instance $log
        (type $level' (enum "debug" "info" "warn" "error"))
        (export "level" (type $level (eq $level')))
        (export "write" (func (param "level" $level) (param "text" string)))))"#;
    let lowered = r#"
      (core func $get (canon lower (func $variable "get") (memory $libc "memory") (realloc (func $libc "realloc"))))
      (core func $say (canon lower (func $log "write") (memory $libc "memory")))
      (core instance $host (export "get" (func $get)) (export "say" (func $say)))"#;
    let module = format!(
        r#"(import "host" "get" (func $get (param i32 i32 i32)))
          (import "host" "say" (func $say (param i32 i32 i32)))
          (data (i32.const 64) "owner")
          {body}"#
    );
    guest(imports, lowered, &module)
}

#[tokio::test]
async fn host_functions_are_calls_that_are_counted() {
    let text = asks(
        r#"(func (export "run") (result i32)
            (local $refused i32) (local $n i32)
            (loop
              (call $get (i32.const 64) (i32.const 5) (i32.const 16))
              (local.set $n (i32.add (local.get $n) (i32.const 1)))
              (br_if 0 (i32.lt_u (local.get $n) (i32.const 1100))))
            (call $say (i32.const 2) (i32.load (i32.const 28)) (i32.load (i32.const 32)))
            (local.get $n))"#,
    );
    let lab = Lab::new(&[("a", &text, "")]);
    assert_eq!(lab.ok("a_run", json!({})).await, json!(1100));
    let calls = lab.calls();
    assert_eq!(calls.len(), 1000, "the budget of further calls");
    assert_eq!(calls[0], ("variable_get".to_owned(), json!({"name": "owner"})));
    assert!(lab.said("log").starts_with("warn: `variable_get` is not called"), "{}", lab.said("log"));
}

/// One function on files: `read(path) -> result<string, u8>`, and `write(path, text) -> result<_, u8>`.
const FILES: &str = r#"(component
  (import "wasi:filesystem/types@0.2.0" (instance $types
    (export "descriptor" (type $d (sub resource)))
    (type $pf' (flags "symlink-follow")) (export "path-flags" (type $pf (eq $pf')))
    (type $of' (flags "create" "directory" "exclusive" "truncate")) (export "open-flags" (type $of (eq $of')))
    (type $df' (flags "read" "write" "file-integrity-sync" "data-integrity-sync" "requested-write-sync" "mutate-directory"))
    (export "descriptor-flags" (type $df (eq $df')))
    (type $ec' (enum "access" "would-block" "already" "bad-descriptor" "busy" "deadlock" "quota" "exist"
      "file-too-large" "illegal-byte-sequence" "in-progress" "interrupted" "invalid" "io" "is-directory" "loop"
      "too-many-links" "message-size" "name-too-long" "no-device" "no-entry" "no-lock" "insufficient-memory"
      "insufficient-space" "not-directory" "not-empty" "not-recoverable" "unsupported" "no-tty" "no-such-device"
      "overflow" "not-permitted" "pipe" "read-only" "invalid-seek" "text-file-busy" "cross-device"))
    (export "error-code" (type $ec (eq $ec')))
    (export "[method]descriptor.open-at" (func (param "self" (borrow $d)) (param "path-flags" $pf)
      (param "path" string) (param "open-flags" $of) (param "flags" $df) (result (result (own $d) (error $ec)))))
    (export "[method]descriptor.read" (func (param "self" (borrow $d)) (param "length" u64) (param "offset" u64)
      (result (result (tuple (list u8) bool) (error $ec)))))
    (export "[method]descriptor.write" (func (param "self" (borrow $d)) (param "buffer" (list u8)) (param "offset" u64)
      (result (result u64 (error $ec)))))))
  (alias export $types "descriptor" (type $descriptor))
  (import "wasi:filesystem/preopens@0.2.0" (instance $preopens
    (alias outer 1 $descriptor (type $d'))
    (export "descriptor" (type $d (eq $d')))
    (export "get-directories" (func (result (list (tuple (own $d) string)))))))
  (core module $libc
    (memory (export "memory") 64)
    (global $next (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (global.set $next (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
      (local.set $at (global.get $next))
      (global.set $next (i32.add (global.get $next) (local.get 3)))
      (local.get $at)))
  (core instance $libc (instantiate $libc))
  (core func $roots (canon lower (func $preopens "get-directories") (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core func $open (canon lower (func $types "[method]descriptor.open-at") (memory $libc "memory")))
  (core func $read (canon lower (func $types "[method]descriptor.read") (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core func $write (canon lower (func $types "[method]descriptor.write") (memory $libc "memory")))
  (core func $drop (canon resource.drop $descriptor))
  (core module $m
    (import "libc" "memory" (memory 64))
    (import "host" "roots" (func $roots (param i32)))
    (import "host" "open" (func $open (param i32 i32 i32 i32 i32 i32 i32)))
    (import "host" "read" (func $read (param i32 i64 i64 i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i64 i32)))
    (import "host" "drop" (func $drop (param i32)))
    ;; The only directory; 99 as the error when there is none. Answers stand at 16, the result at 128.
    (func $root (result i32)
      (call $roots (i32.const 16))
      (if (i32.eqz (i32.load (i32.const 20))) (then (return (i32.const -1))))
      (i32.load (i32.load (i32.const 16))))
    (func $none (result i32)
      (i32.store8 (i32.const 128) (i32.const 1))
      (i32.store8 (i32.const 132) (i32.const 99))
      (i32.store8 (i32.const 129) (i32.const 99))
      (i32.const 128))
    (func $failed (param $code i32) (result i32)
      (i32.store8 (i32.const 128) (i32.const 1))
      (i32.store8 (i32.const 132) (local.get $code))
      (i32.store8 (i32.const 129) (local.get $code))
      (i32.const 128))
    (func (export "read") (param i32 i32) (result i32)
      (local $root i32)
      (local.set $root (call $root))
      (if (i32.eq (local.get $root) (i32.const -1)) (then (return (call $none))))
      (call $open (local.get $root) (i32.const 1) (local.get 0) (local.get 1) (i32.const 0) (i32.const 1) (i32.const 16))
      (if (i32.load8_u (i32.const 16)) (then (return (call $failed (i32.load8_u (i32.const 20))))))
      (call $read (i32.load (i32.const 20)) (i64.const 65536) (i64.const 0) (i32.const 32))
      (if (i32.load8_u (i32.const 32)) (then (return (call $failed (i32.load8_u (i32.const 36))))))
      (i32.store8 (i32.const 128) (i32.const 0))
      (i64.store align=4 (i32.const 132) (i64.load align=4 (i32.const 36)))
      (i32.const 128))
    (func (export "write") (param i32 i32 i32 i32) (result i32)
      (local $root i32)
      (local.set $root (call $root))
      (if (i32.eq (local.get $root) (i32.const -1)) (then (return (call $none))))
      (call $open (local.get $root) (i32.const 1) (local.get 0) (local.get 1) (i32.const 9) (i32.const 2) (i32.const 16))
      (if (i32.load8_u (i32.const 16)) (then (return (call $failed (i32.load8_u (i32.const 20))))))
      (call $write (i32.load (i32.const 20)) (local.get 2) (local.get 3) (i64.const 0) (i32.const 32))
      (if (i32.load8_u (i32.const 32)) (then (return (call $failed (i32.load8_u (i32.const 40))))))
      (call $drop (i32.load (i32.const 20)))
      (i32.store8 (i32.const 128) (i32.const 0))
      (i32.const 128)))
  (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "host" (instance
    (export "roots" (func $roots)) (export "open" (func $open)) (export "read" (func $read))
    (export "write" (func $write)) (export "drop" (func $drop))))))
  (func (export "read") (param "path" string) (result (result string (error u8)))
    (canon lift (core func $i "read") (memory $libc "memory") (realloc (func $libc "realloc"))))
  (func (export "write") (param "path" string) (param "text" string) (result (result (error u8)))
    (canon lift (core func $i "write") (memory $libc "memory") (realloc (func $libc "realloc")))))"#;

#[tokio::test]
async fn files_are_reached_through_the_file_tools() {
    let lab = Lab::new(&[("f", FILES, "")]);
    lab.world.write("notes.txt", "hello");
    assert_eq!(lab.ok("f_read", json!({"path": "notes.txt"})).await, json!("hello"));
    lab.ok("f_write", json!({"path": "sub/new.txt", "text": "naïve"})).await;
    assert_eq!(lab.world.read("sub/new.txt"), "naïve");
    lab.ok("f_write", json!({"path": "notes.txt", "text": "changed"})).await;
    assert_eq!(lab.world.read("notes.txt"), "changed");
    let tools: Vec<String> = lab.calls().into_iter().map(|(tool, _)| tool).collect();
    assert_eq!(tools, ["fs_stat", "fs_read", "fs_stat", "fs_write", "fs_stat", "fs_write"]);
}

#[tokio::test]
async fn a_manifest_narrows_what_files_are_reached() {
    let none = "capabilities = {http = [\"example.com\"]}";
    let read = "capabilities = {fs = \"read\"}";
    let lab = Lab::new(&[("none", FILES, none), ("reads", FILES, read)]);
    lab.world.write("notes.txt", "hello");
    for (tool, args, says) in [
        ("none_read", json!({"path": "notes.txt"}), "99"),
        ("none_write", json!({"path": "notes.txt", "text": "x"}), "99"),
        ("reads_write", json!({"path": "notes.txt", "text": "x"}), "33"),
    ] {
        let fault = lab.fault(tool, args).await;
        assert!(fault.message.ends_with(says), "{tool}: {fault}");
    }
    assert_eq!(lab.ok("reads_read", json!({"path": "notes.txt"})).await, json!("hello"));
    assert_eq!(lab.world.read("notes.txt"), "hello");
}

#[tokio::test]
async fn no_path_leads_a_component_outside_the_workspace() {
    let lab = Lab::new(&[("f", FILES, "")]);
    std::fs::write(lab.world.root.path().join("secret.txt"), "secret").expect("secret");
    std::os::unix::fs::symlink("../secret.txt", lab.world.path("link")).expect("link");
    std::os::unix::fs::symlink("..", lab.world.path("up")).expect("link");
    for path in ["../secret.txt", "link", "up/secret.txt", "/etc/passwd", "sub/../../secret.txt", "\u{0}", ""] {
        let fault = lab.fault("f_read", json!({"path": path})).await;
        assert_eq!(fault.code, Code::TOOL_FAILED, "{path:?}: {fault}");
        let fault = lab.fault("f_write", json!({"path": path, "text": "x"})).await;
        println!("{path:?}: {fault}");
    }
    assert_eq!(std::fs::read_to_string(lab.world.root.path().join("secret.txt")).expect("secret"), "secret");
}

#[tokio::test]
async fn rules_about_paths_hold_for_what_a_component_does() {
    let mut world = World::new();
    let keep = r#"
        @id("all") permit(principal, action, resource);
        @id("keep") forbid(principal, action, resource == Tool::"fs_write") when { context has object && context.object like ".git/*" };
        @id("hide") forbid(principal, action, resource == Tool::"fs_read") when { context has object && context.object like "private/*" };"#;
    world.rules = Rules::new(Profile::Observe, &[("keep.cedar".to_owned(), keep.to_owned())]).expect("rules");
    let lab = Lab::with(&[("f", FILES, "")], world);
    lab.world.write(".git/config", "[core]");
    lab.world.write("private/key", "secret");
    let fault = lab.fault("f_read", json!({"path": "private/key"})).await;
    assert!(fault.message.ends_with("failed: 0"), "{fault}");
    let outcome = lab.run_within("f_write", json!({"path": ".git/config", "text": "[alias]"}), 10_000).await;
    let ToolOutcome::Failed { fault, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(fault.code, Code::DENIED, "a file that could not be written fails the call: {fault}");
    assert_eq!(lab.world.read(".git/config"), "[core]");
}

#[tokio::test]
async fn content_that_is_no_text_is_told_as_such() {
    let lab = Lab::new(&[("f", FILES, "")]);
    lab.world.write("image", [0xff, 0, 1]);
    assert!(lab.fault("f_read", json!({"path": "image"})).await.message.ends_with("failed: 9"));
    assert!(lab.fault("f_read", json!({"path": "missing"})).await.message.ends_with("failed: 20"));
    let large = "x".repeat(300 << 10);
    lab.world.write("large", &large);
    let read = lab.ok("f_read", json!({"path": "large"})).await;
    assert_eq!(read.as_str().map(str::len), Some(64 << 10), "one read gives a part, as in POSIX");
}

/// `fetch(authority) -> status, or 1000 + the number of the error`.
const FETCH: &str = r#"(component
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $p (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $p))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:http/types@0.2.0" (instance $types
    (alias outer 1 $pollable (type $p'))
    (export "pollable" (type $p (eq $p')))
    (export "fields" (type $fields (sub resource)))
    (export "headers" (type $headers (eq $fields)))
    (export "outgoing-request" (type $request (sub resource)))
    (export "request-options" (type $options (sub resource)))
    (export "incoming-response" (type $response (sub resource)))
    (export "future-incoming-response" (type $future (sub resource)))
    (type $scheme' (variant (case "HTTP") (case "HTTPS") (case "other" string)))
    (export "scheme" (type $scheme (eq $scheme')))
    (type $dns' (record (field "rcode" (option string)) (field "info-code" (option u16))))
    (export "DNS-error-payload" (type $dns (eq $dns')))
    (type $tls' (record (field "alert-id" (option u8)) (field "alert-message" (option string))))
    (export "TLS-alert-received-payload" (type $tls (eq $tls')))
    (type $size' (record (field "field-name" (option string)) (field "field-size" (option u32))))
    (export "field-size-payload" (type $size (eq $size')))
    (type $code' (variant (case "DNS-timeout") (case "DNS-error" $dns) (case "destination-not-found")
      (case "destination-unavailable") (case "destination-IP-prohibited") (case "destination-IP-unroutable")
      (case "connection-refused") (case "connection-terminated") (case "connection-timeout")
      (case "connection-read-timeout") (case "connection-write-timeout") (case "connection-limit-reached")
      (case "TLS-protocol-error") (case "TLS-certificate-error") (case "TLS-alert-received" $tls)
      (case "HTTP-request-denied") (case "HTTP-request-length-required") (case "HTTP-request-body-size" (option u64))
      (case "HTTP-request-method-invalid") (case "HTTP-request-URI-invalid") (case "HTTP-request-URI-too-long")
      (case "HTTP-request-header-section-size" (option u32)) (case "HTTP-request-header-size" (option $size))
      (case "HTTP-request-trailer-section-size" (option u32)) (case "HTTP-request-trailer-size" $size)
      (case "HTTP-response-incomplete") (case "HTTP-response-header-section-size" (option u32))
      (case "HTTP-response-header-size" $size) (case "HTTP-response-body-size" (option u64))
      (case "HTTP-response-trailer-section-size" (option u32)) (case "HTTP-response-trailer-size" $size)
      (case "HTTP-response-transfer-coding" (option string)) (case "HTTP-response-content-coding" (option string))
      (case "HTTP-response-timeout") (case "HTTP-upgrade-failed") (case "HTTP-protocol-error") (case "loop-detected")
      (case "configuration-error") (case "internal-error" (option string))))
    (export "error-code" (type $code (eq $code')))
    (export "[constructor]fields" (func (result (own $fields))))
    (export "[constructor]outgoing-request" (func (param "headers" (own $headers)) (result (own $request))))
    (export "[method]outgoing-request.set-scheme" (func (param "self" (borrow $request)) (param "scheme" (option $scheme)) (result (result))))
    (export "[method]outgoing-request.set-authority" (func (param "self" (borrow $request)) (param "authority" (option string)) (result (result))))
    (export "[method]outgoing-request.set-path-with-query" (func (param "self" (borrow $request)) (param "path-with-query" (option string)) (result (result))))
    (export "[method]future-incoming-response.subscribe" (func (param "self" (borrow $future)) (result (own $p))))
    (export "[method]future-incoming-response.get" (func (param "self" (borrow $future))
      (result (option (result (result (own $response) (error $code)))))))
    (export "[method]incoming-response.status" (func (param "self" (borrow $response)) (result u16)))))
  (alias export $types "outgoing-request" (type $request))
  (alias export $types "request-options" (type $options))
  (alias export $types "future-incoming-response" (type $future))
  (alias export $types "error-code" (type $code))
  (import "wasi:http/outgoing-handler@0.2.0" (instance $handler
    (alias outer 1 $request (type $r')) (export "outgoing-request" (type $r (eq $r')))
    (alias outer 1 $options (type $o')) (export "request-options" (type $o (eq $o')))
    (alias outer 1 $future (type $f')) (export "future-incoming-response" (type $f (eq $f')))
    (alias outer 1 $code (type $c')) (export "error-code" (type $c (eq $c')))
    (export "handle" (func (param "request" (own $r)) (param "options" (option (own $o))) (result (result (own $f) (error $c)))))))
  (core module $libc
    (memory (export "memory") 64)
    (global $next (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (global.set $next (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
      (local.set $at (global.get $next))
      (global.set $next (i32.add (global.get $next) (local.get 3)))
      (local.get $at)))
  (core instance $libc (instantiate $libc))
  (core func $fields (canon lower (func $types "[constructor]fields")))
  (core func $new (canon lower (func $types "[constructor]outgoing-request")))
  (core func $scheme (canon lower (func $types "[method]outgoing-request.set-scheme") (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core func $authority (canon lower (func $types "[method]outgoing-request.set-authority") (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core func $path (canon lower (func $types "[method]outgoing-request.set-path-with-query") (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core func $subscribe (canon lower (func $types "[method]future-incoming-response.subscribe")))
  (core func $get (canon lower (func $types "[method]future-incoming-response.get") (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core func $status (canon lower (func $types "[method]incoming-response.status")))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core func $handle (canon lower (func $handler "handle") (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core module $m
    (import "libc" "memory" (memory 64))
    (import "host" "fields" (func $fields (result i32)))
    (import "host" "new" (func $new (param i32) (result i32)))
    (import "host" "scheme" (func $scheme (param i32 i32 i32 i32 i32) (result i32)))
    (import "host" "authority" (func $authority (param i32 i32 i32 i32) (result i32)))
    (import "host" "path" (func $path (param i32 i32 i32 i32) (result i32)))
    (import "host" "subscribe" (func $subscribe (param i32) (result i32)))
    (import "host" "get" (func $get (param i32 i32)))
    (import "host" "status" (func $status (param i32) (result i32)))
    (import "host" "block" (func $block (param i32)))
    (import "host" "handle" (func $handle (param i32 i32 i32 i32)))
    (data (i32.const 48) "/")
    (func (export "fetch") (param i32 i32) (result i32)
      (local $request i32) (local $future i32)
      (local.set $request (call $new (call $fields)))
      (drop (call $scheme (local.get $request) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)))
      (if (call $authority (local.get $request) (i32.const 1) (local.get 0) (local.get 1)) (then (return (i32.const 2000))))
      (drop (call $path (local.get $request) (i32.const 1) (i32.const 48) (i32.const 1)))
      (call $handle (local.get $request) (i32.const 0) (i32.const 0) (i32.const 64))
      (if (i32.load8_u (i32.const 64)) (then (return (i32.add (i32.const 1000) (i32.load8_u (i32.const 72))))))
      (local.set $future (i32.load (i32.const 72)))
      (call $block (call $subscribe (local.get $future)))
      (call $get (local.get $future) (i32.const 128))
      (if (i32.load8_u (i32.const 144)) (then (return (i32.add (i32.const 1000) (i32.load8_u (i32.const 152))))))
      (call $status (i32.load (i32.const 152)))))
  (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "host" (instance
    (export "fields" (func $fields)) (export "new" (func $new)) (export "scheme" (func $scheme))
    (export "authority" (func $authority)) (export "path" (func $path)) (export "subscribe" (func $subscribe)) (export "get" (func $get))
    (export "status" (func $status)) (export "block" (func $block)) (export "handle" (func $handle))))))
  (func (export "fetch") (param "authority" string) (result u32)
    (canon lift (core func $i "fetch") (memory $libc "memory") (realloc (func $libc "realloc")))))"#;

#[tokio::test]
async fn requests_pass_the_one_guard_of_addresses() {
    let server = Server::start(|_| Reply::ok("text/plain", "hello")).await;
    let lab = Lab::new(&[("h", FETCH, "")]);
    // 4 is `destination-IP-prohibited`.
    for authority in [server.grant(), "127.0.0.1:1".to_owned(), "[::1]:80".to_owned(), "169.254.169.254".to_owned()] {
        assert_eq!(lab.ok("h_fetch", json!({"authority": authority})).await, json!(1004), "{authority}");
    }
    assert!(server.heard().is_empty());
    let granted = Lab::with(&[("h", FETCH, "")], World::granting(&[server.grant()]));
    assert_eq!(granted.ok("h_fetch", json!({"authority": server.grant()})).await, json!(200));
    assert_eq!(granted.calls()[0].0, "http_request");
    assert_eq!(server.heard().len(), 1);
}

#[tokio::test]
async fn a_manifest_narrows_what_hosts_are_asked() {
    let server = Server::start(|_| Reply::ok("text/plain", "hello")).await;
    let declared = format!("capabilities = {{http = [\"*.example.com\", \"{}\"]}}", server.grant());
    let nothing = "capabilities = {http = [\"*.example.com\", \"127.0.0.1\"]}";
    let lab = Lab::with(&[("h", FETCH, &declared), ("n", FETCH, nothing)], World::granting(&[server.grant()]));
    assert_eq!(lab.ok("h_fetch", json!({"authority": server.grant()})).await, json!(200));
    // 15 is `HTTP-request-denied`.
    assert_eq!(lab.ok("n_fetch", json!({"authority": server.grant()})).await, json!(1015), "another port");
    assert_eq!(lab.ok("h_fetch", json!({"authority": "example.com"})).await, json!(1015));
    assert_eq!(lab.calls().len(), 1, "what is not declared is not even asked");
}
