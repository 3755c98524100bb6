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

#[test]
fn anthropics_key_alone_means_its_model_and_both_keys_are_an_error_that_names_them() {
    let choice = choose_with(&[("ANTHROPIC_API_KEY", "k")], "", None).unwrap_or_else(|fault| panic!("{fault}"));
    let provider = &choice.providers[0];
    assert_eq!(choice.model, "anthropic:claude-sonnet-5-5");
    assert_eq!((provider.kind, provider.base_url.as_str()), (Kind::Anthropic, "https://api.anthropic.com"));
    let fault = refusal(&[("ANTHROPIC_API_KEY", "k"), ("OPENAI_API_KEY", "k")], "");
    assert_eq!((fault.code, fault.message.contains("`anthropic`, `openai`")), (Code::MODEL_AMBIGUOUS, true));
    let fault = refusal(&[("ARE_MODEL", "anthropic:x"), ("ANTHROPIC_BASE_URL", "https://api.anthropic.com")], "");
    assert_eq!(fault.help, "set `ANTHROPIC_API_KEY` or `ANTHROPIC_API_KEY_FILE`");
}

#[test]
fn anthropics_token_is_sent_in_the_place_of_its_key() {
    let chosen = |variables: &[(&str, &str)]| {
        let choice = choose_with(variables, "", None).unwrap_or_else(|fault| panic!("{fault}"));
        let provider = choice.providers.into_iter().next().expect("a provider");
        (choice.model, provider.key.map(|key| key.value.expose().to_owned()), provider.key_env, provider.is_bearer)
    };
    let token = |name: &str, key: &str, is_bearer| {
        ("anthropic:claude-sonnet-5-5".to_owned(), Some(key.to_owned()), Some(name.to_owned()), is_bearer)
    };
    assert_eq!(chosen(&[("ANTHROPIC_API_KEY", "k")]), token("ANTHROPIC_API_KEY", "k", false));
    assert_eq!(chosen(&[("ANTHROPIC_AUTH_TOKEN", "t")]), token("ANTHROPIC_AUTH_TOKEN", "t", true));
    let both = [("ANTHROPIC_AUTH_TOKEN", "t"), ("ANTHROPIC_API_KEY", "k")];
    assert_eq!(chosen(&both), token("ANTHROPIC_AUTH_TOKEN", "t", true));
    let twice = [("ANTHROPIC_AUTH_TOKEN", "t"), ("ANTHROPIC_AUTH_TOKEN_FILE", "there")];
    assert_eq!(refusal(&twice, "").code, Code::CONFIG_CONFLICT);
}

