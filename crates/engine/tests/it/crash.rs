//! A seeded simulation that ends the process at every port call, and one in which the store fails.
//!
//! Short form: each point of one five-tool turn, once. Long form
//! (`ARE_TEST_LONG=1`): hundreds of random series of ten kills in a row.

use std::sync::Arc;
use std::time::Duration;

use are_core::body::Body;
use are_core::clock::Clock;
use are_core::error::{Code, Fault};
use are_core::ids::SessionKey;
use are_core::journal::{Entry, Frame};
use are_core::model::{Message, Models};
use are_core::store::{Store, StoreError};
use are_engine::api::{Prompt, Tailed};
use are_engine::engine::{Engine, Ports};
use are_policy::tools::Tools;
use are_testkit::kill::{KillSwitch, Killable};
use are_testkit::run::{Chance, is_long};
use are_testkit::script::{Say, ScriptedModels, call, last_words, results_so_far, say};
use are_testkit::store::FaultStore;
use are_testkit::tools::CountedTools;
use serde_json::json;
use tokio::runtime::Builder;

use crate::support::{Seen, World, caller, ends, follow, new, prompt};

/// A run that takes longer has lost its way.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn five_tools() -> ScriptedModels {
    ScriptedModels::new(|request| match results_so_far(request) {
        _ if request.shape.format.is_some() => say(r#"{"tools":["put","send"]}"#),
        0 => {
            let mut answer = say("First I read. ");
            answer.extend([call("read", &json!({ "x": 1 })), call("read", &json!({ "x": 2 }))]);
            answer
        }
        2 => vec![Say::Token("Then I write. ".to_owned()), call("put", &json!({ "x": 3 }))],
        3 => vec![call("send", &json!({ "x": 4 })), call("remember", &json!({ "x": 5 }))],
        _ => say("That was all."),
    })
}

const TEXT: &str = "First I read. Then I write. That was all.";

/// What survives the process: the client and what it has been told.
#[derive(Default)]
pub(crate) struct Client {
    acked: Option<(SessionKey, u64)>,
    epoch: Option<u32>,
    seen: Seen,
}

/// One life of the process. True when the turn ended.
fn live(world: &World, client: &mut Client, switch: &KillSwitch) -> bool {
    live_watched(world, client, switch, std::future::pending())
}

/// One life of a process beside which something else goes on. True when the turn ended.
pub(crate) fn live_watched(
    world: &World,
    client: &mut Client,
    switch: &KillSwitch,
    beside: impl Future<Output = ()>,
) -> bool {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let done = runtime.block_on(async {
        tokio::select! {
            _ = switch.fired() => false,
            () = beside => unreachable!("it goes on for ever"),
            () = turn(world, client, killable(world, switch)) => true,
            () = tokio::time::sleep(PATIENCE) => panic!("the turn neither ended nor was it killed"),
        }
    });
    // Dropping the runtime drops every task where it stands.
    runtime.shutdown_timeout(Duration::from_secs(5));
    done
}

fn killable(world: &World, switch: &KillSwitch) -> Ports {
    let Ports { store, models, tools, clock } = world.ports();
    Ports {
        store: Killable::<dyn Store>::new(store, switch),
        models: Killable::<dyn Models>::new(models, switch),
        tools: Killable::<dyn Tools>::new(tools, switch),
        clock: Killable::<dyn Clock>::new(clock, switch),
    }
}

