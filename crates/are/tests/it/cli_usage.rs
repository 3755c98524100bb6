//! `are usage`, and limits as they are configured.

use are_testkit::provider::Reply;
use serde_json::json;

use crate::cli_stage::Stage;

#[tokio::test]
async fn what_was_used_is_told_by_model_and_effect_with_what_it_cost() {
    let stage = Stage::new().await;
    let prices =
        "[prices.openai]\ninput = \"2.00\"\noutput = 8\n[limits.account]\nmoney_per_month = 10\ncalls_per_day = 9";
    stage.write(".config/are/are.toml", prices);
    assert_eq!(stage.run(&["usage"]).await.exits(0).stdout.lines().next(), Some("nothing was used"));
    stage.write("project/notes.txt", "total 42\n");
    stage.provider().script([Reply::call("fs_read", &json!({"path": "notes.txt"})), Reply::text(["42"])]);
    stage.run(&["run", "read it"]).await.exits(0);
    let told = stage.run(&["usage", "--json"]).await.exits(0).json();
    let model = &told["accounts"][0]["models"][0];
    assert_eq!((&told["accounts"][0]["account"], &model["model"]), (&json!("admin"), &json!("openai:gpt-4.1-mini")));
    let number = |key: &str| model[key].as_u64().expect("a number");
    assert_eq!((number("requests"), number("unpriced_requests")), (2, 0));
    assert_eq!(number("tokens"), number("input_tokens") + number("output_tokens"), "settled");
    let millionths = number("input_tokens") * 2 + number("output_tokens") * 8;
    assert_eq!(model["money"].as_str().expect("money").parse::<f64>().expect("an amount"), millionths as f64 / 1e6);
    let call = &told["accounts"][0]["calls"][0];
    assert_eq!((&call["effect"], &call["calls"]), (&json!("none"), &json!(1)));
    assert!(call["bytes"].as_u64().expect("bytes") > 8, "{call}");
    let limit = told["limits"].as_array().expect("limits").iter().find(|one| one["limit"] == "account.calls_per_day");
    assert_eq!(limit.map(|one| (&one["used"], &one["max"])), Some((&json!("1"), &json!("9"))));

    let shown = stage.run(&["usage", "--since", "1h", "--account", "admin"]).await.exits(0).stdout;
    assert!(shown.contains("openai:gpt-4.1-mini") && shown.contains("account.money_per_month"), "{shown}");
    let session = stage.latest().await;
    let of_session = stage.run(&["usage", "--session", &session, "--json"]).await.exits(0).json();
    assert_eq!(of_session["accounts"], told["accounts"]);
    let future = stage.run(&["usage", "--since", "2100-01-01", "--json"]).await.exits(0).json();
    assert_eq!(future["accounts"], json!([]));
    for args in [&["usage", "--since", "soon"][..], &["usage", "--session", "x"], &["usage", "--account", "Al ice"]] {
        stage.run(args).await.exits(1);
    }
}

#[tokio::test]
async fn a_model_without_a_price_is_told_as_unknown_and_not_as_nothing() {
    let stage = Stage::new().await;
    stage.provider().script([Reply::text(["hello"])]);
    stage.run(&["run", "hello"]).await.exits(0);
    let shown = stage.run(&["usage"]).await.exits(0).stdout;
    assert!(shown.contains("no price"), "{shown}");
}

#[tokio::test]
async fn limits_are_shown_with_where_they_come_from_and_mistakes_are_refused() {
    let stage = Stage::new().await;
    stage.write(".config/are/are.toml", "[limits.account]\ntokens_per_day = 1_000\n");
    let shown = stage.run(&["config", "show", "--origin", "--json"]).await.exits(0).json();
    assert_eq!(shown["limits.account.tokens_per_day"]["value"], "1000");
    assert!(shown["limits.account.tokens_per_day"]["origin"].as_str().expect("an origin").ends_with("are.toml"));
    assert_eq!(shown["limits.effect.send.calls_per_hour"], json!({"value": "200", "origin": "default"}));
    for (text, code, help) in [
        ("[limits.account]\ntoken_per_day = 1", "ARE-0001", "did you mean `tokens_per_day`?"),
        ("[limit]\nx = 1", "ARE-0001", "did you mean `limits`?"),
        ("[limits.account]\ntokens_per_day = 0", "ARE-0002", "are config check"),
        ("[prices.openai]\ninput = 1", "ARE-0002", "are config check"),
    ] {
        stage.write(".config/are/are.toml", text);
        let ran = stage.run(&["config", "check"]).await.exits(3);
        assert!(ran.stderr.contains(code) && ran.stderr.contains(help), "{}", ran.stderr);
    }
    stage.write(".config/are/are.toml", "[limits.session]\nmoney = 1\n");
    let ran = stage.run(&["run", "hello"]).await.exits(3);
    assert!(
        ran.stderr.contains("ARE-0715") && ran.stderr.contains("[prices.\"openai:gpt-4.1-mini\"]"),
        "{}",
        ran.stderr
    );
    assert!(stage.provider().requests().is_empty());
}

#[tokio::test]
async fn processor_time_of_commands_is_counted_and_stops_the_next_call() {
    let mut stage = Stage::new().await;
    stage.set("ARE_POLICY", "observe");
    stage.write(".config/are/are.toml", "[limits.account]\ncpu_seconds_per_month = 1\n");
    let burn = json!({"shell": "i=0; while [ $i -lt 4000000 ]; do i=$((i+1)); done", "timeout_ms": 1500});
    stage.provider().script([
        Reply::call("process_run", &burn),
        Reply::call("process_run", &json!({"argv": ["true"]})),
        Reply::text(["done"]),
    ]);
    let events = stage.run(&["run", "--json", "burn"]).await.exits(0).lines();
    let failed: Vec<_> = events.iter().filter(|event| event["type"] == "tool_failed").collect();
    let told = stage.run(&["usage", "--json"]).await.exits(0).json();
    assert_eq!(failed.len(), 1, "{told} {events:?}");
    assert_eq!(failed[0]["error"]["code"], "ARE-0713");
    let reached = events.iter().find(|event| event["type"] == "limit_reached").expect("a record");
    assert_eq!(reached["limit"], "account.cpu_seconds_per_month");
}

#[tokio::test]
async fn what_a_process_works_between_calls_counts_as_the_next_ones() {
    let mut stage = Stage::new().await;
    stage.set("ARE_POLICY", "observe");
    stage.write(".config/are/are.toml", "[limits.account]\ncpu_seconds_per_month = 1\n");
    stage.provider().default_reply(|request| {
        let last = request["messages"].as_array().and_then(|messages| messages.last()).cloned().unwrap_or_default();
        match last["content"].as_str().filter(|_| last["role"] == "tool") {
            None => Reply::call("process_start", &json!({"shell": "while :; do :; done"})),
            Some(result) if result.contains("ARE-0713") => Reply::text(["done"]),
            Some(_) => Reply::call("process_read", &json!({"id": 1, "after": 1_000, "wait_ms": 400})),
        }
    });
    let events = stage.run(&["run", "--json", "burn"]).await.exits(0).lines();
    let reached = events.iter().find(|event| event["type"] == "limit_reached").expect("a record");
    assert_eq!(reached["limit"], "account.cpu_seconds_per_month");
    let told = stage.run(&["usage", "--json"]).await.exits(0).json();
    let cpu_ms: u64 =
        told["accounts"][0]["calls"].as_array().into_iter().flatten().filter_map(|row| row["cpu_ms"].as_u64()).sum();
    assert!(cpu_ms >= 1_000, "{told}");
}
