//! The tree over the records of all sessions: which leaves, which hashes, and what survives.

use std::process::Command;
use std::sync::Arc;

use are_core::digest::Digest;
use are_core::ids::SessionKey;
use are_core::store::{Change, Store, StoreError};
use are_store::sqlite::SqliteStore;
use are_store::tree::{Checkpoint, Leaf, Page, Question, SIZE_MAX, Tree, ask};
use are_testkit::memory::MemoryStore;
use are_testkit::run::{Chance, is_long};
use tlog_tiles::tlog::{self, Hash};

use crate::kill::{child, child_dir, say};
use crate::support::*;

/// RFC 6962 §2.1, as the standard words it.
fn naive_root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::of(&[]),
        [leaf] => *leaf,
        leaves => {
            let half = 1 << (leaves.len() - 1).ilog2();
            Digest::of(&[&[1], &naive_root(&leaves[..half]).0, &naive_root(&leaves[half..]).0])
        }
    }
}

async fn grow_all(tree: &dyn Tree) -> u64 {
    loop {
        let grown = tree.grow(64).await.unwrap();
        if grown.is_whole {
            return grown.size;
        }
    }
}

async fn root(tree: &dyn Tree, size: u64) -> Digest {
    ask(tree, Question::Root { size }).await.unwrap()[0]
}

async fn all(tree: &dyn Tree, has_payloads: bool) -> Vec<Leaf> {
    let mut leaves: Vec<Leaf> = Vec::new();
    loop {
        let after = leaves.last().map_or(0, |leaf| leaf.place);
        let page = tree.records(Page { after, limit: 7, bytes_max: 4_000, has_payloads }).await.unwrap();
        if page.is_empty() {
            return leaves;
        }
        leaves.extend(page);
    }
}

/// Sessions that append by turns: records, frames, several at once.
async fn life(store: &dyn Store, chance: &mut Chance, steps: u64) -> Vec<SessionKey> {
    let mut actors = Vec::new();
    for number in 0..4 {
        actors.push(Actor::create(store, number).await);
    }
    for step in 0..steps {
        let actor = &mut actors[usize::try_from(chance.below(4)).unwrap()];
        let pieces = (0..=chance.below(4)).map(|piece| match chance.below(3) {
            0 => frame(format!("frame {step} {piece}")),
            _ => record(format!("record {step} {piece}")),
        });
        let pieces = pieces.collect();
        actor.append(store, pieces, if step % 3 == 0 { Durable } else { Written }).await;
    }
    actors.into_iter().map(|actor| actor.session).collect()
}

#[tokio::test]
async fn every_record_is_one_leaf_in_order_of_arrival_and_the_root_is_that_of_the_standard() {
    let mut chance = Chance::of_this_run();
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    life(&store, &mut chance, 60).await;
    let mut sizes = vec![0];
    loop {
        let grown = store.grow(1 + u32::try_from(chance.below(9)).unwrap()).await.unwrap();
        sizes.push(grown.size);
        if grown.is_whole {
            break;
        }
    }
    let leaves = all(&store, false).await;
    let hashes: Vec<Digest> = leaves.iter().map(|leaf| Digest::of_record(&leaf.bytes)).collect();
    for (index, leaf) in leaves.iter().enumerate() {
        assert_eq!((leaf.index, leaf.hash), (Some(index as u64), Some(hashes[index])));
        assert_eq!(store.leaf(leaf.session, leaf.seq).await.unwrap(), Some(index as u64));
        assert_eq!(store.place(index as u64).await.unwrap(), Some(leaf.place));
        assert_eq!(leaf.payload, None, "it was not asked for");
    }
    assert_eq!(*sizes.last().unwrap(), leaves.len() as u64);
    for size in 0..=leaves.len() {
        assert_eq!(root(&store, size as u64).await, naive_root(&hashes[..size]));
    }
    let first = &leaves[0];
    assert_eq!(store.leaf(first.session, 999).await.unwrap(), None);
    assert!(all(&store, true).await.iter().all(|leaf| leaf.payload.is_some()));
}

