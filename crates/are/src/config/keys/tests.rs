use super::*;

#[test]
fn an_unknown_variable_is_named_with_the_nearest_known_one() {
    let names = ["ARE_MODLE", "ARE_XYZZY", "ARE_MODEL", "ARE_ADMIN_TOKEN_FILE", "PATH"];
    let unknown = unknown_variables(names.into_iter());
    assert_eq!(unknown, [("ARE_MODLE".to_owned(), Some("ARE_MODEL")), ("ARE_XYZZY".to_owned(), None)]);
}

#[test]
fn only_secrets_have_a_file_variable() {
    assert_eq!(unknown_variables(["ARE_MODEL_FILE"].into_iter()).len(), 1);
    assert_eq!(unknown_variables(["ARE_TOKEN_FILE"].into_iter()), []);
}
