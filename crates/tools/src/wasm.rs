//! WebAssembly: components whose exported functions are tools.
//!
//! [`engine`] knows how guests are run and for how long, [`component`] what of
//! a file becomes a tool, [`run`] what one call is. A guest gets a fresh store
//! per call and nothing of the host: what it does to files, addresses,
//! commands, variables and memory are calls that the gate decides one by one
//! ([`calls`]), and no file or socket is opened in this module but the cache
//! of compiled code.

pub mod bench;
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

pub(crate) use self::component::Components;
