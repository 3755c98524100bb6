//! The names under which an operator grants many hosts at once. Data, and nothing else.
//!
//! Only hosts from which the usual tools of an ecosystem download, all of them for everybody to read. None is here at
//! which a stranger can leave something that the next stranger reads without an account.

/// A name and the hosts that it stands for.
pub(super) struct Preset {
    pub(super) name: &'static str,
    /// Host names; `*.` stands for everything below.
    pub(super) hosts: &'static [&'static str],
}

/// The name of all of them together.
pub(super) const REGISTRIES: &str = "registries";

/// By ecosystem.
pub(super) const PRESETS: [Preset; 8] = [
    Preset { name: "cargo", hosts: &["crates.io", "index.crates.io", "static.crates.io"] },
    Preset { name: "rustup", hosts: &["static.rust-lang.org"] },
    Preset { name: "npm", hosts: &["registry.npmjs.org", "registry.yarnpkg.com"] },
    Preset { name: "pypi", hosts: &["pypi.org", "files.pythonhosted.org"] },
    Preset { name: "go", hosts: &["proxy.golang.org", "sum.golang.org"] },
    Preset { name: "debian", hosts: &["deb.debian.org", "security.debian.org"] },
    Preset { name: "maven", hosts: &["repo.maven.apache.org", "repo1.maven.org"] },
    Preset { name: "rubygems", hosts: &["rubygems.org", "index.rubygems.org"] },
];
