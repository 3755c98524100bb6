//! Values between JSON and a component.
//!
//! Both directions follow the [`Shape`], whose depth is bounded, so neither
//! recursion can be made deep. Into a component the size is bounded by the
//! arguments; out of it by the budget, counted before anything is copied.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value};
use wasmtime::component::Val;

use super::schema::{EXACT_MAX, takes_null};
use super::shape::{Named, Noted, Shape, Signature, Whole};
use crate::text::{json_cost, short};

/// The parameters of a call; the error names the argument and what to change.
pub(super) fn params(signature: &Signature, args: &Map<String, Value>) -> Result<Vec<Val>, String> {
    signature.params.iter().map(|param| field(param, args, "")).collect()
}

fn field(field: &Named<Noted>, members: &Map<String, Value>, at: &str) -> Result<Val, String> {
    let at = below(at, &field.name);
    match (members.get(&field.name), &field.of.shape) {
        (Some(value), shape) => val(shape, value, &at),
        (None, Shape::Option(_)) => Ok(Val::Option(None)),
        (None, _) => Err(format!("argument `{at}` is missing")),
    }
}

fn val(shape: &Shape, value: &Value, at: &str) -> Result<Val, String> {
    let wrong = |what: &str| format!("argument `{at}` must be {what}, not {}", short(&value.to_string()));
    Ok(match shape {
        Shape::Bool => Val::Bool(value.as_bool().ok_or_else(|| wrong("true or false"))?),
        Shape::Whole(kind) => whole(*kind, value).ok_or_else(|| {
            let (least, most) = kind.range();
            wrong(&format!("an integer from {least} to {most}"))
        })?,
        Shape::Float32 => {
            #[expect(clippy::cast_possible_truncation, reason = "a wider number is rounded, as in every language")]
            let narrow = float(value).ok_or_else(|| wrong("a number"))? as f32;
            Val::Float32(narrow)
        }
        Shape::Float64 => Val::Float64(float(value).ok_or_else(|| wrong("a number"))?),
        Shape::Char => Val::Char(one_char(value).ok_or_else(|| wrong("one character"))?),
        Shape::Text => Val::String(value.as_str().ok_or_else(|| wrong("a text"))?.to_owned()),
        Shape::Bytes => bytes(value).ok_or_else(|| wrong("base64 text or a list of numbers from 0 to 255"))?,
        Shape::List(of) => {
            let items = value.as_array().ok_or_else(|| wrong("a list"))?;
            let items =
                items.iter().enumerate().map(|(index, item)| val(&of.shape, item, &below(at, &index.to_string())));
            Val::List(items.collect::<Result<_, _>>()?)
        }
        Shape::Tuple(of) => {
            let items = value.as_array().filter(|items| items.len() == of.len());
            let items = items.ok_or_else(|| wrong(&format!("a list of {} values", of.len())))?;
            let items = of.iter().zip(items).enumerate();
            let items = items.map(|(index, (of, item))| val(&of.shape, item, &below(at, &index.to_string())));
            Val::Tuple(items.collect::<Result<_, _>>()?)
        }
        Shape::Record(fields) => {
            let members = value.as_object().ok_or_else(|| wrong("an object"))?;
            let fields = fields.iter().map(|one| Ok((one.name.clone(), field(one, members, at)?)));
            Val::Record(fields.collect::<Result<_, String>>()?)
        }
        Shape::Variant(cases) => {
            let (name, payload) = one_member(value).ok_or_else(|| wrong("an object with exactly one case"))?;
            let case = cases.iter().find(|case| case.name == name).ok_or_else(|| wrong(&named(cases)))?;
            Val::Variant(case.name.clone(), side(case.of.as_ref(), payload, &below(at, name))?)
        }
        Shape::Result(ok, err) => match one_member(value) {
            Some(("ok", payload)) => Val::Result(Ok(side(ok.as_deref(), payload, &below(at, "ok"))?)),
            Some(("err", payload)) => Val::Result(Err(side(err.as_deref(), payload, &below(at, "err"))?)),
            _ => return Err(wrong("an object with `ok` or `err`")),
        },
        Shape::Enum(names) => {
            let name = value.as_str().filter(|name| names.iter().any(|one| one.name == *name));
            Val::Enum(name.ok_or_else(|| wrong(&named(names)))?.to_owned())
        }
        Shape::Flags(names) => {
            let given = value.as_array().ok_or_else(|| wrong("a list of flags"))?;
            let mut flags = Vec::new();
            for flag in given {
                let flag = flag.as_str().filter(|flag| names.iter().any(|one| one.name == *flag));
                let flag = flag.ok_or_else(|| wrong(&named(names)))?;
                if !flags.iter().any(|one| one == flag) {
                    flags.push(flag.to_owned());
                }
            }
            Val::Flags(flags)
        }
        Shape::Option(_) if value.is_null() => Val::Option(None),
        Shape::Option(of) if takes_null(&of.shape) => match one_member(value) {
            Some(("some", inner)) => Val::Option(Some(Box::new(val(&of.shape, inner, at)?))),
            _ => return Err(wrong("null or an object with `some`")),
        },
        Shape::Option(of) => Val::Option(Some(Box::new(val(&of.shape, value, at)?))),
    })
}

