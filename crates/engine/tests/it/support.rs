//! A world that outlives its engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use are_core::body::Body;
use are_core::clock::Clock;
use are_core::ids::{AccountId, Seq, SessionKey, TurnNo};
use are_core::journal::{Entry, Frame};
use are_core::label::Integrity;
use are_core::payload::{Part, Payload};
use are_core::store::Store;
use are_engine::adapt::Adaptive;
use are_engine::api::{Agent, Caller, IfBusy, NewSession, Prompt, Tailed, Target};
use are_engine::engine::{Engine, Ports, Settings, Tail};
use are_engine::scrub::Live;
use are_engine::secrets::Master;
use are_policy::rules::{Profile, Rules};
use are_policy::tools::Tools;
use are_store::sqlite::{Options, SqliteStore};
use are_testkit::clock::SimClock;
use are_testkit::memory::MemoryStore;
use are_testkit::script::ScriptedModels;
use are_testkit::tools::CountedTools;
use tempfile::TempDir;

pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) tools: CountedTools,
    pub(crate) models: ScriptedModels,
    pub(crate) clock: SimClock,
    pub(crate) profile: Profile,
    /// True where a planner is asked.
    pub(crate) plans: bool,
    /// What adaptive turns choose from, and which turns are.
    pub(crate) adaptive: Adaptive,
    /// Instead of the database, where power is to fail.
    pub(crate) memory: Option<Arc<MemoryStore>>,
}

impl World {
    pub(crate) fn new(models: ScriptedModels) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            dir,
            tools: CountedTools::default(),
            models,
            clock: SimClock::new(7),
            profile: Profile::Observe,
            plans: false,
            adaptive: Adaptive::default(),
            memory: None,
        }
    }

    /// Over a store that can lose what was not synced.
    pub(crate) fn in_memory(mut self) -> Self {
        self.memory = Some(Arc::new(MemoryStore::new()));
        self
    }

    pub(crate) fn with_profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// With a planner that is asked first.
    pub(crate) fn with_plans(mut self) -> Self {
        self.plans = true;
        self
    }

    /// With models that adaptive turns choose from.
    pub(crate) fn with_tiers(mut self, tiers: &[&str]) -> Self {
        self.adaptive.tiers = tiers.iter().map(|tier| (*tier).to_owned()).collect();
        self
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        if let Some(memory) = &self.memory {
            return Arc::clone(memory) as Arc<dyn Store>;
        }
        Arc::new(SqliteStore::open(&self.dir.path().join("data"), &Options::default()).unwrap())
    }

    /// Opens and closes the store in order, so that all is in the database file.
    pub(crate) async fn close_store(&self) {
        SqliteStore::open(&self.dir.path().join("data"), &Options::default()).unwrap().close().await.unwrap();
    }

    pub(crate) fn ports(&self) -> Ports {
        Ports {
            store: self.store(),
            models: Arc::new(self.models.clone()),
            tools: Arc::new(self.tools.clone()) as Arc<dyn Tools>,
            clock: Arc::new(self.clock.clone()) as Arc<dyn Clock>,
        }
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings { plans: self.plans, adaptive: self.adaptive.clone(), ..settings(self.profile) }
    }

    pub(crate) async fn engine(&self) -> Engine {
        Engine::start(self.ports(), self.settings()).await.unwrap()
    }
}

pub(crate) fn settings(profile: Profile) -> Settings {
    let agent = Agent::new("main".parse().unwrap(), "Help.");
    Settings {
        rules: Arc::new(Rules::new(profile, &[]).unwrap()),
        rule_keeper: None,
        agents: BTreeMap::from([(agent.name.clone(), agent)]),
        default_agent: "main".parse().unwrap(),
        default_workspace: None,
        workspace_guard: Arc::new(|_| Ok(())),
        operator: "admin".parse().unwrap(),
        secrets: vec!["sk-very-secret-value".to_owned()],
        master: Master::none(),
        log: Live::default(),
        tz: "UTC".to_owned(),
        version: "test".to_owned(),
        config: b"{}".to_vec(),
        off: Vec::new(),
        sessions_active_max: 1000,
        limits: are_policy::limits::Limits::none(),
        prices: are_policy::prices::Prices::default(),
        response_cache: false,
        compaction: false,
        adaptive: Adaptive::default(),
        plans: false,
        firewall: Some(Arc::new(are_policy::firewall::Firewall::new().unwrap())),
    }
}

