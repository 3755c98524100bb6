//! The files beside a script that it may require.
//!
//! Which these are is settled when the script is loaded, by the names that
//! stand in it, because their content is part of what the tool is: another
//! helper is another tool, and revokes what was approved.

use std::collections::BTreeMap;

use are_core::digest::Digest;

/// Files that one script may draw in, directly or through another.
const NEEDED_MAX: usize = 64;
/// Bytes of all of them.
const BYTES_MAX: usize = 4 << 20;

/// Files by name, `.js` and `.json`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Siblings(BTreeMap<String, String>);

impl Siblings {
    /// All files of a folder, by name.
    pub(crate) const fn new(files: BTreeMap<String, String>) -> Self {
        Self(files)
    }

    /// The file that a script means by `./name`: of this folder, with or without its ending.
    pub(super) fn find(&self, name: &str) -> Option<(&str, &str)> {
        let endings = ["", ".js", ".json"];
        let found = endings.iter().find_map(|ending| self.0.get_key_value(&format!("{name}{ending}")));
        found.map(|(name, source)| (name.as_str(), source.as_str()))
    }

    /// The part that this file draws in.
    pub(super) fn needed_by(&self, file: &str, source: &str) -> Self {
        let mut needed = BTreeMap::new();
        let mut bytes = 0;
        let mut waiting: Vec<&str> = vec![source];
        while let Some(source) = waiting.pop() {
            for name in required(source) {
                let Some((name, source)) = self.find(name) else { continue };
                // A file beyond the bounds is not there for the script, which then says so.
                if name == file || needed.len() >= NEEDED_MAX || bytes + source.len() > BYTES_MAX {
                    continue;
                }
                if needed.insert(name.to_owned(), source.to_owned()).is_none() {
                    bytes += source.len();
                    waiting.push(source);
                }
            }
        }
        Self(needed)
    }

    /// Changes when any of the files does.
    pub(super) fn digest(&self, source: &str) -> Digest {
        let lengths: Vec<[u8; 8]> =
            self.0.iter().flat_map(|(name, text)| [name.len(), text.len()]).map(|n| (n as u64).to_le_bytes()).collect();
        let mut parts: Vec<&[u8]> = vec![source.as_bytes()];
        for ((name, text), lengths) in self.0.iter().zip(lengths.chunks(2)) {
            parts.extend(lengths.iter().map(<[u8; 8]>::as_slice));
            parts.extend([name.as_bytes(), text.as_bytes()]);
        }
        Digest::of(&parts)
    }
}

/// Names in `require('./name')`.
fn required(source: &str) -> impl Iterator<Item = &str> {
    source.split("require").skip(1).filter_map(|rest| {
        let rest = rest.trim_start().strip_prefix('(')?.trim_start();
        let quote = rest.chars().next().filter(|quote| matches!(quote, '\'' | '"' | '`'))?;
        let (name, _) = rest[1..].split_once(quote)?;
        name.strip_prefix("./").filter(|name| !name.contains('/'))
    })
}
