//! What a component's function takes and gives, read from its WIT.
//!
//! One tree per function, from which the schema is written and by which values
//! are converted. Types of WIT are finite but share parts, so that a small
//! file can describe a huge tree: nodes and depth are bounded. What JSON
//! cannot carry (resources, streams, futures) makes a function one that is not
//! served, and the error says why.

use wit_parser::{Docs, Function, FunctionKind, Resolve, Type, TypeDefKind, TypeId};

/// Nodes of one function's types.
const NODES_MAX: usize = 2_000;
/// Levels of one function's types; schemas are not nested deeper than 16, and a type takes up to two of these.
const DEPTH_MAX: usize = 12;
/// Characters of a field's or type's documentation that are passed on.
const NOTE_CHARS_MAX: usize = 300;

/// A type, as JSON shows it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    Bool,
    Whole(Whole),
    Float32,
    Float64,
    Char,
    Text,
    /// `list<u8>`.
    Bytes,
    List(Box<Noted>),
    Tuple(Vec<Noted>),
    Record(Vec<Named<Noted>>),
    Variant(Vec<Named<Option<Noted>>>),
    Enum(Vec<Named<()>>),
    Flags(Vec<Named<()>>),
    Option(Box<Noted>),
    Result(Option<Box<Noted>>, Option<Box<Noted>>),
}

/// A shape with what its author says about it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Noted {
    pub(super) shape: Shape,
    pub(super) note: Option<String>,
}

/// A field, case, or flag.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Named<T> {
    pub(super) name: String,
    pub(super) of: T,
    pub(super) note: Option<String>,
}

/// An integer type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    S8,
    U8,
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
}

impl Whole {
    /// Least and greatest value.
    pub(super) const fn range(self) -> (i128, i128) {
        match self {
            Self::S8 => (i8::MIN as i128, i8::MAX as i128),
            Self::U8 => (0, u8::MAX as i128),
            Self::S16 => (i16::MIN as i128, i16::MAX as i128),
            Self::U16 => (0, u16::MAX as i128),
            Self::S32 => (i32::MIN as i128, i32::MAX as i128),
            Self::U32 => (0, u32::MAX as i128),
            Self::S64 => (i64::MIN as i128, i64::MAX as i128),
            Self::U64 => (0, u64::MAX as i128),
        }
    }
}

/// A function's parameters and result.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Signature {
    pub(super) params: Vec<Named<Noted>>,
    pub(super) result: Option<Noted>,
}

impl Signature {
    /// Reads a function; the error says why it cannot be a tool.
    pub(super) fn of(resolve: &Resolve, function: &Function) -> Result<Self, String> {
        if function.kind != FunctionKind::Freestanding {
            return Err("it belongs to a resource or is asynchronous".to_owned());
        }
        let mut reader = Reader { resolve, nodes: 0 };
        let mut params = Vec::new();
        for param in &function.params {
            let of = reader.read(&param.ty, 0)?;
            params.push(Named { name: param.name.clone(), note: None, of });
        }
        let result = function.result.as_ref().map(|ty| reader.read(ty, 0)).transpose()?;
        Ok(Self { params, result })
    }
}

struct Reader<'a> {
    resolve: &'a Resolve,
    nodes: usize,
}

