//! A record that was changed in the file, and files that do not belong together.

use std::path::Path;

use are_core::ids::SessionKey;
use are_testkit::damage::{edit_bytes, edit_record};
use serde_json::json;

use crate::campaign_check::all_is_well;
use crate::campaign_client::{Follower, Line};
use crate::campaign_stage::{Life, Scene};

async fn session_of(scene: &Scene, life: &Life) -> Follower {
    let mut follower = Follower::default();
    assert!(follower.follow(life).await, "{:?}\n{}", follower.errors, scene.log());
    follower
}

/// Client verbs about one session.
fn verbs(session: &str) -> [Vec<&str>; 3] {
    [vec!["session", "events", session], vec!["session", "replay", session], vec!["run", "--session", session, "job 9"]]
}

#[tokio::test]
async fn campaign_an_edited_record_closes_its_session_with_exit_six_and_no_other() {
    let scene = Scene::new().await;
    let mut life = scene.start().await;
    let bad = session_of(&scene, &life).await;
    let mut good = Follower::of(100);
    assert!(good.follow(&life).await, "{:?}", good.errors);
    life.terminate().await;
    let session = bad.session.expect("a session");
    let key: SessionKey = session.parse().expect("a key");
    let middle = &bad.seen.records[bad.seen.records.len() / 2];
    edit_record(&scene.data_dir, key, middle["seq"].as_u64().expect("a number"));

    // Without a server, and with one.
    for verb in verbs(&session) {
        let ran = scene.stage.run(&verb).await.exits(6);
        assert!(ran.stderr.starts_with("error[ARE-0302]"), "{verb:?}: {}", ran.stderr);
    }
    let mut life = scene.start().await;
    assert_eq!(life.status_of("/readyz").await, Some(200));
    for verb in verbs(&session) {
        let ran = scene.stage.run(&verb).await.exits(6);
        assert!(ran.stderr.starts_with("error[ARE-0302]"), "{verb:?}: {}", ran.stderr);
    }
    let mut line = Line::open(&life).await.expect("a server");
    line.send(&json!({"type": "attach", "session": session, "after": 0})).await;
    let error = line.until(&["error"]).await.expect("the server lives");
    assert_eq!(error["code"], "ARE-0302", "{error}");
    line.send(&json!({"type": "prompt", "content": "job 9"})).await;
    let answer = line.until(&["ack", "error"]).await.expect("the server lives");
    assert_ne!(answer["session"], json!(session), "{answer}");

    assert_eq!(good.fresh(&life).await.records, good.seen.records);
    all_is_well(&scene, &life, &mut good).await;
    let listed = scene.stage.run(&["session", "list", "--json"]).await.exits(0).json();
    assert!(listed.to_string().contains(&session), "it is still listed: {listed}");
    life.terminate().await;
}

#[tokio::test]
async fn campaign_a_damaged_payload_of_the_system_session_is_reported_and_stops_nothing() {
    let scene = Scene::new().await;
    let mut life = scene.start().await;
    let mut good = session_of(&scene, &life).await;
    scene.stage.run(&["var", "set", "colour", "\"greenish\""]).await.exits(0);
    life.terminate().await;
    // The variable's row stays; only what the journal says of it is another.
    edit_bytes(&scene.data_dir, r#""name":"colour","value":"greenish""#, r#""name":"colour","value":"reddish.""#);

    let doctor = scene.stage.run(&["doctor", "--json"]).await;
    let findings = doctor.json();
    let store = findings["findings"].as_array().expect("findings").iter().find(|one| one["what"] == "store");
    let text = store.expect("about the store")["text"].as_str().expect("a text").to_owned();
    assert!(text.contains("payloads of the system session: entries ["), "{text}");
    let mut life = scene.start().await;
    assert_eq!(life.status_of("/readyz").await, Some(200));
    assert!(scene.log().contains("payloads of the system session are damaged"), "{}", scene.log());
    let value = scene.stage.run(&["var", "get", "colour"]).await.exits(0).stdout;
    assert!(value.contains("greenish"), "{value}");
    all_is_well(&scene, &life, &mut good).await;
    life.terminate().await;

    // A damaged record is another matter: the chain is what everything rests on.
    edit_record(&scene.data_dir, SessionKey::SYSTEM, 2);
    let ran = scene.stage.run(&["start", "--port", "0"]).await.exits(6);
    assert!(ran.stderr.starts_with("error[ARE-0302]"), "{}", ran.stderr);
}

/// `are start` over what is in the data directory now.
async fn is_refused(scene: &Scene, case: &str, names: &Path) {
    let ran = scene.stage.run(&["start", "--port", "0"]).await.exits(6);
    println!("{case}: {}", ran.stderr.lines().next().unwrap_or_default());
    assert!(ran.stderr.starts_with("error[ARE-0307]"), "{case}: {}", ran.stderr);
    assert!(ran.stderr.contains(&names.display().to_string()), "{case}: {}", ran.stderr);
    assert_eq!(ran.stdout, "", "{case}: no ready line");
}

#[tokio::test]
async fn campaign_a_start_over_a_database_that_is_empty_cut_or_anothers_is_refused_by_name() {
    let (scene, other) = (Scene::new().await, Scene::new().await);
    let mut followers = Vec::new();
    for scene in [&scene, &other] {
        let mut life = scene.start().await;
        followers.push(session_of(scene, &life).await);
        life.terminate().await;
    }
    let (db, id) = (scene.data_dir.join("are.db"), scene.data_dir.join("store.id"));
    let (whole, whole_id) = (std::fs::read(&db).expect("a database"), std::fs::read(&id).expect("an identity"));
    let cases: [(&str, Vec<u8>); 5] = [
        ("empty", Vec::new()),
        ("cut at a page", whole[..whole.len() / 2 / 4096 * 4096].to_vec()),
        ("cut within a page", whole[..whole.len() - 1].to_vec()),
        ("no database", b"not a database".repeat(1000)),
        ("another's", std::fs::read(other.data_dir.join("are.db")).expect("a database")),
    ];
    for (case, bytes) in cases {
        std::fs::write(&db, &bytes).expect("written");
        is_refused(&scene, case, &db).await;
        assert_eq!(std::fs::read(&db).expect("a database"), bytes, "{case}: it is left as it was");
    }
    std::fs::remove_file(&db).expect("removed");
    is_refused(&scene, "gone", &db).await;
    std::fs::write(&db, &whole).expect("written");
    for (case, bytes) in [("identity empty", &b""[..]), ("identity nonsense", b"\xff\xfe")] {
        std::fs::write(&id, bytes).expect("written");
        is_refused(&scene, case, &id).await;
    }
    std::fs::remove_file(&id).expect("removed");
    is_refused(&scene, "identity gone", &id).await;

    // Nothing of all that has hurt it.
    std::fs::write(&id, whole_id).expect("written");
    let mut life = scene.start().await;
    all_is_well(&scene, &life, &mut followers[0]).await;
    life.terminate().await;
}
