use super::*;

fn fault(text: &str) -> Fault {
    parse(Path::new("/etc/are.toml"), text).expect_err("the file is invalid")
}

#[test]
fn scalars_and_lists_become_text() {
    let layer = parse(Path::new("f"), "zero_trust = false\nhosts = [\"a\", \"b\"]\ntz = \"UTC\"").expect("valid");
    assert_eq!(layer.values["zero_trust"], "false");
    assert_eq!(layer.values["hosts"], "a,b");
    assert_eq!(layer.values["tz"], "UTC");
}

#[test]
fn an_unknown_key_is_an_error_with_a_suggestion() {
    let fault = fault("modle = \"x\"");
    assert_eq!(fault.code, Code::CONFIG_UNKNOWN_KEY);
    assert_eq!(fault.message, "unknown key `modle` in `/etc/are.toml`");
    assert_eq!(fault.help, "did you mean `model`?");
}

#[test]
fn an_unknown_key_of_a_provider_is_an_error_with_a_suggestion() {
    let fault = fault("[providers.x]\nkind = \"openai\"\nbase_ulr = \"https://x/v1\"");
    assert_eq!(fault.message, "unknown key `providers.x.base_ulr` in `/etc/are.toml`");
    assert_eq!(fault.help, "did you mean `base_url`?");
}

#[test]
fn a_secret_in_the_file_is_refused_with_its_variable() {
    let fault = fault("admin_token = \"x\"");
    assert_eq!(fault.code, Code::CONFIG_UNKNOWN_KEY);
    assert_eq!(fault.help, "set the environment variable `ARE_ADMIN_TOKEN` instead");
}

#[test]
fn broken_syntax_names_the_line() {
    let fault = fault("tz = \"UTC\"\nmodel = ");
    assert_eq!(fault.code, Code::CONFIG_UNREADABLE);
    assert!(fault.message.contains("in line 2"), "{fault}");
}

#[test]
fn a_table_where_a_value_belongs_is_an_error() {
    assert_eq!(fault("[model]\nx = 1").code, Code::CONFIG_INVALID);
    assert_eq!(fault("providers = 1").code, Code::CONFIG_INVALID);
    assert_eq!(fault("hosts = [1]").code, Code::CONFIG_INVALID);
}
