//! `URL` for scripts, by the code that also reads where requests go.

use serde::Deserialize;
use serde_json::{Value, json};
use url::{Url, quirks};

#[derive(Debug, Deserialize)]
pub(super) struct Request {
    href: String,
    #[serde(default)]
    base: Option<String>,
    #[serde(default)]
    set: Option<(String, String)>,
}

/// The parts of a URL, changed if that is asked; `null` for what is none.
pub(super) fn read(request: &Request) -> Value {
    parsed(request).map_or(Value::Null, |url| {
        json!({
            "href": quirks::href(&url),
            "origin": quirks::origin(&url),
            "protocol": quirks::protocol(&url),
            "username": quirks::username(&url),
            "password": quirks::password(&url),
            "host": quirks::host(&url),
            "hostname": quirks::hostname(&url),
            "port": quirks::port(&url),
            "pathname": quirks::pathname(&url),
            "search": quirks::search(&url),
            "hash": quirks::hash(&url),
        })
    })
}

fn parsed(request: &Request) -> Option<Url> {
    let base = match &request.base {
        Some(base) => Some(Url::parse(base).ok()?),
        None => None,
    };
    let mut url = Url::options().base_url(base.as_ref()).parse(&request.href).ok()?;
    if let Some((name, value)) = &request.set {
        // As in browsers, a part that cannot be set stays as it is.
        let is_set = match name.as_str() {
            "href" => {
                url = Url::parse(value).ok()?;
                Ok(())
            }
            "protocol" => quirks::set_protocol(&mut url, value),
            "username" => quirks::set_username(&mut url, value),
            "password" => quirks::set_password(&mut url, value),
            "host" => quirks::set_host(&mut url, value),
            "hostname" => quirks::set_hostname(&mut url, value),
            "port" => quirks::set_port(&mut url, value),
            "pathname" => {
                quirks::set_pathname(&mut url, value);
                Ok(())
            }
            "search" => {
                quirks::set_search(&mut url, value);
                Ok(())
            }
            "hash" => {
                quirks::set_hash(&mut url, value);
                Ok(())
            }
            _ => Err(()),
        };
        if is_set.is_err() {
            tracing::trace!(name, "a part of a URL was not set");
        }
    }
    Some(url)
}