/// One life of a process over a store with faults. True when the turn ended.
fn live_with(world: &World, client: &mut Client, faults: impl FnOnce(Arc<dyn Store>) -> FaultStore) -> bool {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let done = runtime.block_on(async {
        let ports = world.ports();
        let store = Arc::new(faults(Arc::clone(&ports.store)));
        let ports = Ports { store: Arc::clone(&store) as Arc<dyn Store>, ..ports };
        tokio::select! {
            // Whoever runs an engine ends it when its store has failed, before anything else.
            biased;
            _ = store.failed() => false,
            () = store.died() => false,
            () = turn(world, client, ports) => true,
            () = tokio::time::sleep(PATIENCE) => panic!("the turn neither ended nor did the store fail"),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    done
}

/// What a client does that tries again while there is no space, and hears no more from a store that failed.
async fn insist<T>(attempt: impl AsyncFn() -> Result<T, Fault>) -> T {
    loop {
        match attempt().await {
            Ok(answer) => return answer,
            Err(fault) if fault.code == Code::STORE_FULL => {}
            Err(fault) => return failed(&fault).await,
        }
    }
}

/// Nothing more comes after the store has failed; anything else may not happen.
async fn failed<T>(fault: &Fault) -> T {
    assert_eq!(fault.code, Code::STORE_FAILED, "{fault:?}");
    std::future::pending().await
}

async fn turn(world: &World, client: &mut Client, ports: Ports) {
    let engine = insist(async || Engine::start(ports.clone(), world.settings()).await).await;
    let alice = caller("alice");
    // A client that heard no answer asks again with the same name.
    let asked = Prompt { request_id: Some("the-request".parse().unwrap()), ..prompt("do five things") };
    let ack = insist(async || engine.prompt(&alice, new(), asked.clone()).await).await;
    if let Some(earlier) = client.acked {
        assert_eq!((ack.session, ack.seq), earlier, "what was acknowledged is still there");
    }
    client.acked = Some((ack.session, ack.seq));
    let after = client.seen.last();
    let epoch = client.epoch;
    let (standing, mut tail) = insist(async || engine.attach(&alice, ack.session, Some(after), epoch).await).await;
    assert!(!standing.is_reset || world.memory.is_some(), "no client has seen what the server forgot");
    if standing.is_reset {
        client.seen = Seen::default();
    }
    client.epoch = Some(standing.epoch);
    if client.seen.entries.iter().any(ends(1)) {
        return;
    }
    while !client.seen.entries.iter().any(ends(1)) {
        match tail.next().await {
            Ok(items) => items.iter().for_each(|item| {
                if let Tailed::Entry(entry) = item {
                    client.seen.take(entry);
                }
            }),
            Err(fault) => failed(&fault).await,
        }
    }
    let replayed = insist(async || engine.replay(&alice, ack.session, None, false).await).await;
    assert_eq!(replayed.difference, None);
}

/// A turn whose tools make calls: a pure one that only reads, and one whose calls have effects.
pub(crate) fn nested_tools() -> World {
    let calls = |tools: &[&str]| {
        let all: Vec<_> = tools.iter().map(|tool| json!({ "tool": tool, "args": { "x": tool } })).collect();
        json!({ "x": { "calls": all } })
    };
    let script = move |request: &are_core::model::ModelRequest| match results_so_far(request) {
        0 => {
            let mut answer = say("First I read. ");
            answer.push(call("pure_nest", &calls(&["read", "read"])));
            answer
        }
        1 => vec![
            Say::Token("Then I write. ".to_owned()),
            call("nest", &calls(&["put", "send", "remember"])),
            call("again_nest", &calls(&["read"])),
        ],
        _ => say("That was all."),
    };
    World { tools: CountedTools::nesting(), ..World::new(ScriptedModels::new(script)) }
}

fn check_nested(world: &World, client: &Client) {
    assert!(world.tools.begun("send").len() <= 1 && world.tools.begun("put").len() <= 1);
    check_seen(world, client);
    let mut open = std::collections::BTreeMap::new();
    for entry in &client.seen.entries {
        let Entry::Record(record, _) = entry else { continue };
        match record.body {
            Body::ToolRequested { call, parent, .. } => {
                open.insert(call, parent);
            }
            Body::ToolCompleted { call, .. } | Body::ToolFailed { call, .. } | Body::ToolUnknown { call, .. } => {
                assert!(open.remove(&call).is_some(), "call {call} ends once");
                assert!(open.values().all(|parent| *parent != Some(call)), "no call outlives {call} that made it");
            }
            _ => {}
        }
    }
    assert_eq!(open, std::collections::BTreeMap::new(), "every call has its end");
}

/// A turn that begins an agent, which does something that may happen once.
fn with_an_agent() -> World {
    crate::agents::world(|words, results| match (words, results) {
        ("do five things", 0) => {
            let mut answer = say("First I read. ");
            answer.push(crate::agents::spawn("send"));
            answer
        }
        ("do five things", 1) => vec![Say::Token("Then I write. ".to_owned()), call("put", &json!({ "x": 3 }))],
        ("send", 0) => vec![call("read", &json!({ "x": 1 })), call("send", &json!({ "x": 4 }))],
        ("send", _) => say("sent"),
        _ => say("That was all."),
    })
}

fn check_agent(world: &World, client: &Client) {
    assert!(world.tools.begun("send").iter().all(|count| *count == 1), "no at-most-once effect twice");
    assert!(world.tools.begun("send").len() <= 1 && world.tools.begun("put").len() <= 1);
    let seen = check_seen(world, client);
    let begun = crate::agents::children(&seen);
    assert_eq!((begun.len(), seen.bodies("child_completed").len()), (1, 1), "{:?}", seen.actions());
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let engine = world.engine().await;
        let below = crate::agents::seen(&engine, begun[0]).await;
        assert_eq!(below.actions().last().unwrap(), "turn_completed");
        let rows = engine.sessions(&caller("alice"), 10, None).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.turns).collect::<Vec<_>>(), [1, 1], "one agent with one turn");
        crate::agents::replays(&engine, begun[0]).await;
        engine.shutdown(1_000).await;
    });
}

