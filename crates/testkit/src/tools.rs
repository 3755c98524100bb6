//! Tools whose executions are counted by idempotency key.

mod nest;
mod spawn;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use are_core::BoxFuture;
use are_core::body::{Effect, Retry, Scope};
use are_core::change::{FileChange, FileState};
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::{CallNo, SessionKey};
use are_core::label::{Confidentiality, Integrity, Label, Labels};
use are_core::payload::Bound;
use are_policy::gate::Permit;
use are_policy::manifest::{CallLimits, EffectBy, Lane, Manifest, OutputLabel, RESULT_READ, ToolSet};
use are_policy::tools::{Binding, Changed, Checkpoints, Earlier, Output, Place, ToolOutcome, Tools};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// `read` (pure), `put` (idempotent, contained), `send` (at most once), `remember` (transactional),
/// `fail`, `panic`, `wait` (pure, held) and `hold_send` (at most once, held). [`nesting`](CountedTools::nesting) adds
/// tools that make the calls which their arguments list.
#[derive(Clone)]
pub struct CountedTools {
    set: Arc<ToolSet>,
    ledger: Arc<Mutex<BTreeMap<(String, Digest), u32>>>,
    gate: Arc<Semaphore>,
    leave: Arc<Semaphore>,
    pieces: Arc<[String]>,
    is_keeping: bool,
}

impl Default for CountedTools {
    fn default() -> Self {
        let manifests = [
            manifest("read", Effect::None, Retry::Pure, true),
            manifest("put", Effect::Modify, Retry::Idempotent, true),
            manifest("send", Effect::Send, Retry::AtMostOnce, false),
            manifest("remember", Effect::Modify, Retry::Transactional, true),
            manifest("fail", Effect::None, Retry::Pure, true),
            manifest("panic", Effect::None, Retry::Pure, true),
            manifest("wait", Effect::None, Retry::Pure, true),
            manifest("hold_send", Effect::Send, Retry::AtMostOnce, false),
        ];
        let set = ToolSet::new(manifests).unwrap_or_else(|name| unreachable!("{name} twice"));
        Self {
            set: Arc::new(set),
            ledger: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
            leave: Arc::new(Semaphore::new(0)),
            pieces: Arc::default(),
            is_keeping: false,
        }
    }
}

impl CountedTools {
    /// Tools that also say these pieces while they run, and all of them together in their results.
    #[must_use]
    pub fn saying(pieces: &[&str]) -> Self {
        Self { pieces: pieces.iter().map(|piece| (*piece).to_owned()).collect(), ..Self::default() }
    }

    /// Tools whose `put` says that it made a file, which can be undone, as far as anybody can tell.
    #[must_use]
    pub fn keeping() -> Self {
        Self { is_keeping: true, ..Self::default() }
    }

    /// Tools among which some make calls of their own: `nest` (sends, at most once), `pure_nest`, `again_nest`
    /// (changes, idempotent), `deep_nest` (like `nest`) and `narrow_nest` (like `nest`, with capabilities that name the
    /// command lines `cargo *`, the host `example.org` and reading files).
    ///
    /// Their `x` is `{"calls": [{"tool", "args"}, …], "together"?, "leaves"?}`: one after the other or all at once; with
    /// `leaves` they wait no longer than until [`leave`](Self::leave).
    #[must_use]
    pub fn nesting() -> Self {
        let plain = Self::default();
        let all = plain.set.iter().map(|(manifest, _)| manifest.clone()).chain(nest::manifests());
        let set = ToolSet::new(all).unwrap_or_else(|name| unreachable!("{name} twice"));
        Self { set: Arc::new(set), ..plain }
    }

    /// Tools among which one begins agents.
    #[must_use]
    pub fn spawning() -> Self {
        let plain = Self::nesting();
        let all = plain.set.iter().map(|(manifest, _)| manifest.clone()).chain([spawn::declaration()]);
        let set = ToolSet::new(all).unwrap_or_else(|name| unreachable!("{name} twice"));
        Self { set: Arc::new(set), ..plain }
    }

    /// These, and one that gives earlier results back.
    #[must_use]
    pub fn reading_again(self) -> Self {
        let mut again = manifest(RESULT_READ, Effect::None, Retry::Pure, true);
        again.schema =
            json!({ "type": "object", "properties": { "call": { "type": "integer" } }, "additionalProperties": false });
        self.with(again)
    }

    /// These, and `fs_list`, which tells which files there are, and `miss`, which does not find what it is to look at.
    #[must_use]
    pub fn looking_around(self) -> Self {
        ["fs_list", "miss"]
            .into_iter()
            .fold(self, |all, name| all.with(manifest(name, Effect::None, Retry::Pure, true)))
    }

    fn with(self, one: Manifest) -> Self {
        let all = self.set.iter().map(|(manifest, _)| manifest.clone()).chain([one]);
        let set = ToolSet::new(all).unwrap_or_else(|name| unreachable!("{name} twice"));
        Self { set: Arc::new(set), ..self }
    }

    /// Makes one tool that leaves its calls leave them.
    pub fn leave(&self) {
        self.leave.add_permits(1);
    }

    /// How often each call of `tool` was begun, by key.
    #[must_use]
    pub fn begun(&self, tool: &str) -> Vec<u32> {
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.iter().filter(|((name, _), _)| name == tool).map(|(_, count)| *count).collect()
    }

    /// Lets one held call go on.
    pub fn release(&self) {
        self.gate.add_permits(1);
    }
}

