//! Texts with `{arg}` in them. `{{` and `}}` stand for the braces themselves, `${secret:x}` for a secret whose value is
//! put in where the text goes.

use are_core::error::Fault;
use are_core::ids::SecretName;
use are_policy::secrets;
use serde_json::{Map, Value};

use crate::registry::load::invalid;

/// Places in one text.
const PLACES_MAX: usize = 64;

/// A text with places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Fixed(String),
    Place(String),
    Secret(SecretName),
}

impl Text {
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        let mut pieces = Vec::new();
        for piece in secrets::pieces(text).map_err(|fault| invalid(fault.message, fault.help))? {
            match piece {
                secrets::Piece::Text(text) => Self::parse_plain(text, &mut pieces)?,
                secrets::Piece::Secret(name) => pieces.push(Piece::Secret(name)),
            }
        }
        if pieces.len() > PLACES_MAX * 2 {
            return Err(invalid(format!("a text has more than {PLACES_MAX} places"), "use fewer arguments"));
        }
        Ok(Self(pieces))
    }

    fn parse_plain(text: &str, pieces: &mut Vec<Piece>) -> Result<(), Fault> {
        let mut fixed = String::new();
        let mut rest = text.chars().peekable();
        while let Some(character) = rest.next() {
            match character {
                '{' | '}' if rest.peek() == Some(&character) => {
                    rest.next();
                    fixed.push(character);
                }
                '{' => {
                    let mut name = String::new();
                    let is_closed = loop {
                        match rest.next() {
                            Some('}') => break true,
                            Some(character) => name.push(character),
                            None => break false,
                        }
                    };
                    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
                    if !is_closed || name.is_empty() || !name.chars().all(is_name) {
                        return Err(invalid(
                            format!("`{{{name}` is no place for an argument"),
                            "write `{arg}`, or `{{` for a brace",
                        ));
                    }
                    if !fixed.is_empty() {
                        pieces.push(Piece::Fixed(std::mem::take(&mut fixed)));
                    }
                    pieces.push(Piece::Place(name));
                }
                '}' => return Err(invalid("a `}` stands alone", "write `}}` for a brace")),
                other => fixed.push(other),
            }
        }
        if !fixed.is_empty() {
            pieces.push(Piece::Fixed(fixed));
        }
        Ok(())
    }

    /// Names of the arguments in it.
    pub(super) fn places(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Place(name) => Some(name.as_str()),
            Piece::Fixed(_) | Piece::Secret(_) => None,
        })
    }

    /// Secrets in it.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Secret(name) => Some(name),
            Piece::Fixed(_) | Piece::Place(_) => None,
        })
    }

    /// Names of the arguments before that character.
    pub(super) fn places_before(&self, end: char) -> impl Iterator<Item = &str> {
        let before = self.0.iter().take_while(move |piece| !matches!(piece, Piece::Fixed(text) if text.contains(end)));
        before.filter_map(|piece| match piece {
            Piece::Place(name) => Some(name.as_str()),
            Piece::Fixed(_) | Piece::Secret(_) => None,
        })
    }

    /// What stands before the first place.
    pub(super) fn head(&self) -> &str {
        match self.0.first() {
            Some(Piece::Fixed(text)) => text,
            _ => "",
        }
    }

    /// The argument, if the text is nothing else.
    pub(super) fn only(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Piece::Place(name)] => Some(name),
            _ => None,
        }
    }

    /// The text with its arguments, each as `written` writes it.
    pub(super) fn fill(&self, args: &Map<String, Value>, written: impl Fn(&str) -> String) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Fixed(text) => text.clone(),
            Piece::Secret(name) => format!("{}{name}}}", secrets::MARK),
            Piece::Place(name) => written(&args.get(name).map(plain).unwrap_or_default()),
        };
        self.0.iter().map(piece).collect()
    }

    /// True when all of its arguments are there.
    pub(super) fn is_given(&self, args: &Map<String, Value>) -> bool {
        self.places().all(|name| args.get(name).is_some_and(|value| !value.is_null()))
    }
}

/// A value as text.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// JSON with texts in it that have places.
#[derive(Debug, Clone)]
pub(super) enum Tree {
    Fixed(Value),
    Text(Text),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Tree {
    pub(super) fn parse(value: Value) -> Result<Self, Fault> {
        Ok(match value {
            Value::String(text) => Self::Text(Text::parse(&text)?),
            Value::Array(items) => Self::List(items.into_iter().map(Self::parse).collect::<Result<_, _>>()?),
            Value::Object(members) => {
                let member = |(name, value)| Ok::<_, Fault>((name, Self::parse(value)?));
                Self::Object(members.into_iter().map(member).collect::<Result<_, _>>()?)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Self::Fixed(value),
        })
    }

    pub(super) fn places<'a>(&'a self, into: &mut Vec<&'a str>) {
        match self {
            Self::Fixed(_) => {}
            Self::Text(text) => into.extend(text.places()),
            Self::List(items) => items.iter().for_each(|item| item.places(into)),
            Self::Object(members) => members.iter().for_each(|(_, member)| member.places(into)),
        }
    }

    pub(super) fn secrets<'a>(&'a self, into: &mut Vec<&'a SecretName>) {
        match self {
            Self::Fixed(_) => {}
            Self::Text(text) => into.extend(text.secrets()),
            Self::List(items) => items.iter().for_each(|item| item.secrets(into)),
            Self::Object(members) => members.iter().for_each(|(_, member)| member.secrets(into)),
        }
    }

    /// A text that is one place takes the value with its type; a member or item whose argument is absent is left out.
    pub(super) fn fill(&self, args: &Map<String, Value>) -> Option<Value> {
        Some(match self {
            Self::Fixed(value) => value.clone(),
            Self::Text(text) if !text.is_given(args) => return None,
            Self::Text(text) => match text.only().and_then(|name| args.get(name)) {
                Some(value) => value.clone(),
                None => text.fill(args, str::to_owned).into(),
            },
            Self::List(items) => items.iter().filter_map(|item| item.fill(args)).collect(),
            Self::Object(members) => {
                members.iter().filter_map(|(name, member)| Some((name.clone(), member.fill(args)?))).collect()
            }
        })
    }
}

#[cfg(test)]
mod tests;
