//! Random sessions under random sizes of context: what a provider would see.

use std::collections::BTreeSet;

use are_core::body::Body;
use are_core::error::{Code, Fault};
use are_core::journal::{Entry, Record};
use are_core::model::{Message, ModelRequest};
use are_core::payload::Payload;
use are_engine::api::Target;
use are_engine::context::tokens_of;
use are_testkit::script::{Say, ScriptedModels, call, last_words, say};
use are_testkit::tools::CountedTools;
use proptest::prelude::*;
use serde_json::json;
use tokio::runtime::Builder;

use crate::compaction::{LEFT_OUT, is_asked, start};
use crate::support::{Seen, World, caller, new, turn};

/// A prompt of `words` words, on which the model makes `calls` calls that return `result` bytes each.
#[derive(Debug, Clone)]
struct Told {
    words: usize,
    calls: usize,
    result: usize,
}

fn told() -> impl Strategy<Value = Told> {
    let words = prop_oneof![4 => 1..200_usize, 1 => 200..1_500_usize];
    let result = prop_oneof![2 => 1..200_usize, 1 => 200..6_000_usize];
    let calls = prop_oneof![9 => 0..5_usize, 1 => 5..40_usize];
    (words, calls, result).prop_map(|(words, calls, result)| Told { words, calls, result })
}

/// What the prompt says, so that the model knows what to do after a restart too.
fn words(no: usize, told: &Told) -> String {
    format!("#{no} {} {} {}", told.calls, told.result, "word ".repeat(told.words))
}

/// The latest prompt of a request, and how many calls its turn has made, also those that are left out.
fn so_far(request: &ModelRequest) -> (&str, usize) {
    let prompt =
        request.messages.iter().rposition(|one| matches!(one, Message::User { text } if text.starts_with('#')));
    let rest = &request.messages[prompt.unwrap_or(0)..];
    let done = |message: &Message| match message {
        Message::Tool { .. } => 1,
        Message::User { text } => text.split_once(LEFT_OUT).map_or(0, |(no, _)| no.parse().unwrap()),
        Message::System { .. } | Message::Image(_) | Message::Assistant { .. } => 0,
    };
    let words = match &rest[0] {
        Message::User { text } => text,
        other => panic!("{other:?}"),
    };
    (words, rest.iter().map(done).sum())
}

/// Models that give summaries which are good, empty, too long, or none, by chance of what they are asked.
fn models(context_tokens: u64) -> ScriptedModels {
    let script = |request: &ModelRequest| {
        if is_asked(request) {
            return match last_words(request).len() % 5 {
                0 => say(" "),
                1 => say(&"so on ".repeat(4_000)),
                2 => vec![Say::Fail(Fault::new(Code::MODEL_ERROR, "it failed", "again"))],
                _ => say("This and that was said and done before."),
            };
        }
        let (asked, done) = so_far(request);
        let mut numbers = asked.split(' ').skip(1).map(|number| number.parse::<usize>().unwrap_or(0));
        let (calls, result) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if done < calls {
            vec![call("read", &json!({ "x": format!("{done}{}", "r".repeat(result)) }))]
        } else {
            say("That was it.")
        }
    };
    ScriptedModels::new(script).with_context(context_tokens)
}

/// Tokens of a request as they are estimated for it.
fn tokens(request: &ModelRequest) -> u64 {
    let of = |message: &Message| match message {
        Message::System { text } | Message::User { text } | Message::Tool { text, .. } => tokens_of(text.len()),
        Message::Image(_) => 0,
        Message::Assistant { text, calls, .. } => {
            let calls = calls.iter().map(|call| call.call.name.len() + call.call.arguments.len());
            tokens_of(text.len() + calls.sum::<usize>())
        }
    };
    request.messages.iter().map(of).sum()
}

