//! Accounts: what their groups mean to decisions, and what a change of one does to what runs, waits or was granted.

use std::sync::Arc;

use are_core::account::Via;
use are_core::body::{Answer, Body};
use are_core::error::Code;
use are_core::ids::{AccountId, SessionKey};
use are_core::journal::{Entry, Record, decode};
use are_engine::api::{Approve, Caller, IfBusy, NewSession, Prompt, Target};
use are_engine::engine::{AccountChange, Engine, Settings, Tail};
use are_policy::rules::{Profile, Rules};
use are_testkit::script::{Say, ScriptedModels, call, last_words, results_so_far, say};
use serde_json::json;

use crate::support::{Seen, World, caller, ends, follow, is, new, prompt, turn};

/// The rule for those in the group `ops`, and for nobody else.
const OPS: &str = "@id(\"ops\") permit(principal in Group::\"ops\", action, resource == Tool::\"send\");";

/// A model that sends once, or says as many words as it is told to hold between.
fn sends() -> World {
    let script = |request: &are_core::model::ModelRequest| match (last_words(request), results_so_far(request)) {
        ("talk", _) => vec![Say::Token("one ".to_owned()), Say::Hold, Say::Token("two".to_owned())],
        ("work", 0) => vec![call("hold_send", &json!({}))],
        (_, 0) => vec![call("send", &json!({ "x": 1 }))],
        _ => say("ok"),
    };
    World::new(ScriptedModels::new(script)).in_memory()
}

async fn engine(world: &World, profile: Profile, text: &str) -> Engine {
    let files = [("a.cedar".to_owned(), text.to_owned())];
    let rules = Rules::new(profile, if text.is_empty() { &[] } else { &files }).unwrap();
    Engine::start(world.ports(), Settings { rules: Arc::new(rules), ..world.settings() }).await.unwrap()
}

fn alice() -> AccountId {
    "alice".parse().unwrap()
}

async fn regroup(engine: &Engine, groups: &[&str]) {
    let groups = groups.iter().map(|group| group.parse().unwrap()).collect();
    let change = AccountChange { groups: Some(groups), is_disabled: None };
    engine.change_account(&caller("admin"), &alice(), change).await.unwrap();
}

async fn disable(engine: &Engine, is_disabled: bool) {
    let change = AccountChange { groups: None, is_disabled: Some(is_disabled) };
    engine.change_account(&caller("admin"), &alice(), change).await.unwrap();
}

async fn begin(engine: &Engine, words: &str) -> (SessionKey, Tail, Seen) {
    let ack = engine.prompt(&caller("alice"), new(), prompt(words)).await.unwrap();
    let (_, tail) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
    (ack.session, tail, Seen::default())
}

async fn replays(engine: &Engine, session: SessionKey) {
    let report = engine.replay(&caller("alice"), session, None, false).await.unwrap();
    assert_eq!(report.difference, None);
}

/// The records of the system session.
async fn system(world: &World) -> Vec<(Record, bool)> {
    let rows = world.store().read(SessionKey::SYSTEM, 0, 100, usize::MAX).await.unwrap();
    let record = |row| match decode(SessionKey::SYSTEM, row).unwrap() {
        Entry::Record(record, payload) => Some((*record, payload.is_some())),
        Entry::Frame(..) => None,
    };
    rows.iter().filter_map(record).collect()
}

fn failures(seen: &Seen) -> Vec<Code> {
    let code = |body| if let Body::TurnFailed { code, .. } = body { Some(code) } else { None };
    seen.bodies("turn_failed").into_iter().filter_map(code).collect()
}

