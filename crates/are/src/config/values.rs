//! Texts to types: addresses, switches, lists, time zones.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use are_core::error::{Code, Fault};
use are_tools::cage::LAYERS;
use are_tools::{Destinations, InvalidDestination};
use url::Url;

use super::files;
use super::layers::{Layers, Origin, Setting};

/// Port served when none is named.
const PORT: u16 = 8888;

/// An address to serve on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// `localhost` for both families of loopback, or an address.
    host: Option<IpAddr>,
    /// 0 for any free port.
    port: u16,
}

impl Bind {
    /// Loopback in both address families.
    pub(super) const DEFAULT: Self = Self { host: None, port: PORT };

    /// The address; absent for both families of loopback.
    #[must_use]
    pub const fn host(&self) -> Option<IpAddr> {
        self.host
    }

    /// The port; 0 for any free one.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// True when only this machine can reach it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host.is_none_or(|host| host.is_loopback())
    }

    fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Some(Self { host: Some(address.ip()), port: address.port() });
        }
        if let Ok(host) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Some(Self { host: Some(host), port: PORT });
        }
        match text.rsplit_once(':') {
            Some(("localhost" | "", port)) => Some(Self { host: None, port: port.parse().ok()? }),
            None if text == "localhost" => Some(Self::DEFAULT),
            None => Some(Self { host: None, port: text.parse().ok()? }),
            Some(_) => None,
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            Some(host) => SocketAddr::new(host, self.port).fmt(f),
            None => write!(f, "localhost:{}", self.port),
        }
    }
}

/// A value that is not usable, with where it came from.
pub(super) fn invalid(name: &str, setting: &Setting<String>, what: &str, help: &str) -> Fault {
    Fault::new(
        Code::CONFIG_INVALID,
        format!("`{}` is not {what} for `{name}` (from {})", setting.value, setting.origin),
        help,
    )
}

pub(super) fn bind(layers: &Layers<'_>) -> Result<Setting<Bind>, Fault> {
    let Some(setting) = layers.text("bind") else { return Ok(Setting::default_of(Bind::DEFAULT)) };
    let Some(value) = Bind::parse(&setting.value) else {
        return Err(invalid("bind", &setting, "an address", "write `localhost:8888`, `127.0.0.1:8888` or `[::]:8888`"));
    };
    Ok(Setting { value, origin: setting.origin })
}

pub(super) fn check_no_auth(bind: &Setting<Bind>, no_auth: &Setting<bool>) -> Result<(), Fault> {
    if no_auth.value && !bind.value.is_loopback() {
        return Err(Fault::new(
            Code::CONFIG_CONFLICT,
            format!(
                "`no_auth` (from {}) is for loopback only, but `bind` is `{}` (from {})",
                no_auth.origin, bind.value, bind.origin
            ),
            "bind loopback, or leave tokens on",
        ));
    }
    Ok(())
}

/// Two sources of one key would leave open which of them a secret needs.
pub(super) fn check_master_key(config: &super::Config) -> Result<(), Fault> {
    match (&config.master_key, &config.master_key_command) {
        (Some(key), Some(command)) => Err(Fault::new(
            Code::CONFIG_CONFLICT,
            format!(
                "the master key comes from {}, and `master_key_command` is set too ({})",
                key.origin, command.origin
            ),
            "unset one of them; several keys stand behind one another in one source, the one in use first",
        )),
        _ => Ok(()),
    }
}

pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

pub(super) fn boolean(layers: &Layers<'_>, name: &str, default: bool) -> Result<Setting<bool>, Fault> {
    let Some(setting) = layers.text(name) else { return Ok(Setting::default_of(default)) };
    match parse_bool(&setting.value) {
        Some(value) => Ok(Setting { value, origin: setting.origin }),
        None => Err(invalid(name, &setting, "a switch", "write `true` or `false`")),
    }
}

/// Who says which tools the user's words ask for, before a turn begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planner {
    /// Nobody.
    Off,
    /// The session's model, which is shown those words and the tools' declarations alone.
    Model,
}

impl Planner {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Model => "model",
        }
    }
}

pub(super) fn planner(layers: &Layers<'_>) -> Result<Setting<Planner>, Fault> {
    let Some(setting) = layers.text("planner") else { return Ok(Setting::default_of(Planner::Off)) };
    match [Planner::Off, Planner::Model].into_iter().find(|planner| planner.as_str() == setting.value) {
        Some(value) => Ok(Setting { value, origin: setting.origin }),
        None => Err(invalid("planner", &setting, "a planner", "write `off` or `model`")),
    }
}

/// A plan narrows the decision by flow; where that is off it would be paid for and change nothing.
pub(super) fn check_planner(config: &super::Config) -> Result<(), Fault> {
    if config.planner.value == Planner::Off || config.prompt_injection_defense.value {
        return Ok(());
    }
    let message = format!(
        "`planner = model` (from {}) narrows the decision by the flow of information, and `prompt_injection_defense` \
         (from {}) switches that off",
        config.planner.origin, config.prompt_injection_defense.origin
    );
    Err(Fault::new(Code::CONFIG_CONFLICT, message, "leave one of the two out"))
}

