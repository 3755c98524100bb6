//! The names under which an operator grants many hosts at once. Data, and nothing else.
//!
//! Only hosts from which the usual tools of an ecosystem download, all of them for everybody to read. None is here at
//! which a stranger can leave something that the next stranger reads without an account.

/// A name and the hosts that it stands for.
pub(super) struct Preset {
    pub(super) name: &'static str,
    /// Domains, each with the names in it; an empty one is the domain itself.
    domains: &'static [(&'static str, &'static [&'static str])],
}

impl Preset {
    /// The hosts.
    pub(super) fn hosts(&self) -> impl Iterator<Item = String> {
        let host =
            |domain: &str, name: &str| if name.is_empty() { domain.to_owned() } else { format!("{name}.{domain}") };
        self.domains.iter().flat_map(move |(domain, names)| names.iter().map(move |name| host(domain, name)))
    }
}

/// The name of all of them together.
pub(super) const REGISTRIES: &str = "registries";

/// By ecosystem.
pub(super) const PRESETS: [Preset; 8] = [
    Preset { name: "cargo", domains: &[("crates.io", &["", "index", "static"])] },
    Preset { name: "rustup", domains: &[("rust-lang.org", &["static"])] },
    Preset { name: "npm", domains: &[("npmjs.org", &["registry"]), ("yarnpkg.com", &["registry"])] },
    Preset { name: "pypi", domains: &[("org", &["pypi"]), ("pythonhosted.org", &["files"])] },
    Preset { name: "go", domains: &[("golang.org", &["proxy", "sum"])] },
    Preset { name: "debian", domains: &[("debian.org", &["deb", "security"])] },
    Preset { name: "maven", domains: &[("maven.apache.org", &["repo"]), ("maven.org", &["repo1"])] },
    Preset { name: "rubygems", domains: &[("rubygems.org", &["", "index"])] },
];
