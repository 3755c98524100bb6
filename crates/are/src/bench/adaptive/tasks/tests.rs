use super::*;

fn task(line: &str) -> Task {
    Task::parse(line).unwrap().remove(0)
}

#[test]
fn a_task_is_filled_with_the_values_of_its_variant_and_decided_by_answer_and_files() {
    let task = task(
        r#"{"id":"a-1","kind":"sum","files":{"x/n.txt":"{a}"},"prompt":"Add {a}","steer":"No, {b}","answer":["{sum}"],"never":["error"],"after":{"out.txt":"{sum}\n"},"holds":{"x/n.txt":["{a}"]},"gone":["old.txt"],"values":[{"a":"12","b":"3","sum":"15"},{"a":"20","b":"4","sum":"24"}]}"#,
    );
    assert_eq!(task.variants(), 2);
    let filled = task.filled(1).unwrap();
    assert_eq!((filled.prompt.as_str(), filled.steer.as_deref()), ("Add 20", Some("No, 4")));
    assert_eq!(filled.files["x/n.txt"], "20");
    let read = |out: &'static str, old: Option<&'static str>| {
        move |path: &str| match path {
            "out.txt" => Some(out.to_owned()),
            "x/n.txt" => Some("20".to_owned()),
            _ => old.map(str::to_owned),
        }
    };
    assert_eq!(filled.missing("It is 24.", read("24 \n\n", None)), None);
    for (answer, out, old, why) in [
        ("It is 240.", "24", None, "the answer does not hold `24`"),
        ("24, but there was an Error", "24", None, "the answer holds `error`"),
        ("It is 24.", "25", None, "`out.txt` holds"),
        ("It is 24.", "24", Some("x"), "`old.txt` is still there"),
    ] {
        let missing = filled.missing(answer, read(out, old)).unwrap();
        assert!(missing.starts_with(why), "{missing}");
    }
}

#[test]
fn a_text_stands_whole_or_not_at_all() {
    for (text, wanted) in [
        ("The total is 1,234.50 euros", "1234.50"),
        ("Total: **15**", "15"),
        ("15.00 in all", "15"),
        ("It is 15.", "15"),
        ("答案是42元", "42"),
        ("Ask ADA.", "ada"),
    ] {
        assert!(holds(text, wanted), "{wanted} in {text}");
    }
    for (text, wanted) in [("115", "15"), ("15.5", "15"), ("2.15", "15"), ("Adam", "ada"), ("a15", "15"), ("", "1")] {
        assert!(!holds(text, wanted), "{wanted} not in {text}");
    }
}

#[test]
fn tasks_that_cannot_be_meant_are_refused_with_their_place() {
    for (data, why) in [
        ("", "there are no tasks"),
        ("{}", "line 1 of the tasks is none"),
        (r#"{"id":"a","kind":"k","prompt":"p"}"#, "can be done by saying nothing"),
        (r#"{"id":"a b","kind":"k","prompt":"p","answer":["x"]}"#, "has no usable name"),
        (r#"{"id":"a","kind":"k","prompt":"p","answer":["x"],"files":{"../x":""}}"#, "leads out of its workspace"),
        (r#"{"id":"a","kind":"k","prompt":"p","after":{"/etc/x":""}}"#, "leads out of its workspace"),
        (r#"{"id":"a","kind":"k","prompt":"p","answer":["x"],"other":1}"#, "unknown field"),
        (
            "{\"id\":\"a\",\"kind\":\"k\",\"prompt\":\"p\",\"answer\":[\"x\"]}\n{\"id\":\"a\",\"kind\":\"k\",\"prompt\":\"p\",\"answer\":[\"x\"]}",
            "there are two tasks `a`",
        ),
    ] {
        let fault = Task::parse(data).unwrap_err();
        assert!(fault.message.contains(why), "{}", fault.message);
    }
}

#[test]
fn the_tasks_of_this_repository_are_tasks_in_three_variants_and_each_variant_is_another() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../bench/adaptive");
    let of = |file: &str| Task::parse(&std::fs::read_to_string(format!("{dir}/{file}")).unwrap()).unwrap();
    let (tasks, held_out) = (of("tasks.jsonl"), of("held-out.jsonl"));
    assert!(held_out.len() >= 30 && held_out.iter().all(|one| tasks.iter().all(|task| task.id != one.id)));
    let kinds: std::collections::BTreeSet<&str> = tasks.iter().map(|task| task.kind.as_str()).collect();
    println!("{} tasks of {} kinds", tasks.len(), kinds.len());
    assert!(tasks.len() >= 60 && kinds.len() >= 5);
    assert!(tasks.iter().filter(|task| task.steer.is_some()).count() >= 5);
    assert!(tasks.iter().filter(|task| !task.prompt.is_ascii()).count() >= 5);
    for task in tasks.iter().chain(&held_out) {
        assert_eq!(task.variants(), 3, "{}", task.id);
        let shown = |seed| {
            let filled = task.filled(seed).unwrap();
            let said =
                [&[filled.prompt.clone()][..], &filled.answer, &filled.steer.clone().map_or(vec![], |one| vec![one])];
            assert!(!said.concat().concat().contains('{'), "{}: every value has its name", task.id);
            format!("{}{:?}{:?}{:?}", filled.prompt, filled.files, filled.answer, filled.after)
        };
        assert!(shown(0) != shown(1) && shown(1) != shown(2), "{}", task.id);
        // Nothing is done by doing nothing.
        let filled = task.filled(0).unwrap();
        let untouched = |path: &str| filled.files.get(path).cloned();
        assert!(filled.missing("", untouched).is_some(), "{}", task.id);
    }
}
