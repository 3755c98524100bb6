use super::*;

#[test]
fn statements_begin_where_their_first_token_stands() {
    let text = "// a; b\n@id(\"x;y\")\npermit(principal, action, resource);\n\n  forbid(principal, action,\n resource); permit(";
    assert_eq!(scan(text), Ok(vec![2, 5, 6]));
    assert_eq!(scan(""), Ok(vec![]));
    assert_eq!(scan("// only a comment"), Ok(vec![]));
}

#[test]
fn brackets_and_operators_inside_strings_and_comments_do_not_count() {
    let text = format!("@id(\"{}\") // {}\npermit;", "([{\\\"".repeat(200), "&&".repeat(500));
    assert_eq!(scan(&text), Ok(vec![1]));
}

#[test]
fn nesting_and_operators_are_bounded_at_exactly_the_limit() {
    let nest = |depth: u32| "(".repeat(depth as usize);
    assert!(scan(&nest(DEPTH_MAX)).is_ok());
    assert_eq!(scan(&format!("\n{}", nest(DEPTH_MAX + 1))).map_err(|found| found.line), Err(2));
    let chain = |length: u32| "a+".repeat(length as usize);
    assert!(scan(&format!("{};{}", chain(OPERATORS_MAX), chain(OPERATORS_MAX))).is_ok());
    assert!(scan(&chain(OPERATORS_MAX + 1)).is_err());
    assert!(scan(&"when { true } ".repeat(OPERATORS_MAX as usize + 1)).is_err());
    // A semicolon inside brackets does not start the count anew.
    assert!(scan(&format!("({})", "a+;".repeat(OPERATORS_MAX as usize + 1))).is_err());
}
