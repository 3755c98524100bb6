//! The settings there are: one table from which file keys, environment
//! variables, `config show` and the warnings about unknown names are made.

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// Its key in `are.toml`; also its name in `config show`.
    pub name: &'static str,
    /// Environment variables, the first that is set counts.
    pub env: &'static [&'static str],
    /// True when its value is never shown and may also stand in a file named by `…_FILE`.
    pub is_secret: bool,
    /// True when `are.toml` may hold it.
    pub is_in_file: bool,
    /// What it is, for people.
    pub about: &'static str,
}

const fn key(name: &'static str, env: &'static [&'static str], about: &'static str) -> Key {
    Key { name, env, is_secret: false, is_in_file: true, about }
}

const fn outside(name: &'static str, env: &'static [&'static str], is_secret: bool, about: &'static str) -> Key {
    Key { name, env, is_secret, is_in_file: false, about }
}

/// Every setting, in the order in which `config show` prints them.
pub const KEYS: &[Key] = &[
    key("data_dir", &["ARE_DATA_DIR"], "where sessions, tokens and agents are kept"),
    key("bind", &["ARE_BIND"], "address to serve on"),
    key("no_auth", &["ARE_NO_AUTH"], "serve loopback without tokens"),
    outside("admin_token", &["ARE_ADMIN_TOKEN"], true, "token with every scope"),
    outside("master_key", &["ARE_MASTER_KEY"], true, "what the secrets are sealed by, 64 hexadecimal digits"),
    key("master_key_command", &["ARE_MASTER_KEY_COMMAND"], "a command that prints it, run once at start"),
    key("model", &["ARE_MODEL"], "model as `provider:model`, further ones answer when it cannot"),
    key("local_llm", &["ARE_LOCAL_LLM", "OPENCLAW_LOCAL_LLM"], "local model: `true`, an alias or a GGUF path"),
    outside("openai_api_key", &["OPENAI_API_KEY"], true, "key of the provider `openai`"),
    outside("openai_base_url", &["OPENAI_BASE_URL"], false, "address of the provider `openai`, ending in `/v1`"),
    outside("anthropic_api_key", &["ANTHROPIC_API_KEY"], true, "key of the provider `anthropic`"),
    outside("anthropic_auth_token", &["ANTHROPIC_AUTH_TOKEN"], true, "token sent as bearer instead of that key"),
    outside("anthropic_base_url", &["ANTHROPIC_BASE_URL"], false, "address of the provider `anthropic`"),
    key("response_cache", &["ARE_RESPONSE_CACHE"], "`true`: the same request gets the same answer for an hour"),
    key("adaptive", &["ARE_ADAPTIVE"], "`true`: turns are adaptive unless a prompt says otherwise"),
    key("tiers", &["ARE_TIERS"], "models that adaptive turns choose from, cheapest first, two to four"),
    key("compaction", &["ARE_COMPACTION"], "`false`: a full context loses its oldest turns instead of being summed up"),
    key("tz", &["ARE_TZ", "OPENCLAW_TZ", "OPENCLAW_LOCAL_TZ", "TZ"], "time zone of dates in prompts and display"),
    key("policy", &["ARE_POLICY"], "`observe`, `contained`, `ask`, `strict` or a directory of rules"),
    key("allow", &["ARE_ALLOW"], "calls to permit, one line each: `fs_write docs/*`"),
    key("zero_trust", &["ARE_ZERO_TRUST", "OPENCLAW_ZERO_TRUST"], "`false` is the profile `observe`"),
    key(
        "prompt_injection_defense",
        &["ARE_PROMPT_INJECTION_DEFENSE", "OPENCLAW_PROMPT_INJECTION_DEFENSE"],
        "`false`: calls are not decided by the flow of information",
    ),
    key(
        "prompt_firewall",
        &["ARE_PROMPT_FIREWALL", "OPENCLAW_PROMPT_FIREWALL"],
        "`false`: prompts and results are not scanned for attacks",
    ),
    key("planner", &["ARE_PLANNER"], "`model`: what your words ask for is planned first, and only narrows; `off`"),
    key("firewall_model", &["ARE_FIREWALL_MODEL"], "file of weights for the prompt firewall, instead of its own"),
    key(
        "audit_log",
        &["ARE_AUDIT_LOG", "OPENCLAW_AUDIT_LOG"],
        "`false`: no checkpoints, proofs and export; the journal stays",
    ),
    key("audit_name", &["ARE_AUDIT_NAME"], "name of the log of audit, when it is begun"),
    key("workspace", &["ARE_WORKSPACE"], "where every session works"),
    key("cage_require", &["ARE_CAGE_REQUIRE"], "layers of the cage without which no command runs"),
    key("egress", &["ARE_EGRESS"], "hosts or presets (`registries`) that commands may reach"),
    key("egress_private", &["ARE_EGRESS_PRIVATE"], "`host:port,…` that tools may reach although private"),
    key("public_url", &["ARE_PUBLIC_URL"], "address under which clients see this server"),
    key("hosts", &["ARE_HOSTS"], "further names in `Host` that are accepted"),
    key("origins", &["ARE_ORIGINS"], "further browser origins that are accepted"),
    key("otlp_endpoint", &["OTEL_EXPORTER_OTLP_ENDPOINT"], "collector that spans and figures of turns are sent to"),
    outside("otlp_headers", &["OTEL_EXPORTER_OTLP_HEADERS"], true, "headers for it, `name=value,…`"),
    outside("otlp_protocol", &["OTEL_EXPORTER_OTLP_PROTOCOL"], false, "`http/protobuf`, the one that is spoken"),
    key("otlp_service", &["OTEL_SERVICE_NAME"], "what this server is called there"),
    key("otlp_attributes", &["OTEL_RESOURCE_ATTRIBUTES"], "what else is said of it there, `name=value,…`"),
    outside("otlp_disabled", &["OTEL_SDK_DISABLED"], false, "`true`: nothing is sent, whatever else is set"),
    key("log", &["ARE_LOG"], "level or filter of the log on stderr"),
    outside("config", &["ARE_CONFIG"], false, "configuration file"),
    outside("url", &["ARE_URL"], false, "server that client verbs speak to"),
    outside("token", &["ARE_TOKEN"], true, "token for that server"),
];

/// Tables of `are.toml`.
pub const TABLES: &[&str] = &["limits", "mcp", "prices", "providers"];

/// The setting of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// `ARE_*` variables that name no setting, with the nearest one that does.
pub fn unknown_variables<'a>(names: impl Iterator<Item = &'a str>) -> Vec<(String, Option<&'static str>)> {
    let known: Vec<&'static str> = KEYS.iter().flat_map(|key| key.env.iter().copied()).collect();
    let is_known = |name: &str| {
        known.contains(&name)
            || name
                .strip_suffix("_FILE")
                .is_some_and(|stem| KEYS.iter().any(|key| key.is_secret && key.env.contains(&stem)))
    };
    // Compared without the prefix that they all share, which would make everything similar.
    let suggest = |name: &str| {
        let bare = |name: &'static str| name.strip_prefix("ARE_");
        let near = nearest(name.strip_prefix("ARE_")?, known.iter().copied().filter_map(bare))?;
        known.iter().copied().find(|known| bare(known) == Some(near))
    };
    let mut unknown: Vec<_> = names
        .filter(|name| name.starts_with("ARE_") && !is_known(name))
        .map(|name| (name.to_owned(), suggest(name)))
        .collect();
    unknown.sort();
    unknown
}

/// The candidate most like `name`, if one is like it at all.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    /// Below this Jaro-Winkler similarity a suggestion is rather a riddle.
    const SIMILAR_MIN: f64 = 0.9;
    candidates
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= SIMILAR_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests;
