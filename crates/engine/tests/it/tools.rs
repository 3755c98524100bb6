//! Other tools while the engine runs.

use std::sync::{Arc, Mutex};

use are_core::BoxFuture;
use are_core::body::Body;
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::SessionKey;
use are_core::journal::{Entry, Record, decode};
use are_core::payload::Payload;
use are_engine::engine::{Engine, Ports};
use are_policy::gate::Permit;
use are_policy::manifest::{Manifest, ToolSet};
use are_policy::tools::{Place, Problem, Reading, Shelf, Shelved, ToolFile, ToolOutcome, Tools};
use are_testkit::script::{Say, ScriptedModels, call, results_so_far, say};
use are_testkit::tools::CountedTools;
use serde_json::json;

use crate::support::{Seen, World, caller, ends, follow, is, new, prompt};

/// Counted tools whose set can be exchanged.
#[derive(Clone)]
pub(crate) struct Living {
    tools: CountedTools,
    state: Arc<Mutex<State>>,
}

struct State {
    served: Arc<ToolSet>,
    next: Arc<ToolSet>,
    problems: Vec<Problem>,
    next_problems: Vec<Problem>,
}

impl Living {
    pub(crate) fn new(tools: CountedTools) -> Self {
        let served = tools.snapshot();
        let state = State { next: Arc::clone(&served), served, problems: Vec::new(), next_problems: Vec::new() };
        Self { tools, state: Arc::new(Mutex::new(state)) }
    }

    pub(crate) async fn serve_over(&self, world: &World) -> Engine {
        let ports = Ports { tools: Arc::new(self.clone()), ..world.ports() };
        Engine::start(ports, world.settings()).await.unwrap()
    }

    /// What the next reading finds: the tools, changed.
    pub(crate) fn change(&self, change: impl Fn(&mut Manifest)) -> Arc<ToolSet> {
        let manifests = self.tools.snapshot().iter().map(|(manifest, _)| manifest.clone()).collect::<Vec<_>>();
        let changed = manifests.into_iter().map(|mut manifest| {
            change(&mut manifest);
            manifest
        });
        let set = Arc::new(ToolSet::new(changed).unwrap());
        self.state.lock().unwrap().next = Arc::clone(&set);
        set
    }
}

impl Tools for Living {
    fn snapshot(&self) -> Arc<ToolSet> {
        Arc::clone(&self.state.lock().unwrap().served)
    }

    fn run(&self, permit: Permit, place: Place) -> BoxFuture<'_, ToolOutcome> {
        self.tools.run(permit, place)
    }

    fn shelf(&self) -> Option<Arc<dyn Shelf>> {
        Some(Arc::new(self.clone()))
    }
}

impl Shelf for Living {
    fn read(&self) -> BoxFuture<'_, Result<Reading, Fault>> {
        let state = self.state.lock().unwrap();
        let reading = Reading { tools: Arc::clone(&state.next), problems: state.next_problems.clone() };
        Box::pin(std::future::ready(Ok(reading)))
    }

    fn serve(&self, tools: Digest) {
        let mut state = self.state.lock().unwrap();
        assert_eq!(state.next.digest(), tools);
        state.served = Arc::clone(&state.next);
        state.problems = state.next_problems.clone();
    }

    fn problems(&self) -> Vec<Problem> {
        self.state.lock().unwrap().problems.clone()
    }

    fn file_of(&self, _: &str) -> Option<String> {
        None
    }

    fn put(&self, file: ToolFile, _: bool) -> BoxFuture<'_, Result<Shelved, Fault>> {
        self.change(|manifest| manifest.version.clone_from(&file.name));
        Box::pin(std::future::ready(Ok(Shelved::Written { tools: Vec::new() })))
    }

    fn remove(&self, name: String) -> BoxFuture<'_, Result<String, Fault>> {
        self.change(|manifest| manifest.version = "removed".to_owned());
        Box::pin(std::future::ready(Ok(name)))
    }
}

pub(crate) async fn start(world: &World) -> (Engine, Living) {
    let living = Living::new(world.tools.clone());
    (living.serve_over(world).await, living)
}

async fn system(world: &World, action: &str) -> Vec<(Record, Option<Payload>)> {
    let store = world.store();
    let rows = store.read(SessionKey::SYSTEM, 0, 1000, 1 << 20).await.unwrap();
    let entries = rows.iter().map(|row| decode(SessionKey::SYSTEM, row).unwrap());
    let found = entries.filter_map(|entry| match entry {
        Entry::Record(record, payload) if record.body.action() == action => Some((*record, payload)),
        _ => None,
    });
    found.collect()
}

