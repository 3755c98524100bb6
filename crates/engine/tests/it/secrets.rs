//! Secrets: set, used, rotated and deleted, per account, with a record of each and a value in none.

use are_core::body::Body;
use are_core::error::{Code, Fault};
use are_core::ids::{SecretName, SessionKey};
use are_core::journal::{Entry, decode};
use are_core::payload::Payload;
use are_core::store::Store;
use are_engine::engine::{Engine, Settings};
use are_engine::secrets::{Master, MasterKey};
use are_policy::address::Target;
use are_policy::logins::{Kept, LoginNames};
use are_policy::secrets::{BoundTo, Purpose};
use are_testkit::script::{ScriptedModels, call, results_so_far, say};
use serde_json::json;
use zeroize::Zeroizing;

use crate::support::{World, caller, new, turn};

const VALUE: &str = "s3cr3t-value-0123456789";

fn master(byte: u8) -> Master {
    Master { source: "the test".to_owned(), keys: vec![MasterKey::new(Zeroizing::new([byte; 32]))], ..Master::none() }
}

async fn engine(world: &World, master: Master) -> Engine {
    Engine::start(world.ports(), Settings { master, ..world.settings() }).await.unwrap()
}

fn name(text: &str) -> SecretName {
    text.parse().unwrap()
}

async fn set(engine: &Engine, who: &str, what: &str, value: &str) {
    let bound_to = BoundTo::read(&["api.example.com".to_owned()], &["server".to_owned()]).unwrap();
    engine.set_secret(&caller(who), name(what), Zeroizing::new(value.to_owned()), bound_to).await.unwrap();
}

fn names(engine: &Engine, who: &str) -> Vec<String> {
    engine.secrets(&caller(who)).into_iter().map(|secret| secret.name).collect()
}

/// The records of the system session that are about secrets, and all bytes of it.
async fn recorded(store: &dyn Store) -> (Vec<(String, Body)>, String) {
    let rows = store.read(SessionKey::SYSTEM, 0, 1_000, usize::MAX).await.unwrap();
    let bytes = rows.iter().map(|row| format!("{}{:?}", String::from_utf8_lossy(&row.bytes), row.payload)).collect();
    let of_secrets = rows.iter().filter_map(|row| match decode(SessionKey::SYSTEM, row).unwrap() {
        Entry::Record(record, _) if record.body.action().starts_with("secret_") => {
            Some((record.account.to_string(), record.body))
        }
        _ => None,
    });
    (of_secrets.collect(), bytes)
}

