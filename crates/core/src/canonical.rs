//! Arguments as canonical bytes: what is hashed, shown, stored and executed.
//!
//! Text from a model or client is read strictly (no duplicate keys, bounded
//! depth, finite numbers) and then written as RFC 8785, so that a policy never
//! judges another reading of the bytes than the tool receives.

use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use crate::digest::Digest;

/// Deepest nesting accepted in arguments and frames.
pub const DEPTH_MAX: usize = 64;

/// Why a text is refused as canonical JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not acceptable JSON: {0}")]
pub struct InvalidJson(String);

/// Reads JSON strictly: duplicate keys, nesting deeper than [`DEPTH_MAX`],
/// numbers that are not finite and trailing bytes are errors.
pub fn parse_strict(text: &[u8]) -> Result<Value, InvalidJson> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Strict { depth: 0 }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| InvalidJson(error.to_string()))?;
    Ok(value)
}

/// Writes a value as RFC 8785.
pub fn to_canonical(value: &impl Serialize) -> Result<String, InvalidJson> {
    serde_json_canonicalizer::to_string(value).map_err(|error| InvalidJson(error.to_string()))
}

/// The canonical bytes of a call's arguments; always a JSON object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Args(Arc<str>);

impl Args {
    /// Reads `text` strictly and canonicalises it; an empty text is `{}`.
    pub fn parse(text: &str) -> Result<Self, InvalidJson> {
        if text.trim().is_empty() {
            return Ok(Self("{}".into()));
        }
        Self::from_value(&parse_strict(text.as_bytes())?)
    }

    /// Canonicalises a value that is already parsed, under the same limits as a text.
    pub fn from_value(value: &Value) -> Result<Self, InvalidJson> {
        if !value.is_object() {
            return Err(InvalidJson("arguments must be a JSON object".to_owned()));
        }
        let text = to_canonical(value)?;
        // What was put together here must be readable when it comes back from the journal.
        parse_strict(text.as_bytes())?;
        Ok(Self(text.into()))
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The arguments as a map.
    #[must_use]
    pub fn to_map(&self) -> Map<String, Value> {
        // Constructed from an object, so the fallback is unreachable; an empty map is the safe reading.
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    /// SHA-256 of the canonical bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&[self.0.as_bytes()])
    }
}

impl TryFrom<String> for Args {
    type Error = InvalidJson;

    fn try_from(text: String) -> Result<Self, InvalidJson> {
        Self::parse(&text)
    }
}

impl From<Args> for String {
    fn from(args: Args) -> Self {
        args.0.as_ref().to_owned()
    }
}

/// Keys that mean something to serde_json itself.
const RESERVED: &str = "$serde_json::private::";

/// Seed that carries the depth down.
struct Strict {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate keys")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let depth = self.descend::<A::Error>()?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(Self { depth })? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let depth = self.descend::<A::Error>()?;
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            // SECURITY: serde_json would parse the text under such a key again, past the depth and the keys checked here.
            if key.starts_with(RESERVED) {
                return Err(A::Error::custom(format!("a key begins with the reserved `{RESERVED}`")));
            }
            let value = access.next_value_seed(Self { depth })?;
            if map.contains_key(&key) {
                return Err(A::Error::custom("an object has the same key twice"));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

impl Strict {
    fn descend<E: serde::de::Error>(&self) -> Result<usize, E> {
        if self.depth >= DEPTH_MAX {
            return Err(E::custom("nested deeper than 64 levels"));
        }
        Ok(self.depth + 1)
    }
}

#[cfg(test)]
mod tests;
