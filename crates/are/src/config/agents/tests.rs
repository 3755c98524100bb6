use super::*;

fn name() -> AgentName {
    "helper".parse().expect("a name")
}

fn parsed(text: &str) -> Agent {
    parse(name(), text).expect("valid").0
}

#[test]
fn front_matter_narrows_and_the_body_instructs() {
    let text = "---\ndescription: Reads  files.\nmodel: local:small\ntools: [fs_read, \"fs_l*\"]\npolicy: strict\n\
                budget: {tokens: 100, calls: 2, steps: 9, seconds: 60, agents: 0}\n---\n\nBe brief.\n";
    let (agent, about) = parse(name(), text).expect("valid");
    assert_eq!(agent.model.as_deref(), Some("local:small"));
    let may_use = |tool: &str| agent.may_use(&tool.parse().expect("a tool"));
    assert_eq!([may_use("fs_read"), may_use("fs_list"), may_use("fs_write")], [true, true, false]);
    assert_eq!(agent.narrowing.profiles, [Profile::Strict]);
    let budget = Budget {
        tokens: Some(100),
        calls: Some(2),
        steps: Some(9),
        seconds: Some(60),
        agents: Some(0),
        ..Budget::default()
    };
    assert_eq!(agent.budget, budget);
    assert_eq!((agent.instructions.as_str(), about.as_deref()), ("Be brief.", Some("Reads files.")));
}

#[test]
fn a_file_without_front_matter_is_all_instructions() {
    let agent = parsed("Be brief.\n---\nStay.");
    assert_eq!((agent.instructions.as_str(), agent.tools), ("Be brief.\n---\nStay.", None));
}

#[test]
fn what_is_misspelt_is_refused_with_what_was_probably_meant() {
    for (front, why, help) in [
        ("tool: [fs_read]", "unknown key `tool`", "did you mean `tools`?"),
        ("budget: {token: 5}", "unknown key `budget.token`", "did you mean `budget.tokens`?"),
        ("policy: strikt", "`strikt` is not a policy profile", "did you mean `strict`?"),
        ("temperature: 1", "unknown key `temperature`", "keys there are: `description`, `model`"),
        ("budget: {steps: 0}", "`budget.steps` is 0", "front matter may hold"),
        ("budget: {calls: -1}", "invalid value", "front matter may hold"),
        ("tools: [\"Not A Tool\"]", "names no tool", "front matter may hold"),
        ("- a list", "", "front matter may hold"),
        ("model: [", "", "front matter may hold"),
    ] {
        let (found, advice) = parse(name(), &format!("---\n{front}\n---\nx")).expect_err(front);
        assert!(found.contains(why), "{front}: {found}");
        assert!(advice.contains(help), "{front}: {advice}");
    }
    assert!(parse(name(), "---\nmodel: x\n").is_err(), "not closed");
    assert!(parse(name(), "---\nmodel: x\n---\n \n").is_err(), "no instructions");
}

#[test]
fn the_built_in_agent_is_there_until_a_file_takes_its_place() {
    let dir = tempfile::tempdir().expect("tempdir");
    let main: AgentName = MAIN.parse().expect("a name");
    assert_eq!(load(dir.path()).agents[&main].instructions, MAIN_INSTRUCTIONS);
    std::fs::create_dir(dir.path().join("agents")).expect("mkdir");
    std::fs::write(dir.path().join("agents/main.md"), "Mine.").expect("write");
    std::fs::write(dir.path().join("agents/notes.txt"), "---").expect("write");
    let loaded = load(dir.path());
    assert_eq!((loaded.agents.len(), loaded.agents[&main].instructions.as_str()), (1, "Mine."));
    std::fs::write(dir.path().join("agents/main.md"), "---\ntool: []\n---\nMine.").expect("write");
    let loaded = load(dir.path());
    assert!(loaded.agents.is_empty(), "a broken file grants nothing, and not what the built-in agent may do");
    assert_eq!(loaded.problems.len(), 1);
}

#[test]
fn a_file_that_cannot_be_used_takes_nothing_else_down() {
    let dir = tempfile::tempdir().expect("tempdir");
    std::fs::create_dir(dir.path().join("agents")).expect("mkdir");
    std::fs::write(dir.path().join("agents/Bad Name.md"), "x").expect("write");
    std::fs::write(dir.path().join("agents/bytes.md"), b"\xff\xfe").expect("write");
    std::fs::write(dir.path().join("agents/good.md"), "Help.").expect("write");
    let loaded = load(dir.path());
    let files: Vec<_> = loaded.problems.iter().map(|problem| problem.file.as_str()).collect();
    assert_eq!(files, ["Bad Name.md", "bytes.md"]);
    let names: Vec<_> = loaded.agents.keys().map(AgentName::as_str).collect();
    assert_eq!(names, ["good", "main"]);
    let fault = loaded.sound().expect_err("a problem");
    assert_eq!(fault.code, Code::AGENT_INVALID);
    assert!(fault.message.contains("Bad Name.md"), "{fault}");
}

#[test]
fn agents_that_may_begin_others_are_told_of_those_that_say_what_they_do() {
    let dir = tempfile::tempdir().expect("tempdir");
    std::fs::create_dir(dir.path().join("agents")).expect("mkdir");
    for (file, text) in
        [("reviewer.md", "---\ndescription: Reviews code.\ntools: [fs_*]\n---\nReview."), ("quiet.md", "Say nothing.")]
    {
        std::fs::write(dir.path().join("agents").join(file), text).expect("write");
    }
    let mut loaded = load(dir.path());
    loaded.tell();
    let told = |name: &str| loaded.agents[&name.parse::<AgentName>().expect("a name")].instructions.clone();
    assert!(told("main").ends_with("`agent_spawn`:\n- reviewer: Reviews code."), "{}", told("main"));
    assert_eq!(told("reviewer"), "Review.", "it may begin none");
}
