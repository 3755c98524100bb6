//! A call that is given up between the order of its command and the moment at which it knows of it.
//!
//! Secrets are asked for right before the order: from then on a call is not polled again, so that it stands exactly there.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::time::{Duration, Instant};

use are_core::BoxFuture;
use are_core::error::Fault;
use are_core::ids::SecretName;
use are_policy::secrets::{Purpose, Secrets, Value as Secret};
use are_policy::tools::{Changes, Environment, Place, ToolOutcome, Tools};
use serde_json::json;

use crate::cage::caged;
use crate::support::World;

/// Says when it is asked, after doing something.
struct Asked<F> {
    first: F,
    is_asked: AtomicBool,
}

impl<F: Fn() + Send + Sync> Secrets for Asked<F> {
    fn reveal<'a>(&'a self, _: &'a SecretName, _: Purpose<'a>) -> BoxFuture<'a, Result<Secret, Fault>> {
        (self.first)();
        self.is_asked.store(true, Ordering::Release);
        Box::pin(std::future::ready(Ok(Secret::new("x".to_owned().into()))))
    }
}

/// A call of a command that has just been asked for; `first` is done right before that.
async fn ordered<'a>(
    world: &'a World,
    script: &str,
    first: impl Fn() + Send + Sync + 'static,
) -> (BoxFuture<'a, ToolOutcome>, Arc<Changes>) {
    let asked = Arc::new(Asked { first, is_asked: AtomicBool::new(false) });
    let variables = BTreeMap::from([("GIVEN".to_owned(), "secret:key".to_owned())]);
    let environment = Environment { tool: "giving".to_owned(), variables };
    let place = Place { secrets: Arc::clone(&asked) as Arc<dyn Secrets>, environment, ..world.place() };
    let changes = Arc::clone(&place.changes);
    let mut call = world.registry.run(world.permit("process_run", &json!({"shell": script})), place);
    while !asked.is_asked.load(Ordering::Acquire) {
        let is_over = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_ready())).await;
        assert!(!is_over, "the command ended before it was asked for");
        tokio::task::yield_now().await;
    }
    (call, changes)
}

#[test]
fn a_command_whose_call_is_given_up_before_its_order_is_out_never_starts() {
    for has_namespaces in [true, false] {
        // One thread that may block, so that it is known what it does and in which order.
        let runtime = tokio::runtime::Builder::new_multi_thread().max_blocking_threads(1).enable_all().build();
        runtime.expect("runtime").block_on(async {
            let Some(world) = caged(World::keeping(), has_namespaces).await else { return };
            let (open, gate) = mpsc::channel::<()>();
            let gate = Mutex::new(Some(gate));
            // The thread stands still while the order waits for it.
            let stand_still = move || {
                let gate = gate.lock().expect("gate").take().expect("one secret is asked for");
                tokio::task::spawn_blocking(move || gate.recv());
            };
            let (call, changes) = ordered(&world, "touch ran", stand_still).await;
            drop(call);
            open.send(()).expect("the thread waits");
            // It comes after the order that was given up, and so does whatever came of that.
            let run = world.ok("process_run", json!({"shell": "ls"})).await;
            assert_eq!((&run["exit_code"], &run["stdout"]), (&json!(0), &json!("")), "{has_namespaces} {run}");
            assert!(!world.path("ran").exists(), "{has_namespaces}");
            assert_eq!(changes.possible(), [], "{has_namespaces}");
        });
    }
}

#[tokio::test]
async fn a_command_whose_call_is_given_up_before_it_knows_of_it_is_ended_and_its_changes_are_told() {
    for has_namespaces in [true, false] {
        let Some(world) = caged(World::keeping(), has_namespaces).await else { continue };
        let script = "while :; do echo x >> alive; sleep 0.01; done";
        let (call, changes) = ordered(&world, script, || ()).await;
        // It runs, and the call has not been asked since.
        while !world.path("alive").exists() {
            tokio::task::yield_now().await;
        }
        drop(call);
        let size = world.path("alive").metadata().expect("file").len();
        let changed: Vec<String> = changes.possible().into_iter().map(|change| change.path).collect();
        assert_eq!(changed, ["alive"], "{has_namespaces}");
        // Whatever was alive would have written many times meanwhile.
        let later = Instant::now() + Duration::from_millis(200);
        while Instant::now() < later {
            tokio::task::yield_now().await;
        }
        assert_eq!(world.path("alive").metadata().expect("file").len(), size, "{has_namespaces}: it lives on");
    }
}
