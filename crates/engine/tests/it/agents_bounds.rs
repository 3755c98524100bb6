//! What an agent that another one began may not do.

use std::sync::Arc;

use are_core::body::{Body, Outcome};
use are_core::error::Code;
use are_core::payload::Payload;
use are_engine::api::{Agent, Prompt};
use are_engine::engine::{Engine, Settings};
use are_policy::budget::Budget;
use are_policy::rules::{Profile, Rules};
use are_testkit::script::{Say, call, say};
use serde_json::{Value, json};

use crate::agents::{children, replays, results, seen, spawn, world};
use crate::support::{Seen, World, caller, ends, follow, is, new, prompt, turn};

fn failures(seen: &Seen) -> Vec<(Code, String)> {
    let codes = seen.bodies("tool_failed").into_iter().map(|body| match body {
        Body::ToolFailed { code, .. } => code,
        other => panic!("{other:?}"),
    });
    let messages = seen.payload("tool_failed").into_iter().map(|payload| match payload {
        Payload::Failure { message, .. } => message,
        other => panic!("{other:?}"),
    });
    codes.zip(messages).collect()
}

fn outcomes(seen: &Seen) -> Vec<Outcome> {
    let outcome = |body: &Body| match body {
        Body::Decision { decision, .. } => *decision,
        other => panic!("{other:?}"),
    };
    seen.bodies("decision").iter().map(outcome).collect()
}

fn with_agent(settings: Settings, agent: Agent) -> Settings {
    let mut settings = settings;
    settings.agents.insert(agent.name.clone(), agent);
    settings
}

fn helper() -> Agent {
    Agent::new("helper".parse().unwrap(), "Help.")
}

async fn start(world: &World, settings: Settings) -> Engine {
    Engine::start(world.ports(), settings).await.unwrap()
}

#[tokio::test]
async fn it_has_no_tool_that_it_was_not_given_or_that_its_maker_lacks() {
    let world = world(|words, results| match (words, results) {
        ("go", 0) => vec![call(
            "agent_spawn",
            &json!({ "prompt": "try", "agent": "helper", "tools": ["read", "send", "agent_spawn"] }),
        )],
        ("try", 0) => vec![call("put", &json!({})), call("send", &json!({})), call("read", &json!({})), spawn("again")],
        ("again", 0) => vec![call("put", &json!({})), call("read", &json!({}))],
        _ => say("done"),
    });
    let mut settings = with_agent(world.settings(), helper());
    let main = settings.agents.values_mut().find(|agent| agent.name.as_str() == "main").unwrap();
    main.tools = Some(["read", "put", "agent_*"].map(|tool| tool.parse().unwrap()).to_vec());
    let engine = start(&world, settings).await;
    let (_, above) = turn(&engine, new(), "go").await;
    let child = children(&above)[0];
    let below = seen(&engine, child).await;
    let refused: Vec<_> = failures(&below).into_iter().map(|(code, _)| code).collect();
    assert_eq!(refused, [Code::TOOL_UNKNOWN, Code::TOOL_UNKNOWN], "neither `put`, which it was not given, nor `send`");
    let deepest = seen(&engine, children(&below)[0]).await;
    assert_eq!(failures(&deepest).len(), 1, "nor does what it begins have it");
    assert_eq!((world.tools.begun("put").len(), world.tools.begun("send").len()), (0, 0));
    assert_eq!(world.tools.begun("read"), [1, 1]);
    replays(&engine, child).await;
    // What it is offered says the same.
    let offered: Vec<Vec<String>> = world
        .models
        .requests()
        .iter()
        .map(|one| one.tools.iter().map(|tool| tool.name.to_string()).collect())
        .collect();
    assert!(offered.contains(&vec!["agent_spawn".to_owned(), "read".to_owned()]), "{offered:?}");
}

#[tokio::test]
async fn what_the_rules_forbid_its_maker_it_does_not_do_under_another_name() {
    let rule = r#"@id("main-sends-nothing") forbid(principal == Agent::"main", action == Action::"send", resource);
        @id("helper-sends") permit(principal == Agent::"helper", action == Action::"send", resource);"#;
    let world = world(|words, results| match (words, results) {
        ("go", 0) => vec![call("agent_spawn", &json!({ "prompt": "send", "agent": "helper" }))],
        ("send" | "as helper", 0) => vec![call("send", &json!({ "x": 1 }))],
        _ => say("done"),
    });
    let rules = Rules::new(Profile::Observe, &[("rules.cedar".to_owned(), rule.to_owned())]).unwrap();
    let settings = Settings { rules: Arc::new(rules), ..with_agent(world.settings(), helper()) };
    let engine = start(&world, settings).await;
    let (_, above) = turn(&engine, new(), "go").await;
    let below = seen(&engine, children(&above)[0]).await;
    assert_eq!(outcomes(&below), [Outcome::Deny]);
    assert_eq!(world.tools.begun("send").len(), 0);
    // The agent itself may, where no other began it.
    let named = are_engine::api::NewSession { agent: Some("helper".parse().unwrap()), ..Default::default() };
    turn(&engine, are_engine::api::Target::New(named), "as helper").await;
    assert_eq!(world.tools.begun("send").len(), 1);
}