#[tokio::test]
async fn proofs_hold_between_all_sizes_and_there_are_none_beyond() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    life(&store, &mut Chance::of_this_run(), 20).await;
    let size = grow_all(&store).await;
    let hashes: Vec<Digest> = all(&store, false).await.iter().map(|leaf| leaf.hash.unwrap()).collect();
    let hash = |digest: &Digest| Hash(digest.0);
    for to in 1..=size {
        let whole = hash(&root(&store, to).await);
        for at in 0..to {
            let path = ask(&store, Question::Inclusion { size: to, leaf: at }).await.unwrap();
            let path = path.iter().map(hash).collect();
            tlog::check_record(&path, to, whole, at, hash(&hashes[usize::try_from(at).unwrap()])).unwrap();
            let from = at + 1;
            let path = ask(&store, Question::Consistency { size: to, from }).await.unwrap();
            let path = path.iter().map(hash).collect();
            tlog::check_tree(&path, to, whole, from, hash(&root(&store, from).await)).unwrap();
        }
    }
    for question in [
        Question::Root { size: size + 1 },
        Question::Root { size: SIZE_MAX + 1 },
        Question::Inclusion { size, leaf: size },
        Question::Inclusion { size: u64::MAX, leaf: 3 },
        Question::Consistency { size, from: 0 },
        Question::Consistency { size, from: size + 1 },
    ] {
        assert_eq!(ask(&store, question).await, Err(StoreError::NotFound), "{question:?}");
    }
}

#[tokio::test]
async fn a_store_that_is_opened_again_goes_on_where_it_was_and_catches_up() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut actor = Actor::create(&store, 1).await;
    let before = store.grow(100).await.unwrap();
    assert_eq!((before.size, before.is_whole), (1, true));
    actor.append(&store, vec![record("a"), frame("b"), record("c")], Written).await;
    let old = root(&store, 1).await;
    store.close().await.unwrap();
    drop(store);
    let store = open(dir.path());
    let grown = store.grow(1).await.unwrap();
    assert_eq!((grown.size, grown.is_whole), (2, false));
    assert_eq!(grow_all(&store).await, 3);
    assert_eq!(root(&store, 1).await, old);
    // Frames alone bring nothing.
    let mut actor = Actor::claim(&store, actor.session).await;
    actor.append(&store, vec![frame("d")], Written).await;
    assert_eq!(grow_all(&store).await, 3);
    assert_eq!(store.check().await.unwrap().leaves, 3);
}

#[tokio::test]
async fn erasure_leaves_leaves_and_proofs_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let sessions = life(&store, &mut Chance::of_this_run(), 20).await;
    let size = grow_all(&store).await;
    let before = root(&store, size).await;
    let mut actor = Actor::claim(&store, sessions[0]).await;
    actor.change(&store, vec![Change::Erase]).await;
    assert!(grow_all(&store).await > size);
    assert_eq!(root(&store, size).await, before);
    let leaves = all(&store, true).await;
    let of_it = || leaves.iter().filter(|leaf| leaf.session == sessions[0]);
    assert!(of_it().count() >= 2 && of_it().all(|leaf| leaf.payload.is_none() && leaf.hash.is_some()));
}

#[tokio::test]
async fn checkpoints_are_kept_by_size_and_the_oldest_of_too_many_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (store, memory) = (open(dir.path()), MemoryStore::new());
    let one = |size: u64, note: &str| Checkpoint { size, note: note.to_owned(), made_at_ms: NOW_MS };
    for tree in [&store as &dyn Tree, &memory] {
        for size in [1, 2, 3, 5, 8] {
            tree.keep_checkpoint(one(size, "first"), 3).await.unwrap();
        }
        tree.keep_checkpoint(one(5, "signed anew"), 3).await.unwrap();
        let kept = vec![one(8, "first"), one(5, "signed anew"), one(3, "first")];
        assert_eq!(tree.checkpoints(u64::MAX, 10).await.unwrap(), kept);
        assert_eq!(tree.checkpoints(8, 1).await.unwrap(), kept[1..2]);
    }
}

