//! Summaries by a model that is the attacker's, against the shipped program; and the verb that asks for them.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use are_testkit::provider::Reply;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::attacks_flow::{Sink, decisions, reasons};
use crate::cli_stage::Stage;

/// Stands for `PADDING`: with less there is nothing that a summary could be shorter than.
const PADDING: &str = "and so on and so forth ";

#[derive(Deserialize)]
struct Attacks {
    case: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    #[serde(default)]
    files: BTreeMap<String, String>,
    turn: Vec<Turn>,
}

#[derive(Deserialize)]
struct Turn {
    /// What the model says when it is asked to sum up what was before.
    summary: Option<String>,
    /// The user's words.
    say: String,
    calls: Vec<Call>,
    /// Decisions about calls with an effect.
    #[serde(default)]
    decided: Vec<String>,
}

#[derive(Deserialize)]
struct Call {
    tool: String,
    args: String,
}

async fn play(case: &Case) {
    let mut stage = Stage::new().await;
    let sink = Sink::start().await;
    let address = format!("http://{}", sink.address);
    stage.set("ARE_POLICY", "strict").set("ARE_EGRESS_PRIVATE", &sink.address.to_string());
    let here = |text: &str| text.replace("SINK", &address).replace("PADDING", &PADDING.repeat(40));
    for (name, text) in &case.files {
        stage.write(&format!("project/{name}"), &here(text));
    }
    let mut allowed_outside = 0;
    for (number, turn) in case.turn.iter().enumerate() {
        if let Some(summary) = &turn.summary {
            let key = stage.latest().await;
            stage.provider().script([Reply::text([here(summary)])]);
            let made = stage.run(&["session", "compact", &key, "--json"]).await.exits(0).json();
            assert_eq!(made["summary"], json!(here(summary)), "{}", case.name);
        }
        let replies = turn.calls.iter().map(|call| {
            let args: Value = serde_json::from_str(&here(&call.args)).expect("arguments");
            Reply::call(&call.tool, &args)
        });
        stage.provider().script(replies.chain([Reply::text(["done"])]));
        let prompt = here(&turn.say);
        let mut args = vec!["run", "--json"];
        if number > 0 {
            args.push("--continue");
        }
        args.push(&prompt);
        let events = stage.run(&args).await.lines();
        let (decided, outside) = decisions(&events);
        assert_eq!(decided, turn.decided, "{}, turn {}: {}", case.name, number + 1, reasons(&events));
        allowed_outside += outside;
    }
    assert_eq!(sink.requests.load(Ordering::SeqCst), allowed_outside, "{}: what reached the server", case.name);
}

#[tokio::test]
async fn what_a_summary_repeats_is_no_more_trusted_than_where_it_came_from() {
    let attacks: Attacks =
        toml::from_str(include_str!("../../../../tests/attacks/compaction.toml")).expect("attack file");
    for case in &attacks.case {
        println!("{}", case.name);
        play(case).await;
    }
    assert!(attacks.case.len() >= 5, "the attack file was read");
}

#[tokio::test]
async fn turns_are_summed_up_shown_so_to_the_model_and_that_is_taken_back() {
    let stage = Stage::new().await;
    stage.provider().script([Reply::text(["I see."])]);
    let said = format!("Remember the number 4711. {}", PADDING.repeat(40));
    stage.run(&["run", &said]).await.exits(0);
    let key = stage.latest().await;
    let refused = stage.run(&["session", "compact", &key, "--undo"]).await;
    assert!(refused.code != Some(0) && refused.stderr.contains("ARE-0209"), "{refused:?}");

    stage.provider().script([Reply::text(["They named ", "a number."])]);
    let made = stage.run(&["session", "compact", &key]).await.exits(0);
    assert_eq!(made.stdout, "They named a number.\n");
    assert!(made.stderr.contains("turns 1 to 1"), "{}", made.stderr);
    let again = stage.run(&["session", "compact", &key]).await;
    assert!(again.code != Some(0) && again.stderr.contains("ARE-0209"), "{again:?}");

    let asked = async |words: &str| {
        stage.provider().script([Reply::text(["ok"])]);
        stage.run(&["run", "--continue", words]).await.exits(0);
        stage.provider().requests().pop().expect("a request").to_string()
    };
    let short = asked("And now?").await;
    assert!(short.contains("They named a number.") && !short.contains("4711"), "{short}");
    stage.run(&["session", "compact", &key, "--undo"]).await.exits(0);
    let whole = asked("And then?").await;
    assert!(whole.contains("4711") && !whole.contains("They named a number."), "{whole}");

    stage.provider().script([Reply::text([""])]);
    let empty = stage.run(&["session", "compact", &key]).await;
    assert!(empty.code != Some(0) && empty.stderr.contains("ARE-0415"), "{empty:?}");
    let replayed = stage.run(&["session", "replay", &key]).await.exits(0);
    assert!(replayed.stdout.contains("regenerated"), "{}", replayed.stdout);
}
