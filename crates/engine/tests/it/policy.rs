//! Rules that change while the engine runs, and what that does to what waits, was granted or was given.

use std::sync::{Arc, Mutex};

use are_core::body::{Answer, Body};
use are_core::error::{Code, Fault};
use are_core::ids::SessionKey;
use are_core::journal::{Entry, Record, decode};
use are_engine::api::{Approve, Caller, PendingApproval, Target};
use are_engine::engine::{Engine, RuleKeeper, Settings};
use are_policy::rules::{Profile, Rules};
use are_testkit::script::{ScriptedModels, call, results_so_far, say};
use futures_util::FutureExt as _;
use serde_json::json;

use crate::support::{Seen, World, caller, ends, follow, is, new, prompt};

/// A model that sends as often as it is told to, always the same.
fn sends(times: usize) -> World {
    let script = move |request: &are_core::model::ModelRequest| match results_so_far(request) {
        done if done < times => vec![call("send", &json!({ "x": 1 }))],
        _ => say("ok"),
    };
    World::new(ScriptedModels::new(script)).with_profile(Profile::Ask).in_memory()
}

fn rules(text: &str) -> Rules {
    let files = [("test.cedar".to_owned(), text.to_owned())];
    Rules::new(Profile::Ask, if text.is_empty() { &[] } else { &files }).unwrap()
}

const ASK: &str = "@id(\"asks\") @ask(\"say so\") permit(principal, action, resource == Tool::\"send\");";
const FORBID: &str = "@id(\"no\") forbid(principal, action, resource == Tool::\"send\");";
const PERMIT: &str = "@id(\"yes\") permit(principal, action, resource == Tool::\"send\");";

async fn only(engine: &Engine) -> PendingApproval {
    let mut waiting = engine.approvals(&caller("alice")).await.unwrap();
    assert_eq!(waiting.len(), 1);
    waiting.remove(0)
}

async fn answer(engine: &Engine, one: &PendingApproval, decision: Answer) -> Result<u64, Fault> {
    let answer = Approve { approval: one.approval, digest: one.digest, decision };
    engine.approve(&caller("alice"), one.session, answer).await
}

async fn replays(engine: &Engine, session: SessionKey) {
    let report = engine.replay(&caller("alice"), session, None, false).await.unwrap();
    assert_eq!(report.difference, None);
    assert!(report.derived > 3, "{report:?}");
}

/// The records of the system session.
async fn system(world: &World) -> Vec<Record> {
    let rows = world.store().read(SessionKey::SYSTEM, 0, 100, usize::MAX).await.unwrap();
    let record = |row| match decode(SessionKey::SYSTEM, row).unwrap() {
        Entry::Record(record, _) => Some(*record),
        Entry::Frame(..) => None,
    };
    rows.iter().filter_map(record).collect()
}

/// The rules by whose names calls were decided, in order.
fn decided_by(seen: &Seen) -> Vec<String> {
    let names = |body: &Body| match body {
        Body::Decision { rules, .. } => rules.join("+"),
        _ => String::new(),
    };
    seen.bodies("decision").iter().map(names).collect()
}

async fn begin(engine: &Engine) -> (SessionKey, are_engine::engine::Tail, Seen) {
    let ack = engine.prompt(&caller("alice"), new(), prompt("send it")).await.unwrap();
    let (_, tail) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
    (ack.session, tail, Seen::default())
}

#[tokio::test]
async fn other_rules_withdraw_what_waits_and_the_call_is_decided_and_shown_anew() {
    let world = sends(1);
    let engine = world.engine().await;
    let (session, mut tail, mut seen) = begin(&engine).await;
    follow(&mut tail, &mut seen, is("approval_requested")).await;
    let old = only(&engine).await;
    let before = engine.rules().digest();
    assert!(engine.set_rules(rules(ASK)).await.unwrap());
    assert!(!engine.set_rules(rules(ASK)).await.unwrap(), "the same rules are no change");
    follow(&mut tail, &mut seen, is("approval_requested")).await;
    let fresh = only(&engine).await;
    assert_ne!((old.approval, old.digest), (fresh.approval, fresh.digest));
    assert!(fresh.why.contains("say so"), "{}", fresh.why);
    for (approval, digest, code) in
        [(old.approval, old.digest, Code::APPROVAL_UNKNOWN), (fresh.approval, old.digest, Code::APPROVAL_MISMATCH)]
    {
        let wrong = PendingApproval { approval, digest, ..fresh.clone() };
        assert_eq!(answer(&engine, &wrong, Answer::AllowOnce).await.unwrap_err().code, code);
    }
    answer(&engine, &fresh, Answer::AllowOnce).await.unwrap();
    follow(&mut tail, &mut seen, ends(1)).await;
    assert_eq!(decided_by(&seen), ["profile:ask/outside", "asks", "approval+asks"]);
    assert_eq!(world.tools.begun("send"), [1]);
    replays(&engine, session).await;
    let changed = system(&world).await.into_iter().filter_map(|record| match record.body {
        Body::PolicyChanged { old, new, source, answered_in, approval } => {
            Some((record.account.to_string(), old, new, source, answered_in, approval))
        }
        _ => None,
    });
    let one = ("admin".to_owned(), before, rules(ASK).digest(), "files".to_owned(), None, None);
    assert_eq!(changed.collect::<Vec<_>>(), [one]);
    assert_eq!(world.store().object(rules(ASK).digest()).await.unwrap(), rules(ASK).object());
}

