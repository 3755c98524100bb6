//! What a command sees: system directories, toolchains, its workspace, a home of its own.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use are_core::digest::Digest;

use super::CageOptions;
use super::spec::{Access, Bound};
use crate::egress;

/// Programs, libraries and their data.
const SYSTEM: [&str; 10] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store", "/gnu/store"];
/// What of the system's settings programs need in order to run; none of it is a secret.
const SETTINGS: [&str; 22] = [
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/etc/ca-certificates",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/os-release",
    "/etc/lsb-release",
    "/etc/debian_version",
    "/etc/mime.types",
    "/etc/magic",
    "/etc/terminfo",
    "/etc/inputrc",
    "/etc/python3",
    "/etc/perl",
    "/etc/fonts",
    "/etc/maven",
];
/// The same where the command has no names of its own.
const NAMES: [&str; 4] = ["/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/hosts"];
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];
/// Toolchains below a home: what they run and read. Credentials and settings that may hold some are left out.
const TOOLCHAINS: [&str; 28] = [
    ".cargo/bin",
    ".cargo/registry",
    ".cargo/git",
    ".rustup/toolchains",
    ".rustup/settings.toml",
    ".rustup/update-hashes",
    ".pyenv/bin",
    ".pyenv/shims",
    ".pyenv/libexec",
    ".pyenv/plugins",
    ".pyenv/pyenv.d",
    ".pyenv/version",
    ".pyenv/versions",
    ".nvm/versions",
    ".volta/bin",
    ".volta/tools",
    ".rbenv/versions",
    ".rbenv/shims",
    ".sdkman/candidates",
    ".asdf/installs",
    ".local/share/mise/installs",
    ".local/share/uv/python",
    ".local/share/uv/tools",
    ".bun/bin",
    ".deno/bin",
    ".ghcup/bin",
    "go/bin",
    "go/pkg/mod",
];
/// Variables that tell a toolchain where it lies below the home.
const HOMES: [(&str, &str); 6] = [
    ("CARGO_HOME", ".cargo"),
    ("RUSTUP_HOME", ".rustup"),
    ("PYENV_ROOT", ".pyenv"),
    ("RBENV_ROOT", ".rbenv"),
    ("VOLTA_HOME", ".volta"),
    ("GOMODCACHE", "go/pkg/mod"),
];
/// Of these, where downloads are kept.
const DOWNLOADS: [&str; 2] = ["CARGO_HOME", "GOMODCACHE"];
/// Where programs are looked for after the toolchains.
const PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// Where toolchains put programs, below the home: looked for last, so that one that is not in the operator's own `PATH`
/// hides nothing of the system's.
const PROGRAMS: [&str; 6] = [".cargo/bin", ".pyenv/shims", ".volta/bin", ".bun/bin", ".deno/bin", "go/bin"];
/// The same for one of the system's directories.
const GO: &str = "/usr/local/go/bin";
/// What keeps tools from asking the network about themselves.
const QUIET: [(&str, &str); 4] = [
    ("GIT_TERMINAL_PROMPT", "0"),
    ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
    ("NO_UPDATE_NOTIFIER", "1"),
    ("GOTOOLCHAIN", "local"),
];
/// There is no network: better told at once than after many tries.
const OFFLINE: [(&str, &str); 2] = [("CARGO_NET_OFFLINE", "true"), ("GOPROXY", "off")];

/// One workspace as its commands see it.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// System and toolchains, its own directory and its cache, and what else may be read.
    pub(crate) bounds: Vec<Bound>,
    /// Device and number of those that are not the same for every workspace.
    pub(crate) given: Vec<(u64, u64)>,
    pub(crate) env: Vec<(String, String)>,
    /// Owner of the workspace.
    pub(crate) owner: (u32, u32),
}

