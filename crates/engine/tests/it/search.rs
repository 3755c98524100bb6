//! Looking for words in the texts of sessions.

use are_core::error::Code;
use are_core::ids::SessionKey;
use are_engine::api::{SearchCursor, SessionFound, SessionSearch, SessionsFound, Target};
use are_engine::engine::Engine;
use are_testkit::script::{Say, ScriptedModels, last_words, say};

use crate::support::{Seen, World, caller, ends, follow, new, prompt, turn};

async fn search(engine: &Engine, account: &str, text: &str, limit: u32, from: Option<SearchCursor>) -> SessionsFound {
    let wish = SessionSearch { text: text.to_owned(), limit, from, own: false };
    engine.search_sessions(&caller(account), wish).await.unwrap()
}

async fn found(engine: &Engine, text: &str) -> Vec<SessionFound> {
    let found = search(engine, "alice", text, 50, None).await;
    assert_eq!(found.next, None, "all of it was looked at");
    found.found
}

fn keys(found: &[SessionFound]) -> Vec<SessionKey> {
    found.iter().map(|one| one.row.key).collect()
}

/// Answers with what was said, backwards word by word.
fn backwards() -> World {
    World::new(ScriptedModels::new(|request| {
        let words: Vec<&str> = last_words(request).split(' ').rev().collect();
        say(&words.join(" "))
    }))
}

#[tokio::test]
async fn words_are_found_in_prompts_and_answers_of_ones_own_sessions_until_they_are_erased() {
    let world = backwards();
    let engine = world.engine().await;
    let (first, _) = turn(&engine, new(), "where is the Blue house").await;
    world.clock.advance(1_000);
    let (second, _) = turn(&engine, new(), "tell me of ships").await;
    world.clock.advance(1_000);
    turn(&engine, Target::Session(first), "and of blue ships").await;

    let ships = found(&engine, "SHIPS of").await;
    assert_eq!(keys(&ships), [first, second], "the one that was used last comes first");
    assert_eq!((ships[0].turn, ships[0].excerpt.as_str()), (Some(2), "and of blue ships"));
    assert_eq!((ships[1].turn, ships[1].excerpt.as_str()), (Some(1), "tell me of ships"));
    assert_eq!(keys(&found(&engine, "house blue").await), [first]);
    let same = found(&engine, "ships blue of and").await;
    assert_eq!((keys(&same), same[0].seq), (vec![first], ships[0].seq));
    assert!(found(&engine, "blue tell").await.is_empty(), "no prompt and no answer has both");
    assert!(search(&engine, "bob", "ships", 50, None).await.found.is_empty());

    engine.delete(&caller("alice"), first).await.unwrap();
    assert_eq!(keys(&found(&engine, "ships").await), [second]);
    assert!(found(&engine, "house").await.is_empty());
}

#[tokio::test]
async fn what_only_an_answer_says_is_found_with_its_turn() {
    let world = World::new(ScriptedModels::new(|_| {
        ["The trea", "sure lies ", "un", "der the oak."].map(|piece| Say::Token(piece.to_owned())).to_vec()
    }));
    let engine = world.engine().await;
    let (session, _) = turn(&engine, new(), "where").await;
    let treasure = found(&engine, "treasure UNDER").await;
    assert_eq!(keys(&treasure), [session]);
    assert_eq!((treasure[0].turn, treasure[0].excerpt.as_str()), (Some(1), "The treasure lies under the oak."));
}

#[tokio::test]
async fn pages_show_each_session_once_also_where_all_were_used_at_the_same_moment() {
    let world = backwards();
    let engine = world.engine().await;
    let mut expected = Vec::new();
    for number in 0..7 {
        expected.push(turn(&engine, new(), &format!("needle number {number}")).await.0);
        turn(&engine, new(), "hay").await;
    }
    let (mut seen, mut from, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = search(&engine, "alice", "needle", 2, from).await;
        assert!(page.found.len() <= 2);
        seen.extend(keys(&page.found));
        pages += 1;
        let Some(next) = page.next else { break };
        // As a client sends it back.
        from = Some(next.to_string().parse().unwrap());
    }
    assert!((4..=5).contains(&pages), "{pages}");
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_request_reads_a_bounded_part_and_says_where_to_go_on() {
    let world = World::new(ScriptedModels::new(|request| match last_words(request) {
        "long" => vec![Say::Token("hay ".repeat(15_000)); 50],
        _ => say("here is the needle"),
    }));
    let engine = world.engine().await;
    let (session, _) = turn(&engine, new(), "long").await;
    for text in ["long", "long", "short"] {
        let ack = engine.prompt(&caller("alice"), Target::Session(session), prompt(text)).await.unwrap();
        let (_, mut tail) = engine.attach(&caller("alice"), session, Some(0), None).await.unwrap();
        follow(&mut tail, &mut Seen::default(), ends(ack.turn)).await;
    }
    let mut page = search(&engine, "alice", "needle", 50, None).await;
    assert!(page.found.is_empty() && page.next.is_some(), "nine megabytes are more than one request reads");
    let mut requests = 1;
    while page.found.is_empty() {
        let next = page.next.expect("it goes on until it is found");
        page = search(&engine, "alice", "needle", 50, Some(next)).await;
        requests += 1;
        assert!(requests < 10);
    }
    assert_eq!((keys(&page.found), page.found[0].turn), (vec![session], Some(4)));
}

#[tokio::test]
async fn what_cannot_be_looked_for_is_refused() {
    let world = backwards();
    let engine = world.engine().await;
    for text in ["", "  ", &"x".repeat(401)] {
        let wish = SessionSearch { text: text.to_owned(), limit: 1, from: None, own: false };
        let fault = engine.search_sessions(&caller("alice"), wish).await.unwrap_err();
        assert_eq!(fault.code, Code::REQUEST_INVALID, "{text}");
    }
    for odd in ["", "1.2", "1.2.three", "1.-2.01890000-0000-7000-8000-000000000000"] {
        assert_eq!(odd.parse::<SearchCursor>().unwrap_err().code, Code::REQUEST_INVALID, "{odd}");
    }
    let beyond: SearchCursor = format!("{}.0.01890000-0000-7000-8000-000000000000", u64::MAX).parse().unwrap();
    assert!(search(&engine, "alice", "x", 50, Some(beyond)).await.found.is_empty());
}