fn check(world: &World, client: &Client) {
    assert!(world.tools.begun("send").iter().all(|count| *count == 1), "no at-most-once effect twice");
    assert!(world.tools.begun("send").len() <= 1 && world.tools.begun("put").len() <= 1);
    let late = check_seen(world, client);
    let started = late.bodies("tool_started").len();
    let outcomes = ["tool_completed", "tool_unknown", "tool_failed"].map(|action| late.bodies(action).len());
    assert_eq!(outcomes.iter().sum::<usize>(), 5, "every call has one outcome");
    assert!(started >= 5);
}

fn check_seen(world: &World, client: &Client) -> Seen {
    assert_eq!(client.seen.actions().last().unwrap(), "turn_completed");
    assert_eq!(client.seen.text, TEXT);
    // A client that comes now sees the same as the one that was there all the time.
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let engine = world.engine().await;
        let alice = caller("alice");
        let session = client.acked.unwrap().0;
        let (_, mut tail) = engine.attach(&alice, session, Some(0), None).await.unwrap();
        let mut late = Seen::default();
        follow(&mut tail, &mut late, ends(1)).await;
        assert_eq!(late, client.seen);
        engine.shutdown(1_000).await;
        late
    })
}

fn campaign(world: &World, kills: &[u64]) -> usize {
    campaign_with(world, kills, check)
}

fn campaign_with(world: &World, kills: &[u64], check: fn(&World, &Client)) -> usize {
    let mut client = Client::default();
    let mut fired = 0;
    for kill in kills {
        let switch = KillSwitch::at(*kill);
        if live(world, &mut client, &switch) {
            break;
        }
        if let Some(memory) = &world.memory {
            memory.crash(true);
        }
        fired += 1;
    }
    if !client.seen.entries.iter().any(ends(1)) {
        assert!(live(world, &mut client, &KillSwitch::at(0)), "the turn ends when nothing kills it");
    }
    check(world, &client);
    fired
}

#[test]
fn a_kill_at_any_port_call_loses_nothing_and_does_nothing_twice() {
    let mut points = 0;
    for point in 1.. {
        if campaign(&World::new(five_tools()), &[point]) == 0 {
            break;
        }
        points = point;
    }
    println!("{points} points of one five-tool turn killed and recovered");
    assert!(points > 60, "only {points} points were met");
}

