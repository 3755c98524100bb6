//! The tools through their port: real directories, a real server on loopback.

#[cfg(test)]
mod artifact;
#[cfg(test)]
mod below;
#[cfg(test)]
mod cage;
#[cfg(test)]
mod cage_cgroup;
#[cfg(test)]
mod cage_undo;
#[cfg(test)]
mod egress;
#[cfg(test)]
mod files;
#[cfg(test)]
mod giving_up;
#[cfg(test)]
mod http;
#[cfg(test)]
mod js;
#[cfg(test)]
mod living;
#[cfg(test)]
mod mcp;
#[cfg(test)]
mod mcp_attacks;
#[cfg(test)]
mod mcp_login;
#[cfg(test)]
mod mcp_noted;
#[cfg(test)]
mod mcp_remote;
#[cfg(test)]
mod mcp_support;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod paths;
#[cfg(test)]
mod race;
#[cfg(test)]
mod registry;
#[cfg(test)]
mod search;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod support;
#[cfg(test)]
mod undo;
#[cfg(test)]
mod variables;
#[cfg(test)]
mod wasm_bounds;
#[cfg(test)]
mod wasm_cache;
#[cfg(test)]
mod wasm_host;
#[cfg(test)]
mod wasm_support;
#[cfg(test)]
mod wasm_types;
