use super::*;

fn limits(text: &str) -> Result<Limits, Fault> {
    read_limits(Path::new("/etc/are.toml"), text.parse().expect("TOML"))
}

fn prices(text: &str) -> Result<Prices, Fault> {
    read_prices(Path::new("/etc/are.toml"), text.parse().expect("TOML"))
}

#[test]
fn nothing_said_bounds_what_cannot_be_taken_back_and_nothing_else() {
    let limits = limits("").expect("valid");
    assert_eq!(limits, Limits::default());
    assert!(limits.account.is_empty() && limits.providers.is_empty() && limits.session == Budget::default());
    let bounded: Vec<&str> = limits.effects.keys().map(|effect| effect_word(*effect)).collect();
    assert_eq!(bounded, ["send", "share", "financial", "credential"]);
}

#[test]
fn what_is_said_comes_in_the_place_of_the_default_and_is_shown_as_it_is_set() {
    let read = limits(
        "loop_after = 5\nwait_seconds = 0\n[account]\nmoney_per_month = \"20.50\"\ncpu_seconds_per_hour = 90\n\
         [session]\nmoney = 1.5\ntokens = 9\n[effect.send]\ncalls_per_hour = 3\n[effect.share]\ncalls_per_hour = \"none\"\n\
         [provider.openai]\nrequests_per_minute = 60",
    )
    .expect("valid");
    let shown = shown(&read, &prices("[\"p:m\"]\ninput = 2\ncached = 0.5\noutput = \"8\"").expect("valid"));
    let expected = [
        ("limits.loop_after", "5"),
        ("limits.wait_seconds", "0"),
        ("limits.parallel_requests", "1024"),
        ("limits.parallel_calls", "256"),
        ("limits.account.cpu_seconds_per_hour", "90"),
        ("limits.account.money_per_month", "20.50"),
        ("limits.effect.send.calls_per_hour", "3"),
        ("limits.effect.financial.calls_per_hour", "20"),
        ("limits.effect.credential.calls_per_hour", "200"),
        ("limits.provider.openai.requests_per_minute", "60"),
        ("limits.session.tokens", "9"),
        ("limits.session.money", "1.50"),
        ("prices.\"p:m\"", "input 2.00, cached 0.50, output 8.00"),
    ];
    let mut shown: Vec<(&str, &str)> = shown.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut expected = expected.to_vec();
    shown.sort_unstable();
    expected.sort_unstable();
    assert_eq!(shown, expected);
}

#[test]
fn a_misspelt_limit_is_an_error_with_a_suggestion() {
    for (text, key, near) in [
        ("acount = {}", "limits.acount", "account"),
        ("[account]\ntoken_per_day = 1", "limits.account.token_per_day", "tokens_per_day"),
        ("[session]\ntoken = 1", "limits.session.token", "tokens"),
        ("[effect.finacial]\ncalls_per_hour = 1", "limits.effect.finacial", "financial"),
        ("loop_afer = 1", "limits.loop_afer", "loop_after"),
    ] {
        let fault = limits(text).expect_err(text);
        assert_eq!(fault.code, Code::CONFIG_UNKNOWN_KEY, "{text}");
        assert_eq!(fault.message, format!("unknown key `{key}` in `/etc/are.toml`"));
        assert_eq!(fault.help, format!("did you mean `{near}`?"));
    }
    assert_eq!(prices("[p]\ninputs = 1\noutput = 1").expect_err("a key").help, "did you mean `input`?");
}

#[test]
fn values_that_are_none_are_refused() {
    for text in [
        "account = 1",
        "[account]\ntokens_per_day = 0",
        "[account]\ntokens_per_day = -1",
        "[account]\ntokens_per_day = \"many\"",
        "[account]\nmoney_per_day = \"1.0000001\"",
        "[account]\nmoney_per_day = -1",
        "[session]\ntokens = 0",
        "wait_seconds = 301",
        "parallel_calls = 0",
        "loop_after = 1.5",
        "[provider]\nopenai = 1",
    ] {
        assert_eq!(limits(text).expect_err(text).code, Code::CONFIG_INVALID, "{text}");
    }
    for text in ["p = 1", "[p]\ninput = 1", "[p]\ninput = \"free\"\noutput = 1", "[p]\ninput = true\noutput = 1"] {
        assert_eq!(prices(text).expect_err(text).code, Code::CONFIG_INVALID, "{text}");
    }
}
