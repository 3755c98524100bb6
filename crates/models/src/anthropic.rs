//! The adapter for Anthropic's Messages API and those who speak it.
//!
//! A call streams: words and thinking as they come, whole tool calls at the
//! end, then [`Delta::End`](are_core::model::Delta::End). What a model signed of
//! its thinking goes back to it verbatim, and to nobody else. Attempts, limits
//! and faults are those of every remote provider.
//!
//! What is known of models is data; unknown ones pass through.

mod answer;
mod capability;
mod event;
mod request;
mod thinking;

use std::sync::Arc;

use are_core::error::Fault;
use are_core::model::{ModelInfo, ModelRequest, ModelStream};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};

use self::capability::Thinking;
use self::request::WrittenTools;
use crate::http::Timeouts;
pub use crate::remote::Key;
use crate::remote::{Endpoint, address, exchange::Exchange, unusable_key, unwritten};

/// The version of the interface that is spoken.
const VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// How to reach a provider, and with which models.
pub struct Settings {
    /// Name in the configuration, `provider` of `provider:model`.
    pub name: String,
    /// Address as its SDK takes it, `https://api.anthropic.com`; one that ends in `/v1` is understood too.
    pub base_url: String,
    /// Key, unless the provider wants none.
    pub key: Option<Key>,
    /// True where it is a token that goes as `Authorization: Bearer`, as gateways want it, instead of as `x-api-key`.
    pub is_bearer: bool,
    /// Ids of the configured models, the preferred one first.
    pub models: Vec<String>,
    /// Time-outs.
    pub timeouts: Timeouts,
}

/// A provider; clones share its connections.
#[derive(Clone)]
pub struct Anthropic {
    provider: Arc<Provider>,
}

struct Provider {
    endpoint: Arc<Endpoint>,
    models: Vec<String>,
    tools: WrittenTools,
}

impl Anthropic {
    /// Checks the settings; nothing is connected or read yet.
    ///
    /// # Errors
    /// ARE-0002 when the address or the key cannot be used.
    pub fn new(settings: Settings) -> Result<Self, Fault> {
        let Settings { name, base_url, key, is_bearer, models, timeouts } = settings;
        let url = address(&name, &base_url, "https://api.anthropic.com", &["v1", "messages"])?;
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        headers.insert(HeaderName::from_static("anthropic-version"), VERSION);
        if let Some(key) = &key {
            let (header, value) = match is_bearer {
                true => (AUTHORIZATION, key.authorization()),
                false => (HeaderName::from_static("x-api-key"), key.header()),
            };
            headers.insert(header, value.ok_or_else(|| unusable_key(&name))?);
        }
        let endpoint = Arc::new(Endpoint::new(name, url, headers, key, timeouts));
        Ok(Self { provider: Arc::new(Provider { endpoint, models, tools: WrittenTools::default() }) })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.provider.endpoint.name
    }

    /// What a model can do; `model` is `provider:model` or the provider's own id.
    #[must_use]
    pub fn info(&self, model: &str) -> ModelInfo {
        let id = self.provider.endpoint.id(model);
        let known = capability::of(id);
        ModelInfo {
            name: format!("{}:{id}", self.name()),
            context_tokens: known.context_tokens,
            output_tokens: known.output_tokens,
            // One that always thinks takes none, whatever else it takes.
            takes_temperature: known.takes_temperature && known.thinking != Thinking::Adaptive,
            efforts: known.efforts.clone(),
            is_either: known.thinking == Thinking::Budget,
            takes_images: true,
            is_local: false,
            continues: false,
        }
    }

    /// The configured models.
    #[must_use]
    pub fn list(&self) -> Vec<ModelInfo> {
        self.provider.models.iter().map(|model| self.info(model)).collect()
    }

    /// Starts a call at the first poll of the stream; dropping the stream ends it.
    #[must_use]
    pub fn call(&self, request: &ModelRequest) -> ModelStream {
        let endpoint = &self.provider.endpoint;
        let id = endpoint.id(&request.model);
        let written = self
            .provider
            .tools
            .of(&request.tools)
            .and_then(|tools| request::write(request, tools.as_deref(), (&endpoint.name, id), capability::of(id)));
        match written {
            Ok(written) => {
                let shown = written.shown;
                Exchange::stream(Arc::clone(endpoint), written.body, move |faults| answer::Answer::new(faults, shown))
            }
            Err(error) => unwritten(&error),
        }
    }
}