#[tokio::test]
async fn a_rule_about_a_group_holds_for_its_members_from_the_next_decision_on() {
    let world = sends();
    let engine = engine(&world, Profile::Ask, OPS).await;
    engine.create_account(&caller("admin"), alice(), Vec::new()).await.unwrap();
    let (session, mut tail, mut seen) = begin(&engine, "send").await;
    follow(&mut tail, &mut seen, is("approval_requested")).await;
    assert_eq!(world.tools.begun("send"), [0_u32; 0]);
    regroup(&engine, &["staff", "ops", "ops"]).await;
    follow(&mut tail, &mut seen, ends(1)).await;
    assert_eq!((world.tools.begun("send").len(), seen.bodies("approval_withdrawn").len()), (1, 1));
    let groups = |body| match body {
        Body::Decision { rules, membership, .. } => Some((
            rules.join("+"),
            membership.groups.iter().map(ToString::to_string).collect::<Vec<_>>().join("+"),
            membership.revision,
        )),
        _ => None,
    };
    let decided: Vec<_> = seen.bodies("decision").into_iter().filter_map(groups).collect();
    let of = |rule: &str, groups: &str, revision| (rule.to_owned(), groups.to_owned(), revision);
    assert_eq!(decided, [of("profile:ask/outside", "", 0), of("ops", "ops+staff", 1)]);
    // And no longer, when it is out of the group.
    regroup(&engine, &[]).await;
    engine.prompt(&caller("alice"), Target::Session(session), prompt("send")).await.unwrap();
    follow(&mut tail, &mut seen, |entry| matches!(entry, Entry::Record(record, _) if record.turn == Some(2) && record.body.action() == "approval_requested")).await;
    assert_eq!(world.tools.begun("send").len(), 1);
    replays(&engine, session).await;
}

#[tokio::test]
async fn what_was_granted_for_the_session_is_gone_with_the_account_also_when_it_comes_back() {
    let world = sends();
    let engine = engine(&world, Profile::Ask, "").await;
    engine.create_account(&caller("admin"), alice(), Vec::new()).await.unwrap();
    let (session, mut tail, mut seen) = begin(&engine, "send").await;
    follow(&mut tail, &mut seen, is("approval_requested")).await;
    let one = engine.approvals(&caller("alice")).await.unwrap().remove(0);
    let answer = Approve { approval: one.approval, digest: one.digest, decision: Answer::AllowSession };
    engine.approve(&caller("alice"), session, answer).await.unwrap();
    follow(&mut tail, &mut seen, ends(1)).await;
    let again = async |tail: &mut Tail, seen: &mut Seen, turn: u32| {
        engine.prompt(&caller("alice"), Target::Session(session), prompt("send")).await.unwrap();
        let asked = seen.bodies("approval_requested").len();
        follow(tail, seen, |entry| is("approval_requested")(entry) || ends(turn)(entry)).await;
        seen.bodies("approval_requested").len() > asked
    };
    assert!(!again(&mut tail, &mut seen, 2).await, "granted");
    disable(&engine, true).await;
    disable(&engine, false).await;
    assert!(again(&mut tail, &mut seen, 3).await, "the grant is gone");
    // What waits when the account goes is not answered any more.
    disable(&engine, true).await;
    follow(&mut tail, &mut seen, ends(3)).await;
    assert_eq!(failures(&seen), [Code::ACCOUNT_GONE]);
    assert_eq!(world.tools.begun("send"), [1, 1]);
    replays(&engine, session).await;
}

#[tokio::test]
async fn a_disabled_accounts_turns_end_with_a_reason_wherever_they_are_and_its_sessions_stay() {
    let world = sends();
    let engine = engine(&world, Profile::Observe, "").await;
    engine.create_account(&caller("admin"), alice(), Vec::new()).await.unwrap();
    let (talking, mut tail, mut seen) = begin(&engine, "talk").await;
    follow(&mut tail, &mut seen, |entry| matches!(entry, Entry::Frame(..))).await;
    let queued = Prompt { if_busy: IfBusy::Queue, ..prompt("send") };
    engine.prompt(&caller("alice"), Target::Session(talking), queued).await.unwrap();
    let (working, mut tail_of_work, mut seen_work) = begin(&engine, "work").await;
    follow(&mut tail_of_work, &mut seen_work, is("tool_started")).await;
    disable(&engine, true).await;
    follow(&mut tail, &mut seen, ends(2)).await;
    follow(&mut tail_of_work, &mut seen_work, ends(1)).await;
    assert_eq!(failures(&seen), [Code::ACCOUNT_GONE, Code::ACCOUNT_GONE]);
    assert_eq!(failures(&seen_work), [Code::ACCOUNT_GONE]);
    assert_eq!(seen_work.bodies("tool_unknown").len(), 1, "{:?}", seen_work.actions());
    assert_eq!(world.tools.begun("send"), [0_u32; 0]);
    for target in [Target::Session(talking), new()] {
        let refused = engine.prompt(&caller("alice"), target, prompt("send")).await.unwrap_err();
        assert_eq!(refused.code, Code::ACCOUNT_GONE);
    }
    assert_eq!(engine.create(&caller("alice"), NewSession::default()).await.unwrap_err().code, Code::ACCOUNT_GONE);
    assert!(engine.speaking_groups(&alice()).is_none());
    disable(&engine, false).await;
    assert_eq!(engine.sessions(&caller("alice"), 10, None).await.unwrap().len(), 2);
    world.tools.release();
    let (_, seen) = turn(&engine, new(), "send").await;
    assert_eq!(seen.actions().last().map(String::as_str), Some("turn_completed"));
    replays(&engine, talking).await;
    replays(&engine, working).await;
}

