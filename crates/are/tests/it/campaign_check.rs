//! What must hold after every campaign, whatever was done to the server.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::campaign_client::{ENDS, Follower, Transcript, request_id};
use crate::campaign_stage::{Life, Scene};

/// Finishes the current job and a further one on a server that nobody hurts any more, and checks everything.
pub(crate) async fn all_is_well(scene: &Scene, life: &Life, follower: &mut Follower) {
    assert!(follower.follow(life).await, "the turn does not end: {:?}\n{}", follower.errors, scene.log());
    assert!(follower.next_job(life).await, "the next turn does not end: {:?}\n{}", follower.errors, scene.log());
    let fresh = follower.fresh(life).await;
    assert_eq!(follower.seen.text, fresh.text, "both clients read the same words");
    assert_eq!(follower.seen.records, fresh.records, "both clients see the same records");
    turns_are_whole(&fresh, follower);
    effects_are_single(&fresh, &scene.posts());
    files_are_written(&fresh, scene);
    // The chain, the payloads, and everything derived from them.
    let session = follower.session.clone().expect("a session");
    scene.stage.run(&["session", "replay", "--json", &session]).await.exits(0);
}

/// Each acknowledged prompt is one turn, each turn has one end, and here it is a good one.
fn turns_are_whole(seen: &Transcript, follower: &Follower) {
    for (job, turn) in &follower.acked {
        let started: Vec<_> =
            seen.of_type("turn_started").filter(|one| one["request_id"] == request_id(*job)).collect();
        assert_eq!(started.len(), 1, "job {job} was acknowledged once: {started:?}");
        assert_eq!(started[0]["turn"], *turn, "job {job}");
    }
    let started = seen.of_type("turn_started").count();
    assert_eq!(started, follower.acked.len(), "no turn that nobody asked for");
    let ended: BTreeSet<_> = seen.of_type("turn_completed").filter_map(|one| one["turn"].as_u64()).collect();
    let ends = ENDS.iter().map(|kind| seen.of_type(kind).count()).sum::<usize>();
    assert_eq!((ended.len(), ends), (started, started), "each turn is completed, once");
    for (turn, text) in &seen.text {
        let job = follower.acked.iter().find(|(_, acked)| *acked == turn).expect("a job").0;
        assert!(text.ends_with(&format!("job {job} is done: zwölf € 7 ")), "{text}");
        for step in 0..5 {
            // Nothing of an answer that was begun again stays.
            let words = format!("job {job}, step {step}: für € 3 ");
            assert_eq!(text.matches(&words).count(), 1, "{words:?} in {text:?}");
        }
    }
}

/// No effect that happens at most once happened twice, and nothing that is recorded as done did not happen.
fn effects_are_single(seen: &Transcript, posts: &[String]) {
    let by_call = |kind: &'static str| {
        let mut counts: BTreeMap<u64, Vec<&Value>> = BTreeMap::new();
        for record in seen.of_type(kind) {
            counts.entry(record["call"].as_u64().expect("a call")).or_default().push(record);
        }
        counts
    };
    let (started, completed) = (by_call("tool_started"), by_call("tool_completed"));
    let (failed, unknown) = (by_call("tool_failed"), by_call("tool_unknown"));
    for (call, requested) in by_call("tool_requested") {
        let tool = requested[0]["tool"].as_str().expect("a tool");
        let outcomes: usize =
            [&completed, &failed, &unknown].map(|kind| kind.get(&call).map_or(0, Vec::len)).iter().sum();
        assert_eq!(outcomes, 1, "{tool} has one outcome");
        assert!(!failed.contains_key(&call) || tool == "fs_edit", "{tool}: {:?}", failed[&call]);
        let starts = started.get(&call).map_or(&[][..], Vec::as_slice);
        if starts.first().is_some_and(|start| start["retry"] == "at_most_once") {
            assert_eq!(starts.len(), 1, "{tool} is started once");
        } else {
            assert!(!unknown.contains_key(&call), "{tool} may be repeated, so its outcome is known");
        }
        if tool == "http_request" {
            let key = starts[0]["key"].as_str().expect("a key");
            let arrived = posts.iter().filter(|post| *post == key).count();
            let most = if completed.contains_key(&call) { 1..=1 } else { 0..=1 };
            assert!(most.contains(&arrived), "call {call} arrived {arrived} times");
        }
    }
    let distinct: BTreeSet<_> = posts.iter().collect();
    assert_eq!(distinct.len(), posts.len(), "no POST arrived twice");
}

/// What a completed edit says is in the file.
fn files_are_written(seen: &Transcript, scene: &Scene) {
    let edits = seen.of_type("tool_requested").filter(|one| one["tool"] == "fs_edit");
    for edit in edits {
        if seen.of_type("tool_completed").any(|one| one["call"] == edit["call"]) {
            let path = scene.stage.project().join(edit["args"]["path"].as_str().expect("a path"));
            assert_eq!(std::fs::read_to_string(path).expect("the file"), "one three");
        }
    }
}
