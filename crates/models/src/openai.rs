//! The adapter for providers that speak OpenAI's chat completions.
//!
//! A call streams: words and reasoning as they come, whole tool calls at the
//! end, then [`Delta::End`](are_core::model::Delta::End). It is asked again
//! only while the provider has not begun to answer. Whatever a provider sends,
//! a call ends in bounded time and memory, with an answer or a fault of the 04
//! group; no word of a provider's error body is in a fault.
//!
//! Unknown models pass through: what is known of models is data.

mod answer;
mod calls;
mod capability;
mod chunk;
mod request;

use std::sync::Arc;

use are_core::error::Fault;
use are_core::model::{ModelInfo, ModelRequest, ModelStream};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

pub use self::capability::Capability;
use self::request::{Dialect, WrittenTools};
use crate::http::Timeouts;
pub use crate::remote::Key;
use crate::remote::{Endpoint, address, exchange::Exchange, unusable_key, unwritten};

/// The host that takes `max_completion_tokens`; the compatible ones know
/// `max_tokens`.
const OPENAI_HOST: &str = "api.openai.com";

/// How to reach a provider, and with which models.
pub struct Settings {
    /// Name in the configuration, `provider` of `provider:model`.
    pub name: String,
    /// Address up to and including the version: `https://api.openai.com/v1`.
    pub base_url: String,
    /// Key, unless the provider wants none.
    pub key: Option<Key>,
    /// Configured models, the preferred one first.
    pub models: Vec<Capability>,
    /// True when nothing leaves the machine: the provider runs on it and calls
    /// no other. Only the operator can know.
    pub is_local: bool,
    /// Time-outs.
    pub timeouts: Timeouts,
}

/// A provider; clones share its connections.
#[derive(Clone)]
pub struct OpenAi {
    provider: Arc<Provider>,
}

struct Provider {
    endpoint: Arc<Endpoint>,
    models: Vec<Capability>,
    is_local: bool,
    tools: WrittenTools,
}

impl OpenAi {
    /// Checks the settings; nothing is connected or read yet.
    ///
    /// # Errors
    /// ARE-0002 when the address or the key cannot be used.
    pub fn new(settings: Settings) -> Result<Self, Fault> {
        let Settings { name, base_url, key, models, is_local, timeouts } = settings;
        let url = address(&name, &base_url, "https://api.openai.com/v1", &["chat", "completions"])?;
        let mut headers = HeaderMap::with_capacity(3);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(key) = &key {
            headers.insert(AUTHORIZATION, key.authorization().ok_or_else(|| unusable_key(&name))?);
        }
        let endpoint = Arc::new(Endpoint::new(name, url, headers, key, timeouts));
        let tools = WrittenTools::default();
        Ok(Self { provider: Arc::new(Provider { endpoint, models, is_local, tools }) })
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
        let known = capability::of(id, &self.provider.models);
        ModelInfo {
            name: format!("{}:{id}", self.name()),
            context_tokens: known.context_tokens,
            output_tokens: known.output_tokens,
            takes_temperature: known.takes_temperature,
            efforts: known.efforts.to_vec(),
            is_either: false,
            takes_images: known.takes_images,
            is_local: self.provider.is_local,
            continues: false,
        }
    }

    /// The configured models.
    #[must_use]
    pub fn list(&self) -> Vec<ModelInfo> {
        self.provider.models.iter().map(|model| self.info(&model.id)).collect()
    }

    /// Starts a call at the first poll of the stream; dropping the stream ends it.
    #[must_use]
    pub fn call(&self, request: &ModelRequest) -> ModelStream {
        let id = self.provider.endpoint.id(&request.model);
        let known = capability::of(id, &self.provider.models);
        let dialect = Dialect {
            says_completion_tokens: self.provider.endpoint.url.host_str() == Some(OPENAI_HOST),
            takes_temperature: known.takes_temperature,
            efforts: known.efforts,
        };
        let body = self.provider.tools.of(&request.tools);
        match body.and_then(|tools| request::body(request, tools.as_deref(), id, dialect)) {
            Ok(body) => Exchange::stream(Arc::clone(&self.provider.endpoint), body, answer::Answer::new),
            Err(error) => unwritten(&error),
        }
    }
}
