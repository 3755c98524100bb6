//! Paths of a workspace that work outside it: writing them is not a change of
//! a file but of what a later program does.
//!
//! `.git/` runs hooks, CI files run on other machines, shell start files and
//! editor tasks run at the next login or opening, rules and agent files steer
//! agents. Under `contained` a call that touches one is decided as if it left
//! the cage.
//!
//! Only names are seen here. They are compared without case, without what
//! cannot be seen, and after NFKC, since some file systems and most readers
//! take such names for one. What a link leads to is the file tools' affair:
//! they ask again with the path that they found.

use std::sync::LazyLock;

use regex::Regex;
use unicode_normalization::UnicodeNormalization as _;

use super::typed::{ARGV, SHELL};
use super::{allow, object};
use crate::call::{Call, Context};

/// Directories, wherever they stand, everything below included; one with a slash is a directory in another.
const DIRECTORIES: [&[&str]; 5] = [
    // Version control and its hooks.
    &[".git", ".githooks", ".husky"],
    // Work that other machines do.
    &[".github", ".gitlab", ".gitea", ".forgejo", ".circleci", ".buildkite", ".woodpecker", ".semaphore", ".teamcity"],
    // Tasks and settings of editors and build tools.
    &[".vscode", ".idea", ".devcontainer", ".cargo"],
    // What steers agents.
    &[".claude", ".cursor", ".windsurf", ".clinerules", ".gemini", ".codex"],
    // Logins and what starts with them.
    &[".ssh", ".config/autostart", ".config/fish"],
];
/// Files, wherever they stand.
const FILES: [&[&str]; 7] = [
    // Version control. A `HEAD` makes a directory a repository, whose `config` then names programs.
    &["head", ".gitmodules", ".gitattributes", ".gitconfig"],
    // Work that other machines do.
    &["jenkinsfile"],
    // What shells read when they start.
    &[".profile", ".login", ".bashrc", ".bash_profile", ".bash_login", ".bash_logout", ".bash_aliases", "config.fish"],
    &[".zshrc", ".zshenv", ".zprofile", ".zlogin", ".zlogout", ".kshrc", ".cshrc", ".tcshrc", ".envrc", ".inputrc"],
    // What other programs read when they start, and credentials.
    &[".vimrc", ".netrc", ".npmrc", ".yarnrc", ".yarnrc.yml", ".yarnrc.yaml"],
    // What steers agents.
    &["agents.md", "claude.md", "claude.local.md", "gemini.md", "skill.md", ".cursorrules", ".windsurfrules"],
    &[".mcp.json", "are.toml"],
];
/// Files by their stem, with each of these endings.
const STEMS: [(&[&str], &[&str]); 3] = [
    (&[".gitlab-ci", ".travis", ".drone", ".woodpecker", ".cirrus", "azure-pipelines", "bitbucket-pipelines"], YAML),
    (&["appveyor", ".appveyor", "buildspec", "cloudbuild", ".pre-commit-config"], YAML),
    (&["lefthook", ".lefthook", "lefthook-local", ".lefthook-local"], &["yml", "yaml", "toml", "json", "jsonc"]),
];
const YAML: &[&str] = &["yml", "yaml"];
/// What rule files end in.
const RULES: &str = ".cedar";

/// What fonts show as nothing.
#[expect(clippy::expect_used, reason = "a constant pattern; a test of this module compiles it")]
static INVISIBLE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[\p{Cc}\p{Default_Ignorable_Code_Point}]").expect("the pattern is valid"));

/// Whether a path, plain and relative, is guarded.
pub(super) fn is_guarded(path: &str) -> bool {
    let path = folded(path);
    let parts: Vec<&str> = path.split('/').collect();
    (0..parts.len()).any(|at| is_guarded_directory(&parts[at..]))
        || parts.last().is_some_and(|name| is_guarded_file(name))
}

