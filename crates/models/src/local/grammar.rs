//! The grammar of a call, or of an answer that has a form, in llama.cpp's GBNF.
//!
//! That of a call is a JSON object, followed by `</tool_call>` in the form that has tags
//! (which begins after the opening tag): a known name and arguments that have the tool's parameters, the required ones all there and
//! in the order of `required`, the others after them. What a schema says beyond
//! types, choices and nesting is not in the grammar; the caller validates
//! arguments anyway. A schema that is too deep becomes "any JSON".
//!
//! SOURCE: <https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md>

use std::fmt::Write;

use are_core::model::{Format, ToolSpec};
use serde_json::Value;

use super::answer::Form;
use super::prompt::{CALL_CLOSE, parameters};

/// Levels of a schema that are followed; deeper values may be any JSON.
const DEPTH_MAX: usize = 6;
/// Values of an enumeration; with more, any value of the type may stand.
const CHOICES_MAX: usize = 64;
/// Alternatives of `anyOf` or `oneOf`.
const ALTERNATIVES_MAX: usize = 8;
/// Name of the first rule.
pub const ROOT: &str = "root";

const COMMON: &str = r#"ws ::= [ \n\t]{0,8}
comma ::= ws "," ws
colon ::= ws ":" ws
char ::= [^"\\\x7F\x00-\x1F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4})
string ::= "\"" char* "\""
integer ::= "-"? ("0" | [1-9] [0-9]{0,17})
number ::= integer ("." [0-9]{1,17})? ([eE] [-+]? [0-9]{1,3})?
boolean ::= "true" | "false"
null ::= "null"
pair ::= string colon any
object ::= "{" ws (pair (comma pair)*)? ws "}"
array ::= "[" ws (any (comma any)*)? ws "]"
any ::= object | array | string | number | boolean | null
"#;

/// The grammar of one call of any of these tools.
#[must_use]
pub fn of_call(tools: &[ToolSpec], form: Form) -> String {
    let mut writer = Writer { rules: String::new(), count: 0 };
    let calls: Vec<String> = tools
        .iter()
        .map(|tool| {
            let arguments = writer.object(&tool.schema, 0);
            let name = literal(&Value::from(tool.name.as_str()).to_string());
            let rule =
                format!(r#"{} colon {name} comma {} colon {arguments}"#, literal("\"name\""), literal("\"arguments\""));
            writer.rule(&rule)
        })
        .collect();
    let close = match form {
        Form::Tagged => format!(" ws {}", literal(CALL_CLOSE)),
        Form::Bare => String::new(),
    };
    format!("{ROOT} ::= ws \"{{\" ws ({}) ws \"}}\"{close}\n{}{COMMON}", calls.join(" | "), writer.rules)
}

/// The grammar of an answer that has a form; nothing follows it.
#[must_use]
pub fn of_answer(format: &Format) -> String {
    let mut writer = Writer { rules: String::new(), count: 0 };
    let answer = match format {
        Format::Object => "object".to_owned(),
        Format::Schema { schema, .. } => writer.value(schema, 0),
    };
    format!("{ROOT} ::= ws {answer}\n{}{COMMON}", writer.rules)
}

struct Writer {
    rules: String,
    count: usize,
}

impl Writer {
    /// Adds a rule; its name.
    fn rule(&mut self, body: &str) -> String {
        let name = format!("r{}", self.count);
        self.count += 1;
        // silent-ok: writing to a string cannot fail.
        let _infallible = writeln!(self.rules, "{name} ::= {body}");
        name
    }

    fn value(&mut self, schema: &Value, depth: usize) -> String {
        if depth > DEPTH_MAX {
            return "any".to_owned();
        }
        if let Some(choice) = schema.get("const") {
            return literal(&choice.to_string());
        }
        if let Some(choices) = schema.get("enum").and_then(Value::as_array)
            && (1..=CHOICES_MAX).contains(&choices.len())
        {
            let choices: Vec<String> = choices.iter().map(|choice| literal(&choice.to_string())).collect();
            return format!("({})", choices.join(" | "));
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(alternatives) = schema.get(key).and_then(Value::as_array)
                && (1..=ALTERNATIVES_MAX).contains(&alternatives.len())
            {
                let alternatives: Vec<String> =
                    alternatives.iter().map(|alternative| self.value(alternative, depth + 1)).collect();
                return format!("({})", alternatives.join(" | "));
            }
        }
        match schema.get("type") {
            Some(Value::String(kind)) => self.typed(kind, schema, depth),
            Some(Value::Array(kinds)) if !kinds.is_empty() => {
                let kinds: Vec<String> =
                    kinds.iter().filter_map(Value::as_str).map(|kind| self.typed(kind, schema, depth)).collect();
                if kinds.is_empty() { "any".to_owned() } else { format!("({})", kinds.join(" | ")) }
            }
            _ => "any".to_owned(),
        }
    }

    fn typed(&mut self, kind: &str, schema: &Value, depth: usize) -> String {
        match kind {
            "string" | "integer" | "number" | "boolean" | "null" => kind.to_owned(),
            "object" => self.object(schema, depth),
            "array" => match schema.get("items") {
                Some(items) => {
                    let item = self.value(items, depth + 1);
                    self.rule(&format!(r#""[" ws ({item} (comma {item})*)? ws "]""#))
                }
                None => "array".to_owned(),
            },
            _ => "any".to_owned(),
        }
    }

    fn object(&mut self, schema: &Value, depth: usize) -> String {
        let mut required = Vec::new();
        let mut optional = Vec::new();
        for (name, schema, is_required) in parameters(schema) {
            let value = self.value(schema, depth + 1);
            let pair = self.rule(&format!("{} colon {value}", literal(&Value::from(name).to_string())));
            if is_required { required.push(pair) } else { optional.push(pair) }
        }
        if required.is_empty() && optional.is_empty() {
            let is_closed =
                schema.get("additionalProperties") == Some(&Value::Bool(false)) || schema.get("properties").is_some();
            return if is_closed { self.rule(r#""{" ws "}""#) } else { "object".to_owned() };
        }
        let members = if required.is_empty() {
            // Without a required one any of the others may be the first.
            let starts: Vec<String> = (0..optional.len())
                .map(|first| format!("{}{}", optional[first], following(&optional[first + 1..])))
                .collect();
            format!("({})?", starts.join(" | "))
        } else {
            format!("{}{}", required.join(" comma "), following(&optional))
        };
        self.rule(&format!(r#""{{" ws {members} ws "}}""#))
    }
}

fn following(optional: &[String]) -> String {
    optional.iter().fold(String::new(), |mut text, pair| {
        // silent-ok: writing to a string cannot fail.
        let _infallible = write!(text, " (comma {pair})?");
        text
    })
}

/// A GBNF string literal of exactly this text.
fn literal(text: &str) -> String {
    let mut literal = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => literal.push_str("\\\""),
            '\\' => literal.push_str("\\\\"),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            other => literal.push(other),
        }
    }
    literal.push('"');
    literal
}

#[cfg(test)]
mod tests;
