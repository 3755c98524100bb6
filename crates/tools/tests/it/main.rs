//! The tools through their port: real directories, a real server on loopback.

mod files;
mod http;
mod paths;
mod race;
mod registry;
mod support;
mod variables;
