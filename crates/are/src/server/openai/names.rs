//! Names and ids: the client's on one side, the runtime's on the other.

use std::collections::BTreeMap;

use are_core::ids::{CallNo, SessionKey, ToolName, TurnNo};
use are_core::model::ToolSpec;
use serde_json::{Value, json};

use super::error::Wrong;

/// Characters of a tool's name.
const NAME_CHARS_MAX: usize = 64;
/// Hexadecimal digits of a session's key that are random: they tell calls of one session from another's.
const SALT_DIGITS: usize = 16;

/// A tool as a client declares it.
pub(super) struct Declared {
    /// Where in the request.
    pub(super) param: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) schema: Option<Value>,
}

/// The client's names of its tools beside those under which a model knows them.
#[derive(Default)]
pub(super) struct Names(Vec<(ToolName, String)>);

impl Names {
    /// The names and the tools for the model.
    pub(super) fn of(declared: Vec<Declared>) -> Result<(Self, Vec<ToolSpec>), Wrong> {
        let (mut names, mut specs) = (Self::default(), Vec::with_capacity(declared.len()));
        for Declared { param, name, description, schema } in declared {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            let help = "name it with 1 to 64 of a-z, A-Z, 0-9, _ and -";
            if name.len() > NAME_CHARS_MAX || !name.chars().all(is_name) {
                return Err(Wrong::at(param, "this is no name for a tool", help));
            }
            let inner: ToolName = snake(&name).parse().map_err(|_| Wrong::at(&param, "the name says nothing", help))?;
            if let Some((_, other)) = names.0.iter().find(|(known, _)| *known == inner) {
                let message = format!("`{other}` and `{name}` are one name here, `{inner}`");
                return Err(Wrong::at(param, message, "rename one"));
            }
            let schema = schema.unwrap_or_else(|| json!({"type": "object", "properties": {}}));
            specs.push(ToolSpec { name: inner.clone(), description, schema, example: None });
            names.0.push((inner, name));
        }
        Ok((names, specs))
    }

    /// The names of these tools, as they are kept with a turn: the model's, then the client's.
    pub(super) fn kept(&self) -> BTreeMap<ToolName, String> {
        self.0.iter().cloned().collect()
    }

    /// The names that were kept.
    pub(super) fn again(kept: BTreeMap<ToolName, String>) -> Self {
        Self(kept.into_iter().collect())
    }

    /// The client's name of a tool.
    pub(super) fn outer(&self, inner: &str) -> String {
        let found = self.0.iter().find(|(known, _)| known.as_str() == inner);
        found.map_or_else(|| inner.to_owned(), |(_, outer)| outer.clone())
    }

    /// The name under which a model knows a tool of the client's.
    pub(super) fn inner(&self, outer: &str) -> String {
        let found = self.0.iter().find(|(_, known)| known == outer);
        found.map_or_else(|| outer.to_owned(), |(inner, _)| inner.to_string())
    }
}

/// `getWeather` and `get-weather` as `get_weather`.
fn snake(text: &str) -> String {
    let mut out = String::new();
    let mut was_lower = false;
    for c in text.chars() {
        if !c.is_ascii_alphanumeric() {
            if !out.is_empty() && !out.ends_with('_') {
                out.push('_');
            }
            was_lower = false;
            continue;
        }
        if c.is_ascii_uppercase() && was_lower {
            out.push('_');
        }
        was_lower = !c.is_ascii_uppercase();
        out.push(c.to_ascii_lowercase());
    }
    out.trim_end_matches('_').to_owned()
}

/// What begins the ids of a session's calls. Sessions number their calls from 1, and a conversation that its client
/// keeps goes through many sessions.
fn salt(session: SessionKey) -> String {
    let key = session.to_string().replace('-', "");
    key[key.len() - SALT_DIGITS..].to_owned()
}

/// The id of a call.
pub(super) fn call_id(session: SessionKey, call: CallNo) -> String {
    format!("call_{}_{call}", salt(session))
}

/// The id by which the session itself knows a call of its own; any other as it is.
pub(super) fn call_within(session: SessionKey, id: &str) -> String {
    let own = id.strip_prefix("call_").and_then(|rest| rest.strip_prefix(&salt(session))?.strip_prefix('_'));
    own.map_or_else(|| id.to_owned(), |call| format!("call_{call}"))
}

/// The id of an answer.
pub(super) fn answer_id(prefix: &str, session: SessionKey, turn: TurnNo) -> String {
    format!("{prefix}{session}-{turn}")
}

/// Session and turn of an answer.
pub(super) fn answered(prefix: &str, id: &str) -> Option<(SessionKey, TurnNo)> {
    let (session, turn) = id.strip_prefix(prefix)?.rsplit_once('-')?;
    Some((session.parse().ok()?, turn.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_lead_back_to_what_they_name() {
        let session: SessionKey = "0190a0b0-0000-7000-8000-0123456789ab".parse().unwrap();
        let id = answer_id("resp_", session, 12);
        assert_eq!(answered("resp_", &id), Some((session, 12)));
        assert_eq!(answered("chatcmpl-", &id), None);
        let call = call_id(session, 7);
        assert_eq!((call.as_str(), call_within(session, &call).as_str()), ("call_80000123456789ab_7", "call_7"));
        assert_eq!(call_within(session, "call_other"), "call_other");
        assert!(call_id(session, CallNo::MAX).len() <= 40, "providers take no longer ids");
    }

    #[test]
    fn names_are_turned_to_those_that_a_model_here_knows_and_back() {
        let tool = |name: &str| Declared {
            param: "tools[0]".into(),
            name: name.into(),
            description: String::new(),
            schema: None,
        };
        let (names, specs) = Names::of(vec![tool("getWeather"), tool("send-mail")]).unwrap();
        assert_eq!(specs.iter().map(|spec| spec.name.as_str()).collect::<Vec<_>>(), ["get_weather", "send_mail"]);
        assert_eq!((names.outer("get_weather"), names.inner("send-mail")), ("getWeather".into(), "send_mail".into()));
        for wrong in [vec![tool("a b")], vec![tool("")], vec![tool("--")], vec![tool("aB"), tool("a_b")]] {
            assert!(Names::of(wrong).is_err());
        }
    }
}