impl Reader<'_> {
    fn read(&mut self, ty: &Type, depth: usize) -> Result<Noted, String> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(format!("its types have more than {NODES_MAX} parts"));
        }
        if depth > DEPTH_MAX {
            return Err(format!("its types are nested deeper than {DEPTH_MAX} levels"));
        }
        let shape = match ty {
            Type::Bool => Shape::Bool,
            Type::U8 => Shape::Whole(Whole::U8),
            Type::U16 => Shape::Whole(Whole::U16),
            Type::U32 => Shape::Whole(Whole::U32),
            Type::U64 => Shape::Whole(Whole::U64),
            Type::S8 => Shape::Whole(Whole::S8),
            Type::S16 => Shape::Whole(Whole::S16),
            Type::S32 => Shape::Whole(Whole::S32),
            Type::S64 => Shape::Whole(Whole::S64),
            Type::F32 => Shape::Float32,
            Type::F64 => Shape::Float64,
            Type::Char => Shape::Char,
            Type::String => Shape::Text,
            Type::ErrorContext => return Err("it uses what JSON cannot carry (`error-context`)".to_owned()),
            Type::Id(id) => return self.defined(*id, depth),
        };
        Ok(Noted { shape, note: None })
    }

    fn defined(&mut self, id: TypeId, depth: usize) -> Result<Noted, String> {
        let def = &self.resolve.types[id];
        let mut child = |ty: &Type| self.read(ty, depth + 1);
        let shape = match &def.kind {
            // A second name for a type is no level of its own, but a chain of names must end too.
            TypeDefKind::Type(ty) => {
                let inner = child(ty)?;
                return Ok(Noted { note: note(&def.docs).or(inner.note), shape: inner.shape });
            }
            TypeDefKind::Record(record) => {
                let field = |field: &wit_parser::Field| {
                    Ok(Named { name: field.name.clone(), note: note(&field.docs), of: child(&field.ty)? })
                };
                Shape::Record(record.fields.iter().map(field).collect::<Result<_, String>>()?)
            }
            TypeDefKind::Variant(variant) => {
                let case = |case: &wit_parser::Case| {
                    let of = case.ty.as_ref().map(&mut child).transpose()?;
                    Ok(Named { name: case.name.clone(), note: note(&case.docs), of })
                };
                Shape::Variant(variant.cases.iter().map(case).collect::<Result<_, String>>()?)
            }
            TypeDefKind::Tuple(tuple) => Shape::Tuple(tuple.types.iter().map(child).collect::<Result<_, String>>()?),
            TypeDefKind::List(Type::U8) => Shape::Bytes,
            TypeDefKind::List(ty) => Shape::List(Box::new(child(ty)?)),
            TypeDefKind::Option(ty) => Shape::Option(Box::new(child(ty)?)),
            TypeDefKind::Result(result) => {
                let mut side = |ty: &Option<Type>| ty.as_ref().map(&mut child).transpose().map(|one| one.map(Box::new));
                Shape::Result(side(&result.ok)?, side(&result.err)?)
            }
            TypeDefKind::Enum(cases) => {
                Shape::Enum(self.names(cases.cases.iter().map(|case| (&case.name, &case.docs)))?)
            }
            TypeDefKind::Flags(flags) => {
                Shape::Flags(self.names(flags.flags.iter().map(|flag| (&flag.name, &flag.docs)))?)
            }
            other => return Err(format!("it uses what JSON cannot carry (`{}`)", other.as_str())),
        };
        Ok(Noted { shape, note: note(&def.docs) })
    }

    fn names<'a>(&mut self, names: impl Iterator<Item = (&'a String, &'a Docs)>) -> Result<Vec<Named<()>>, String> {
        let names: Vec<_> = names.map(|(name, docs)| Named { name: name.clone(), of: (), note: note(docs) }).collect();
        self.nodes += names.len();
        if self.nodes > NODES_MAX { Err(format!("its types have more than {NODES_MAX} parts")) } else { Ok(names) }
    }
}

/// Documentation, in one bounded line.
fn note(docs: &Docs) -> Option<String> {
    words(docs, NOTE_CHARS_MAX)
}

/// The start of documentation, in one line.
pub(super) fn words(docs: &Docs, chars_max: usize) -> Option<String> {
    let text = docs.contents.as_deref()?.split_whitespace().collect::<Vec<_>>().join(" ");
    let start: String = text.chars().filter(|c| !c.is_control()).take(chars_max).collect();
    (!start.is_empty()).then_some(start)
}
