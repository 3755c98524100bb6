//! Where effects may happen. Each row names what it is about, the only places
//! that may do it, and why; a place that no longer does it leaves the list.

use crate::source::{mentions, places, product, rust};

struct Rule {
    /// What is counted.
    what: &'static str,
    /// Paths, whole words or method calls that mean it.
    words: &'static [&'static str],
    /// Prefixes of the files that may, with the reason.
    places: &'static [(&'static str, &'static str)],
}

const RULES: &[Rule] = &[
    Rule {
        what: "files",
        words: &[
            "std::fs",
            "tokio::fs",
            "cap_std",
            "rustix::fs",
            ".canonicalize(",
            ".try_exists(",
            ".symlink_metadata(",
            ".read_link(",
        ],
        places: &[
            ("crates/store/src/sqlite", "the data directory: database, identity, lock"),
            ("crates/store/src/probe.rs", "how fast the disk syncs, for benchmarks"),
            ("crates/tools/src/fs", "the file tools, behind a permit and a directory handle"),
            ("crates/tools/src/registry/folder.rs", "the data directory's folder of tools"),
            (
                "crates/tools/src/mcp/stdio.rs",
                "resolves the paths that a server may read, so that what was consented to is what is bound",
            ),
            ("crates/tools/src/skills.rs", "the data directory's skills, behind a permit, below one directory handle"),
            ("crates/tools/src/wasm/cache.rs", "compiled code, sealed by this installation"),
            (
                "crates/tools/src/cage",
                "what a command may see and take: its root directory, its cache, `/proc`, its control group, and probes of these",
            ),
            (
                "crates/models/src/files",
                "model files: fetched, hashed, checked; what a local model keeps, sealed for one process; what the host says",
            ),
            ("crates/are/src/config/files.rs", "configuration, agents, rules, the admin token"),
            ("crates/are/src/server/listen.rs", "mode and name of the unix socket's file, which is part of listening"),
            ("crates/are/src/cli/doctor.rs", "free space of the data directory's file system; reads no file"),
            ("crates/are/src/bench/process.rs", "names of a measured process's threads below `/proc`"),
            (
                "crates/are/src/bench/adaptive/place.rs",
                "workspaces of the tasks that are measured, and what they came to",
            ),
        ],
    },
    Rule {
        what: "processes",
        words: &["std::process::Command", "process::Command", "tokio::process", "CommandExt"],
        places: &[
            ("crates/models/src/files/pip.rs", "the user's own pip, where the hub cannot be reached"),
            ("crates/are/src/bench/process.rs", "servers of this very program, started to be measured and killed"),
            ("crates/tools/src/launch", "the supervisor of a command, which closes the cage around it"),
            ("crates/are/src/wiring/master.rs", "the operator's own command that prints the master key, once at start"),
        ],
    },
    Rule {
        what: "sockets",
        words: &[
            "TcpStream",
            "TcpListener",
            "TcpSocket",
            "UdpSocket",
            "UnixStream",
            "UnixListener",
            "UnixDatagram",
            "reqwest",
            "hyper::client",
            "lookup_host",
            "ToSocketAddrs",
            "rustix::net",
        ],
        places: &[
            ("crates/tools/src/http", "the one HTTP client of all tools"),
            ("crates/tools/src/egress", "the way of commands to granted hosts, after the gate and the address guard"),
            ("crates/tools/src/mcp/network.rs", "hands what a server's proxy accepts from to that proxy"),
            ("crates/tools/src/launch", "the pair of sockets that ties a command's supervisor to this process"),
            (
                "crates/tools/src/cage",
                "the other end of that pair, and what a command's proxy accepts from; no address is ever connected to",
            ),
            ("crates/models/src/http.rs", "the client for providers and model files"),
            ("crates/are/src/server", "the doors"),
            ("crates/are/src/client", "the command line as a client of the doors"),
            ("crates/are/src/bench/wire.rs", "a client of the doors that counts bytes"),
            ("crates/are/src/bench/provider.rs", "the configured provider itself, measured without the engine"),
        ],
    },
    Rule { what: "SQL", words: &["rusqlite"], places: &[("crates/store/src/sqlite", "the embedded store")] },
    Rule {
        what: "command line",
        words: &["clap", "clap_complete"],
        places: &[
            ("crates/are/src/cli", "the verbs"),
            ("crates/are/src/bench.rs", "names of the cases that a verb takes"),
        ],
    },
    Rule {
        what: "HTTP frames",
        words: &["axum", "tokio_tungstenite"],
        places: &[
            ("crates/are/src/server", "the doors"),
            ("crates/are/src/client", "the command line as a client of the doors"),
        ],
    },
    Rule {
        what: "Model Context Protocol",
        words: &["rmcp"],
        places: &[
            ("crates/tools/src/mcp", "the client of servers that tools come from"),
            ("crates/are/src/server/mcp", "the door at which tools are served"),
            ("crates/are/src/client/mcp.rs", "the same over standard streams"),
        ],
    },
    Rule {
        what: "Agent Client Protocol",
        words: &["agent_client_protocol"],
        places: &[("crates/are/src/client/acp", "an editor on the program's standard streams")],
    },
    Rule { what: "Cedar", words: &["cedar_policy"], places: &[("crates/policy/src/rules", "the decision")] },
    Rule { what: "llama.cpp", words: &["llama_cpp_2"], places: &[("crates/models/src/local", "the local engine")] },
    Rule {
        what: "environment",
        words: &["std::env::var", "env::var", "env::vars", "env::vars_os", "env::var_os"],
        places: &[
            ("crates/are/src/config/layers.rs", "the settings are read here, once"),
            ("crates/are/src/cli/output.rs", "`NO_COLOR` and `TERM`, before there are settings"),
        ],
    },
    Rule {
        what: "chance",
        words: &["getrandom"],
        places: &[
            ("crates/are/src/wiring", "the clock port and the admin token"),
            ("crates/tools/src/wasm/cache.rs", "the key that seals compiled code"),
            ("crates/models/src/files/sealed.rs", "the key that seals what a local model has read, for one process"),
            ("crates/tools/src/js/link.rs", "what scripts have for `crypto` and `Math.random`"),
            ("crates/tools/src/mcp/runtime.rs", "what keeps the digest of a consent from being guessed"),
        ],
    },
];