/// The path as it is compared.
fn folded(path: &str) -> String {
    // PERF: a command's whole workspace is looked at; nearly all names are plain, and folding takes 20 times as long.
    if path.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return path.to_ascii_lowercase();
    }
    let path: String = path.nfkc().flat_map(char::to_lowercase).collect();
    INVISIBLE.replace_all(&path, "").into_owned()
}

/// Whether a path begins with a guarded directory.
fn is_guarded_directory(parts: &[&str]) -> bool {
    DIRECTORIES.iter().copied().flatten().any(|directory| {
        let mut parts = parts.iter();
        directory.split('/').all(|name| parts.next() == Some(&name))
    })
}

fn is_guarded_file(name: &str) -> bool {
    let has_stem = |(stem, ending)| {
        STEMS.iter().any(|(stems, endings): &(&[&str], &[&str])| stems.contains(&stem) && endings.contains(&ending))
    };
    FILES.iter().any(|names| names.contains(&name))
        || name.rsplit_once('.').is_some_and(has_stem)
        || name.ends_with(RULES)
}

/// Whether a call names a guarded path; one whose objects cannot be told does.
///
/// The words of a command line are no paths: `git diff HEAD` touches no file `HEAD`. What a command changes is
/// judged path by path when it runs.
pub(super) fn touches(call: &Call, ctx: &Context<'_>) -> bool {
    let is_command = allow::has_argv(ctx.manifest);
    object::named(call, ctx.manifest).map_or(true, |(objects, named)| {
        if !is_command {
            return objects.iter().any(|path| is_guarded(path));
        }
        named
            .iter()
            .filter_map(|named| named.split_once('='))
            .any(|(argument, path)| ![ARGV, SHELL].contains(&argument) && is_guarded(path))
    })
}

#[cfg(test)]
mod tests {
    use super::{DIRECTORIES, FILES, STEMS, folded, is_guarded};

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

    #[test]
    fn names_of_ci_hooks_agents_and_start_files_are_guarded() {
        for path in [
            ".forgejo/workflows/a.yml",
            "x/.gitea/workflows/a.yml",
            ".drone.yml",
            ".drone.yaml",
            "buildspec.yaml",
            "a/.gitlab-ci.yaml",
            "azure-pipelines.yaml",
            "cloudbuild.yml",
            ".cursor/rules/a.mdc",
            ".cursorrules",
            "GEMINI.md",
            "sub/CLAUDE.local.md",
            ".windsurfrules",
            ".githooks/pre-commit",
            ".husky/pre-push",
            "lefthook.yml",
            "lefthook-local.yaml",
            ".lefthook.toml",
            ".vimrc",
            ".netrc",
            ".yarnrc",
            ".yarnrc.yml",
            "home/.config/autostart/a.desktop",
            ".config/fish",
            "sub/HEAD",
        ] {
            assert!(is_guarded(path), "{path}");
        }
        for path in [
            ".config/other/a",
            ".config",
            "autostart/a",
            "fish/.config",
            "sub/config",
            "HEAD/a",
            "drone.yml",
            ".drone.md",
            "docs/lefthook.md",
            "buildspec",
            "a.yml",
            "headers",
        ] {
            assert!(!is_guarded(path), "{path}");
        }
    }

    #[test]
    fn a_name_is_guarded_however_it_is_written() {
        for path in [
            ".g\u{200b}it/config",
            "\u{feff}.git/config",
            ".gi\u{ad}t",
            "．ｇｉｔ/hooks/x",
            "ＡＧＥＮＴＳ.ｍｄ",
            "\u{2024}bashrc",
            ".netr\u{e0063}c",
            ".\u{212a}shrc",
        ] {
            assert!(is_guarded(path), "{path:?}");
        }
        assert!(!is_guarded("git\u{200b}hub/x"));
    }

    #[test]
    fn what_names_are_compared_with_is_folded() {
        let stems = STEMS.iter().flat_map(|(stems, endings)| [*stems, *endings]);
        for name in DIRECTORIES.into_iter().chain(FILES).chain(stems).flatten() {
            assert_eq!(folded(name), *name);
        }
    }
}
