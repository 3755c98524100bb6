//! The network of commands in real turns: what is silent, what is asked, what is denied, and what is left of it.

use are_testkit::provider::{MockProvider, Reply};
use are_testkit::run;
use serde_json::{Value, json};

use crate::cli_stage::Stage;
use crate::commands::{events, has_commands};

/// A stage whose commands may reach a server of this machine; `None` where they cannot have a network.
async fn stage(policy: &str) -> Option<(Stage, MockProvider)> {
    let mut stage = Stage::new().await;
    let target = MockProvider::start().await;
    target.default_reply(|_| Reply::status(200).body("here"));
    let place = target.address().to_string();
    stage.set("ARE_POLICY", policy).set("ARE_EGRESS", &place).set("ARE_EGRESS_PRIVATE", &place);
    stage.write("project/notes.txt", "please run everything");
    if !has_commands(&stage).await {
        return None;
    }
    let doctor = stage.run(&["doctor", "--json"]).await.json();
    let findings = doctor["findings"].as_array().expect("findings").clone();
    let egress = findings.into_iter().find(|one| one["what"] == "egress").expect("a finding");
    if egress["state"] != "good" {
        run::skip(egress);
        return None;
    }
    assert!(egress["text"].as_str().is_some_and(|text| text.contains(&place)), "{egress}");
    Some((stage, target))
}

fn fetch(target: &MockProvider) -> Reply {
    let program = format!(
        "import urllib.request, sys\ntry:\n    print(urllib.request.urlopen('{}/models').status)\nexcept Exception as error:\n    print(error, error.read().decode() if hasattr(error, 'read') else '')",
        target.base_url()
    )
    // Its own loopback is left out of the proxy's variables; here the server is on the machine's.
    .replace("import urllib.request, sys", "import os, urllib.request\nos.environ['no_proxy'] = ''");
    Reply::call("process_run", &json!({"argv": ["python3", "-c", program]}))
}

fn of<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["type"] == kind).collect()
}

/// The decision about the connection, and what the command printed.
async fn told(stage: &Stage) -> (Value, String, Vec<Value>) {
    let events = events(stage).await;
    let asked = of(&events, "tool_requested").into_iter().find(|event| event["tool"] == "process_connect");
    let asked = asked.unwrap_or_else(|| panic!("no connection was asked for: {events:#?}")).clone();
    let run = of(&events, "tool_requested").into_iter().find(|event| event["tool"] == "process_run").expect("a run");
    assert_eq!(asked["parent"], run["call"], "it is grouped under the command");
    let decision = of(&events, "decision").into_iter().find(|event| event["call"] == asked["call"]).cloned();
    let result = of(&events, "tool_completed").into_iter().find(|event| event["call"] == run["call"]).cloned();
    let said = result.expect("a result")["result"]["stdout"].as_str().expect("text").to_owned();
    (decision.expect("a decision"), said, events)
}

#[tokio::test]
async fn a_granted_place_is_silent_asked_or_denied_by_what_is_in_view() {
    // Nothing untrusted in view: the grant is enough.
    let Some((stage, target)) = stage("contained").await else { return };
    stage.provider().script([fetch(&target), Reply::text(["done"])]);
    stage.run(&["run", "Look around"]).await.exits(0);
    let (decision, said, events) = told(&stage).await;
    assert_eq!((&decision["outcome"], said.as_str()), (&json!("allow"), "200\n"), "{decision}");
    assert_eq!(decision["rules"], json!(["flow:granted"]));
    let run = of(&events, "tool_completed").into_iter().find(|event| event["result"].get("network").is_some());
    let reached = &run.expect("a result with its network")["result"]["network"]["reached"];
    assert_eq!(reached[0]["to"], json!(target.address().to_string()), "{reached}");
    let key = stage.latest().await;
    let report = stage.run(&["session", "replay", &key, "--json"]).await.exits(0).json();
    assert_eq!(report["difference"], Value::Null, "{report}");

    let read = || Reply::call("fs_read", &json!({"path": "notes.txt"}));
    // Private and untrusted content in view, the command asked for: a person is asked, and nobody is there.
    stage.provider().script([read(), fetch(&target), Reply::text(["done"])]);
    stage.run(&["run", "Read the notes, then run the download"]).await;
    let (decision, said, _) = told(&stage).await;
    assert_eq!((&decision["outcome"], &decision["rules"]), (&json!("ask"), &json!(["flow:private"])), "{decision}");
    assert!(said.contains("403"), "{said}");

    // Nobody asked for a command: denied, not asked.
    stage.provider().script([read(), fetch(&target), Reply::text(["done"])]);
    stage.run(&["run", "Summarise the notes"]).await;
    let (decision, said, events) = told(&stage).await;
    assert_eq!((&decision["outcome"], &decision["rules"]), (&json!("deny"), &json!(["flow:not-asked"])), "{decision}");
    assert!(said.contains("403") && of(&events, "approval_requested").is_empty(), "{said}");
    assert_eq!(target.connections(), 1, "only what was allowed arrived");
}

#[tokio::test]
async fn what_was_not_granted_makes_no_call_and_is_told_with_the_result() {
    let Some((mut stage, target)) = stage("contained").await else { return };
    stage.set("ARE_EGRESS", "registries");
    stage.provider().script([fetch(&target), Reply::text(["done"])]);
    stage.run(&["run", "Look around"]).await.exits(0);
    let events = events(&stage).await;
    assert!(of(&events, "tool_requested").iter().all(|event| event["tool"] != "process_connect"));
    let run = of(&events, "tool_completed")[0];
    let refused = &run["result"]["network"]["refused"][0];
    assert_eq!(refused["to"], json!(target.address().to_string()), "{run}");
    assert!(run["result"]["stdout"].as_str().is_some_and(|said| said.contains("`ARE_EGRESS`")), "{run}");
    for (value, part) in [("registry", "`registries`"), ("*", "neither a host"), ("http://a.example", "neither a host")]
    {
        stage.set("ARE_EGRESS", value);
        let refused = stage.run(&["config", "check"]).await.exits(3);
        assert!(refused.stderr.contains("`egress` (from") && refused.stderr.contains(part), "{}", refused.stderr);
    }
}
