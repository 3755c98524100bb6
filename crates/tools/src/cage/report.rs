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

use super::{CageOptions, probe, sys};

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
    /// Layers without which commands are not served.
    #[serde(default)]
    required: Vec<String>,
}

impl Report {
    /// Examines the cage, or remembers.
    pub async fn examine(options: &CageOptions) -> Self {
        let key = key(options);
        if let Some(report) = remembered(options, &key) {
            return report;
        }
        let report = Self::fresh(options).await;
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
            required: Vec::new(),
        }
    }

    /// Examines the cage.
    pub async fn fresh(options: &CageOptions) -> Self {
        let mut report = Self {
            landlock: sys::landlock_abi(),
            namespaces: None,
            why_not: None,
            escaped: Vec::new(),
            required: options.required.clone(),
        };
        let mut why = Vec::new();
        for has_namespaces in [true, false] {
            if has_namespaces && !options.has_namespaces {
                why.push("namespaces: switched off".to_owned());
                continue;
            }
            match probe::start(options, has_namespaces).await {
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
        let limits = if !namespaces && rustix::process::geteuid().is_root() {
            "memory and processes only watched (the kernel limits no superuser's), files, descriptors, processor time"
        } else {
            "memory watched, processes, files, descriptors, processor time"
        };
        vec![
            layer("landlock", self.landlock > 0, landlock),
            layer("seccomp", runs, "a list of allowed system calls".to_owned()),
            layer("privileges", runs, "no new ones, no capabilities".to_owned()),
            layer("namespaces", namespaces, spaces),
            layer("network", runs, network.to_owned()),
            layer("guarded paths", runs, guarded.to_owned()),
            layer("limits", runs, limits.to_owned()),
            layer("cgroup", false, "not used; memory and processes are counted 20 times a second".to_owned()),
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
