//! Integration tests of the program and its server, one binary.

mod cli_deps;
mod cli_help;
mod cli_run;
mod cli_settings;
mod cli_stage;
mod cli_verbs;
mod fixture;
mod fixture_socket;
mod schema;
mod server_api;
mod server_doors;
mod server_malformed;
mod server_v1;
mod server_v2;