/// Each call is followed by its one result, and prompts and calls stand in the order in which they came.
fn check_request(request: &ModelRequest, context_tokens: u64) {
    let used = tokens(request);
    assert!(used + request.output_tokens_max <= context_tokens, "{used} of {context_tokens}");
    let (mut open, mut ids, mut prompts) = (Vec::new(), BTreeSet::new(), Vec::new());
    for message in &request.messages {
        match message {
            Message::Tool { id, .. } => {
                assert_eq!(open.first(), Some(id), "the results of an answer stand right behind it");
                open.remove(0);
            }
            other => {
                assert!(open.is_empty(), "calls without a result: {open:?}");
                if let Message::Assistant { calls, .. } = other {
                    open.extend(calls.iter().map(|call| call.id.clone()));
                    for call in calls {
                        let no: u32 = call.id.strip_prefix("call_").unwrap().parse().unwrap();
                        assert!(ids.last().is_none_or(|last| *last < no), "call {no} behind {ids:?}");
                        ids.insert(no);
                    }
                }
                if let Message::User { text } = other
                    && let Some((no, _)) = text.strip_prefix('#').and_then(|rest| rest.split_once(' '))
                    && !is_asked(request)
                {
                    prompts.push(no.parse::<usize>().unwrap());
                }
            }
        }
    }
    assert!(open.is_empty(), "calls without a result: {open:?}");
    assert!(prompts.is_sorted(), "{prompts:?}");
}

fn records(seen: &Seen) -> impl Iterator<Item = (&Record, Option<&Payload>)> {
    seen.entries.iter().filter_map(|entry| match entry {
        Entry::Record(record, payload) => Some((record.as_ref(), payload.as_ref())),
        Entry::Frame(..) => None,
    })
}

/// Between two requests for a summary the context has grown by a quarter.
fn check_growth(seen: &Seen) -> usize {
    let (mut rest, mut asked, mut open) = (None::<u64>, 0, None);
    for (record, payload) in records(seen) {
        match (&record.body, payload) {
            (Body::CompactionRequested { context_tokens, covered_tokens, .. }, _) => {
                if let Some(rest) = rest {
                    assert!(*context_tokens >= rest + rest / 4, "{context_tokens} tokens after {rest}");
                }
                asked += 1;
                open = Some((*context_tokens, *covered_tokens));
            }
            (Body::Compacted { .. }, Some(Payload::Summary { text, .. })) => {
                let (all, covered) = open.take().expect("it was asked for");
                assert!(tokens_of(text.len()) < covered, "shorter than what it stands for");
                rest = Some(all - covered + tokens_of(text.len()));
            }
            (Body::CompactionFailed { .. }, _) => rest = open.take().map(|(all, _)| all),
            (Body::TurnFailed { code, .. }, _) => assert_eq!(*code, Code::CONTEXT_TOO_LONG),
            _ => {}
        }
    }
    assert!(open.is_none(), "each is answered");
    asked
}

async fn play(context_tokens: u64, turns: &[Told]) {
    let world = World { tools: CountedTools::default(), ..World::new(models(context_tokens)) }.in_memory();
    let engine = start(&world).await;
    let mut target = new();
    let mut seen = Seen::default();
    let mut session = None;
    for (no, told) in turns.iter().enumerate() {
        let (key, now) = turn(&engine, target, &words(no, told)).await;
        (seen, target, session) = (now, Target::Session(key), Some(key));
    }
    for request in world.models.requests() {
        check_request(&request, context_tokens);
    }
    let asked = check_growth(&seen);
    assert_eq!(asked, world.models.requests().iter().filter(|request| is_asked(request)).count());
    let report = engine.replay(&caller("alice"), session.unwrap(), None, false).await.unwrap();
    assert_eq!(report.difference, None);
    engine.shutdown(1_000).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_request_always_fits_and_no_compaction_follows_another_without_growth(
        context_tokens in 1_200..9_000_u64,
        turns in prop::collection::vec(told(), 3..12),
    ) {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(context_tokens, &turns));
    }
}