fn others(variables: &[(&str, &str)], file: &str) -> (String, Vec<String>, Vec<String>) {
    let choice = choose_with(variables, file, None).unwrap_or_else(|fault| panic!("{fault}"));
    (choice.model, choice.others, choice.providers.into_iter().map(|one| one.name).collect())
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn further_models_stand_behind_the_first_in_their_order() {
    let file = format!("model = [\"b:y\", \"a:x:1\", \"b:z\"]\n{TWO}");
    assert_eq!(others(&[], &file), ("b:y".to_owned(), texts(&["a:x:1", "b:z"]), texts(&["a", "b"])));
    let by_variable = others(&[("ARE_MODEL", "a:x, b:y")], TWO);
    assert_eq!(by_variable, ("a:x".to_owned(), texts(&["b:y"]), texts(&["a", "b"])));
}

#[test]
fn behind_a_local_model_stand_only_the_providers_that_are_named() {
    let keys = [("A_KEY", "k"), ("B_KEY", "k")];
    let file = format!("model = [\"local:small\", \"b:y\"]\n{TWO}");
    let expected = ("local:small".to_owned(), texts(&["b:y"]), texts(&["b"]));
    assert_eq!(others(&keys, &file), expected);
    assert_eq!(others(&[keys[0], keys[1], ("ARE_LOCAL_LLM", "small")], &file), expected);
    let behind = format!("model = [\"b:y\", \"local:small\"]\n{TWO}");
    assert_eq!(others(&keys, &behind), ("b:y".to_owned(), texts(&["local:small"]), texts(&["b"])));
    // What the list does not begin with is not what was asked for.
    assert_eq!(
        refusal(&[("ARE_LOCAL_LLM", "small"), ("ARE_MODEL", "b:y,local:small")], TWO).code,
        Code::CONFIG_CONFLICT
    );
}

#[test]
fn a_list_that_cannot_be_meant_is_refused() {
    for (model, what) in [
        ("a:x,a:x", "a model twice"),
        ("a:x,c:y", "an unknown provider"),
        (",", "none"),
        ("a:1,a:2,a:3,a:4,a:5,a:6,a:7,a:8,a:9", "too many"),
    ] {
        let code = refusal(&[("ARE_MODEL", model), ("A_KEY", "k"), ("B_KEY", "k")], TWO).code;
        assert_eq!(code, Code::CONFIG_INVALID, "{what}");
    }
}

fn locals(choice: &Choice) -> Vec<String> {
    choice.locals.iter().map(LocalModel::name).collect()
}

#[test]
fn local_models_stand_behind_one_another_and_each_is_loaded_when_it_is_asked() {
    let choice =
        choose_with(&[("ARE_MODEL", "local:small,local:medium")], "", None).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(
        (choice.others.clone(), locals(&choice)),
        (texts(&["local:medium"]), texts(&["local:small", "local:medium"]))
    );
}

#[test]
fn tiers_are_called_besides_and_are_no_fallbacks() {
    let keys = [("A_KEY", "k"), ("B_KEY", "k")];
    let file = format!("model = \"a:x\"\ntiers = [\"small\", \"b:y\", \"a:z\"]\n{TWO}");
    let choice = choose_with(&keys, &file, None).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!((choice.model.as_str(), choice.others.len()), ("a:x", 0));
    assert_eq!(
        (choice.tiers.clone(), locals(&choice)),
        (texts(&["local:small", "b:y", "a:z"]), texts(&["local:small"]))
    );
    let local = [("ARE_MODEL", "local:small"), ("ARE_TIERS", "local:small,local:medium")];
    let choice = choose_with(&[local[0], local[1], keys[0]], TWO, None).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!((locals(&choice), choice.providers.len()), (texts(&["local:small", "local:medium"]), 0));
}

#[test]
fn tiers_take_nothing_off_the_machine_that_local_llm_keeps_there() {
    let keys = [("A_KEY", "k"), ("B_KEY", "k"), ("ARE_LOCAL_LLM", "small")];
    let with = |more: &[(&'static str, &'static str)]| [&keys[..], more].concat();
    let fault = refusal(&with(&[("ARE_TIERS", "local:small,b:y")]), TWO);
    assert_eq!(fault.code, Code::CONFIG_CONFLICT);
    assert!(fault.message.contains("`b:y`"), "{fault}");
    // The list of models has said that it may.
    let both = with(&[("ARE_TIERS", "local:small,b:y"), ("ARE_MODEL", "local:small,b:z")]);
    let choice = choose_with(&both, TWO, None).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(choice.providers.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["b"]);
}

#[test]
fn tiers_that_cannot_be_meant_are_refused() {
    for (tiers, code) in [
        ("a:x", Code::CONFIG_INVALID),
        ("a:x,a:x", Code::CONFIG_INVALID),
        ("a:1,a:2,a:3,a:4,a:5", Code::CONFIG_INVALID),
        ("a:x,c:y", Code::CONFIG_INVALID),
        ("a:x,local:smal", Code::LOCAL_MODEL_UNKNOWN),
    ] {
        let variables = [("ARE_TIERS", tiers), ("ARE_MODEL", "a:x"), ("A_KEY", "k"), ("B_KEY", "k")];
        assert_eq!(refusal(&variables, TWO).code, code, "{tiers}");
    }
}
