//! Tools that make calls of their own, as their arguments say.

use are_core::body::{Effect, Retry};
use are_core::label::{Confidentiality, Integrity, Label, Labels};
use are_policy::manifest::{Capabilities, FileAccess, Manifest};
use are_policy::tools::{Host, ToolOutcome};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::manifest;

const NAMES: [&str; 5] = ["nest", "pure_nest", "again_nest", "deep_nest", "narrow_nest"];

pub(super) fn is_one(tool: &str) -> bool {
    NAMES.contains(&tool)
}

pub(super) fn manifests() -> impl Iterator<Item = Manifest> {
    NAMES.into_iter().map(|name| match name {
        "pure_nest" => manifest(name, Effect::None, Retry::Pure, true),
        "again_nest" => manifest(name, Effect::Modify, Retry::Idempotent, true),
        "narrow_nest" => Manifest {
            capabilities: Some(Capabilities {
                fs: FileAccess::Read,
                http: vec!["example.org".to_owned()],
                commands: vec!["cargo *".to_owned()],
                ..Capabilities::default()
            }),
            ..manifest(name, Effect::Send, Retry::AtMostOnce, false)
        },
        _ => manifest(name, Effect::Send, Retry::AtMostOnce, false),
    })
}

/// Vouches for everything, so that whatever taints its answer comes from what it called.
pub(super) async fn run(tool: &str, x: &Value, host: &dyn Host, leave: &Semaphore) -> ToolOutcome {
    let calls = x["calls"].as_array().cloned().unwrap_or_default();
    let making = async {
        if x["together"] == true {
            return join_all(calls.iter().map(|call| make(call, host))).await;
        }
        let mut made = Vec::new();
        for call in &calls {
            made.push(make(call, host).await);
        }
        made
    };
    let made = if x["leaves"] == true {
        tokio::select! {
            made = making => made,
            // The gate is never closed.
            left = leave.acquire() => {
                left.into_iter().for_each(tokio::sync::SemaphorePermit::forget);
                vec![json!("left")]
            }
        }
    } else {
        making.await
    };
    let label = Label::new(Integrity::Platform, Confidentiality::Public, tool);
    let labels = Labels::from([(String::new(), label)]);
    ToolOutcome::Completed { value: json!({ "did": tool, "made": made }), labels, bindings: Vec::new() }
}

async fn make(call: &Value, host: &dyn Host) -> Value {
    let args = call.get("args").cloned().unwrap_or_else(|| json!({}));
    match host.call(call["tool"].as_str().unwrap_or_default(), args).await {
        ToolOutcome::Completed { value, .. } => json!({ "ok": value }),
        ToolOutcome::Failed { fault, .. } => json!({ "failed": fault.code, "why": fault.message }),
        ToolOutcome::Unknown { fault, .. } => json!({ "unknown": fault.code }),
    }
}
