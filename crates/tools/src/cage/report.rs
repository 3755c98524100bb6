//! What of the cage holds on this machine.
//!
//! A layer is there when a command that was started with it ran; harmless probes
//! then try to get out. The answer is remembered for this boot of the machine, this
//! program and these options, so that starting costs nothing the second time.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use are_core::digest::Digest;
use serde::{Deserialize, Serialize};

use super::{CageOptions, Cgroups, Kind, probe, sys};

/// Landlock from which a file that may not be opened cannot be cut off either.
const WITHOUT_NAMESPACES: i32 = 3;
/// Landlock from which commands cannot signal what is outside.
const SIGNALS: i32 = 6;

/// The layers by name.
pub const LAYERS: [&str; 8] =
    ["landlock", "seccomp", "privileges", "namespaces", "network", "guarded paths", "limits", "cgroup"];

/// One layer and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// Whether it is in force.
    pub is_enforced: bool,
    /// How far, or why not.
    pub text: String,
}

/// What of the cage holds on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    landlock: i32,
    namespaces: Option<bool>,
    why_not: Option<String>,
    escaped: Vec<String>,
    cgroups: Counting,
    /// Layers without which commands are not served.
    #[serde(default)]
    required: Vec<String>,
}

/// Whether the kernel counts and limits a command as a whole, by a control group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counting {
    is_there: bool,
    /// How, or why not.
    text: String,
}

impl Counting {
    /// Looks, makes a group for that, and removes what servers that are gone left behind.
    async fn look(options: &CageOptions) -> Self {
        if !options.has_cgroups {
            return Self { is_there: false, text: "switched off".to_owned() };
        }
        let dir = options.cache_dir.clone();
        let found = tokio::task::spawn_blocking(move || Cgroups::find(&dir).map(|found| found.text())).await;
        match found.map_err(|error| error.to_string()).flatten() {
            Ok(text) => Self { is_there: true, text },
            Err(text) => Self { is_there: false, text },
        }
    }
}

impl Report {
    /// Examines the cage, or remembers.
    pub async fn examine(options: &CageOptions) -> Self {
        let key = key(options);
        // Never remembered: it depends on whom this process was started by.
        let cgroups = Counting::look(options).await;
        if let Some(report) = remembered(options, &key).filter(|report| report.cgroups == cgroups) {
            return report;
        }
        let report = Self::with(options, cgroups).await;
        remember(options, &key, &report);
        report
    }

    /// What was examined before, without examining.
    #[must_use]
    pub fn remembered(options: &CageOptions) -> Option<Self> {
        remembered(options, &key(options))
    }

    /// What holds on usual machines, where nothing was examined: for naming tools, not for running them.
    #[must_use]
    pub fn presumed() -> Self {
        let none = Vec::new();
        Self {
            landlock: WITHOUT_NAMESPACES,
            namespaces: Some(true),
            why_not: None,
            escaped: none,
            cgroups: Counting::default(),
            required: Vec::new(),
        }
    }

    /// Examines the cage.
    pub async fn fresh(options: &CageOptions) -> Self {
        Self::with(options, Counting::look(options).await).await
    }

    async fn with(options: &CageOptions, cgroups: Counting) -> Self {
        let mut report = Self {
            landlock: sys::landlock_abi(),
            namespaces: None,
            why_not: None,
            escaped: Vec::new(),
            cgroups,
            required: options.required.clone(),
        };
        let mut why = Vec::new();
        for has_namespaces in [true, false] {
            if has_namespaces && !options.has_namespaces {
                why.push("namespaces: switched off".to_owned());
                continue;
            }
            match report.probe(options, has_namespaces).await {
                Ok(escaped) => {
                    report.namespaces = Some(has_namespaces);
                    report.escaped = escaped;
                    break;
                }
                Err(fault) => why.push(fault),
            }
        }
        report.why_not = (!why.is_empty()).then(|| why.join("; "));
        report
    }

    /// Starts commands that try to get out; without control groups where none can be started with them.
    async fn probe(&mut self, options: &CageOptions, has_namespaces: bool) -> Result<Vec<String>, String> {
        if self.cgroups.is_there {
            let why = match probe::start(options, Kind { has_namespaces, has_cgroups: true }).await {
                Ok(escaped) => return Ok(escaped),
                Err(why) => why,
            };
            let escaped = probe::start(options, Kind { has_namespaces, has_cgroups: false }).await?;
            self.cgroups = Counting { is_there: false, text: format!("no command starts in one: {why}") };
            return Ok(escaped);
        }
        probe::start(options, Kind { has_namespaces, has_cgroups: false }).await
    }

    /// Whether commands are served: every layer that is needed holds, and no probe escaped.
    #[must_use]
    pub fn is_served(&self) -> bool {
        let is_enough = match self.namespaces {
            Some(true) => self.landlock >= 1,
            Some(false) => self.landlock >= WITHOUT_NAMESPACES,
            None => false,
        };
        is_enough && self.escaped.is_empty() && self.lacking().is_none()
    }