#[tokio::test]
async fn both_stores_grow_the_same_tree() {
    let seed = Chance::of_this_run().below(u64::MAX);
    let dir = tempfile::tempdir().unwrap();
    let (store, memory) = (open(dir.path()), MemoryStore::new());
    life(&store, &mut Chance::new(seed), 40).await;
    life(&memory, &mut Chance::new(seed), 40).await;
    assert_eq!(grow_all(&store).await, grow_all(&memory).await);
    let said = |leaves: Vec<Leaf>| -> Vec<_> {
        leaves
            .into_iter()
            .map(|leaf| (leaf.index, leaf.hash, leaf.session, leaf.seq, leaf.bytes, leaf.payload))
            .collect()
    };
    assert_eq!(said(all(&store, true).await), said(all(&memory, true).await));
    let size = memory.grow(1).await.unwrap().size;
    assert_eq!(root(&store, size).await, root(&memory, size).await);
}

#[tokio::test]
async fn a_copy_made_right_after_growing_holds_the_tree_that_was_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut actor = Actor::create(&store, 1).await;
    for round in 0..12_u64 {
        // Written only: growing alone makes it safe.
        actor.append(&store, vec![record(format!("round {round}")), frame("f")], Written).await;
        let size = grow_all(&store).await;
        let told = root(&store, size).await;
        let to = tempfile::tempdir().unwrap();
        copy(dir.path(), to.path());
        let copy = open(to.path());
        assert_eq!(root(&copy, size).await, told);
        assert_eq!(grow_all(&copy).await, size, "what the tree covers is there");
    }
}

/// The child: appends and grows until it is killed, and says every tree.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_grows() {
    let Some(dir) = child_dir("grows") else {
        return;
    };
    let store = Arc::new(SqliteStore::open(&dir, &are_store::sqlite::Options::default()).unwrap());
    let mut actor = match store.session(key(1)).await {
        Ok(_) => Actor::claim(store.as_ref(), key(1)).await,
        Err(_) => Actor::create(store.as_ref(), 1).await,
    };
    let appending = Arc::clone(&store);
    tokio::spawn(async move {
        loop {
            actor.append(appending.as_ref(), vec![record("r".repeat(300)), frame("f")], Written).await;
        }
    });
    loop {
        let grown = store.grow(16).await.unwrap();
        say(&format!("{} {}", grown.size, root(store.as_ref(), grown.size).await));
    }
}

#[tokio::test]
async fn every_tree_that_was_told_before_a_kill_is_the_beginning_of_the_one_after() {
    use std::io::{BufRead as _, BufReader};
    let mut chance = Chance::of_this_run();
    let dir = tempfile::tempdir().unwrap();
    for round in 0..if is_long() { 100 } else { 6 } {
        let (lines, mut told) = (1 + chance.below(80), Vec::new());
        let mut process = child(Command::new("env"), "tree::child_that_grows", "grows", dir.path()).spawn().unwrap();
        for line in BufReader::new(process.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let Some((size, root)) = line.strip_prefix("said ").and_then(|said| said.split_once(' ')) else { continue };
            told.push((size.parse::<u64>().unwrap(), root.parse::<Digest>().unwrap()));
            if told.len() as u64 == lines {
                process.kill().unwrap();
            }
        }
        process.wait().unwrap();
        let store = open(dir.path());
        grow_all(&store).await;
        for (size, told) in told {
            assert_eq!(root(&store, size).await, told, "round {round}, {size} leaves");
        }
        let leaves = all(&store, false).await;
        assert!(leaves.iter().enumerate().all(|(index, leaf)| leaf.index == Some(index as u64)), "round {round}");
    }
}
