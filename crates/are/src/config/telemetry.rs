//! Where spans and figures of turns are sent, in the words of the OpenTelemetry SDKs.
//!
//! Their variables are read as they read them. Nothing is sent unless an
//! endpoint is named: there is no default one.

use are_core::error::Fault;
use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use url::Url;

use super::Secret;
use super::layers::{Layers, Setting};
use super::values::{invalid, web_address};

/// Entries of a list of headers or attributes.
const ENTRIES_MAX: usize = 64;
/// How the collector is spoken to; the SDKs know others.
const PROTOCOL: &str = "http/protobuf";

/// Where to send.
#[derive(Clone)]
pub struct Settings {
    /// Address of the collector, without the path of a signal.
    pub endpoint: Url,
    /// Headers of every request, their values percent-encoded.
    pub headers: Vec<(String, Secret)>,
    /// Name of this server.
    pub service: Option<String>,
    /// What else is said of it.
    pub attributes: Vec<(String, String)>,
}

impl Settings {
    /// Values that nothing must repeat.
    pub fn secrets(&self) -> impl Iterator<Item = String> + '_ {
        self.headers.iter().map(|(_, value)| decoded(value.expose()).unwrap_or_else(|| value.expose().to_owned()))
    }
}

/// What is set; nothing without an endpoint, and nothing where all of it is switched off.
pub(super) fn settings(layers: &Layers<'_>) -> Result<Option<Settings>, Fault> {
    // SOURCE: of the OpenTelemetry specification, "SDK configuration": whatever is not `true` is false.
    let is_off = layers.text("otlp_disabled").is_some_and(|text| text.value.eq_ignore_ascii_case("true"));
    let Some(endpoint) = web_address(layers, "otlp_endpoint")?.filter(|_| !is_off) else { return Ok(None) };
    if endpoint.value.query().is_some() || endpoint.value.fragment().is_some() {
        let help = "write for example `http://localhost:4318`";
        return Err(invalid("otlp_endpoint", &endpoint.map(|url| url.to_string()), "an address without a query", help));
    }
    if let Some(protocol) = layers.text("otlp_protocol").filter(|protocol| protocol.value != PROTOCOL) {
        let help = "write `http/protobuf`, and name the collector's port for HTTP, mostly 4318";
        return Err(invalid("otlp_protocol", &protocol, "a protocol that is spoken here", help));
    }
    let service = layers.text("otlp_service").map(|name| name.value);
    let attributes = match layers.text("otlp_attributes") {
        Some(setting) => pairs(&setting.value)
            .and_then(|pairs| pairs.into_iter().map(|(name, value)| Some((name, decoded(&value)?))).collect())
            .ok_or_else(|| invalid("otlp_attributes", &setting, "a list of attributes", HELP))?,
        None => Vec::new(),
    };
    Ok(Some(Settings { endpoint: endpoint.value, headers: headers(layers)?, service, attributes }))
}

/// What is said about a list that cannot be read.
const HELP: &str =
    "write `name=value,name=value` with at most 64 entries, values percent-encoded where they hold a comma";

fn headers(layers: &Layers<'_>) -> Result<Vec<(String, Secret)>, Fault> {
    let Some(setting) = layers.secret("otlp_headers")? else { return Ok(Vec::new()) };
    let is_header = |(name, value): &(String, String)| {
        let is_value = |value: String| HeaderValue::from_str(&value).is_ok();
        HeaderName::from_bytes(name.as_bytes()).is_ok() && decoded(value).is_some_and(is_value)
    };
    match pairs(setting.value.expose()).filter(|pairs| pairs.iter().all(is_header)) {
        Some(pairs) => Ok(pairs.into_iter().map(|(name, value)| (name, Secret::new(&value))).collect()),
        // The value is a secret, so that it is not repeated.
        None => {
            let hidden = Setting { value: "(set)".to_owned(), origin: setting.origin };
            Err(invalid("otlp_headers", &hidden, "a list of headers", HELP))
        }
    }
}

/// `name=value,name=value`; `None` when it is something else.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let read = |entry: &str| {
        let (name, value) = entry.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
    };
    let pairs: Option<Vec<(String, String)>> = entries.take(ENTRIES_MAX + 1).map(read).collect();
    pairs.filter(|pairs| pairs.len() <= ENTRIES_MAX)
}

fn decoded(value: &str) -> Option<String> {
    percent_decode_str(value).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_the_sdks_read_them() {
        let of = |pairs: &[(&str, &str)]| Some(pairs.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect());
        assert_eq!(pairs("a=1, b = 2,,c=x=y"), of(&[("a", "1"), ("b", "2"), ("c", "x=y")]));
        assert_eq!(pairs(""), of(&[]));
        assert_eq!(decoded("Bearer%20x%2C"), Some("Bearer x,".to_owned()));
        for wrong in ["a", "=1", "a=1,b", &"a=1,".repeat(ENTRIES_MAX + 1)] {
            assert_eq!(pairs(wrong), None, "{wrong}");
        }
        assert_eq!(decoded("%ff"), None);
    }
}
