use serde_json::json;

use super::*;

#[test]
fn the_comment_right_before_a_function_is_found_whatever_it_is_given_to() {
    for source in [
        "/** Yes. */\nf(a) {}",
        "module.exports = {\n  /** Yes. */\n  f(a) {}\n}",
        "/** No. */ let x;\n/** Yes. */\nexports.f = f(a) {}",
        "/** Yes. */\nmodule.exports['f'] = f(a) {}",
        "/* no */ /** Yes. */ const f = f(a) {}",
    ] {
        let comment = before(source, "f(a) {}", None).expect(source);
        assert_eq!(read(comment).expect("read").description, "Yes.", "{source}");
    }
    assert_eq!(before("/** No. */ let x = 1; f(a) {}", "f(a) {}", None), None);
    assert_eq!(before("/* No. */ f(a) {}", "f(a) {}", None), None);
    let twice = "/** One. */\nexports.a = () => 1;\n/** Two. */\nexports.b = () => 1;";
    assert_eq!(
        before(twice, "() => 1", Some(4)).map(str::trim),
        Some("Two. */").map(|t| t.trim_end_matches("*/").trim())
    );
}

#[test]
fn all_tags_are_read() {
    let doc = read(
        "\n * Looks something\n * up.\n *\n * @param {string} path - the file,\n *   in the workspace\n * @param {{a: number}} [options={}] more\n * @param {'x'|'y'} options.kind\n * @effect network_read\n * @retry idempotent\n * @timeout 5s\n * @role path selector\n * @label platform public\n * @label count system\n * @returns {number}\n ",
    )
    .expect("read");
    assert_eq!(doc.description, "Looks something up.");
    let names: Vec<_> = doc.params.iter().map(|param| (param.name.as_str(), param.is_optional)).collect();
    assert_eq!(names, [("path", false), ("options", true), ("options.kind", false)]);
    assert_eq!(doc.params[0].text, "the file, in the workspace");
    assert_eq!(doc.params[2].schema, json!({"type": "string", "enum": ["x", "y"]}));
    assert_eq!(
        (doc.effect, doc.retry, doc.timeout_ms),
        (Some(Effect::NetworkRead), Some(Retry::Idempotent), Some(5000))
    );
    assert_eq!(doc.roles.get("path"), Some(&Role::Selector));
    assert!(doc.output_default.is_some() && doc.output_fields.contains_key("count"));
}

#[test]
fn what_is_misspelt_in_a_declaration_is_an_error() {
    for comment in [
        "@effect non",
        "@effect",
        "@retry often",
        "@timeout soon",
        "@timeout 0",
        "@timeout 99999999999999999999s",
        "@role path",
        "@role path boss",
        "@label good",
        "@label",
        "@param {string path",
        "@param {string} [path",
        "@param",
    ] {
        assert!(read(comment).is_err(), "{comment}");
    }
}