fn manifest(name: &str, effect: Effect, retry: Retry, is_contained: bool) -> Manifest {
    let effect_by = (name == "remember").then(|| EffectBy {
        arg: "nothing".to_owned(),
        map: BTreeMap::new(),
        absent: Some(Effect::None),
    });
    Manifest {
        name: name.parse().unwrap_or_else(|_| unreachable!("`{name}` is a tool name")),
        description: format!("{name} for tests"),
        lane: Lane::Builtin,
        version: "1".to_owned(),
        schema: json!({ "type": "object", "properties": { "x": {} }, "additionalProperties": false }),
        example: None,
        effect,
        effect_by,
        retry,
        args: BTreeMap::new(),
        output_default: OutputLabel { integrity: Integrity::Untrusted, confidentiality: Confidentiality::Private },
        output_fields: BTreeMap::new(),
        is_contained,
        capabilities: None,
        limits: CallLimits::default(),
        intents: BTreeMap::new(),
    }
}

impl Tools for CountedTools {
    fn snapshot(&self) -> Arc<ToolSet> {
        Arc::clone(&self.set)
    }

    fn run(&self, permit: Permit, place: Place) -> BoxFuture<'_, ToolOutcome> {
        Box::pin(async move {
            let spent = permit.spend();
            let tool = spent.tool.clone();
            {
                let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
                *ledger.entry((tool.clone(), spent.key)).or_default() += 1;
            }
            // One live piece of output, so that frames of tools are part of every campaign.
            (place.output)(Output { stream: "log", text: format!("{tool} runs") }).await;
            for piece in self.pieces.iter() {
                (place.output)(Output { stream: "log", text: piece.clone() }).await;
            }
            if tool == "wait" || tool == "hold_send" {
                match self.gate.acquire().await {
                    Ok(permit) => permit.forget(),
                    Err(_) => std::future::pending().await,
                }
            }
            if tool == are_policy::manifest::SPAWN {
                return spawn::run(&spent.args, &place).await;
            }
            if tool == RESULT_READ {
                let call = spent.args.to_map().get("call").and_then(Value::as_u64).unwrap_or(0);
                return match place.host.earlier(CallNo::try_from(call).unwrap_or(0)).await {
                    Ok(Earlier { text, label }) => ToolOutcome::Completed {
                        value: text.into(),
                        labels: Labels::from([(String::new(), label)]),
                        bindings: Vec::new(),
                    },
                    Err(fault) => {
                        let label = Label::new(Integrity::System, Confidentiality::Public, RESULT_READ);
                        ToolOutcome::Failed { fault, label }
                    }
                };
            }
            if nest::is_one(&tool) {
                let x = spent.args.to_map().remove("x").unwrap_or(Value::Null);
                return nest::run(&tool, &x, place.host.as_ref(), &self.leave).await;
            }
            if tool == "put" && self.is_keeping {
                place.changes.tell(vec![made()], 1);
            }
            // As the product's tools are labelled.
            let origin = if tool == "fs_list" { format!("{tool}#{}", spent.call) } else { tool.clone() };
            let label = Label::new(Integrity::Untrusted, Confidentiality::Private, &origin);
            match tool.as_str() {
                "fail" => ToolOutcome::Failed {
                    fault: Fault::new(Code::TOOL_FAILED, "it failed as it should", "do something else"),
                    label,
                },
                "miss" => ToolOutcome::Failed {
                    fault: Fault::new(Code::TOOL_NOT_FOUND, "it does not exist", "see what there is"),
                    label,
                },
                "panic" => unreachable!("a tool of the test panics"),
                _ => {
                    let x = spent.args.to_map().remove("x").unwrap_or(Value::Null);
                    let labels = Labels::from([(String::new(), label)]);
                    let bindings = if tool == "remember" {
                        let name = "remembered".parse().unwrap_or_else(|_| unreachable!("a variable name"));
                        vec![Binding::Variable {
                            scope: Scope::Session,
                            name,
                            value: Some(Bound { value: x.clone(), labels: labels.clone() }),
                        }]
                    } else {
                        Vec::new()
                    };
                    let mut value = json!({ "did": tool, "x": x });
                    if !self.pieces.is_empty() {
                        value["said"] = self.pieces.concat().into();
                    }
                    ToolOutcome::Completed { value, labels, bindings }
                }
            }
        })
    }
    fn checkpoints(&self) -> Option<Arc<dyn Checkpoints>> {
        self.is_keeping.then(|| Arc::new(Nothing) as Arc<dyn Checkpoints>)
    }
}

fn made() -> FileChange {
    let after = Some(FileState::Directory { mode: None });
    FileChange { path: "made".to_owned(), from: None, before: None, after, lost: None }
}

/// Keeps nothing and finds every undo possible.
struct Nothing;

impl Checkpoints for Nothing {
    fn noted(&self, _: SessionKey, _: CallNo) -> BoxFuture<'_, Result<Vec<FileChange>, Fault>> {
        Box::pin(std::future::ready(Ok(vec![made()])))
    }

    fn settle(&self, _: SessionKey, _: PathBuf, _: CallNo) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn content(
        &self,
        _: SessionKey,
        _: PathBuf,
        _: String,
        _: Digest,
    ) -> BoxFuture<'_, Result<Option<Vec<u8>>, Fault>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn undoable(&self, changed: Changed) -> BoxFuture<'_, Result<Vec<String>, Fault>> {
        let paths = changed.changes.into_iter().map(|change| change.path).collect();
        Box::pin(std::future::ready(Ok(paths)))
    }

    fn adopt(&self, _: SessionKey, _: SessionKey, _: Vec<FileChange>) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn erase(&self, _: SessionKey) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn sessions(&self) -> BoxFuture<'_, Result<Vec<SessionKey>, Fault>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}
