//! Integration tests of the program and its server, one binary.

#[cfg(test)]
mod accounts;
#[cfg(test)]
mod accounts_apart;
#[cfg(test)]
mod acp_stage;
#[cfg(test)]
mod approvals;
#[cfg(test)]
mod attacks_accounts;
#[cfg(test)]
mod attacks_agents;
#[cfg(test)]
mod attacks_compaction;
#[cfg(test)]
mod attacks_console;
#[cfg(test)]
mod attacks_doors;
#[cfg(test)]
mod attacks_flow;
#[cfg(test)]
mod attacks_limits;
#[cfg(test)]
mod attacks_mcp;
#[cfg(test)]
mod attacks_openai;
#[cfg(test)]
mod audit_log;
#[cfg(test)]
mod audit_stage;
#[cfg(test)]
mod audit_store;
#[cfg(test)]
mod campaign_check;
#[cfg(test)]
mod campaign_client;
#[cfg(test)]
mod campaign_damage;
#[cfg(test)]
mod campaign_disk;
#[cfg(test)]
mod campaign_kill;
#[cfg(test)]
mod campaign_power;
#[cfg(test)]
mod campaign_provider;
#[cfg(test)]
mod campaign_stage;
#[cfg(test)]
mod campaign_strace;
#[cfg(test)]
mod campaign_sync;
#[cfg(test)]
mod cli_accounts;
#[cfg(test)]
mod cli_acp;
#[cfg(test)]
mod cli_agents;
#[cfg(test)]
mod cli_audit;
#[cfg(test)]
mod cli_examples;
#[cfg(test)]
mod cli_help;
#[cfg(test)]
mod cli_limits;
#[cfg(test)]
mod cli_mcp;
#[cfg(test)]
mod cli_mcp_login;
#[cfg(test)]
mod cli_mcp_serve;
#[cfg(test)]
mod cli_models;
#[cfg(test)]
mod cli_policy;
#[cfg(test)]
mod cli_rules;
#[cfg(test)]
mod cli_run;
#[cfg(test)]
mod cli_secrets;
#[cfg(test)]
mod cli_secrets_canary;
#[cfg(test)]
mod cli_settings;
#[cfg(test)]
mod cli_stage;
#[cfg(test)]
mod cli_terminal;
#[cfg(test)]
mod cli_tools;
#[cfg(test)]
mod cli_undo;
#[cfg(test)]
mod cli_usage;
#[cfg(test)]
mod cli_verbs;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod commands_network;
#[cfg(test)]
mod conformance_server;
#[cfg(test)]
mod console;
#[cfg(test)]
mod console_browser;
#[cfg(test)]
mod console_files;
#[cfg(test)]
mod decisions;
#[cfg(test)]
mod firewall;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod fixture_socket;
#[cfg(test)]
mod flow_suites;
#[cfg(test)]
mod layout;
#[cfg(test)]
mod local_model;
#[cfg(test)]
mod local_offline;
#[cfg(test)]
mod mcp_conformance;
#[cfg(test)]
mod mcp_stage;
#[cfg(test)]
mod observing;
#[cfg(test)]
mod openai_sdks;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod rfc6455;
#[cfg(test)]
mod rfc6455_random;
#[cfg(test)]
mod rfc6455_wire;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod server_api;
#[cfg(test)]
mod server_audit;
#[cfg(test)]
mod server_doors;
#[cfg(test)]
mod server_inbox;
#[cfg(test)]
mod server_malformed;
#[cfg(test)]
mod server_mcp;
#[cfg(test)]
mod server_openai;
#[cfg(test)]
mod server_openai_stored;
#[cfg(test)]
mod server_secrets;
#[cfg(test)]
mod server_v1;
#[cfg(test)]
mod server_v2;
#[cfg(test)]
mod snapshots;
#[cfg(test)]
mod telemetry;
