//! The tree over a turn that is killed anywhere: no effect without its intent among the leaves, and no tree that was
//! told once is ever contradicted.

use std::sync::Arc;

use are_core::body::{Body, Effect};
use are_core::digest::Digest;
use are_core::journal::Record;
use are_engine::engine::Engine;
use are_store::tree::{Page, Question, Tree, ask};
use are_testkit::kill::KillSwitch;
use are_testkit::memory::MemoryStore;
use tokio::runtime::Builder;

use crate::crash::{Client, five_tools, live_watched, nested_tools};
use crate::support::World;

/// Trees that somebody was told of: size and root.
type Told = Vec<(u64, Digest)>;

/// Grows the tree whenever the runtime has nothing else to do, and keeps what it was.
async fn watch(tree: Arc<MemoryStore>, told: Arc<std::sync::Mutex<Told>>) {
    loop {
        // Some at a time, so that trees end in the middle of turns too.
        let grown = tree.grow(3).await.unwrap();
        let root = ask(tree.as_ref(), Question::Root { size: grown.size }).await.unwrap()[0];
        note(&told, (grown.size, root));
        tokio::task::yield_now().await;
    }
}

fn note(told: &std::sync::Mutex<Told>, tree: (u64, Digest)) {
    let mut told = told.lock().unwrap();
    if told.last() != Some(&tree) {
        told.push(tree);
    }
}

/// Intents of effects and outcomes among the leaves.
async fn leaves(tree: &dyn Tree) -> Vec<Body> {
    while !tree.grow(256).await.unwrap().is_whole {}
    let page = Page { after: 0, limit: 4_096, bytes_max: usize::MAX, has_payloads: false };
    let leaves = tree.records(page).await.unwrap();
    assert!(leaves.iter().all(|leaf| leaf.index.is_some()), "every record has its number");
    leaves.iter().map(|leaf| serde_json::from_slice::<Record>(&leaf.bytes).unwrap().body).collect()
}

/// Cuts the power at `point` of a turn's port calls; how many effects had begun, or `None` when the turn ended before.
fn cut(world: &World, point: u64) -> Option<usize> {
    let memory = Arc::clone(world.memory.as_ref().unwrap());
    let told = Arc::new(std::sync::Mutex::new(Told::new()));
    let mut client = Client::default();
    let is_over =
        live_watched(world, &mut client, &KillSwitch::at(point), watch(Arc::clone(&memory), Arc::clone(&told)));
    memory.crash(true);
    let begun = world.tools.begun("put").len() + world.tools.begun("send").len();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let bodies = leaves(memory.as_ref()).await;
        let intents =
            bodies.iter().filter(|body| matches!(body, Body::ToolStarted { effect, .. } if *effect != Effect::None));
        let intents = intents.count();
        assert!(begun <= intents, "point {point}: {begun} effects began, and {intents} intents are leaves");
        let told = told.lock().unwrap().clone();
        for (size, root) in told {
            let now = ask(memory.as_ref(), Question::Root { size }).await;
            assert_eq!(now, Ok(vec![root]), "point {point}: the tree of {size} leaves was told");
        }
        // And the next process carries on from there.
        let engine = Engine::start(world.ports(), world.settings()).await.unwrap();
        engine.shutdown(1_000).await;
        assert!(!leaves(memory.as_ref()).await.is_empty());
    });
    (!is_over).then_some(begun)
}

fn cut_everywhere(world: impl Fn() -> World) -> (u64, usize) {
    let (mut points, mut effects) = (0, 0);
    for point in 1.. {
        let Some(begun) = cut(&world().in_memory(), point) else { break };
        points = point;
        effects += begun;
    }
    (points, effects)
}

#[test]
fn no_effect_is_without_its_intent_among_the_leaves_and_no_told_tree_is_lost_wherever_the_power_fails() {
    let (points, effects) = cut_everywhere(|| World::new(five_tools()));
    println!("power cut at {points} points of a five-tool turn; {effects} effects had begun at them");
    assert!(points > 60 && effects > 10, "{points} points, {effects} effects");
    let (points, effects) = cut_everywhere(nested_tools);
    println!("power cut at {points} points of a turn with calls of calls; {effects} effects had begun at them");
    assert!(points > 80 && effects > 10, "{points} points, {effects} effects");
}