#[tokio::test]
async fn a_turn_that_a_restart_finds_for_a_disabled_account_ends_before_anything_else() {
    let world = sends();
    let first = engine(&world, Profile::Ask, "").await;
    first.create_account(&caller("admin"), alice(), Vec::new()).await.unwrap();
    let (session, mut tail, mut seen) = begin(&first, "send").await;
    follow(&mut tail, &mut seen, is("approval_requested")).await;
    first.shutdown(0).await;
    drop((first, tail));
    // As a crash between the record of the change and the end of the turns leaves it.
    let row = world.store().accounts().await.unwrap().remove(0);
    let row = are_core::store::AccountRow { is_disabled: true, revision: 1, ..row };
    let head = world.store().claim(session).await.unwrap();
    let append = are_core::store::Append {
        session,
        fence: head.fence,
        expect: head.head,
        rows: Vec::new(),
        head: head.head,
        durability: are_core::store::Durability::Durable,
        changes: vec![are_core::store::Change::PutAccount(row)],
    };
    world.store().append(append).await.unwrap();
    let second = engine(&world, Profile::Observe, "").await;
    let (_, mut tail) = second.attach(&caller("alice"), session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, ends(1)).await;
    assert_eq!(failures(&seen), [Code::ACCOUNT_GONE]);
    assert_eq!(world.tools.begun("send"), [0_u32; 0]);
}

#[tokio::test]
async fn a_deleted_accounts_words_are_erased_its_records_and_its_name_stay() {
    let world = sends();
    let engine = engine(&world, Profile::Observe, "").await;
    let admin = caller("admin");
    engine.create_account(&admin, alice(), vec!["ops".parse().unwrap()]).await.unwrap();
    let (session, _) = turn(&engine, new(), "send").await;
    for who in [&caller("alice"), &admin] {
        engine.set_variable(who, None, "city".parse().unwrap(), Some(json!("Oslo"))).await.unwrap();
    }
    engine.delete_account(&admin, &alice()).await.unwrap();
    engine.erase_account(&alice()).await.unwrap();
    assert_eq!(engine.account(&alice()), None);
    assert!(engine.session(&caller("alice"), session).await.is_err());
    let row = world.store().session(session).await.unwrap();
    assert!(row.is_deleted && row.head.seq > 5);
    assert_eq!(world.store().variables(None, alice()).await.unwrap(), []);
    assert_eq!(engine.variables(&admin, None).await.unwrap().len(), 1, "others keep theirs");
    let records = system(&world).await;
    let payloads: Vec<_> =
        records.iter().filter(|(record, _)| matches!(record.body, Body::VariableSet { .. })).collect();
    let kept: Vec<_> = payloads.iter().map(|(record, has)| (record.account.as_str(), *has)).collect();
    assert_eq!(kept, [("alice", false), ("admin", true)]);
    let actions: Vec<_> = records.iter().map(|(record, _)| record.body.action()).collect();
    assert_eq!(actions[actions.len() - 2..], ["account_deleted", "account_erased"]);
    for again in [alice(), "admin".parse().unwrap()] {
        assert_eq!(engine.create_account(&admin, again, Vec::new()).await.unwrap_err().code, Code::ACCOUNT_TAKEN);
    }
    let change = AccountChange { groups: None, is_disabled: Some(false) };
    assert_eq!(
        engine.change_account(&admin, &alice(), change).await.unwrap_err().code,
        Code::ACCOUNT_UNKNOWN,
        "nothing brings it back"
    );
    engine.shutdown(0).await;
    drop(engine);
    // The chain of the system session is whole, and what was erased is no damage.
    let engine = Engine::start(world.ports(), world.settings()).await.unwrap();
    assert_eq!(engine.system_damage(), [] as [u64; 0]);
    assert_eq!(engine.account(&alice()), None);
}

