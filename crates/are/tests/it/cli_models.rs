//! Providers of both kinds and models behind one another, through the built program.

use are_testkit::provider::{Message, MockProvider, Reply};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::cli_stage::Stage;

const KEY: &str = "sk-ant-stage-secret";

/// A machine on which Anthropic's key is the only one.
async fn anthropic() -> Stage {
    let mut stage = Stage::new().await;
    let address = stage.provider().root_url();
    stage.unset("OPENAI_API_KEY").unset("OPENAI_BASE_URL");
    stage.set("ANTHROPIC_API_KEY", KEY).set("ANTHROPIC_BASE_URL", &address);
    stage
}

/// Follows a session until its turn has ended.
async fn until_ended(stage: &Stage, key: &str) {
    let mut follow = stage.command(&["session", "events", "--follow", "--json", key]).spawn().expect("it starts");
    let mut lines = BufReader::new(follow.stdout.take().expect("a pipe")).lines();
    while let Some(line) = lines.next_line().await.expect("readable") {
        if line.contains("\"turn_completed\"") {
            return;
        }
    }
    panic!("the events ended before the turn");
}

fn of_type<'a>(lines: &'a [Value], wanted: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["type"] == wanted).collect()
}

/// Every block of every message, without the marks, which move.
fn blocks(request: &Value) -> Vec<Value> {
    let messages = request["messages"].as_array().expect("messages").iter();
    let mut blocks: Vec<Value> = messages.flat_map(|message| message["content"].as_array().unwrap().clone()).collect();
    for block in &mut blocks {
        block.as_object_mut().unwrap().remove("cache_control");
    }
    blocks
}

#[tokio::test]
async fn a_loop_of_tools_goes_on_after_a_kill_with_what_the_model_had_signed() {
    let stage = anthropic().await;
    stage.write("project/notes.txt", "apples 12\nbread 30\n");
    let asks = Message::new()
        .thinking("The user wants a sum. 😀", "c2lnbmVk+/==")
        .text(["I ", "look."])
        .call("fs_read", &json!({ "path": "notes.txt" }));
    stage.provider().script([asks.reply(), Reply::silence()]);
    let mut run = stage.command(&["run", "Read notes.txt and tell me the total"]).spawn().expect("the program starts");
    stage.provider().arrived(2).await;
    run.kill().await.expect("it can be killed");

    stage.provider().script([Message::new().thinking("12 + 30", "bW9yZQ==").text(["The total is 42."]).reply()]);
    let serving = stage.serve(&[]).await;
    stage.provider().arrived(3).await;
    let key = stage.latest().await;
    until_ended(&stage, &key).await;
    let requests = stage.provider().requests();
    let signed = json!({ "type": "thinking", "thinking": "The user wants a sum. 😀", "signature": "c2lnbmVk+/==" });
    for request in &requests[1..] {
        let blocks = blocks(request);
        assert_eq!(blocks[1..3], [signed.clone(), json!({ "type": "text", "text": "I look." })]);
        assert_eq!((&blocks[3]["type"], &blocks[4]["type"]), (&json!("tool_use"), &json!("tool_result")));
        assert!(blocks[4]["content"].to_string().contains("apples 12"));
    }
    assert_eq!(requests[1]["messages"], requests[2]["messages"], "the restart asks the very same");

    // A later turn begins with exactly what the earlier one ended with.
    stage.provider().script([Message::new().text(["You are welcome."]).reply()]);
    stage.run(&["run", "--session", &key, "thanks"]).await.exits(0);
    let requests = stage.provider().requests();
    let (earlier, later) = (blocks(&requests[2]), blocks(&requests[3]));
    assert_eq!(earlier[..], later[..earlier.len()]);
    assert_eq!(later[earlier.len()]["signature"], "bW9yZQ==");
    for part in ["tools", "system"] {
        assert_eq!(requests[0][part], requests[3][part], "{part}");
    }
    let replayed = stage.run(&["session", "replay", "--json", &key]).await.exits(0).json();
    assert_eq!(replayed["difference"], Value::Null, "{replayed}");
    let shown = stage.run(&["config", "show"]).await.exits(0).stdout;
    assert!(shown.contains("anthropic_api_key") && !shown.contains(KEY), "{shown}");
    serving.terminate().await;
}