#[tokio::test]
async fn other_tools_are_recorded_with_their_object_and_then_served() {
    let world = World::new(ScriptedModels::new(|_| say("done"))).in_memory();
    let (engine, living) = start(&world).await;
    let old = engine.tools().digest();
    let new = living.change(|manifest| manifest.version = "2".to_owned());
    assert_eq!(engine.tools().digest(), old, "read by nobody yet");
    assert_eq!(engine.reload_tools().await.unwrap().digest, new.digest());
    engine.reload_tools().await.unwrap();
    let file = ToolFile { name: "3".to_owned(), bytes: Vec::new(), manifest: None };
    engine.add_tool(&caller("alice"), file, false).await.unwrap();
    engine.remove_tool(&caller("alice"), "3".to_owned()).await.unwrap();
    let records = system(&world, "tools_changed").await;
    let said: Vec<_> = records
        .iter()
        .map(|(record, _)| match &record.body {
            Body::ToolsChanged { old, new, source } => (record.account.to_string(), source.clone(), *old, *new),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(said.len(), 3, "what is the same is not recorded: {said:?}");
    assert_eq!((said[0].0.as_str(), said[0].1.as_str(), said[0].2, said[0].3), ("admin", "files", old, new.digest()));
    assert_eq!((said[1].0.as_str(), said[1].1.as_str(), said[1].2), ("alice", "door", new.digest()));
    assert_eq!((said[2].2, said[2].3), (said[1].3, engine.tools().digest()));
    let store = world.store();
    for (.., digest) in &said {
        let object = store.object(*digest).await.unwrap();
        assert_eq!(ToolSet::from_object(&object).unwrap().digest(), *digest, "a replay finds it");
    }
    let Body::EngineStarted { tools, .. } = &system(&world, "engine_started").await[0].0.body else { panic!() };
    assert_eq!(*tools, Some(old));
}

#[tokio::test]
async fn what_cannot_be_served_is_recorded_once_for_each_reason() {
    let world = World::new(ScriptedModels::new(|_| say("done"))).in_memory();
    let (engine, living) = start(&world).await;
    let problem = |why: &str| Problem { file: "x.toml".to_owned(), why: why.to_owned(), help: "mend it".to_owned() };
    for why in ["it is broken", "it is broken", "it is odd"] {
        living.state.lock().unwrap().next_problems = vec![problem(why)];
        assert_eq!(engine.reload_tools().await.unwrap().problems, [problem(why)]);
    }
    let records = system(&world, "tools_refused").await;
    let said: Vec<_> = records
        .iter()
        .map(|(_, payload)| match payload {
            Some(Payload::Failure { message, .. }) => message.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(said, ["x.toml: it is broken", "x.toml: it is odd"]);
    assert_eq!(system(&world, "tools_changed").await.len(), 0);
}

#[tokio::test]
async fn a_tool_that_is_replaced_in_the_middle_of_a_turn_is_decided_anew() {
    let world = World::new(ScriptedModels::new(|request| match results_so_far(request) {
        0 => vec![call("wait", &json!({})), call("put", &json!({"x": 1}))],
        2 => vec![Say::Token("again ".to_owned()), call("put", &json!({"x": 1}))],
        _ => say("done"),
    }));
    let (engine, living) = start(&world).await;
    let ack = engine.prompt(&caller("alice"), new(), prompt("go")).await.unwrap();
    let (_, mut tail) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, is("tool_started")).await;
    let changed = living.change(|manifest| manifest.version = "2".to_owned());
    engine.reload_tools().await.unwrap();
    world.tools.release();
    follow(&mut tail, &mut seen, ends(1)).await;
    let failed = seen.bodies("tool_failed");
    assert!(matches!(failed.as_slice(), [Body::ToolFailed { call: 2, code: Code::TOOL_UNKNOWN, .. }]), "{failed:?}");
    let Payload::Failure { message, .. } = &seen.payload("tool_failed")[0] else { panic!() };
    assert!(message.contains("`put` was changed"), "{message}");
    assert_eq!(world.tools.begun("put").len(), 1, "once, as it is now");
    let requested = seen.bodies("tool_requested");
    let digest = changed.get("put").unwrap().1;
    assert!(matches!(requested[2], Body::ToolRequested { call: 3, tool_digest: Some(of), .. } if of == digest));
    let report = engine.replay(&caller("alice"), ack.session, None, false).await.unwrap();
    println!("{report:?}");
    assert_eq!(report.difference, None);
}

#[tokio::test]
async fn of_many_tools_those_are_offered_that_fit_and_those_that_were_found() {
    let world = World::new(ScriptedModels::new(|request| match results_so_far(request) {
        0 => vec![call("far_4", &json!({}))],
        _ => say("done"),
    }));
    let (engine, living) = start(&world).await;
    let base = world.tools.snapshot().get("read").unwrap().0.clone();
    let many = (0..60).map(|number| Manifest {
        name: format!("far_{number}").parse().unwrap(),
        description: format!("Waters plant {number}. {}", "It needs room. ".repeat(60)),
        lane: are_policy::manifest::Lane::Http,
        ..base.clone()
    });
    let fits = Manifest {
        name: "bake".parse().unwrap(),
        description: "Bakes bread.".to_owned(),
        lane: are_policy::manifest::Lane::Http,
        ..base.clone()
    };
    let builtin = living.tools.snapshot().iter().map(|(manifest, _)| manifest.clone()).collect::<Vec<_>>();
    let set = ToolSet::new(builtin.into_iter().chain(many).chain([fits])).unwrap();
    assert!(set.spec_bytes() > 32 << 10);
    living.state.lock().unwrap().next = Arc::new(set);
    engine.reload_tools().await.unwrap();
    let ack = engine.prompt(&caller("alice"), new(), prompt("Please bake a bread")).await.unwrap();
    let (_, mut tail) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, ends(1)).await;
    let offered: Vec<Vec<String>> = world
        .models
        .requests()
        .iter()
        .map(|request| request.tools.iter().map(|tool| tool.name.to_string()).collect())
        .collect();
    assert!(offered[0].contains(&"bake".to_owned()) && offered[0].contains(&"put".to_owned()), "{offered:?}");
    assert!(!offered[0].contains(&"far_4".to_owned()), "{offered:?}");
    assert_eq!(offered[1], [offered[0].clone(), vec!["far_4".to_owned()]].concat(), "it goes on as it began");
    assert_eq!(world.tools.begun("far_4").len(), 1, "what is not offered can be called");
    let report = engine.replay(&caller("alice"), ack.session, None, false).await.unwrap();
    assert_eq!(report.difference, None);
}