#[tokio::test]
async fn a_waiting_call_that_other_rules_settle_is_settled_without_an_answer() {
    for (text, ran) in [(PERMIT, 1), (FORBID, 0)] {
        let world = sends(1);
        let engine = world.engine().await;
        let (session, mut tail, mut seen) = begin(&engine).await;
        follow(&mut tail, &mut seen, is("approval_requested")).await;
        engine.set_rules(rules(text)).await.unwrap();
        follow(&mut tail, &mut seen, ends(1)).await;
        assert_eq!(world.tools.begun("send").len(), ran, "{text}");
        assert_eq!((seen.bodies("approval_withdrawn").len(), seen.bodies("approval_resolved").len()), (1, 0));
        replays(&engine, session).await;
    }
}

#[tokio::test]
async fn a_grant_for_the_session_lapses_with_the_rules_also_when_they_come_back() {
    let world = sends(1);
    let engine = world.engine().await;
    let (session, mut tail, mut seen) = begin(&engine).await;
    follow(&mut tail, &mut seen, is("approval_requested")).await;
    answer(&engine, &only(&engine).await, Answer::AllowSession).await.unwrap();
    follow(&mut tail, &mut seen, ends(1)).await;
    let again = async |tail: &mut are_engine::engine::Tail, seen: &mut Seen, turn: u32| {
        engine.prompt(&caller("alice"), Target::Session(session), prompt("send it")).await.unwrap();
        let asked = seen.bodies("approval_requested").len();
        let stops = |entry: &Entry| is("approval_requested")(entry) || ends(turn)(entry);
        follow(tail, seen, stops).await;
        let is_asked = seen.bodies("approval_requested").len() > asked;
        if is_asked {
            answer(&engine, &only(&engine).await, Answer::Deny).await.unwrap();
            follow(tail, seen, ends(turn)).await;
        }
        is_asked
    };
    assert!(!again(&mut tail, &mut seen, 2).await, "granted");
    engine.set_rules(rules(ASK)).await.unwrap();
    assert!(again(&mut tail, &mut seen, 3).await, "other rules");
    engine.set_rules(rules("")).await.unwrap();
    assert!(again(&mut tail, &mut seen, 4).await, "the first rules again");
    assert_eq!(world.tools.begun("send"), [1, 1]);
    replays(&engine, session).await;
}

#[tokio::test]
async fn a_turn_in_the_middle_is_decided_by_the_new_rules_from_its_next_decision_on() {
    let script = |request: &are_core::model::ModelRequest| match results_so_far(request) {
        0 => vec![call("hold_send", &json!({})), call("send", &json!({ "x": 1 }))],
        2 => vec![call("send", &json!({ "x": 2 }))],
        _ => say("ok"),
    };
    let world = World::new(ScriptedModels::new(script)).in_memory();
    let engine = world.engine().await;
    let (session, mut tail, mut seen) = begin(&engine).await;
    follow(&mut tail, &mut seen, is("tool_started")).await;
    // The second call is decided and not begun: it is decided again, and forbidden.
    engine.set_rules(Rules::new(Profile::Observe, &[("a.cedar".into(), FORBID.into())]).unwrap()).await.unwrap();
    world.tools.release();
    follow(&mut tail, &mut seen, ends(1)).await;
    let by = "profile:observe";
    assert_eq!(decided_by(&seen), [by, by, "no", "no"], "{:?}", seen.actions());
    assert_eq!((world.tools.begun("hold_send").len(), world.tools.begun("send").len()), (1, 0));
    let digests: Vec<_> = seen
        .bodies("decision")
        .into_iter()
        .filter_map(|body| if let Body::Decision { policy, .. } = body { Some(policy) } else { None })
        .collect();
    assert_eq!((digests[1] == digests[0], digests[2] == digests[0], digests[3]), (true, false, digests[2]));
    replays(&engine, session).await;
}

#[tokio::test]
async fn unusable_rules_change_nothing_and_are_recorded_once() {
    let world = sends(0);
    let engine = world.engine().await;
    let before = engine.rules().digest();
    let fault = Fault::new(Code::POLICY_INVALID, "test.cedar:1: no", "mend it");
    for _ in 0..2 {
        engine.refuse_rules(fault.clone()).await.unwrap();
    }
    let standing = engine.policy();
    assert_eq!((standing.digest, standing.refused), (before, Some(fault)));
    engine.set_rules(rules("")).await.unwrap();
    assert_eq!(engine.policy().refused, None, "the files are as they were");
    let refused = |record: &Record| matches!(record.body, Body::PolicyRefused { policy } if policy == before);
    assert_eq!(system(&world).await.iter().filter(|record| refused(record)).count(), 1);
}