#[test]
fn effects_happen_only_where_the_table_says() {
    let sources: Vec<_> = product().into_iter().map(|source| (source.path.clone(), source.code())).collect();
    let mut broken = Vec::new();
    for rule in RULES {
        let mut used = vec![0_usize; rule.places.len()];
        for (path, code) in &sources {
            let lines: Vec<usize> = rule.words.iter().flat_map(|word| found(code, word)).collect();
            if lines.is_empty() {
                continue;
            }
            match rule.places.iter().position(|(place, _)| path.starts_with(place)) {
                Some(index) => used[index] += lines.len(),
                None => broken.push(format!("{}: {path}, lines {lines:?}", rule.what)),
            }
        }
        println!(
            "{}: {}",
            rule.what,
            rule.places.iter().zip(&used).map(|((place, _), n)| format!("{place} {n}")).collect::<Vec<_>>().join(", ")
        );
        for ((place, reason), n) in rule.places.iter().zip(&used) {
            assert!(!reason.is_empty());
            if *n == 0 {
                broken.push(format!("{}: nothing left in {place}, take it off the list", rule.what));
            }
        }
    }
    println!("{} sources, {} rules", sources.len(), RULES.len());
    assert!(sources.len() >= 100);
    assert!(broken.is_empty(), "effects in unexpected places:\n  {}", broken.join("\n  "));
}

/// Lines on which a rule's word stands: a method call as it is, everything else as a path.
fn found(code: &str, word: &str) -> Vec<usize> {
    if word.starts_with('.') {
        return code.match_indices(word).map(|(at, _)| crate::source::line(code, at)).collect();
    }
    mentions(code, word)
}

/// Files that may hold `unsafe`, with how often they do and why.
const UNSAFE: &[(&str, usize, &str)] = &[
    ("crates/tools/src/cage/sys.rs", 21, "calls of the kernel that no safe wrapper offers"),
    (
        "crates/tools/src/wasm/cache.rs",
        6,
        "machine code that this installation compiled and sealed: a trait, its impls, their calls",
    ),
];

#[test]
fn unsafe_code_is_counted_and_says_why_it_is_sound() {
    let sources = rust();
    let mut total = 0;
    for source in &sources {
        let code = crate::source::stripped(&source.text, true);
        let uses = places(&code, "unsafe").len();
        let allowed = UNSAFE.iter().find(|(path, _, _)| *path == source.path).map_or(0, |(_, uses, _)| *uses);
        assert_eq!(uses, allowed, "{} holds `unsafe` {uses} times", source.path);
        assert!(source.text.matches("// SAFETY: ").count() >= uses, "{}: a use says nothing", source.path);
        total += uses;
    }
    println!("{} sources, {total} uses of `unsafe`", sources.len());
    assert!(sources.len() >= 150);
}
