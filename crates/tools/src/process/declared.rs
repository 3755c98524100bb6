//! The manifests of the process tools.

use are_core::body::{Effect, Retry};
use are_core::ids::InvalidId;
use are_policy::manifest::{CallLimits, Manifest, Role};
use serde_json::{Value, json};

use super::started::WAIT_MS_MAX;
use crate::declare::{does, finds, intents, ours, roles, tool};
use crate::egress::Destinations;

/// Milliseconds that one command may take.
const TIMEOUT_MS_MAX: u64 = 600_000;
/// Milliseconds of the call beyond those of its command: what it changed is looked at.
const AFTERWARDS_MS: u64 = 10_000;
/// Elements of a command line; rules judge no more objects of a call.
const ARGV_MAX: usize = 64;
const TEXT_BYTES_MAX: usize = 256 << 10;

/// All of them. `is_whole` says that the cage holds everything that rules call contained, `egress` what commands may
/// reach of the network.
pub(crate) fn manifests(is_whole: bool, egress: &Destinations) -> Result<Vec<Manifest>, InvalidId> {
    let all =
        [process_run(egress)?, process_start()?, process_read()?, process_write()?, process_stop()?, process_list()?];
    let contained = |manifest: Manifest| {
        let is_contained = is_whole || manifest.effect == Effect::None;
        Manifest { is_contained, ..manifest }
    };
    Ok(all.into_iter().map(contained).collect())
}

fn command() -> Value {
    json!({
        "argv": {"type": "array", "items": {"type": "string", "maxLength": 131_072}, "minItems": 1, "maxItems": ARGV_MAX, "description": "program and arguments; no shell"},
        "shell": {"type": "string", "minLength": 1, "maxLength": 131_072, "description": "instead of argv: a line for /bin/sh -c"},
        "cwd": {"type": "string", "minLength": 1, "maxLength": 4_096, "description": "directory of the workspace; the workspace itself if absent"},
    })
}

fn with(mut properties: Value, more: Value) -> Value {
    if let (Some(all), Value::Object(more)) = (properties.as_object_mut(), more) {
        all.extend(more);
    }
    properties
}

fn id() -> Value {
    json!({"id": {"type": "integer", "minimum": 1, "maximum": 4_294_967_295_u32, "description": "number that process_start gave"}})
}

const COMMAND: [(&str, Role); 3] = [("argv", Role::Selector), ("shell", Role::Selector), ("cwd", Role::Selector)];

fn process_run(egress: &Destinations) -> Result<Manifest, InvalidId> {
    let network =
        if egress.is_empty() { "without network".to_owned() } else { format!("with network only to {egress}") };
    Ok(Manifest {
        effect: Effect::Modify,
        retry: Retry::AtMostOnce,
        args: roles(&[&COMMAND[..], &[("stdin", Role::Content), ("timeout_ms", Role::Time)]].concat()),
        output_fields: ours(&[
            "/exit_code",
            "/signal",
            "/ms",
            "/cpu_ms",
            "/max_rss_bytes",
            "/truncated",
            "/timed_out",
            "/stopped",
            "/held_back",
            "/memory_bytes_max",
            "/not_all_undoable",
        ]),
        intents: intents(
            &["run", "test", "build", "execute", "compile", "lint", "format", "check", "install", "fix"],
            &["运行", "测试", "构建", "执行", "编译", "格式化", "检查", "安装", "修复"],
        ),
        limits: CallLimits { timeout_ms: TIMEOUT_MS_MAX + AFTERWARDS_MS, ..CallLimits::default() },
        ..tool(
            "process_run",
            &format!("Run a command in the workspace, {network}, and wait for it. Give `argv` or `shell`."),
            with(
                command(),
                json!({
                    "stdin": {"type": "string", "maxLength": TEXT_BYTES_MAX, "description": "its input; empty if absent"},
                    "timeout_ms": {"type": "integer", "minimum": 1, "maximum": TIMEOUT_MS_MAX, "description": "killed after that, 120000 if absent"},
                }),
            ),
            &[],
            finds(
                "Run the tests",
                json!({"argv": ["cargo", "test"]}),
                "exit_code: 0, stdout: test result: ok. 12 passed",
                "All 12 tests pass.",
            ),
        )?
    })
}