impl View {
    /// Of a workspace, with all links in its path resolved. Makes the workspace's cache if it is new.
    pub(crate) fn of(
        workspace: &Path,
        reads: &[PathBuf],
        options: &CageOptions,
        (has_namespaces, has_proxy): (bool, bool),
    ) -> io::Result<Self> {
        let metadata = fs::metadata(workspace)?;
        let owner = (metadata.uid(), metadata.gid());
        let cache = cache(workspace, &options.cache_dir, owner)?;
        let mut bounds: Vec<Bound> = SYSTEM.iter().chain(&SETTINGS).map(|path| read(Path::new(path))).collect();
        if !has_namespaces {
            bounds.extend(NAMES.iter().map(|path| read(Path::new(path))));
        }
        bounds.extend(toolchains(options).map(|path| read(&path)));
        bounds.retain(|bound| bound.path.symlink_metadata().is_ok());
        bounds.extend(DEVICES.iter().map(|path| Bound { path: path.into(), access: Access::Device }));
        let own = [workspace, &cache].map(|path| Bound { path: path.to_owned(), access: Access::Write });
        let own = own.into_iter().chain(reads.iter().map(|path| read(path)));
        let mut given = Vec::with_capacity(2 + reads.len());
        for bound in own {
            // One that has gone is not shown.
            given.push(fs::metadata(&bound.path).map_or((0, 0), |found| (found.dev(), found.ino())));
            bounds.push(bound);
        }
        Ok(Self { bounds, given, env: environment(options, &cache, (has_namespaces, has_proxy)), owner })
    }
}

fn read(path: &Path) -> Bound {
    Bound { path: path.to_owned(), access: Access::Read }
}

fn toolchains(options: &CageOptions) -> impl Iterator<Item = PathBuf> {
    let home = options.home.clone();
    TOOLCHAINS.iter().filter_map(move |path| Some(home.as_ref()?.join(path)))
}

/// The directory that the commands of a workspace may fill; no other workspace's see it.
fn cache(workspace: &Path, caches: &Path, owner: (u32, u32)) -> io::Result<PathBuf> {
    let digest = Digest::of(&[workspace.as_os_str().as_encoded_bytes()]).to_string();
    let dir = caches.join(digest.get(..16).unwrap_or(&digest));
    if !dir.join("tmp").is_dir() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir.join("tmp"))?;
        if rustix::process::geteuid().is_root() && owner.0 != 0 {
            for path in [dir.clone(), dir.join("tmp")] {
                std::os::unix::fs::chown(path, Some(owner.0), Some(owner.1))?;
            }
        }
    }
    dir.canonicalize()
}

/// A directory beside the caches that belongs to one program alone, made if it is new.
pub(crate) fn own_directory(caches: &Path, name: &str) -> io::Result<PathBuf> {
    let dir = caches.join(format!("own-{name}"));
    DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
    dir.canonicalize()
}

/// All that a command's environment holds; nothing of the server's own is in it.
fn environment(
    options: &CageOptions,
    cache: &Path,
    (has_namespaces, has_proxy): (bool, bool),
) -> Vec<(String, String)> {
    let ours: Vec<PathBuf> = toolchains(options).collect();
    let is_known = |dir: &PathBuf| ours.iter().chain(&SYSTEM.map(PathBuf::from)).any(|known| dir.starts_with(known));
    let mut path: Vec<String> = Vec::new();
    for dir in options.path.iter().filter(|dir| is_known(dir)).map(|dir| dir.display().to_string()) {
        if !path.contains(&dir) && !dir.contains(':') {
            path.push(dir);
        }
    }
    let found = PROGRAMS.iter().filter_map(|below| Some(options.home.as_ref()?.join(below)));
    let found = found.chain([PathBuf::from(GO)]).filter(|dir| dir.is_dir()).map(|dir| dir.display().to_string());
    for dir in PATH.map(str::to_owned).into_iter().chain(found) {
        if !path.contains(&dir) && !dir.contains(':') {
            path.push(dir);
        }
    }
    let temporary = if has_namespaces { PathBuf::from("/tmp") } else { cache.join("tmp") };
    let mut env = vec![
        ("PATH".to_owned(), path.join(":")),
        ("HOME".to_owned(), cache.display().to_string()),
        ("TMPDIR".to_owned(), temporary.display().to_string()),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ("TERM".to_owned(), "dumb".to_owned()),
        ("USER".to_owned(), "are".to_owned()),
        ("LOGNAME".to_owned(), "are".to_owned()),
        ("SHELL".to_owned(), "/bin/sh".to_owned()),
    ];
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    env.extend(QUIET.map(owned));
    if has_proxy {
        env.extend(egress::environment());
    } else {
        env.extend(OFFLINE.map(owned));
    }
    for (name, below) in HOMES {
        // What is downloaded goes to the workspace's own cache; the operator's is only read.
        if has_proxy && DOWNLOADS.contains(&name) {
            env.push((name.to_owned(), cache.join(below).display().to_string()));
        } else if let Some(dir) = options.home.as_ref().map(|home| home.join(below)).filter(|dir| dir.is_dir()) {
            env.push((name.to_owned(), dir.display().to_string()));
        }
    }
    env
}
