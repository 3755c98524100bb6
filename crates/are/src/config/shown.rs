//! The settings as `config show` prints them: secrets only as set or not.

use std::collections::BTreeMap;

use are_policy::limits::Limits;
use are_policy::prices::Prices;
use serde::Serialize;

use super::keys::KEYS;
use super::layers::{Layers, Origin, Setting};
use super::{Config, limits, policy};

/// One printed setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Its key.
    pub name: String,
    /// Its value; absent when unset; `(set)` for secrets.
    pub value: Option<String>,
    /// Where it came from.
    pub origin: String,
}

pub(super) fn of(config: &Config, layers: &Layers<'_>) -> Vec<Shown> {
    let mut shown: Vec<Shown> = KEYS.iter().map(|key| one(config, layers, key.name)).collect();
    for provider in config.providers.values() {
        let key = if provider.key.is_some() { "key set" } else { "no key" };
        shown.push(Shown {
            name: format!("providers.{}", provider.name),
            value: Some(format!("{} ({key})", provider.base_url)),
            origin: provider.origin.to_string(),
        });
    }
    let file = layers.file.path.display().to_string();
    let defaults = limits::shown(&Limits::default(), &Prices::default());
    for (name, value) in limits::shown(&config.limits, &config.prices) {
        let is_default = defaults.contains(&(name.clone(), value.clone()));
        let origin = if is_default { Origin::Default.to_string() } else { file.clone() };
        shown.push(Shown { name, value: Some(value), origin });
    }
    shown
}

fn one(config: &Config, layers: &Layers<'_>, name: &str) -> Shown {
    let setting = match name {
        "data_dir" => Some(config.data_dir.clone().map(|path| path.display().to_string())),
        "bind" => Some(config.bind.clone().map(|bind| bind.to_string())),
        "no_auth" => Some(config.no_auth.clone().map(|value| value.to_string())),
        "admin_token" => hidden(config.admin_token.as_ref()),
        "token" => hidden(config.token.as_ref()),
        "master_key" => hidden(config.master_key.as_ref()),
        "openai_api_key" | "anthropic_api_key" | "anthropic_auth_token" | "otlp_headers" => {
            layers.secret(name).ok().flatten().as_ref().and_then(|setting| hidden(Some(setting)))
        }
        "tz" => Some(config.tz.clone()),
        "response_cache" => Some(config.response_cache.clone().map(|value| value.to_string())),
        "adaptive" => Some(config.adaptive.clone().map(|value| value.to_string())),
        "compaction" => Some(config.compaction.clone().map(|value| value.to_string())),
        "policy" => Some(config.policy.clone().map(|choice| policy::shown(&choice))),
        "prompt_injection_defense" => Some(config.prompt_injection_defense.clone().map(|value| value.to_string())),
        "planner" => Some(config.planner.clone().map(|planner| planner.as_str().to_owned())),
        "prompt_firewall" => Some(config.prompt_firewall.clone().map(|value| value.to_string())),
        "firewall_model" => config.firewall_model.clone().map(|one| one.map(|path| path.display().to_string())),
        "audit_log" => Some(config.audit_log.clone().map(|value| value.to_string())),
        "allow" => Some(config.allow.clone())
            .filter(|allow| !allow.value.is_empty())
            .map(|allow| allow.map(|lines| lines.join(", "))),
        "workspace" => config.workspace.clone().map(|setting| setting.map(|path| path.display().to_string())),
        _ => layers.text(name),
    };
    match setting {
        Some(Setting { value, origin }) => {
            Shown { name: name.to_owned(), value: Some(value), origin: origin.to_string() }
        }
        None => Shown { name: name.to_owned(), value: None, origin: Origin::Default.to_string() },
    }
}

fn hidden(secret: Option<&Setting<super::Secret>>) -> Option<Setting<String>> {
    secret.map(|setting| Setting { value: "(set)".to_owned(), origin: setting.origin.clone() })
}

/// The settings in force as an object of names and values, secrets left out: what the journal keeps of a start.
#[must_use]
pub fn object(shown: &[Shown]) -> Vec<u8> {
    let values: BTreeMap<&str, Option<&str>> =
        shown.iter().map(|one| (one.name.as_str(), one.value.as_deref())).collect();
    // A map of texts, so encoding cannot fail.
    serde_json::to_vec(&values).unwrap_or_default()
}
