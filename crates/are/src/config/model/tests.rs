use std::collections::BTreeMap;

use super::*;
use crate::config::Flags;

/// Chooses in a home directory of its own, where `installed` says whether `small` is there.
fn choose_with(variables: &[(&str, &str)], file: &str, ollama: Option<&str>) -> Result<Choice, Fault> {
    let home = tempfile::tempdir().expect("tempdir");
    std::fs::write(home.path().join("are.toml"), file).expect("write");
    let mut env: BTreeMap<String, String> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    env.insert("HOME".to_owned(), home.path().display().to_string());
    let surroundings = Surroundings { env, directory: home.path().to_owned() };
    let flags = Flags { config: Some("are.toml".into()), ..Flags::default() };
    let config = Config::load(&surroundings, &flags)?;
    let found = ollama.map(str::to_owned);
    futures_util::future::FutureExt::now_or_never(config.choose_model(|| async { found })).expect("nothing to wait for")
}

fn model(variables: &[(&str, &str)], file: &str) -> String {
    choose_with(variables, file, None).unwrap_or_else(|fault| panic!("{fault}")).model
}

fn refusal(variables: &[(&str, &str)], file: &str) -> Fault {
    match choose_with(variables, file, None) {
        Err(fault) => fault,
        Ok(choice) => panic!("{} is chosen", choice.model),
    }
}

const TWO: &str = "[providers.a]\nkind = \"openai\"\nbase_url = \"https://a.example/v1\"\nkey_env = \"A_KEY\"\n\
                   [providers.b]\nkind = \"openai\"\nbase_url = \"https://b.example/v1\"\nkey_env = \"B_KEY\"\n";

#[test]
fn the_one_provider_whose_key_is_set_is_used() {
    assert_eq!(model(&[("OPENAI_API_KEY", "k")], ""), "openai:gpt-4.1-mini");
    assert_eq!(model(&[("A_KEY", "k")], &format!("model = \"a:m\"\n{TWO}")), "a:m");
}

#[test]
fn several_keys_are_an_error_that_names_the_providers() {
    let fault = refusal(&[("A_KEY", "k"), ("B_KEY", "k")], TWO);
    assert_eq!(fault.code, Code::MODEL_AMBIGUOUS);
    assert_eq!(fault.message, "several providers have a key: `a`, `b`");
    assert_eq!(model(&[("A_KEY", "k"), ("B_KEY", "k"), ("ARE_MODEL", "b:x:y")], TWO), "b:x:y");
}

#[test]
fn a_bare_name_is_the_one_providers_model_even_with_colons() {
    assert_eq!(model(&[("OPENAI_API_KEY", "k"), ("ARE_MODEL", "qwen3:8b")], ""), "openai:qwen3:8b");
    assert_eq!(refusal(&[("A_KEY", "k"), ("B_KEY", "k"), ("ARE_MODEL", "m")], TWO).code, Code::CONFIG_INVALID);
}

#[test]
fn who_asks_for_a_local_model_gets_no_remote_provider() {
    let choice = choose_with(&[("OPENAI_API_KEY", "k"), ("ARE_LOCAL_LLM", "true")], "", None);
    let choice = choice.unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!((choice.model.as_str(), choice.providers.len()), ("local:small", 0));
}

#[test]
fn a_local_model_and_a_remote_one_exclude_each_other() {
    let fault = refusal(&[("OPENAI_API_KEY", "k"), ("ARE_LOCAL_LLM", "small"), ("ARE_MODEL", "openai:x")], "");
    assert_eq!(fault.code, Code::CONFIG_CONFLICT);
    assert_eq!(model(&[("ARE_LOCAL_LLM", "small"), ("ARE_MODEL", "local:small")], ""), "local:small");
}

#[test]
fn an_unknown_local_model_is_an_error_with_the_list_and_never_another_model() {
    let fault = refusal(&[("ARE_LOCAL_LLM", "smal")], "");
    assert_eq!(fault.code, Code::LOCAL_MODEL_UNKNOWN);
    assert!(fault.help.contains("`small`") && fault.help.contains("`medium`"), "{fault}");
    assert_eq!(refusal(&[("ARE_MODEL", "local:smal")], "").code, Code::LOCAL_MODEL_UNKNOWN);
}

#[test]
fn without_anything_said_an_ollama_is_used_and_without_one_the_three_ways_are_named() {
    let choice = choose_with(&[], "", Some("qwen3")).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(choice.model, "ollama:qwen3");
    let fault = refusal(&[], "");
    assert_eq!(fault.code, Code::MODEL_MISSING);
    assert!(
        fault.help.contains("OPENAI_API_KEY") && fault.help.contains("Ollama") && fault.help.contains("are model pull")
    );
}

#[test]
fn a_provider_without_its_key_is_named_with_the_variable() {
    let fault = refusal(&[("ARE_MODEL", "openai:x"), ("OPENAI_BASE_URL", "https://api.openai.com/v1")], "");
    assert_eq!(fault.help, "set `OPENAI_API_KEY` or `OPENAI_API_KEY_FILE`");
    assert_eq!(model(&[("ARE_MODEL", "openai:x"), ("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")], ""), "openai:x");
}

#[test]
fn a_provider_of_another_kind_or_without_an_address_is_refused() {
    for table in
        ["kind = \"x\"\nbase_url = \"https://a/v1\"", "kind = \"openai\"\nbase_url = \"a\"", "kind = \"openai\""]
    {
        assert_eq!(refusal(&[], &format!("[providers.a]\n{table}")).code, Code::CONFIG_INVALID, "{table}");
    }
}

#[test]
fn a_gguf_path_is_a_local_model_named_after_the_file() {
    assert_eq!(model(&[("ARE_LOCAL_LLM", "/m/tiny.gguf")], ""), "local:tiny");
    assert_eq!(model(&[("ARE_LOCAL_LLM", "tiny.gguf")], ""), "local:tiny");
}