#[tokio::test]
async fn anthropics_token_goes_as_bearer_and_the_key_beside_it_goes_nowhere() {
    let mut stage = anthropic().await;
    stage.set("ANTHROPIC_AUTH_TOKEN", "sk-ant-stage-token");
    stage.provider().script([Message::new().text(["ok"]).reply()]);
    let ran = stage.run(&["run", "hello"]).await.exits(0);
    let said =
        "the key from environment ANTHROPIC_API_KEY is not sent: the token from environment ANTHROPIC_AUTH_TOKEN is";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    let recorded = stage.provider().recorded().remove(0);
    assert_eq!(recorded.headers["authorization"], "Bearer sk-ant-stage-token");
    assert!(!recorded.headers.contains_key("x-api-key"));
    let shown = stage.run(&["config", "show"]).await.exits(0).stdout;
    assert!(shown.contains("anthropic_auth_token") && !shown.contains("sk-ant"), "{shown}");
}

#[tokio::test]
async fn tokens_read_from_the_providers_cache_are_in_the_usage_of_both_kinds() {
    let stage = anthropic().await;
    stage.provider().script([Message::new().text(["ok"]).reply()]);
    let lines = stage.run(&["run", "--json", "hello"]).await.exits(0).lines();
    let usage = json!({ "input_tokens": 327, "cached_tokens": 300, "cache_written_tokens": 20, "output_tokens": 12 });
    assert_eq!(of_type(&lines, "model_completed")[0]["usage"], usage);

    let stage = Stage::new().await;
    stage.provider().script([Reply::text(["ok"])]);
    let lines = stage.run(&["run", "--json", "hello"]).await.exits(0).lines();
    let usage = json!({ "input_tokens": 7, "cached_tokens": 3, "output_tokens": 1 });
    assert_eq!(of_type(&lines, "model_completed")[0]["usage"], usage);
}

#[tokio::test]
async fn what_was_sent_to_openai_before_is_sent_again_byte_for_byte() {
    let stage = Stage::new().await;
    stage.write("project/notes.txt", "apples 12\n");
    let call = || Reply::call("fs_read", &json!({ "path": "notes.txt" }));
    stage.provider().script([call(), call(), Reply::text(["12"]), Reply::text(["yes"])]);
    stage.run(&["run", "how many?"]).await.exits(0);
    stage.run(&["run", "--continue", "sure?"]).await.exits(0);
    let recorded = stage.provider().recorded();
    assert_eq!(recorded.len(), 4);
    let beginning = |at: usize| {
        let text = std::str::from_utf8(&recorded[at].bytes).unwrap();
        let end = text.find("],\"tools\":").expect("the tools follow the messages");
        text.split_at(end)
    };
    for at in 1..recorded.len() {
        let ((earlier, after), (later, after_later)) = (beginning(at - 1), beginning(at));
        assert!(later.starts_with(earlier), "{earlier}\n{later}");
        assert_eq!(after, after_later, "tools and wishes");
    }
}

/// A first provider that speaks OpenAI's way, and a second that speaks Anthropic's.
async fn two() -> (Stage, MockProvider) {
    let mut stage = Stage::new().await;
    let second = MockProvider::start().await;
    let file = format!(
        "model = [\"first:gpt\", \"second:claude-opus-5-5\"]\n\
         [providers.first]\nkind = \"openai\"\nbase_url = \"{}\"\nkey_env = \"FIRST_KEY\"\n\
         [providers.second]\nkind = \"anthropic\"\nbase_url = \"{}\"\nkey_env = \"SECOND_KEY\"\n",
        stage.provider().base_url(),
        second.root_url()
    );
    stage.write(".config/are/are.toml", &file);
    stage.unset("OPENAI_API_KEY").unset("OPENAI_BASE_URL").set("FIRST_KEY", "k1").set("SECOND_KEY", "k2");
    (stage, second)
}