/// A model that goes on where its own words end: none of them is said twice, and none is lost.
fn continuing() -> World {
    let script = |request: &are_core::model::ModelRequest| {
        let said = match request.messages.last() {
            Some(Message::Assistant { text, calls, .. }) if calls.is_empty() => text.as_str(),
            _ => "",
        };
        let rest = |text: &str| say(text.strip_prefix(said).expect("its own words"));
        match results_so_far(request) {
            0 => {
                let mut answer = rest("First I read. ");
                answer.push(call("read", &json!({ "x": 1 })));
                answer
            }
            1 => {
                let mut answer = rest("Then I write. ");
                answer.push(call("put", &json!({ "x": 3 })));
                answer
            }
            _ => rest("That was all."),
        }
    };
    World::new(ScriptedModels::new(script).continuing())
}

fn check_continued(world: &World, client: &Client) {
    assert!(world.tools.begun("put").len() <= 1);
    let seen = check_seen(world, client);
    let mut said = 0;
    for entry in &seen.entries {
        match entry {
            Entry::Frame(_, Frame::Token { text }) => said += text.len() as u64,
            Entry::Record(record, _) => {
                if let Body::ModelRestarted { keep_bytes, .. } = record.body {
                    assert_eq!(keep_bytes, said, "all that was said is kept");
                }
            }
            Entry::Frame(..) => {}
        }
    }
}

#[test]
fn a_kill_at_any_port_call_of_a_model_that_goes_on_loses_no_word_and_says_none_twice() {
    let mut points = 0;
    let mut kept = 0;
    for point in 1.. {
        let world = continuing();
        let mut client = Client::default();
        if live(&world, &mut client, &KillSwitch::at(point)) {
            break;
        }
        assert!(live(&world, &mut client, &KillSwitch::at(0)), "the turn ends when nothing kills it");
        check_continued(&world, &client);
        let is_kept = |request: &are_core::model::ModelRequest| matches!(request.messages.last(), Some(Message::Assistant { calls, .. }) if calls.is_empty());
        kept += usize::from(world.models.requests().iter().any(is_kept));
        points = point;
    }
    println!("{points} points of one turn killed, after {kept} of which the model went on with its words");
    assert!(points > 40 && kept > 3, "only {points} points were met, {kept} of them in an answer");
    for seed in 0..8 {
        let mut chance = Chance::new(seed);
        let kills: Vec<u64> = (0..6).map(|_| 1 + chance.below(30)).collect();
        campaign_with(&continuing(), &kills, check_continued);
    }
}

fn check_planned(world: &World, client: &Client) {
    check(world, client);
    let plans = client.seen.bodies("planned");
    let [Body::Planned { tools: Some(tools), error: None, .. }] = &plans[..] else { panic!("{plans:?}") };
    assert_eq!(tools.iter().map(ToString::to_string).collect::<Vec<_>>(), ["put", "send"]);
    let asked = client.seen.bodies("model_requested");
    let plans = asked.iter().filter(|body| matches!(body, Body::ModelRequested { plans: true, .. })).count();
    assert!((1..=2).contains(&plans), "a plan whose answer was lost is asked for again: {asked:?}");
}

#[test]
fn a_kill_at_any_port_call_loses_no_plan_and_makes_it_once() {
    let (mut points, mut again) = (0, 0);
    for point in 1.. {
        let world = World::new(five_tools()).with_plans();
        let world = if point % 2 == 0 { world.in_memory() } else { world };
        if campaign_with(&world, &[point], check_planned) == 0 {
            break;
        }
        points = point;
        again += usize::from(world.models.requests().iter().filter(|one| one.shape.format.is_some()).count() > 1);
    }
    println!("{points} points of one planned turn killed and recovered, {again} of them while the plan was made");
    assert!(points > 60 && again > 0, "only {points} points were met, {again} within a plan");
}

