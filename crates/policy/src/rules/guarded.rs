//! Paths of a workspace that work outside it: writing them is not a change of
//! a file but of what a later program does.
//!
//! `.git/` runs hooks, CI files run on other machines, shell start files and
//! editor tasks run at the next login or opening, rules and agent files steer
//! agents. Under `contained` a call that touches one is decided as if it left
//! the cage. Compared without case, since some file systems ignore it.

use super::object;
use crate::call::{Call, Context};

/// Directories, wherever they stand, everything below included.
const DIRECTORIES: [&str; 13] = [
    ".git",
    ".github",
    ".gitlab",
    ".circleci",
    ".buildkite",
    ".woodpecker",
    ".husky",
    ".vscode",
    ".idea",
    ".devcontainer",
    ".ssh",
    ".cargo",
    ".claude",
];
/// Files, wherever they stand.
const FILES: [&str; 38] = [
    ".gitmodules",
    ".gitattributes",
    ".gitconfig",
    ".pre-commit-config.yaml",
    ".gitlab-ci.yml",
    ".travis.yml",
    ".drone.yml",
    ".woodpecker.yml",
    ".cirrus.yml",
    "jenkinsfile",
    "azure-pipelines.yml",
    "bitbucket-pipelines.yml",
    "appveyor.yml",
    "buildspec.yml",
    "cloudbuild.yaml",
    ".bashrc",
    ".bash_profile",
    ".bash_login",
    ".bash_logout",
    ".bash_aliases",
    ".profile",
    ".zshrc",
    ".zshenv",
    ".zprofile",
    ".zlogin",
    ".kshrc",
    ".cshrc",
    ".tcshrc",
    ".login",
    ".envrc",
    ".inputrc",
    "config.fish",
    "agents.md",
    "claude.md",
    "skill.md",
    ".mcp.json",
    "are.toml",
    ".npmrc",
];
/// What rule files end in.
const RULES: &str = ".cedar";

/// Whether a path, plain and relative, is guarded.
pub(super) fn is_guarded(path: &str) -> bool {
    let path = path.to_lowercase();
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        if DIRECTORIES.contains(&part) || (is_last && (FILES.contains(&part) || part.ends_with(RULES))) {
            return true;
        }
    }
    false
}

/// Whether a call names a guarded path; one whose objects cannot be told does.
pub(super) fn touches(call: &Call, ctx: &Context<'_>) -> bool {
    object::of(call, ctx).map_or(true, |objects| objects.iter().any(|path| is_guarded(path)))
}

#[cfg(test)]
mod tests {
    use super::is_guarded;

    #[test]
    fn guarded_paths_are_found_at_any_depth_and_in_any_case() {
        for path in [
            ".git/config",
            "sub/.GIT/hooks/x",
            ".git",
            ".github/workflows/ci.yml",
            "a/Jenkinsfile",
            ".bashrc",
            "x/.envrc",
            "p/r.cedar",
            "AGENTS.md",
        ] {
            assert!(is_guarded(path), "{path}");
        }
        for path in ["src/git.rs", ".gitignore", "docs/bashrc.md", "profile", "github/x", "agents/readme.md"] {
            assert!(!is_guarded(path), "{path}");
        }
    }
}
