//! Several requests at once, what is kept of them, and where it goes when memory is short.

use std::path::{Path, PathBuf};

use futures_util::FutureExt as _;

use super::*;

fn started(options: Options) -> LocalModel {
    LocalModel::start(tiny_file(), options).unwrap()
}

/// With a memory that holds two of the prompts that [`about`] makes, not three.
fn narrow() -> Options {
    Options { context_tokens: 1024, pool_tokens: Some(1024), ..options("local:tests") }
}

/// A prompt of some 430 tokens, which has with others in common only what all prompts have.
fn about(word: &str) -> ModelRequest {
    request(&format!("{word} ").repeat(400), 4)
}

async fn cached(model: &LocalModel, asked: ModelRequest) -> u64 {
    usage(&collect(model.call(asked)).await.unwrap()).cached_tokens
}

/// What is there of a stream now; true if that was its end.
fn has_ended(stream: &mut ModelStream) -> bool {
    while let Some(item) = stream.next().now_or_never() {
        match item {
            Some(Ok(Delta::End { .. }) | Err(_)) | None => return true,
            Some(Ok(_)) => {}
        }
    }
    false
}

async fn first_words(stream: &mut ModelStream) {
    while !matches!(stream.next().await.unwrap().unwrap(), Delta::Text(_)) {}
}

fn sealed_files(dir: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|ending| ending == "sealed")).collect()
}

#[tokio::test]
async fn a_short_answer_is_given_while_a_long_one_is_written() {
    let model = tiny();
    let alone = collect(model.call(request("Name three rivers.", 12))).await.unwrap();
    let mut long = model.call(request("Write a very long story about a lighthouse.", 1900));
    first_words(&mut long).await;

    let short = collect(model.call(request("Name three rivers.", 12))).await.unwrap();
    assert!(!has_ended(&mut long), "the long answer was not waited for");
    // Computed together with another one, it is rounded otherwise, which may show late in an answer.
    let begin = |answer: &Answer| answer.text.split_whitespace().take(3).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(begin(&short), begin(&alone));

    // And it goes on.
    first_words(&mut long).await;
}

#[tokio::test]
async fn two_answers_and_a_prompt_that_is_read_take_turns() {
    let model = started(Options { pool_tokens: Some(8192), ..options("local:tests") });
    model.ready().await.unwrap();
    let mut one = model.call(request("Write a very long story about a lighthouse.", 1500));
    let mut other = model.call(request("Write a very long poem about the sea.", 1500));
    first_words(&mut one).await;
    first_words(&mut other).await;
    assert!(!has_ended(&mut one) && !has_ended(&mut other));

    // A long prompt is read in pieces; between any two of them both answers go on.
    let mut reading = model.call(request(&"word ".repeat(900), 4));
    let mut pieces = 0;
    loop {
        match reading.next().await.unwrap().unwrap() {
            Delta::Progress { phase: "prefill", .. } => pieces += 1,
            Delta::End { .. } => break,
            _ => {}
        }
    }
    assert!(pieces > 10, "{pieces} pieces");
    first_words(&mut one).await;
    first_words(&mut other).await;
}

#[tokio::test]
async fn dropping_one_answer_leaves_the_others() {
    let model = tiny();
    model.ready().await.unwrap();
    let mut dropped = model.call(request("Write a very long story about a lighthouse.", 1900));
    let mut kept = model.call(request("Write a very long poem about the sea.", 60));
    first_words(&mut dropped).await;
    first_words(&mut kept).await;
    drop(dropped);
    let rest = collect(kept).await.unwrap();
    assert!(!rest.text.is_empty());
    assert!(usage(&rest).output_tokens > 1, "{:?}", rest.end);
}

#[tokio::test]
async fn who_finds_no_place_waits_until_one_is_free() {
    let all = Options { running_max: 1, ..options("local:tests") };
    let cells = Options { pool_tokens: Some(2048), ..options("local:tests") };
    for options in [all, cells] {
        let model = started(options);
        model.ready().await.unwrap();
        let mut first = model.call(request("Write a very long story about a lighthouse.", 1900));
        first_words(&mut first).await;
        let mut second = model.call(request("Write a very long poem about the sea.", 400));
        // While the first runs, the second is not even begun: what it sees until then is nothing.
        assert!(second.next().now_or_never().is_none());
        first_words(&mut first).await;
        assert!(second.next().now_or_never().is_none());
        drop(first);
        first_words(&mut second).await;
    }
}

