use are_core::body::{Effect, Retry};
use are_core::canonical::Args;
use serde_json::{Map, Value, json};

use super::*;

fn builtin() -> Registry {
    Registry::builtin(HttpOptions::default()).expect("builtin tools")
}

/// A clock that really sleeps, and one whose time is over with the next poll.
#[derive(Default)]
struct Sleeping {
    is_fast: bool,
    now_ms: Arc<std::sync::atomic::AtomicU64>,
}

impl are_core::clock::Clock for Sleeping {
    fn now_ms(&self) -> u64 {
        self.now_ms.load(std::sync::atomic::Ordering::SeqCst)
    }

    fn sleep(&self, ms: u64) -> BoxFuture<'static, ()> {
        let (is_fast, now_ms) = (self.is_fast, Arc::clone(&self.now_ms));
        Box::pin(async move {
            if is_fast {
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(Duration::from_millis(ms)).await;
            }
            now_ms.fetch_add(ms, std::sync::atomic::Ordering::SeqCst);
        })
    }

    fn random(&self) -> are_core::digest::Nonce {
        [0; 32]
    }
}

fn pauses() -> Pauses {
    Pauses::new(Arc::new(Sleeping::default()))
}

fn names(value: &Value) -> Vec<String> {
    let mut names: Vec<String> = value.as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default();
    names.sort();
    names
}

#[test]
fn every_manifest_is_whole_and_its_example_fits() {
    let tools = builtin().snapshot();
    let mut seen = Vec::new();
    for (manifest, _) in tools.iter() {
        let name = manifest.name.as_str();
        seen.push(name.to_owned());
        let example = manifest.example.as_ref().expect(name);
        schema::validate(manifest, &Args::from_value(&example.arguments).expect(name)).expect(name);
        let roles: Vec<String> = manifest.args.keys().cloned().collect();
        assert_eq!(names(&manifest.schema["properties"]), roles, "{name}: every argument has a role");
        for (argument, property) in manifest.schema["properties"].as_object().unwrap_or(&Map::new()) {
            assert!(property["description"].is_string(), "{name}: `{argument}` is described");
        }
        assert_eq!(manifest.retry == Retry::Pure, manifest.effect == Effect::None, "{name}: pure means no effect");
        assert_eq!(manifest.is_contained, ![http::NAME, "secret_disclose"].contains(&name), "{name}");
        assert!(manifest.description.len() < 160, "{name}: a small model reads all of them");
    }
    let expected = [
        "agent_spawn",
        "artifact_save",
        "fs_delete",
        "fs_edit",
        "fs_list",
        "fs_mkdir",
        "fs_move",
        "fs_read",
        "fs_search",
        "fs_stat",
        "fs_write",
        "http_request",
        "memory_add",
        "memory_search",
        "result_read",
        "secret_disclose",
        "tool_search",
        "variable_delete",
        "variable_get",
        "variable_set",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn an_http_method_that_is_not_reading_counts_as_sending() {
    let tools = builtin().snapshot();
    let (manifest, _) = tools.get(http::NAME).expect("http_request");
    let effect = |args: Value| manifest.effect_of(&Args::from_value(&args).expect("args"));
    assert_eq!(effect(json!({"url": "x"})), Effect::NetworkRead);
    assert_eq!(effect(json!({"url": "x", "method": "HEAD"})), Effect::NetworkRead);
    for method in ["POST", "OPTIONS", "get", "", "GET "] {
        assert_eq!(effect(json!({"url": "x", "method": method})), Effect::Send, "{method:?}");
    }
}

#[tokio::test]
async fn a_panic_in_a_lane_is_an_outcome() {
    let tools = builtin().snapshot();
    let (manifest, _) = tools.get("fs_write").expect("fs_write");
    let panicking = |latch: Arc<Latch>, begins: bool| async move {
        if begins {
            latch.begin()?;
        }
        panic!("a lane's own affair");
    };
    for (begins, is_unknown) in [(false, false), (true, true)] {
        let latch = Arc::new(Latch::default());
        let lane = panicking(Arc::clone(&latch), begins);
        let error = guarded(manifest, 1000, &pauses(), &latch, lane).await.expect_err("a panic is an error");
        assert_eq!(matches!(&error, Error::Unknown(_)), is_unknown);
        let (Error::Failed(fault) | Error::Unknown(fault)) = error;
        assert!(!fault.to_string().contains("own affair"), "a panic's words stay inside");
    }
}

#[tokio::test]
async fn a_time_out_is_a_failure_before_the_effect_and_unknown_after_it() {
    let tools = builtin().snapshot();
    let (manifest, _) = tools.get("fs_write").expect("fs_write");
    let stuck = |latch: Arc<Latch>, begins: bool| async move {
        if begins {
            latch.begin()?;
        }
        std::future::pending().await
    };
    for (begins, code) in [(false, Code::TOOL_TIMEOUT), (true, Code::TOOL_OUTCOME_UNKNOWN)] {
        let latch = Arc::new(Latch::default());
        let lane = stuck(Arc::clone(&latch), begins);
        let error = guarded(manifest, 10, &pauses(), &latch, lane).await.expect_err("it never ends");
        let (Error::Failed(fault) | Error::Unknown(fault)) = error;
        assert_eq!((fault.code, latch.begin().is_ok()), (code, begins), "what was given up stays so");
    }
}

#[tokio::test]
async fn a_call_that_stands_still_has_its_time_afterwards() {
    let tools = builtin().snapshot();
    let (manifest, _) = tools.get("fs_write").expect("fs_write");
    let lane = |pauses: Pauses, is_paused: bool, polls_after: usize| async move {
        if is_paused {
            pauses.begin();
        }
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        pauses.end();
        for _ in 0..polls_after {
            tokio::task::yield_now().await;
        }
        Ok(Answer::from(Value::Null))
    };
    for (is_paused, polls_after, is_in_time) in [(true, 0, true), (false, 0, false), (true, 50, false)] {
        let clock = Sleeping { is_fast: true, ..Sleeping::default() };
        let (pauses, latch) = (Pauses::new(Arc::new(clock)), Arc::new(Latch::default()));
        let outcome = guarded(manifest, 10, &pauses, &latch, lane(pauses.clone(), is_paused, polls_after)).await;
        assert_eq!(outcome.is_ok(), is_in_time, "{is_paused} {polls_after}");
        assert_eq!(pauses.total_ms() >= 400, is_paused, "{}", pauses.total_ms());
    }
}