/// Name of the log of audit.
pub(super) fn log_name(layers: &Layers<'_>) -> Result<Option<Setting<String>>, Fault> {
    let Some(setting) = layers.text("audit_name") else { return Ok(None) };
    match crate::audit::key::check_name(&setting.value) {
        Ok(()) => Ok(Some(setting)),
        Err(fault) => Err(invalid("audit_name", &setting, "the name of a log", &fault.help)),
    }
}

pub(super) fn list(layers: &Layers<'_>, name: &str) -> Setting<Vec<String>> {
    let Some(setting) = layers.text(name) else { return Setting::default_of(Vec::new()) };
    setting.map(|text| text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
}

/// Lines of the file, or items of the environment.
pub(super) fn lines(layers: &Layers<'_>, name: &str) -> Setting<Vec<String>> {
    match layers.text(name) {
        Some(setting) if matches!(setting.origin, Origin::File(_)) => {
            setting.map(|text| text.lines().map(str::to_owned).collect())
        }
        Some(_) | None => list(layers, name),
    }
}

pub(super) fn cage_layers(layers: &Layers<'_>) -> Result<Setting<Vec<String>>, Fault> {
    let setting = list(layers, "cage_require");
    match setting.value.iter().find(|name| !LAYERS.contains(&name.as_str())) {
        None => Ok(setting),
        Some(name) => {
            let found = Setting { value: name.clone(), origin: setting.origin.clone() };
            let known = LAYERS.map(|name| format!("`{name}`")).join(", ");
            Err(invalid("cage_require", &found, "a layer of the cage", &format!("name any of {known}")))
        }
    }
}

pub(super) fn destinations(layers: &Layers<'_>) -> Result<Setting<Destinations>, Fault> {
    let Some(setting) = layers.text("egress") else { return Ok(Setting::default_of(Destinations::default())) };
    let value = setting.value.parse().map_err(|error: InvalidDestination| {
        Fault::new(
            Code::CONFIG_INVALID,
            format!("`egress` (from {}): {error}", setting.origin),
            "write for example `registries,git.example.com,mirror.example.com:8443`",
        )
    })?;
    Ok(Setting { value, origin: setting.origin })
}

pub(super) fn host_ports(layers: &Layers<'_>, name: &str) -> Result<Setting<Vec<String>>, Fault> {
    let setting = list(layers, name);
    for item in &setting.value {
        let port =
            item.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none_or(|port| port == 0) {
            let found = Setting { value: item.clone(), origin: setting.origin.clone() };
            return Err(invalid(name, &found, "a `host:port`", "write for example `127.0.0.1:5432,db.internal:5432`"));
        }
    }
    Ok(setting)
}

pub(super) fn parse_web_address(text: &str) -> Option<Url> {
    let url: Url = text.parse().ok()?;
    // A credential in an address would be shown wherever the address is.
    let is_plain = url.username().is_empty() && url.password().is_none();
    (matches!(url.scheme(), "http" | "https") && url.has_host() && is_plain).then_some(url)
}

pub(super) fn web_address(layers: &Layers<'_>, name: &str) -> Result<Option<Setting<Url>>, Fault> {
    let Some(setting) = layers.text(name) else { return Ok(None) };
    match parse_web_address(&setting.value) {
        Some(value) => Ok(Some(Setting { value, origin: setting.origin })),
        None => Err(invalid(name, &setting, "a web address", "write for example `https://are.example.org`")),
    }
}

pub(super) fn origins(layers: &Layers<'_>) -> Result<Setting<Vec<String>>, Fault> {
    let setting = list(layers, "origins");
    for item in &setting.value {
        // An origin is exactly what a browser sends; `*`, paths and `null` would open the door to any page.
        let is_origin = parse_web_address(item).is_some_and(|url| url.origin().ascii_serialization() == *item);
        if !is_origin {
            let found = Setting { value: item.clone(), origin: setting.origin.clone() };
            return Err(invalid("origins", &found, "a browser origin", "write for example `https://app.example.org`"));
        }
    }
    Ok(setting)
}

/// The time zone's IANA name. What `TZ` says in another form than a name is left to the system.
pub(super) fn time_zone(layers: &Layers<'_>, warnings: &mut Vec<String>) -> Result<Setting<String>, Fault> {
    let Some(setting) = layers.text("tz") else {
        // The library reads the whole directory of zones before it names one, at every start and for every verb.
        let linked = files::linked_zone(Path::new("/etc/localtime"));
        return Ok(Setting::default_of(linked.unwrap_or_else(system_time_zone)));
    };
    if jiff::tz::TimeZone::get(&setting.value).is_ok() {
        return Ok(setting);
    }
    if setting.origin == Origin::Environment("TZ".to_owned()) {
        warnings.push(format!("`TZ` is `{}`, which is no zone's name; the system's zone is used", setting.value));
        return Ok(Setting::default_of(system_time_zone()));
    }
    Err(invalid("tz", &setting, "a time zone", "write an IANA name such as `Europe/Berlin`"))
}

fn system_time_zone() -> String {
    let zone = jiff::tz::TimeZone::try_system().ok();
    zone.as_ref().and_then(|zone| zone.iana_name()).unwrap_or("UTC").to_owned()
}
