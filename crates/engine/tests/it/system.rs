//! The system session.

use are_core::body::Body;
use are_core::digest::Digest;
use are_core::error::Code;
use are_core::ids::SessionKey;
use are_core::journal::{Entry, decode};
use are_engine::engine::Engine;
use are_testkit::damage::{edit_bytes, edit_record};
use are_testkit::script::{ScriptedModels, say};
use serde_json::json;

use crate::support::*;

fn world() -> World {
    World::new(ScriptedModels::new(|_| say("done")))
}

#[tokio::test]
async fn what_a_start_names_by_digest_can_be_read_back() {
    let world = world();
    let engine = world.engine().await;
    engine.shutdown(0).await;
    drop(engine);
    let (store, settings) = (world.store(), world.settings());
    let rows = store.read(SessionKey::SYSTEM, 0, 100, usize::MAX).await.unwrap();
    let started = rows.iter().find_map(|row| match decode(SessionKey::SYSTEM, row).unwrap() {
        Entry::Record(record, _) => match record.body {
            Body::EngineStarted { config, policy, .. } => Some((config, policy)),
            _ => None,
        },
        Entry::Frame(..) => None,
    });
    let (config, policy) = started.expect("a start is recorded");
    let stored = store.object(config).await.unwrap();
    assert_eq!((Digest::of(&[&stored]), stored), (config, settings.config));
    assert_eq!(store.object(policy).await.unwrap(), settings.rules.object());
}

#[tokio::test]
async fn a_damaged_payload_is_reported_and_a_damaged_record_stops_the_start() {
    let world = world();
    let engine = world.engine().await;
    assert!(engine.system_damage().is_empty());
    let name = || "colour".parse().unwrap();
    engine.set_variable(&caller("alice"), None, name(), Some(json!("greenish"))).await.unwrap();
    engine.shutdown(0).await;
    drop(engine);
    world.close_store().await;
    let data = world.dir.path().join("data");
    edit_bytes(&data, r#""value":"greenish""#, r#""value":"reddish.""#);

    let engine = world.engine().await;
    // Created, started, and then the variable.
    assert_eq!(engine.system_damage(), [3]);
    let rows = engine.variables(&caller("alice"), None).await.unwrap();
    assert_eq!(rows[0].value, r#""greenish""#);
    engine.set_variable(&caller("alice"), None, name(), Some(json!("blue"))).await.unwrap();
    engine.shutdown(0).await;
    drop(engine);
    world.close_store().await;

    edit_record(&data, SessionKey::SYSTEM, 3);
    let refused = Engine::start(world.ports(), world.settings()).await.err().unwrap();
    assert_eq!(refused.code, Code::SESSION_CORRUPT);
}
