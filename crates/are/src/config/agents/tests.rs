use super::*;

fn name() -> AgentName {
    "helper".parse().expect("a name")
}

#[test]
fn front_matter_names_model_and_tools_and_the_body_instructs() {
    let agent = parse(name(), "---\nmodel: local:small\ntools: [fs_read, fs_list]\n---\n\nBe brief.\n").expect("valid");
    assert_eq!(agent.model.as_deref(), Some("local:small"));
    assert_eq!(agent.tools.map(|tools| tools.len()), Some(2));
    assert_eq!(agent.instructions, "Be brief.");
}

#[test]
fn a_file_without_front_matter_is_all_instructions() {
    let agent = parse(name(), "Be brief.\n---\nStay.").expect("valid");
    assert_eq!((agent.instructions.as_str(), agent.tools), ("Be brief.\n---\nStay.", None));
}

#[test]
fn a_misspelt_key_is_refused_and_grants_nothing() {
    let why = parse(name(), "---\ntool: [fs_read]\n---\nx").expect_err("refused");
    assert!(why.contains("tool"), "{why}");
}

#[test]
fn open_front_matter_bad_names_and_empty_bodies_are_refused() {
    assert!(parse(name(), "---\nmodel: x\n").is_err());
    assert!(parse(name(), "---\ntools: [\"Not A Tool\"]\n---\nx").is_err());
    assert!(parse(name(), "---\nmodel: x\n---\n \n").is_err());
    assert!(parse(name(), "---\n- a list\n---\nx").is_err());
}

#[test]
fn the_built_in_agent_is_there_until_a_file_takes_its_place() {
    let dir = tempfile::tempdir().expect("tempdir");
    let main: AgentName = MAIN.parse().expect("a name");
    assert_eq!(load(dir.path()).expect("loads")[&main].instructions, MAIN_INSTRUCTIONS);
    std::fs::create_dir(dir.path().join("agents")).expect("mkdir");
    std::fs::write(dir.path().join("agents/main.md"), "Mine.").expect("write");
    std::fs::write(dir.path().join("agents/notes.txt"), "---").expect("write");
    let agents = load(dir.path()).expect("loads");
    assert_eq!((agents.len(), agents[&main].instructions.as_str()), (1, "Mine."));
}

#[test]
fn a_file_whose_name_is_no_agents_is_named_in_the_error() {
    let dir = tempfile::tempdir().expect("tempdir");
    std::fs::create_dir(dir.path().join("agents")).expect("mkdir");
    std::fs::write(dir.path().join("agents/Bad Name.md"), "x").expect("write");
    let fault = load(dir.path()).expect_err("refused");
    assert_eq!(fault.code, Code::AGENT_INVALID);
    assert!(fault.message.contains("Bad Name.md"), "{fault}");
}
