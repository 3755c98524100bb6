//! Skills of the data directory: `skills/NAME/SKILL.md`, listed to every agent.
//!
//! Only names and descriptions are read here; the text is read by `skill_read`
//! when it is needed. One that cannot be used is left out and said so.

use std::collections::BTreeMap;
use std::path::Path;

use are_core::ids::AgentName;
use are_engine::api::Agent;
use serde::Deserialize;

use super::{agents, files};

/// Skills that are listed; more would fill every request.
const SKILLS_MAX: usize = 64;
/// Characters of a description that are listed.
const DESCRIPTION_CHARS_MAX: usize = 300;
/// The tool that reads them.
const READER: &str = "skill_read";

/// Front matter. What else stands there is for other programs.
#[derive(Debug, Default, Deserialize)]
struct Front {
    #[serde(default)]
    description: String,
}

/// Name and description of each skill that can be used.
#[must_use]
pub fn list(data_dir: &Path) -> Vec<(String, String)> {
    let found = match files::read_skills(&data_dir.join("skills"), SKILLS_MAX) {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%error, "the skills cannot be read");
            return Vec::new();
        }
    };
    let described = |(name, text): (String, std::io::Result<String>)| match text
        .map_err(|error| error.to_string())
        .and_then(|text| describe(&text))
    {
        Ok(description) => Some((name, description)),
        Err(why) => {
            tracing::warn!(skill = name, why, "a skill is left out");
            None
        }
    };
    found.into_iter().filter_map(described).collect()
}

/// Tells every agent that may read them which skills there are.
pub fn tell(skills: &[(String, String)], agents: &mut BTreeMap<AgentName, Agent>) {
    if skills.is_empty() {
        return;
    }
    let lines: Vec<String> = skills.iter().map(|(name, description)| format!("- {name}: {description}")).collect();
    for agent in agents.values_mut() {
        if READER.parse().is_ok_and(|reader| agent.may_use(&reader)) {
            agent.instructions.push_str("\n\nSkills. Before a task that one is about, read it with `skill_read`:\n");
            agent.instructions.push_str(&lines.join("\n"));
        }
    }
}

fn describe(text: &str) -> Result<String, String> {
    let (front, _) = agents::split(text)?;
    let front: Front = match front.trim() {
        "" => Front::default(),
        yaml => serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?,
    };
    let shown = front.description.chars().filter(|c| !c.is_control() || c.is_whitespace());
    let words: String = shown.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ");
    if words.is_empty() {
        return Err("it has no `description` in its front matter".to_owned());
    }
    Ok(words.chars().take(DESCRIPTION_CHARS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skills_are_listed_to_agents_that_may_read_them() {
        let root = tempfile::tempdir().expect("directory");
        let write = |name: &str, text: &str| {
            let dir = root.path().join("skills").join(name);
            std::fs::create_dir_all(&dir).expect("directory");
            std::fs::write(dir.join("SKILL.md"), text).expect("file");
        };
        write(
            "release-notes",
            "---\nname: release-notes\ndescription: Writes  release\n  notes.\nlicense: MIT\n---\nText",
        );
        write("without", "Text without front matter");
        write("bad name", "---\ndescription: x\n---\n");
        let mut agents = agents::load(root.path()).agents;
        let main = agents::main_name().expect("name");
        let mut narrow = agents[&main].clone();
        narrow.tools = Some(Vec::new());
        agents.insert("narrow".parse().expect("name"), narrow);
        let before = agents.clone();
        tell(&list(root.path()), &mut agents);
        let told = agents[&main].instructions.strip_prefix(before[&main].instructions.as_str()).expect("it goes on");
        assert!(told.ends_with("`skill_read`:\n- release-notes: Writes release notes."), "{told}");
        let narrow: AgentName = "narrow".parse().expect("name");
        assert_eq!(agents[&narrow], before[&narrow]);
    }
}