#[tokio::test]
async fn a_profile_of_its_makers_file_holds_for_it_too() {
    let world = world(|words, results| match (words, results) {
        ("go", 0) => vec![spawn("write")],
        ("write", 0) => vec![call("put", &json!({ "x": 1 }))],
        _ => say("done"),
    });
    let mut settings = world.settings();
    for agent in settings.agents.values_mut() {
        agent.narrowing.profiles = vec![Profile::Ask];
    }
    let engine = start(&world, settings).await;
    let ack = engine.prompt(&caller("alice"), new(), prompt("go")).await.unwrap();
    let (_, mut tail) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
    follow(&mut tail, &mut Seen::default(), is("approval_requested")).await;
    assert_eq!(world.tools.begun("put").len(), 0, "asked, although the profile in force is `observe`");
    engine.cancel(&caller("alice"), ack.session, 1).await.unwrap();
}

#[tokio::test]
async fn agents_nest_and_multiply_no_further_than_is_bounded() {
    let world = world(|words, results| match (words, results) {
        // One that begins another for ever.
        ("deep", 0) => vec![spawn("deep")],
        ("wide", _) => vec![spawn("nothing")],
        _ => say("done"),
    });
    let engine = world.engine().await;
    let (_, above) = turn(&engine, new(), "deep").await;
    let mut depth = 0;
    let mut last = above;
    while let Some(child) = children(&last).first() {
        depth += 1;
        last = seen(&engine, *child).await;
        assert!(depth <= 3);
    }
    let refused = failures(&last);
    assert_eq!((depth, refused.len(), refused[0].0), (3, 1, Code::CHILD_LIMIT), "{refused:?}");
    assert!(refused[0].1.contains("3 deep"), "{refused:?}");
    let ack = engine.prompt(&caller("alice"), new(), prompt("wide")).await.unwrap();
    let (_, mut tail) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
    let mut wide = Seen::default();
    follow(&mut tail, &mut wide, ends(1)).await;
    assert_eq!(children(&wide).len(), 16);
    assert_eq!(wide.actions().last().unwrap(), "turn_failed", "the step limit ends a turn that goes on trying");
    assert!(failures(&wide).iter().all(|(code, _)| *code == Code::CHILD_LIMIT), "{:?}", failures(&wide)[0]);
}

#[tokio::test]
async fn it_uses_a_share_of_its_makers_budget_and_no_more() {
    let world = world(|words, results| match (words, results) {
        ("go", 0) => vec![call("agent_spawn", &json!({ "prompt": "work", "budget": { "calls": 100 } }))],
        // Each another call, so that nobody goes in circles.
        ("go" | "work", _) => vec![call("read", &json!({ "x": results }))],
        _ => say("done"),
    });
    let mut settings = world.settings();
    for agent in settings.agents.values_mut() {
        agent.budget = Budget { calls: Some(4), steps: Some(12), ..Budget::default() };
    }
    let engine = start(&world, settings).await;
    let (session, above) = turn(&engine, new(), "go").await;
    let child = children(&above)[0];
    let below = seen(&engine, child).await;
    // One call began the agent, three are left to it; then neither has one.
    assert_eq!(world.tools.begun("read").len(), 3);
    assert!(failures(&below).iter().all(|(code, _)| *code == Code::BUDGET_USED_UP));
    let Body::TurnFailed { code, .. } = below.bodies("turn_failed")[0] else { panic!() };
    assert_eq!(code, Code::BUDGET_USED_UP, "its steps are what was left");
    let Body::TurnFailed { code, .. } = above.bodies("turn_failed")[0] else { panic!() };
    assert_eq!(code, Code::BUDGET_USED_UP, "and were used there");
    let Some(Payload::Made { made }) = above.payload("child_completed").into_iter().next() else { panic!() };
    assert_eq!((&made["used"]["calls"], &made["used"]["agents"]), (&json!(3), &json!(0)));
    for session in [session, child] {
        replays(&engine, session).await;
    }
}