pub(crate) fn caller(account: &str) -> Caller {
    Caller {
        account: account.parse::<AccountId>().unwrap(),
        thread: "test".parse().unwrap(),
        can_approve: true,
        can_administer: true,
        via: None,
    }
}

pub(crate) fn headless(account: &str) -> Caller {
    Caller { can_approve: false, ..caller(account) }
}

pub(crate) fn prompt(text: &str) -> Prompt {
    Prompt {
        asked: are_core::model::Asked::default(),
        request_id: None,
        content: vec![Part::Text { text: text.to_owned() }],
        integrity: Integrity::User,
        temperature_milli: None,
        effort: None,
        model: None,
        if_busy: IfBusy::Reject,
        is_direct: false,
        waits: false,
        allow_flagged: false,
    }
}

pub(crate) fn new() -> Target {
    Target::New(NewSession::default())
}

/// What a client knows of a session.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Seen {
    pub(crate) entries: Vec<Entry>,
    pub(crate) text: String,
}

impl Seen {
    pub(crate) fn take(&mut self, entry: &Entry) {
        assert_eq!(entry.seq(), self.last() + 1, "no gap and nothing twice");
        match entry {
            Entry::Frame(_, Frame::Token { text }) => self.text.push_str(text),
            Entry::Record(record, _) => match record.body {
                Body::ModelRestarted { keep_bytes, .. } => self.text.truncate(usize::try_from(keep_bytes).unwrap()),
                Body::TurnStarted { .. } => self.text.clear(),
                _ => {}
            },
            Entry::Frame(..) => {}
        }
        self.entries.push(entry.clone());
    }

    pub(crate) fn last(&self) -> Seq {
        self.entries.last().map_or(0, Entry::seq)
    }

    pub(crate) fn actions(&self) -> Vec<String> {
        let name = |entry: &Entry| match entry {
            Entry::Record(record, _) => Some(record.body.action()),
            Entry::Frame(..) => None,
        };
        self.entries.iter().filter_map(name).collect()
    }

    pub(crate) fn payload(&self, action: &str) -> Vec<Payload> {
        let find = |entry: &Entry| match entry {
            Entry::Record(record, payload) if record.body.action() == action => payload.clone(),
            _ => None,
        };
        self.entries.iter().filter_map(find).collect()
    }

    pub(crate) fn bodies(&self, action: &str) -> Vec<Body> {
        let find = |entry: &Entry| match entry {
            Entry::Record(record, _) if record.body.action() == action => Some(record.body.clone()),
            _ => None,
        };
        self.entries.iter().filter_map(find).collect()
    }
}

/// Reads until `is_done` holds for an entry.
pub(crate) async fn follow(tail: &mut Tail, seen: &mut Seen, is_done: impl Fn(&Entry) -> bool) {
    loop {
        let mut done = false;
        for item in tail.next().await.unwrap() {
            if let Tailed::Entry(entry) = item {
                seen.take(&entry);
                done |= is_done(&entry);
            }
        }
        if done {
            return;
        }
    }
}

pub(crate) fn ends(turn: TurnNo) -> impl Fn(&Entry) -> bool {
    move |entry| matches!(entry, Entry::Record(record, _) if record.turn == Some(turn) && record.body.ends_turn())
}

pub(crate) fn is(action: &'static str) -> impl Fn(&Entry) -> bool {
    move |entry| matches!(entry, Entry::Record(record, _) if record.body.action() == action)
}

/// Prompts and reads to the end of the turn.
pub(crate) async fn turn(engine: &Engine, target: Target, text: &str) -> (SessionKey, Seen) {
    let ack = engine.prompt(&caller("alice"), target, prompt(text)).await.unwrap();
    let (_, mut tail) = engine.attach(&caller("alice"), ack.session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, ends(ack.turn)).await;
    (ack.session, seen)
}