#[tokio::test]
async fn each_account_has_its_own_secrets_and_each_change_and_use_is_recorded_without_a_value() {
    let world = World::new(ScriptedModels::new(|_| say("done")));
    let engine = engine(&world, master(1)).await;
    set(&engine, "admin", "one", VALUE).await;
    set(&engine, "alice", "hers", "value-of-alices").await;
    assert_eq!((names(&engine, "admin"), names(&engine, "alice")), (vec!["one".to_owned()], vec!["hers".to_owned()]));
    let unknown = engine.delete_secret(&caller("alice"), name("one")).await.unwrap_err();
    assert_eq!(unknown, engine.delete_secret(&caller("alice"), name("nobodys")).await.unwrap_err());
    // What the runtime starts by itself is the operator's, and bound like everything else.
    let own = engine.operator_secrets();
    let value = own.reveal(&name("one"), Purpose::Process("server")).await.unwrap();
    assert_eq!(value.expose(), VALUE);
    let code = |result: Result<are_policy::secrets::Value, are_core::error::Fault>| result.err().unwrap().code;
    assert_eq!(code(own.reveal(&name("one"), Purpose::Process("other")).await), Code::SECRET_BOUND);
    assert_eq!(code(own.reveal(&name("hers"), Purpose::Process("server")).await), Code::SECRET_UNKNOWN);
    let rotated = engine.rotate_secrets(&caller("admin"), false).await.unwrap();
    assert_eq!((rotated.secrets, rotated.left), (2, 0));
    engine.delete_secret(&caller("alice"), name("hers")).await.unwrap();
    drop(own);
    engine.shutdown(0).await;
    drop(engine);

    let (records, bytes) = recorded(world.store().as_ref()).await;
    let actions: Vec<_> = records.iter().map(|(who, body)| format!("{who} {}", body.action())).collect();
    let expected = [
        "admin secret_set",
        "alice secret_set",
        "admin secret_used",
        "admin secret_key_changed",
        "alice secret_deleted",
    ];
    assert_eq!(actions, expected);
    assert!(!bytes.contains(VALUE) && !bytes.contains("value-of-alices"));
    let digest = are_core::digest::Digest::of(&[VALUE.as_bytes()]).to_string();
    assert!(!bytes.contains(&digest), "nor anything that it could be guessed from");
    // After a restart with the key it opens, and with another one everything else works.
    let again = self::engine(&world, master(1)).await;
    assert!(again.operator_secrets().reveal(&name("one"), Purpose::Process("server")).await.is_ok());
    again.shutdown(0).await;
    drop(again);
    let locked = self::engine(&world, master(2)).await;
    let refused = locked.operator_secrets().reveal(&name("one"), Purpose::Process("server")).await.err().unwrap();
    assert_eq!(refused.code, Code::SECRETS_LOCKED);
    assert!(!locked.secrets(&caller("admin"))[0].is_readable);
    turn(&locked, new(), "hello").await;
    locked.shutdown(0).await;
}

#[tokio::test]
async fn what_a_login_brings_is_the_operators_and_a_renewal_that_failed_is_on_record_without_a_value() {
    let world = World::new(ScriptedModels::new(|_| say("done")));
    let engine = engine(&world, master(1)).await;
    let keeper = engine.operator_secrets();
    let names = LoginNames::of("far", "https://api.example.com/mcp").unwrap();
    let kept = |value: &str| Kept {
        name: names.token.clone(),
        value: are_policy::secrets::Value::new(Zeroizing::new(value.to_owned())),
        bound_to: BoundTo::read(&["api.example.com".to_owned()], &[]).unwrap(),
    };
    keeper.keep(vec![kept("the-token-before"), kept(VALUE)]).await.unwrap();
    assert_eq!(keeper.names(), std::slice::from_ref(&names.token));
    let target = Target::parse("https://api.example.com/mcp").unwrap();
    assert_eq!(keeper.reveal(&names.token, Purpose::Request(&target)).await.unwrap().expose(), VALUE);
    let elsewhere = Target::parse("https://evil.example/mcp").unwrap();
    let refused = keeper.reveal(&names.token, Purpose::Request(&elsewhere)).await.err().unwrap();
    assert_eq!(refused.code, Code::SECRET_BOUND);
    // One that cannot be kept leaves what was there.
    assert_eq!(keeper.keep(vec![kept("short")]).await.unwrap_err().code, Code::SECRET_LIMIT);
    keeper.failed("far", &Fault::new(Code::LOGIN_FAILED, format!("refused: {VALUE}"), "log in again")).await;
    keeper.forget(vec![names.token.clone()]).await.unwrap();
    assert!(keeper.names().is_empty());
    assert_eq!(keeper.forget(vec![names.token.clone()]).await.unwrap_err().code, Code::SECRET_UNKNOWN);
    // Nobody logs in where no servers of tools are kept.
    assert_eq!(engine.end_login(&caller("admin"), "far".to_owned()).await.unwrap_err().code, Code::UNAVAILABLE);
    drop(keeper);
    engine.shutdown(0).await;
    drop(engine);

    let rows = world.store().as_ref().read(SessionKey::SYSTEM, 0, 1_000, usize::MAX).await.unwrap();
    let failed = rows.iter().find_map(|row| match decode(SessionKey::SYSTEM, row).unwrap() {
        Entry::Record(record, Some(Payload::Failure { message, .. })) => Some((record.body, message)),
        _ => None,
    });
    let (body, message) = failed.expect("a record of the failure");
    assert_eq!(body, Body::ServerLogin { server: "far".to_owned(), step: "not_renewed".to_owned() });
    assert!(message.starts_with("refused: ") && !message.contains(VALUE), "{message}");
    let (records, bytes) = recorded(world.store().as_ref()).await;
    let actions: Vec<_> = records.iter().map(|(who, body)| format!("{who} {}", body.action())).collect();
    let expected = ["admin secret_set", "admin secret_set", "admin secret_used", "admin secret_deleted"];
    assert_eq!(actions, expected);
    assert!(!bytes.contains(VALUE));
}

