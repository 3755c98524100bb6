use super::*;

fn names(source: &str) -> Vec<String> {
    read(source, &[]).expect(source).names
}

#[test]
fn names_are_read_from_every_form_of_a_function() {
    for source in [
        "function f(a, b) {}",
        "async function f ( a , b ) { return (c) }",
        "f(a, b) {}",
        "async f(a, b) {}",
        "async *f(a, b) {}",
        "'a name (x)'(a, b) {}",
        "[key('(')](a, b) {}",
        "(a, b) => a",
        "async (a, b) => { }",
        "function /* (x) */ f(/* first */ a, // (second)\n b) {}",
        "(a = ')', b = /[)/]\\//g) => 1",
        "(a = `${f({ x: ')' })}`, b = (1, 2)) => 1",
    ] {
        assert_eq!(names(source), ["a", "b"], "{source}");
    }
    assert_eq!(names("a => a"), ["a"]);
    assert_eq!(names("async über => 1"), ["über"]);
    assert_eq!(names("() => 1"), [""; 0]);
    assert_eq!(names("f($, _b) {}"), ["$", "_b"]);
}

#[test]
fn defaults_rest_and_objects() {
    let params = read("f(a, b = 1, ...c) {}", &[]).expect("read");
    assert_eq!((params.names, params.optional), (vec!["a".to_owned(), "b".to_owned()], vec!["b".to_owned()]));
    assert_eq!(params.rest.as_deref(), Some("c"));
    let params = read("async f({ path, limit = 10, to: target, ...more } = {}) {}", &[]).expect("read");
    assert_eq!(params.names, ["path", "limit", "to"]);
    assert_eq!(params.optional, ["limit"]);
    assert!(params.is_object && params.is_open);
}

#[test]
fn a_parameter_that_is_taken_apart_needs_a_name_from_its_comment() {
    let why = read("f(a, { b }) {}", &[]).expect_err("no name");
    assert!(why.contains("parameter 2"), "{why}");
    let documented = ["a".to_owned(), "options".to_owned()];
    assert_eq!(read("f(a, { b }) {}", &documented).expect("named").names, ["a", "options"]);
    assert!(read("f(a, a) {}", &[]).is_err());
}

#[test]
fn text_that_is_no_function_ends_in_an_error() {
    for source in ["", "class A", "f", "(", "(((", "f('", "f(`${", "/*", "f(/", "{"] {
        // Whatever it is, reading it ends.
        let _read = read(source, &[]);
    }
}