    /// The first layer that is required and not in force.
    fn lacking(&self) -> Option<Layer> {
        let is_lacking = |layer: &Layer| !layer.is_enforced && self.required.contains(&layer.name);
        self.layers().into_iter().find(is_lacking)
    }

    /// Whether it holds all that rules call contained.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_served() && (self.namespaces == Some(true) || self.landlock >= SIGNALS)
    }

    /// In which cage commands are started.
    pub(crate) fn kind(&self) -> Kind {
        Kind { has_namespaces: self.has_namespaces(), has_cgroups: self.cgroups.is_there }
    }

    /// Whether commands have namespaces of their own.
    #[must_use]
    pub fn has_namespaces(&self) -> bool {
        self.namespaces == Some(true)
    }

    /// Why commands are not served.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        if self.is_served() {
            return None;
        }
        if !self.escaped.is_empty() {
            return Some(format!("probes escaped: {}", self.escaped.join(", ")));
        }
        if let (Some(_), Some(layer)) = (self.namespaces, self.lacking()) {
            return Some(format!("`cage_require` names `{}`, which is not in force: {}", layer.name, layer.text));
        }
        Some(match &self.why_not {
            Some(why) => why.clone(),
            None => format!("Landlock has version {}, too old without namespaces", self.landlock),
        })
    }

    /// The layers.
    #[must_use]
    pub fn layers(&self) -> Vec<Layer> {
        let layer = |name: &str, is_enforced, text: String| Layer { name: name.to_owned(), is_enforced, text };
        let runs = self.namespaces.is_some();
        let namespaces = self.has_namespaces();
        let missing = |from: i32, what: &'static str| (self.landlock < from).then_some(what);
        let lacks: Vec<&str> = [
            missing(3, "cutting files off"),
            missing(4, "TCP"),
            missing(5, "commands to devices"),
            missing(6, "signals and abstract sockets"),
        ]
        .into_iter()
        .flatten()
        .collect();
        let landlock = match (self.landlock, lacks.is_empty()) {
            (0, _) => "this kernel has none".to_owned(),
            (version, true) => format!("version {version}"),
            (version, false) => format!("version {version}, which knows nothing of {}", lacks.join(", ")),
        };
        let spaces = match (namespaces, &self.why_not) {
            (true, _) => "user, mount, process, network, IPC, host name, cgroup".to_owned(),
            (false, Some(why)) => why.clone(),
            (false, None) => "not used".to_owned(),
        };
        let network = if namespaces { "its own loopback only" } else { "no sockets at all" };
        let guarded = if namespaces { "read-only, and put back" } else { "put back after the command" };
        let limits = if self.cgroups.is_there {
            "memory and processes by a control group, files, descriptors, processor time"
        } else if !namespaces && rustix::process::geteuid().is_root() {
            "memory and processes only watched (the kernel limits no superuser's), files, descriptors, processor time"
        } else {
            "memory watched, processes, files, descriptors, processor time"
        };
        let cgroup = if self.cgroups.is_there {
            self.cgroups.text.clone()
        } else {
            format!("not used, memory and processes are counted 20 times a second: {}", self.cgroups.text)
        };
        vec![
            layer("landlock", self.landlock > 0, landlock),
            layer("seccomp", runs, "a list of allowed system calls".to_owned()),
            layer("privileges", runs, "no new ones, no capabilities".to_owned()),
            layer("namespaces", namespaces, spaces),
            layer("network", runs, network.to_owned()),
            layer("guarded paths", runs, guarded.to_owned()),
            layer("limits", runs, limits.to_owned()),
            layer("cgroup", runs && self.cgroups.is_there, cgroup),
        ]
    }
}

/// What an answer holds for: this boot, this program, these options.
fn key(options: &CageOptions) -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let program = fs::metadata(&options.supervisor)
        .map(|found| {
            format!("{} {} {} {}.{}", found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec())
        })
        .unwrap_or_default();
    let user = rustix::process::geteuid().as_raw();
    Digest::of(&[format!("{boot} {program} {user} {options:?}").as_bytes()]).to_string()
}

fn remembered(options: &CageOptions, key: &str) -> Option<Report> {
    let text = fs::read_to_string(options.remembered.as_ref()?).ok()?;
    let (first, rest) = text.split_once('\n')?;
    if first == key { serde_json::from_str(rest).ok() } else { None }
}

fn remember(options: &CageOptions, key: &str, report: &Report) {
    let Some(path) = &options.remembered else { return };
    let write = |path: &Path| -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        writeln!(file, "{key}\n{}", serde_json::to_string(report)?)
    };
    if let Err(error) = write(path) {
        tracing::debug!(%error, "what was found of the cage is not remembered");
    }
}