#[tokio::test]
async fn the_operators_account_cannot_be_taken_away_and_numbers_are_bounded() {
    let world = sends();
    let engine = engine(&world, Profile::Observe, "").await;
    let (admin, operator) = (caller("admin"), "admin".parse::<AccountId>().unwrap());
    let change = AccountChange { groups: None, is_disabled: Some(true) };
    assert_eq!(engine.change_account(&admin, &operator, change).await.unwrap_err().code, Code::ACCOUNT_PROTECTED);
    assert_eq!(engine.delete_account(&admin, &operator).await.unwrap_err().code, Code::ACCOUNT_PROTECTED);
    let change = AccountChange { groups: Some(vec!["ops".parse().unwrap()]), is_disabled: None };
    let (view, is_changed) = engine.change_account(&admin, &operator, change.clone()).await.unwrap();
    assert!(is_changed && view.is_operator && view.groups.len() == 1);
    assert!(!engine.change_account(&admin, &operator, change).await.unwrap().1, "the same again is no change");
    let many = (0..=are_engine::limits::GROUPS_PER_ACCOUNT_MAX).map(|n| format!("g{n}").parse().unwrap()).collect();
    assert_eq!(engine.create_account(&admin, alice(), many).await.unwrap_err().code, Code::ACCOUNT_LIMIT);
    assert_eq!(engine.delete_account(&admin, &alice()).await.unwrap_err().code, Code::ACCOUNT_UNKNOWN);
    assert_eq!(engine.accounts().iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["admin"]);
}

#[tokio::test]
async fn what_a_delegate_does_is_recorded_with_its_token_and_what_follows_is_not() {
    let world = sends();
    let engine = engine(&world, Profile::Observe, "").await;
    let via = Via { token: "aabbccddeeff".to_owned(), account: "bridge".parse().unwrap() };
    let spoken = Caller { via: Some(via.clone()), ..caller("alice") };
    let ack = engine.prompt(&spoken, new(), prompt("send")).await.unwrap();
    let (_, mut tail) = engine.attach(&spoken, ack.session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, ends(1)).await;
    engine.feedback(&spoken, ack.session, 1, None, Some("fine".to_owned())).await.unwrap();
    engine.feedback(&caller("alice"), ack.session, 1, None, Some("fine".to_owned())).await.unwrap();
    let count = std::cell::Cell::new(0);
    let second = |entry: &Entry| is("feedback")(entry) && count.replace(count.get() + 1) == 1;
    follow(&mut tail, &mut seen, second).await;
    engine.set_variable(&spoken, None, "x".parse().unwrap(), Some(json!(1))).await.unwrap();
    let records = seen.entries.iter().filter_map(|entry| match entry {
        Entry::Record(record, _) => Some((record.body.action(), record.via.clone())),
        Entry::Frame(..) => None,
    });
    let with: Vec<_> = records.filter(|(_, via)| via.is_some()).collect();
    let expected = ["session_created", "turn_started", "feedback"].map(|name| (name.to_owned(), Some(via.clone())));
    assert_eq!(with, expected);
    let records = system(&world).await;
    let set = records.iter().find(|(record, _)| matches!(record.body, Body::VariableSet { .. })).unwrap();
    assert_eq!((set.0.account.as_str(), set.0.via.as_ref()), ("alice", Some(&via)));
    replays(&engine, ack.session).await;
}