fn side(of: Option<&Noted>, payload: &Value, at: &str) -> Result<Option<Box<Val>>, String> {
    match of {
        Some(of) => Ok(Some(Box::new(val(&of.shape, payload, at)?))),
        None if payload.is_null() => Ok(None),
        None => Err(format!("argument `{at}` must be null")),
    }
}

fn whole(kind: Whole, value: &Value) -> Option<Val> {
    let number = match value {
        Value::Number(number) => i128::from(number.as_i64()?),
        // A text is a number only where JSON's own numbers do not reach.
        Value::String(text) if matches!(kind, Whole::S64 | Whole::U64) => text.parse().ok()?,
        _ => return None,
    };
    Some(match kind {
        Whole::S8 => Val::S8(number.try_into().ok()?),
        Whole::U8 => Val::U8(number.try_into().ok()?),
        Whole::S16 => Val::S16(number.try_into().ok()?),
        Whole::U16 => Val::U16(number.try_into().ok()?),
        Whole::S32 => Val::S32(number.try_into().ok()?),
        Whole::U32 => Val::U32(number.try_into().ok()?),
        Whole::S64 => Val::S64(number.try_into().ok()?),
        Whole::U64 => Val::U64(number.try_into().ok()?),
    })
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

fn one_char(value: &Value) -> Option<char> {
    let mut chars = value.as_str()?.chars();
    chars.next().filter(|_| chars.next().is_none())
}

fn bytes(value: &Value) -> Option<Val> {
    let bytes = match value {
        Value::String(text) => STANDARD.decode(text).ok()?,
        Value::Array(items) => {
            items.iter().map(|item| item.as_u64().and_then(|byte| byte.try_into().ok())).collect::<Option<_>>()?
        }
        _ => return None,
    };
    Some(Val::List(bytes.into_iter().map(Val::U8).collect()))
}

fn one_member(value: &Value) -> Option<(&str, &Value)> {
    let members = value.as_object().filter(|members| members.len() == 1)?;
    members.iter().next().map(|(name, value)| (name.as_str(), value))
}

fn named<T>(names: &[Named<T>]) -> String {
    let names: Vec<String> = names.iter().map(|one| format!("`{}`", one.name)).collect();
    format!("one of {}", names.join(", "))
}

fn below(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

/// Bytes that a result may still take as JSON.
#[derive(Debug)]
pub(super) struct Budget(pub(super) usize);

impl Budget {
    fn take(&mut self, bytes: usize) -> Result<(), String> {
        self.0 = self.0.checked_sub(bytes).ok_or("the result is larger than the tool's limit")?;
        Ok(())
    }
}

/// A result as JSON; the error says that it is too large.
pub(super) fn json(shape: &Shape, val: &Val, budget: &mut Budget) -> Result<Value, String> {
    budget.take(2)?;
    Ok(match (shape, val) {
        (Shape::Bytes, Val::List(items)) => {
            budget.take(items.len().div_ceil(3) * 4)?;
            let byte = |item: &Val| if let Val::U8(byte) = item { Some(*byte) } else { None };
            Value::String(STANDARD.encode(items.iter().filter_map(byte).collect::<Vec<_>>()))
        }
        (Shape::List(of), Val::List(items)) => {
            Value::Array(items.iter().map(|item| json(&of.shape, item, budget)).collect::<Result<_, _>>()?)
        }
        (Shape::Tuple(of), Val::Tuple(items)) => {
            let items = of.iter().zip(items);
            Value::Array(items.map(|(of, item)| json(&of.shape, item, budget)).collect::<Result<_, _>>()?)
        }
        (Shape::Record(fields), Val::Record(values)) => {
            let mut object = Map::new();
            for (field, (_, value)) in fields.iter().zip(values) {
                object.insert(text(&field.name, budget)?, json(&field.of.shape, value, budget)?);
            }
            Value::Object(object)
        }
        (Shape::Variant(cases), Val::Variant(name, payload)) => {
            let of = cases.iter().find(|case| case.name == *name).and_then(|case| case.of.as_ref());
            member(name, of, payload.as_deref(), budget)?
        }
        (Shape::Result(ok, _), Val::Result(Ok(payload))) => member("ok", ok.as_deref(), payload.as_deref(), budget)?,
        (Shape::Result(_, err), Val::Result(Err(payload))) => {
            member("err", err.as_deref(), payload.as_deref(), budget)?
        }
        (Shape::Option(_), Val::Option(None)) => Value::Null,
        (Shape::Option(of), Val::Option(Some(inner))) if takes_null(&of.shape) => {
            member("some", Some(of), Some(inner), budget)?
        }
        (Shape::Option(of), Val::Option(Some(inner))) => json(&of.shape, inner, budget)?,
        (_, Val::Flags(flags)) => {
            let flags = flags.iter().map(|flag| Ok(Value::String(text(flag, budget)?)));
            Value::Array(flags.collect::<Result<_, String>>()?)
        }
        (_, Val::Enum(name)) => Value::String(text(name, budget)?),
        (_, Val::String(string)) => Value::String(text(string, budget)?),
        (_, Val::Char(char)) => Value::String(char.to_string()),
        (_, Val::Bool(bool)) => Value::Bool(*bool),
        (_, plain) => number(plain).ok_or("the result is not of its declared type")?,
    })
}

fn member(name: &str, of: Option<&Noted>, payload: Option<&Val>, budget: &mut Budget) -> Result<Value, String> {
    let payload = match (of, payload) {
        (Some(of), Some(payload)) => json(&of.shape, payload, budget)?,
        _ => Value::Null,
    };
    Ok(Value::Object(Map::from_iter([(text(name, budget)?, payload)])))
}

fn text(string: &str, budget: &mut Budget) -> Result<String, String> {
    budget.take(string.chars().map(json_cost).sum())?;
    Ok(string.to_owned())
}

fn number(val: &Val) -> Option<Value> {
    Some(match val {
        Val::S8(n) => Value::from(*n),
        Val::U8(n) => Value::from(*n),
        Val::S16(n) => Value::from(*n),
        Val::U16(n) => Value::from(*n),
        Val::S32(n) => Value::from(*n),
        Val::U32(n) => Value::from(*n),
        Val::S64(n) if i128::from(*n).abs() > EXACT_MAX => Value::String(n.to_string()),
        Val::S64(n) => Value::from(*n),
        Val::U64(n) if i128::from(*n) > EXACT_MAX => Value::String(n.to_string()),
        Val::U64(n) => Value::from(*n),
        // The shortest text that reads back as the same `f32`, not the digits of its `f64`.
        Val::Float32(n) => n.to_string().parse().ok().and_then(finite).unwrap_or_else(|| infinite(f64::from(*n))),
        Val::Float64(n) => finite(*n).unwrap_or_else(|| infinite(*n)),
        _ => return None,
    })
}

fn finite(number: f64) -> Option<Value> {
    Number::from_f64(number).map(Value::Number)
}

fn infinite(number: f64) -> Value {
    let text = if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    };
    Value::String(text.to_owned())
}