fn process_start() -> Result<Manifest, InvalidId> {
    Ok(Manifest {
        effect: Effect::Modify,
        retry: Retry::AtMostOnce,
        args: roles(&COMMAND),
        output_fields: ours(&["/id"]),
        intents: intents(&["start", "serve", "watch", "run", "launch"], &["启动", "运行", "监视"]),
        ..tool(
            "process_start",
            "Start a command that goes on, such as a server. Read it with process_read, end it with process_stop.",
            command(),
            &[],
            does("Start the server", json!({"argv": ["npm", "start"]}), "The server runs as process 1."),
        )?
    })
}

fn process_read() -> Result<Manifest, InvalidId> {
    Ok(Manifest {
        effect: Effect::None,
        retry: Retry::Pure,
        args: roles(&[("id", Role::Option), ("after", Role::Option), ("wait_ms", Role::Option)]),
        output_fields: ours(&["/id", "/next", "/left_out", "/is_running", "/exit_code", "/signal", "/stopped"]),
        limits: CallLimits { timeout_ms: WAIT_MS_MAX + AFTERWARDS_MS, ..CallLimits::default() },
        ..tool(
            "process_read",
            "Read what a started process printed, from byte `after` on. Waits for more if asked.",
            with(
                id(),
                json!({
                    "after": {"type": "integer", "minimum": 0, "maximum": 9_007_199_254_740_991_i64, "description": "`next` of the read before; 0 if absent"},
                    "wait_ms": {"type": "integer", "minimum": 0, "maximum": WAIT_MS_MAX, "description": "how long to wait for output or the end"},
                }),
            ),
            &["id"],
            finds("What does process 1 say?", json!({"id": 1}), "listening on 3000", "It listens on port 3000."),
        )?
    })
}

fn process_write() -> Result<Manifest, InvalidId> {
    Ok(Manifest {
        effect: Effect::Modify,
        retry: Retry::AtMostOnce,
        args: roles(&[("id", Role::Option), ("text", Role::Selector), ("end", Role::Option)]),
        output_fields: ours(&["/id", "/bytes"]),
        intents: intents(&["type", "enter", "send", "answer", "write"], &["输入", "回答", "写"]),
        ..tool(
            "process_write",
            "Write to a started process's input.",
            with(
                id(),
                json!({
                    "text": {"type": "string", "maxLength": TEXT_BYTES_MAX, "description": "what it reads; end a line with a newline"},
                    "end": {"type": "boolean", "description": "close its input afterwards"},
                }),
            ),
            &["id", "text"],
            does("Type yes into process 1", json!({"id": 1, "text": "yes\n"}), "I typed yes."),
        )?
    })
}

fn process_stop() -> Result<Manifest, InvalidId> {
    Ok(Manifest {
        effect: Effect::Modify,
        retry: Retry::Idempotent,
        args: roles(&[("id", Role::Option)]),
        output_fields: ours(&["/id", "/exit_code", "/signal", "/stopped"]),
        intents: intents(&["stop", "end", "kill", "quit"], &["停止", "结束", "关闭"]),
        ..tool(
            "process_stop",
            "End a started process with all that it started.",
            id(),
            &["id"],
            does("Stop process 1", json!({"id": 1}), "Process 1 is stopped."),
        )?
    })
}

fn process_list() -> Result<Manifest, InvalidId> {
    Ok(Manifest {
        effect: Effect::None,
        retry: Retry::Pure,
        ..tool(
            "process_list",
            "List the processes that this session started.",
            json!({}),
            &[],
            finds("What runs?", json!({}), "1 npm start, running", "The server runs, as process 1."),
        )?
    })
}