/// A turn that goes on to an abler model after the same call has failed twice, and whose answer is checked.
fn adaptive() -> World {
    let models = ScriptedModels::new(|request| match (last_words(request), results_so_far(request)) {
        (words, _) if words.starts_with("Mind this") => say("That was all."),
        (_, 0) => {
            let mut answer = say("First I read. ");
            answer.push(call("fail", &json!({ "x": 1 })));
            answer
        }
        (_, 1) => vec![call("fail", &json!({ "x": 1 }))],
        (_, 2) => vec![Say::Token("Then I write. ".to_owned()), call("put", &json!({ "x": 3 }))],
        _ => Vec::new(),
    });
    let second = models.info("test:second");
    let mut world = World::new(models.with_others([second])).with_tiers(&["test:scripted", "test:second"]);
    world.adaptive.is_default = true;
    world
}

fn check_adaptive(world: &World, client: &Client) {
    assert!(world.tools.begun("put").len() <= 1);
    let seen = check_seen(world, client);
    let told: Vec<(String, bool)> = seen
        .bodies("strategy")
        .into_iter()
        .map(|body| match body {
            Body::Strategy { model, checks, .. } => (model, checks),
            body => panic!("{body:?}"),
        })
        .collect();
    let high = || "test:second".to_owned();
    assert_eq!(told[..2], [(high(), false), (high(), true)], "said once each, whatever came between");
    let asked = seen.bodies("model_requested").into_iter().map(|body| match body {
        Body::ModelRequested { model, .. } => model,
        body => panic!("{body:?}"),
    });
    assert_eq!(asked.last(), Some(high()));
}

#[test]
fn a_kill_at_any_port_call_of_an_adaptive_turn_finds_the_same_strategy_again() {
    let mut points = 0;
    for point in 1.. {
        let world = adaptive();
        let world = if point % 2 == 0 { world.in_memory() } else { world };
        if campaign_with(&world, &[point], check_adaptive) == 0 {
            break;
        }
        points = point;
    }
    println!("{points} points of one adaptive turn killed and recovered");
    assert!(points > 40, "only {points} points were met");
}

#[test]
fn a_kill_at_any_port_call_leaves_no_call_of_a_call_open_and_does_nothing_twice() {
    let mut points = 0;
    for point in 1.. {
        let world = nested_tools();
        let world = if point % 2 == 0 { world.in_memory() } else { world };
        if campaign_with(&world, &[point], check_nested) == 0 {
            break;
        }
        points = point;
    }
    println!("{points} points of one turn with calls of calls killed and recovered");
    assert!(points > 80, "only {points} points were met");
}

#[test]
fn a_kill_at_any_port_call_finds_the_same_agent_again() {
    let mut points = 0;
    for point in 1.. {
        let world = with_an_agent();
        let world = if point % 2 == 0 { world.in_memory() } else { world };
        if campaign_with(&world, &[point], check_agent) == 0 {
            break;
        }
        points = point;
    }
    println!("{points} points of one turn with an agent killed and recovered");
    assert!(points > 80, "only {points} points were met");
}

#[test]
fn kills_in_a_row_find_the_same_agent_again() {
    let mut chance = Chance::of_this_run();
    for _ in 0..if is_long() { 200 } else { 4 } {
        let kills: Vec<u64> = (0..6).map(|_| 1 + chance.below(60)).collect();
        campaign_with(&with_an_agent(), &kills, check_agent);
        campaign_with(&with_an_agent().in_memory(), &kills, check_agent);
    }
}

#[test]
fn kills_in_a_row_leave_no_call_of_a_call_open() {
    let mut chance = Chance::of_this_run();
    for _ in 0..if is_long() { 200 } else { 4 } {
        let kills: Vec<u64> = (0..6).map(|_| 1 + chance.below(60)).collect();
        campaign_with(&nested_tools(), &kills, check_nested);
        campaign_with(&nested_tools().in_memory(), &kills, check_nested);
    }
}

