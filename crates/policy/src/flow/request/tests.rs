use super::*;

fn kinds(text: &str) -> Vec<(Kind, String)> {
    let mut request = Request::default();
    request.add(text);
    request
        .clauses
        .iter()
        .map(|clause| (clause.kind, clause.head.map_or(String::new(), |head| clause.tokens[head].word.clone())))
        .collect()
}

#[test]
fn requests_are_told_from_questions_and_statements() {
    let request = |head: &str| (Kind::Request, head.to_owned());
    let (question, statement) = ((Kind::Question, String::new()), (Kind::Statement, String::new()));
    for (text, expected) in [
        ("Please send it to Bob and tell me.", vec![request("send"), request("tell")]),
        ("Can you please pay the bill?", vec![request("pay")]),
        ("What did they send?", vec![question.clone()]),
        ("Did they send it?", vec![question.clone()]),
        ("They sent me 10.00. Send it back", vec![statement.clone(), request("send")]),
        ("The server is down, restart it", vec![statement.clone(), request("restart")]),
        ("gateway is slow", vec![statement]),
        ("Do all the tasks", vec![request("do")]),
        ("把报告发给alice@a.example。谁写的？", vec![(Kind::Request, String::new()), question]),
    ] {
        assert_eq!(kinds(text), expected, "{text}");
    }
}

#[test]
fn what_is_quoted_is_not_asked() {
    let mut request = Request::default();
    request.add("Post there the following: 'delete everything, now'");
    assert_eq!(request.clauses.len(), 2);
    assert!(request.clauses.iter().all(|clause| !clause.asks_by("delete")));
    assert!(request.clauses[0].asks_by("post"));
}

#[test]
fn objects_are_quoted_texts_addresses_codes_and_names() {
    let mut request = Request::default();
    request.add("Invite Dora to Slack with dora@a.example, see 'the plan' and account GB29NWBK60161331");
    let found: Vec<&str> = request.clauses.iter().flat_map(|c| &c.mentions).map(|m| m.text.text.as_str()).collect();
    for object in ["dora", "dora@a.example", "the plan", "gb29nwbk60161331"] {
        assert!(found.contains(&object), "{object} in {found:?}");
    }
}

#[test]
fn a_verb_asks_only_as_a_main_verb_or_in_what_the_user_wants() {
    for (text, verb, expected) in [
        ("Send it to Bob", "send", true),
        ("Could you please send it?", "send", true),
        ("Quickly send it", "send", true),
        ("Help me to send it", "send", true),
        ("I want you to send it", "send", true),
        ("Your task is to send it", "send", true),
        ("Note that you first have to send it", "send", true),
        ("Summarise the post at www.a.example", "post", false),
        ("A mail asks me to send 500 to Bob", "send", false),
        ("They want me to send it", "send", false),
        ("Mails ask us to send it", "send", false),
        ("I was told to send it", "send", false),
        ("Before you send it, show me", "send", false),
        ("Show me the text before you send it", "send", false),
        ("Tell me how to send it", "send", false),
        ("Tell me whether you need to send it", "send", false),
        ("Never send it", "send", false),
        ("Do not, whatever they say, send it", "send", false),
        ("Don't send it to Bob", "send", false),
        ("I do not want you to send it", "send", false),
        ("Read it but don't wait. Send it to Bob", "send", true),
    ] {
        let mut request = Request::default();
        request.add(text);
        assert_eq!(request.clauses.iter().any(|clause| clause.asks_by(verb)), expected, "{text}");
    }
}

#[test]
fn what_is_quoted_is_marked_whatever_it_holds() {
    let mut request = Request::default();
    request.add("Summarise \"Dear customer… pay ½ now\" for Bob");
    let unquoted: Vec<&str> =
        request.clauses[0].tokens.iter().filter(|token| !token.is_quoted).map(|token| token.word.as_str()).collect();
    assert_eq!(unquoted, ["summarise", "for", "bob"]);
}

#[test]
fn a_declared_intent_counts_only_where_something_is_asked() {
    for (text, intent, expected) in [
        ("Please pay 5 to Bob", "pay", true),
        ("Bitte: do a transfer of 5 to Bob", "transfer", true),
        ("I want you to pay Bob", "pay", true),
        ("A mail asks me to pay Bob", "pay", false),
        ("Mails ask us to pay Bob", "pay", false),
        ("Tell me how to pay Bob", "pay", false),
        ("Summarise what they pay Bob", "pay", false),
        ("Do not pay Bob", "pay", false),
        ("Read 'pay Bob' to me", "pay", false),
        ("把会议纪要发给她", "发给", true),
        ("不要把会议纪要发给她", "发给", false),
    ] {
        let mut request = Request::default();
        request.add(text);
        let phrase = Needle::new(intent).expect("a phrase");
        assert_eq!(request.clauses.iter().any(|clause| clause.uses(&phrase)), expected, "{text}");
    }
}

#[test]
fn an_address_names_what_it_ends_in_and_no_host_or_owner() {
    let mut request = Request::default();
    request
        .add("Take https://git.example/platform/billing-api.git, build r.example/label-printer:1.2 (see team/Docs).");
    for (name, expected) in [
        ("billing-api", true),
        ("label-printer", true),
        ("docs", true),
        ("platform", false),
        ("git.example", false),
        ("team", false),
        ("billing", false),
        ("1.2", false),
        ("billing-api.git", false),
        ("", false),
    ] {
        assert_eq!(request.has_address_of(name), expected, "{name}");
    }
}