#[tokio::test]
async fn when_the_first_provider_dies_in_the_middle_the_second_answers_and_the_text_is_its_own() {
    let (stage, second) = two().await;
    stage.provider().script([Reply::half_stream(["Half ", "an "])]);
    second.script([Message::new().text(["The ", "whole answer."]).reply()]);
    let lines = stage.run(&["run", "--json", "hello"]).await.exits(0).lines();
    let failed = of_type(&lines, "model_failed");
    assert_eq!(
        (failed.len(), &failed[0]["model"], &failed[0]["error"]["code"]),
        (1, &json!("first:gpt"), &json!("ARE-0405"))
    );
    assert_eq!(of_type(&lines, "model_restarted")[0]["keep_bytes"], 0);
    let asked: Vec<&str> =
        of_type(&lines, "model_requested").iter().map(|line| line["model"].as_str().expect("a name")).collect();
    assert_eq!(asked, ["first:gpt", "second:claude-opus-5-5"]);
    let ran = stage.run(&["session", "events", "--json", &stage.latest().await]).await.exits(0);
    assert!(ran.stdout.contains("whole answer."));
    let replayed = stage.run(&["session", "replay", "--json", &stage.latest().await]).await.exits(0).json();
    assert_eq!(replayed["difference"], Value::Null, "{replayed}");

    // In words: the reader is told what happened, and by whom.
    stage.provider().script([Reply::status(401)]);
    second.script([Message::new().text(["Hi."]).reply()]);
    let ran = stage.run(&["run", "hello"]).await.exits(0);
    assert_eq!(ran.stdout, "Hi.\n");
    assert!(ran.stderr.contains("first:gpt could not answer: provider `first` refused the key"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("k1"));
}

#[tokio::test]
async fn what_one_provider_signed_is_never_sent_to_another() {
    let (stage, second) = two().await;
    stage.write("project/notes.txt", "apples 12\n");
    stage.provider().script([Reply::status(401), Reply::text(["mine"])]);
    let asks = Message::new().thinking("hm", "c2lnbmVk").call("fs_read", &json!({ "path": "notes.txt" }));
    second.script([asks.reply(), Message::new().text(["12"]).reply()]);
    stage.run(&["run", "how many?"]).await.exits(0);
    assert!(second.requests()[1].to_string().contains("c2lnbmVk"));
    // The next turn begins with the first of the list again.
    stage.run(&["run", "--continue", "sure?"]).await.exits(0);
    let sent = stage.provider().requests()[1].to_string();
    assert!(sent.contains("apples 12") && !sent.contains("c2lnbmVk"), "{sent}");
}

#[tokio::test]
async fn when_nobody_answers_the_last_ones_reason_is_told() {
    let (stage, second) = two().await;
    stage.provider().script([Reply::status(401)]);
    second.script([Reply::status(403)]);
    let ran = stage.run(&["run", "hello"]).await.exits(1);
    assert!(ran.stderr.contains("error[ARE-0401]") && ran.stderr.contains("`second`"), "{}", ran.stderr);
}

#[tokio::test]
async fn two_keys_and_no_model_are_a_question_and_not_a_guess() {
    let mut stage = Stage::new().await;
    stage.set("ANTHROPIC_API_KEY", KEY);
    let ran = stage.run(&["run", "hello"]).await.exits(3);
    assert!(ran.stderr.contains("`anthropic`, `openai`"), "{}", ran.stderr);
    stage.set("ARE_MODEL", "openai:gpt-4.1");
    stage.run(&["run", "hello"]).await.exits(0);
}

#[tokio::test]
async fn an_answer_is_given_again_only_where_that_is_switched_on() {
    let mut stage = Stage::new().await;
    let cached = |lines: Vec<Value>| of_type(&lines, "model_completed")[0]["cached"].clone();
    for (switch, expected, requests) in [("false", Value::Null, 2), ("true", json!(true), 3)] {
        stage.set("ARE_RESPONSE_CACHE", switch);
        let serving = stage.serve(&[]).await;
        let first = stage.run(&["run", "--json", "hello"]).await.exits(0).lines();
        let second = stage.run(&["run", "--json", "hello"]).await.exits(0).lines();
        assert_eq!((cached(first), cached(second)), (Value::Null, expected), "{switch}");
        assert_eq!(stage.provider().requests().len(), requests);
        serving.terminate().await;
    }
}