#[test]
fn ten_kills_in_a_row_also_during_recovery_lose_nothing() {
    let mut chance = Chance::of_this_run();
    for round in 1..=if is_long() { 400 } else { 6 } {
        let kills: Vec<u64> = (0..10).map(|_| 1 + chance.below(40)).collect();
        println!("round {round}: kills at {kills:?}");
        campaign(&World::new(five_tools()), &kills);
        campaign(&World::new(five_tools()).in_memory(), &kills);
    }
}

#[test]
fn a_power_cut_at_any_port_call_loses_nothing_that_was_acknowledged() {
    let mut points = 0;
    for point in 1.. {
        if campaign(&World::new(five_tools()).in_memory(), &[point]) == 0 {
            break;
        }
        points = point;
    }
    println!("power cut at {points} points of one five-tool turn");
    assert!(points > 60, "only {points} points were met");
}

#[test]
fn a_turn_with_calls_of_calls_waits_while_any_of_its_appends_finds_no_space() {
    let mut chance = Chance::of_this_run();
    for _ in 0..if is_long() { 50 } else { 3 } {
        let (world, mut client) = (nested_tools().in_memory(), Client::default());
        let seed = chance.below(u64::MAX);
        let is_done = live_with(&world, &mut client, |store| FaultStore::short_of_space(store, seed, 8));
        assert!(is_done, "nothing ends the process");
        check_nested(&world, &client);
    }
}

/// Lives after which nothing goes wrong any more, so that a series ends.
const LIVES_MAX: usize = 20;

#[test]
fn a_store_that_is_full_now_and_then_and_dies_with_the_process_loses_nothing() {
    let mut chance = Chance::of_this_run();
    let (mut lives, mut done) = (0, 0);
    for round in 1..=if is_long() { 200 } else { 6 } {
        let mut world = World::new(five_tools());
        if round % 2 == 0 {
            world = world.in_memory();
        }
        let mut client = Client::default();
        // From faults in almost every life to lives that mostly reach their end.
        let one_in = 8 + chance.below(40);
        let is_done = (0..LIVES_MAX).any(|_| {
            lives += 1;
            let seed = chance.below(u64::MAX);
            live_with(&world, &mut client, |store| FaultStore::seeded(store, seed, one_in))
        });
        done += u32::from(is_done);
        if !is_done {
            assert!(live_with(&world, &mut client, FaultStore::new), "the turn ends when nothing goes wrong");
        }
        check(&world, &client);
    }
    println!("{lives} lives, {done} turns ended under faults");
}

#[test]
fn a_turn_waits_while_any_of_its_appends_finds_no_space() {
    let mut chance = Chance::of_this_run();
    for _ in 0..if is_long() { 50 } else { 3 } {
        let (world, mut client) = (World::new(five_tools()).in_memory(), Client::default());
        let seed = chance.below(u64::MAX);
        let is_done = live_with(&world, &mut client, |store| FaultStore::short_of_space(store, seed, 8));
        assert!(is_done, "nothing ends the process");
        check(&world, &client);
    }
}

#[test]
fn a_store_that_fails_at_any_call_ends_the_engine_and_the_next_one_goes_on() {
    let mut points = 0;
    for number in 1.. {
        let mut is_over = true;
        for is_performed in [false, true] {
            let (world, mut client) = (World::new(five_tools()).in_memory(), Client::default());
            let error = StoreError::Failed("fsync".to_owned());
            let is_done = live_with(&world, &mut client, |store| {
                let store = FaultStore::new(store);
                if is_performed {
                    store.fail_after(number, Some(error));
                } else {
                    store.fail_before(number, error);
                }
                store
            });
            if !is_done {
                is_over = false;
                assert!(live_with(&world, &mut client, FaultStore::new), "the turn goes on after call {number}");
            }
            check(&world, &client);
        }
        if is_over {
            break;
        }
        points = number;
    }
    println!("failed at {points} calls of one five-tool turn");
    assert!(points > 30, "only {points} calls were met");
}