/// Keeps rules in memory, and counts.
fn keeping(world: &World) -> (Settings, Arc<Mutex<Vec<String>>>) {
    let kept: Arc<Mutex<Vec<String>>> = Arc::default();
    let inside = Arc::clone(&kept);
    let keeper: RuleKeeper = Arc::new(move |rule| {
        let mut kept = inside.lock().unwrap();
        kept.push(rule);
        let rules = Rules::new(Profile::Ask, &[("approved.cedar".to_owned(), kept.join("\n"))]);
        std::future::ready(Ok(rules.unwrap())).boxed()
    });
    (Settings { rule_keeper: Some(keeper), ..world.settings() }, kept)
}

#[tokio::test]
async fn allow_always_keeps_the_rule_that_was_shown_and_nobody_is_asked_again() {
    // It reads first: what a rule was shown for with nothing untrusted in view would not hold afterwards.
    let script = |request: &are_core::model::ModelRequest| match results_so_far(request) {
        0 => vec![call("read", &json!({}))],
        1 | 2 => vec![call("send", &json!({ "x": 1 }))],
        _ => say("ok"),
    };
    let world = World::new(ScriptedModels::new(script)).with_profile(Profile::Ask).in_memory();
    let (settings, kept) = keeping(&world);
    let engine = Engine::start(world.ports(), settings).await.unwrap();
    let (session, mut tail, mut seen) = begin(&engine).await;
    follow(&mut tail, &mut seen, is("approval_requested")).await;
    let one = only(&engine).await;
    let rule = one.rule.clone().expect("a rule is offered");
    let are_core::payload::Payload::Shown { shown } = &seen.payload("approval_requested")[0] else { panic!("shown") };
    assert_eq!(are_core::digest::Digest::of(&[shown.as_bytes()]), one.digest);
    let shown: serde_json::Value = serde_json::from_str(shown).unwrap();
    assert_eq!(
        (shown["rule"].as_str(), shown["session"].as_str()),
        (Some(rule.as_str()), Some(session.to_string().as_str()))
    );
    // Whoever may approve but not administer adds no rule, and the approval waits on.
    let plain = Caller { can_administer: false, ..caller("alice") };
    let always = Approve { approval: one.approval, digest: one.digest, decision: Answer::AllowAlways };
    assert_eq!(engine.approve(&plain, session, always).await.unwrap_err().code, Code::SCOPE_MISSING);
    assert_eq!(only(&engine).await, one);
    answer(&engine, &one, Answer::AllowAlways).await.unwrap();
    follow(&mut tail, &mut seen, ends(1)).await;
    assert_eq!((world.tools.begun("send"), seen.bodies("approval_requested").len()), (vec![1, 1], 1));
    assert_eq!(kept.lock().unwrap().join("\n"), rule);
    let name = rule.split('"').nth(1).unwrap().to_owned();
    assert_eq!(decided_by(&seen)[2..], [name.clone(), name]);
    let by_answer = |record: &Record| {
        matches!(&record.body, Body::PolicyChanged { source, answered_in: Some(at), approval: Some(1), .. }
            if source == "approval" && *at == session && record.account == caller("alice").account)
    };
    assert_eq!(system(&world).await.iter().filter(|record| by_answer(record)).count(), 1);
    replays(&engine, session).await;
}

#[tokio::test]
async fn where_no_rule_can_be_kept_allow_always_is_neither_shown_nor_taken() {
    let world = sends(1);
    let engine = world.engine().await;
    let (_, mut tail, mut seen) = begin(&engine).await;
    follow(&mut tail, &mut seen, is("approval_requested")).await;
    let one = only(&engine).await;
    assert_eq!(one.rule, None);
    assert_eq!(answer(&engine, &one, Answer::AllowAlways).await.unwrap_err().code, Code::RULE_NOT_KEPT);
    assert_eq!(only(&engine).await, one, "it waits on");
}

#[tokio::test]
async fn a_rule_that_cannot_be_written_leaves_the_approval_waiting() {
    let world = sends(1);
    let full: RuleKeeper = Arc::new(|_| {
        let fault = Fault::new(Code::RULE_NOT_KEPT, "no room", "make some");
        std::future::ready(Err(fault)).boxed()
    });
    let settings = Settings { rule_keeper: Some(full), ..world.settings() };
    let engine = Engine::start(world.ports(), settings).await.unwrap();
    let (_, mut tail, mut seen) = begin(&engine).await;
    follow(&mut tail, &mut seen, is("approval_requested")).await;
    let one = only(&engine).await;
    assert_eq!(answer(&engine, &one, Answer::AllowAlways).await.unwrap_err().message, "no room");
    answer(&engine, &one, Answer::AllowOnce).await.unwrap();
    follow(&mut tail, &mut seen, ends(1)).await;
    assert_eq!(world.tools.begun("send"), [1]);
}