#[tokio::test]
async fn a_deleted_account_leaves_no_secret() {
    let world = World::new(ScriptedModels::new(|_| say("done")));
    let engine = engine(&world, master(1)).await;
    let account = engine.create_account(&caller("admin"), "dora".parse().unwrap(), Vec::new()).await.unwrap().name;
    set(&engine, "dora", "hers", VALUE).await;
    set(&engine, "admin", "one", "value-of-admins").await;
    engine.delete_account(&caller("admin"), &account).await.unwrap();
    engine.erase_account(&account).await.unwrap();
    assert!(names(&engine, "dora").is_empty());
    engine.shutdown(0).await;
    drop(engine);
    let left = world.store().sealed().await.unwrap();
    let owners: Vec<_> = left.iter().filter_map(|row| row.account.as_ref().map(ToString::to_string)).collect();
    assert_eq!(owners, ["admin"]);
}

#[tokio::test]
async fn no_variable_memory_or_tool_but_requests_takes_a_secret() {
    let script = |request: &are_core::model::ModelRequest| match results_so_far(request) {
        0 => vec![call("read", &json!({"x": "${secret:one}"}))],
        1 => vec![call("remember", &json!({"x": "a ${secret:one} b"}))],
        2 => vec![call("read", &json!({"x": VALUE}))],
        _ => say("done"),
    };
    let world = World::new(ScriptedModels::new(script));
    let engine = engine(&world, master(1)).await;
    set(&engine, "alice", "one", VALUE).await;
    let value = Some(json!({"a": [format!("x{VALUE}")], "b": hex(VALUE)}));
    engine.set_variable(&caller("alice"), None, "kept".parse().unwrap(), value).await.unwrap();
    engine.add_memory(&caller("alice"), format!("remember {VALUE}")).await.unwrap();
    let (session, seen) = turn(&engine, new(), &format!("the value is {VALUE}")).await;
    let codes: Vec<_> = seen
        .bodies("tool_failed")
        .into_iter()
        .filter_map(|body| match body {
            Body::ToolFailed { code, .. } => Some(code),
            _ => None,
        })
        .collect();
    assert_eq!(codes, [Code::SECRET_MISPLACED, Code::SECRET_MISPLACED]);
    assert_eq!(world.tools.begun("read").len(), 1, "with a mark where the value was");
    let told = format!("{seen:?}{:?}", world.models.requests());
    assert!(!told.contains(VALUE) && !told.contains(&hex(VALUE)), "{told}");
    let stored = engine.variables(&caller("alice"), None).await.unwrap();
    assert!(!stored[0].value.contains(VALUE) && !stored[0].value.contains(&hex(VALUE)), "{}", stored[0].value);
    // Bob's texts are his own: that something is a secret of alice's is not told him.
    let bob = engine.add_memory(&caller("bob"), format!("remember {VALUE}")).await;
    assert!(bob.is_ok() && engine.memories(&caller("bob"), None, 1).await.unwrap()[0].text.contains(VALUE));
    assert_eq!(engine.replay(&caller("alice"), session, None, false).await.unwrap().difference, None);
    engine.shutdown(0).await;
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}