#[tokio::test]
async fn a_beginning_is_shared_and_each_conversation_finds_its_own_again() {
    let model = tiny();
    let of = |text: &str| {
        let mut asked = request(text, 4);
        asked.messages[0] = Message::System { text: "You are helpful. ".repeat(60) };
        asked
    };
    assert_eq!(cached(&model, of("Tell me about the sea.")).await, 0);
    assert!(cached(&model, of("And what of mountains, forests and lakes?")).await > 200);
    // Not what they have in common, but all of it, which is one token less than its prompt.
    let again = usage(&collect(model.call(of("Tell me about the sea."))).await.unwrap());
    assert_eq!(again.cached_tokens + 1, again.input_tokens);
}

#[tokio::test]
async fn one_that_begins_as_another_is_just_read_waits_for_that_and_reads_it_not_again() {
    let model = tiny();
    let of = |text: &str| request(&format!("{} {text}", "word ".repeat(600)), 4);
    let (first, second) = (model.call(of("One more.")), model.call(of("And another.")));
    assert_eq!(usage(&collect(first).await.unwrap()).cached_tokens, 0);
    assert!(usage(&collect(second).await.unwrap()).cached_tokens > 600);
}

#[tokio::test]
async fn what_was_not_used_for_longest_is_given_up_first() {
    let model = started(narrow());
    for word in ["red", "blue"] {
        assert!(cached(&model, about(word)).await < 60, "{word}");
    }
    assert!(cached(&model, about("red")).await > 390);
    assert!(cached(&model, about("green")).await < 60);
    assert!(cached(&model, about("red")).await > 390, "used after blue was");
    assert!(cached(&model, about("blue")).await < 60, "given up for green");
}

#[tokio::test]
async fn what_is_given_up_comes_back_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    let spill_dir = dir.path().join("cache/model");
    let model = started(Options { spill_dir: Some(spill_dir.clone()), ..narrow() });
    let first = collect(model.call(about("red"))).await.unwrap();
    for word in ["blue", "green"] {
        assert!(cached(&model, about(word)).await < 60, "{word}");
    }
    assert!(!sealed_files(&spill_dir).is_empty());
    let again = collect(model.call(about("red"))).await.unwrap();
    assert_eq!(usage(&again).cached_tokens + 1, usage(&again).input_tokens);
    assert_eq!(again.text, first.text);

    drop(model);
    assert!(sealed_files(&spill_dir).is_empty(), "nothing is left behind");
}

#[tokio::test]
async fn a_file_that_was_changed_is_not_read_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let model = started(Options { spill_dir: Some(dir.path().to_owned()), ..narrow() });
    for word in ["red", "blue", "green"] {
        assert!(cached(&model, about(word)).await < 60, "{word}");
    }
    let files = sealed_files(dir.path());
    assert!(!files.is_empty());
    for file in &files {
        let mut bytes = std::fs::read(file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(file, bytes).unwrap();
    }
    assert!(cached(&model, about("red")).await < 60);
    assert!(files.iter().any(|file| !file.exists()));
}

#[tokio::test]
async fn without_a_usable_directory_nothing_is_kept_and_all_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let model = started(Options { spill_dir: Some(file), ..narrow() });
    for word in ["red", "blue", "green", "red"] {
        assert!(cached(&model, about(word)).await < 60, "{word}");
    }
}

#[tokio::test]
async fn threads_are_tried_out_once_and_nonsense_in_their_list_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("threads.json");
    let of = || Options {
        threads: Threads { reading: 2, writing: 1 },
        trial_dir: Some(dir.path().to_owned()),
        ..options("local:tests")
    };
    for _ in 0..2 {
        let model = started(of());
        collect(model.call(request("Say yes.", 1))).await.unwrap();
        // On a machine that is too busy it is not found out, and the rule holds.
        let Ok(text) = std::fs::read_to_string(&list) else { continue };
        let findings: std::collections::BTreeMap<String, usize> = serde_json::from_str(&text).unwrap();
        assert!(findings.len() == 1 && findings.values().all(|writing| [1, 2].contains(writing)), "{findings:?}");
    }
    std::fs::write(&list, "[1000000]").unwrap();
    collect(started(of()).call(request("Say yes.", 1))).await.unwrap();
}
