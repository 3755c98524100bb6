//! WebAssembly: components whose exported functions are tools.

mod bindings;
mod cache;
mod calls;
mod clock;
mod compile;
mod component;
pub(crate) mod engine;
mod files;
mod guest;
mod host;
mod http;
mod inspect;
mod limits;
mod run;
mod schema;
mod shape;
mod stdio;
mod streams;
mod ticker;
mod value;

pub(crate) use self::component::{Components, Declare, Loaded};