#[tokio::test]
async fn it_works_no_longer_than_its_time() {
    let world = world(|words, results| match (words, results) {
        ("go", 0) => vec![call("agent_spawn", &json!({ "prompt": "work", "budget": { "seconds": 5 } }))],
        ("work", 0) => vec![call("wait", &json!({}))],
        _ => say("done"),
    });
    let engine = world.engine().await;
    let ack = engine.prompt(&caller("alice"), new(), prompt("go")).await.unwrap();
    let (_, mut tail) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
    let mut above = Seen::default();
    follow(&mut tail, &mut above, is("child_started")).await;
    let child = children(&above)[0];
    let (_, mut below) = engine.attach(&caller("alice"), child, Some(0), None).await.unwrap();
    let mut seen_below = Seen::default();
    follow(&mut below, &mut seen_below, is("tool_started")).await;
    world.clock.is_slept_until(are_testkit::clock::START_MS + 5_000).await;
    world.clock.advance(5_000);
    follow(&mut below, &mut seen_below, ends(1)).await;
    let Body::TurnFailed { code, .. } = seen_below.bodies("turn_failed")[0] else { panic!() };
    assert_eq!(code, Code::BUDGET_USED_UP);
    follow(&mut tail, &mut above, ends(1)).await;
    let (value, _) = results(&above).remove(0);
    assert_eq!((&value["ended"], &value["error"]["code"]), (&json!("failed"), &json!("ARE-0707")));
    assert_eq!(above.actions().last().unwrap(), "turn_completed", "whoever began it goes on");
    replays(&engine, child).await;
}

#[tokio::test]
async fn nobody_but_a_model_begins_one() {
    let world = world(|words, results| match (words, results) {
        ("go", 0) => {
            vec![call("nest", &json!({ "x": { "calls": [{ "tool": "agent_spawn", "args": { "prompt": "look" } }] } }))]
        }
        _ => say("done"),
    });
    let engine = world.engine().await;
    let (_, above) = turn(&engine, new(), "go").await;
    assert_eq!(children(&above), []);
    assert_eq!(failures(&above)[0].0, Code::CHILD_LIMIT);
}

/// A world under `contained`, in which something untrusted is read before an agent is begun.
fn laundering(below: fn(usize) -> Vec<Say>) -> World {
    world(move |words, results| match (words, results) {
        ("summarize the page" | "send mail to bob once", 0) => vec![call("read", &json!({}))],
        ("summarize the page" | "send mail to bob once", 1) => vec![spawn("do it")],
        ("send mail to bob once", 2) => vec![call("send", &json!({ "x": "bob" }))],
        ("do it", results) => below(results),
        _ => say("done"),
    })
    .with_profile(Profile::Contained)
}

#[tokio::test]
async fn what_the_user_did_not_ask_is_not_asked_by_a_prompt_of_a_model() {
    let world =
        laundering(|results| if results == 0 { vec![call("send", &json!({ "x": "mallory" }))] } else { say("no") });
    let engine = world.engine().await;
    let (_, above) = turn(&engine, new(), "summarize the page").await;
    let child = children(&above)[0];
    let below = seen(&engine, child).await;
    assert_eq!(outcomes(&below), [Outcome::Deny], "{:?}", below.payload("decision"));
    assert_eq!(world.tools.begun("send").len(), 0);
    replays(&engine, child).await;
}

#[tokio::test]
async fn what_the_user_asked_once_is_not_done_by_an_agent_and_again_by_its_maker() {
    let world =
        laundering(|results| if results == 0 { vec![call("send", &json!({ "x": "bob" }))] } else { say("sent") });
    let engine = world.engine().await;
    let ack = engine.prompt(&caller("alice"), new(), prompt("send mail to bob once")).await.unwrap();
    let (_, mut tail) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
    let mut above = Seen::default();
    follow(&mut tail, &mut above, is("approval_requested")).await;
    let below = seen(&engine, children(&above)[0]).await;
    assert_eq!(outcomes(&below), [Outcome::Allow], "the user's own words ask: {:?}", below.payload("decision"));
    let Some(Payload::Why { why, .. }) = above.payload("decision").pop() else { panic!() };
    assert!(why.contains("already ran"), "{why}");
    assert_eq!(world.tools.begun("send"), [1]);
    engine.cancel(&caller("alice"), ack.session, 1).await.unwrap();
}

#[tokio::test]
async fn a_prompt_that_is_not_the_users_lends_no_words() {
    let world = laundering(|results| if results == 0 { vec![call("send", &json!({ "x": "bob" }))] } else { say("no") });
    let engine = world.engine().await;
    let asked = Prompt { integrity: are_core::label::Integrity::Untrusted, ..prompt("x") };
    let text = are_core::payload::Part::Text { text: "send mail to bob once".to_owned() };
    let asked = Prompt { content: vec![text], ..asked };
    let ack = engine.prompt(&caller("alice"), new(), asked).await.unwrap();
    let (_, mut tail) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
    follow(&mut tail, &mut Seen::default(), ends(1)).await;
    assert_eq!(world.tools.begun("send").len(), 0);
}

#[tokio::test]
async fn another_accounts_agent_session_does_not_exist() {
    let world = world(|words, results| match (words, results) {
        ("go", 0) => vec![spawn("look")],
        _ => say("done"),
    });
    let engine = world.engine().await;
    let (_, above) = turn(&engine, new(), "go").await;
    let child = children(&above)[0];
    let fault = engine.session(&caller("bob"), child).await.unwrap_err();
    assert_eq!(fault.code, Code::SESSION_UNKNOWN);
    let rows = engine.sessions(&caller("bob"), 10, None).await.unwrap();
    assert_eq!(rows.len(), 0);
    let _: Value = json!(null);
}
