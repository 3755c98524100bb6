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
mod exchange;
mod fault;
mod key;
mod request;
mod sse;

use std::sync::Arc;

use are_core::error::{Code, Fault};
use are_core::model::{ModelInfo, ModelRequest, ModelStream};
use futures_util::stream;
use url::Url;

pub use self::capability::Capability;
pub use self::key::Key;
use self::request::{Dialect, WrittenTools};
use crate::http::{Client, Timeouts};

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
    name: String,
    endpoint: Url,
    key: Option<Key>,
    models: Vec<Capability>,
    is_local: bool,
    client: Client,
    tools: WrittenTools,
}

impl OpenAi {
    /// Checks the settings; nothing is connected or read yet.
    ///
    /// # Errors
    /// ARE-0002 when the address or the key cannot be used.
    pub fn new(settings: Settings) -> Result<Self, Fault> {
        let Settings { name, base_url, key, models, is_local, timeouts } = settings;
        let endpoint = endpoint(&name, &base_url)?;
        if key.as_ref().is_some_and(|key| key.authorization().is_none()) {
            return Err(Fault::new(
                Code::CONFIG_INVALID,
                format!("the key of provider `{name}` has characters that cannot be sent"),
                "check for line breaks or quotes around it",
            ));
        }
        let client = Client::new(timeouts);
        Ok(Self {
            provider: Arc::new(Provider {
                name,
                endpoint,
                key,
                models,
                is_local,
                client,
                tools: WrittenTools::default(),
            }),
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.provider.name
    }

    /// What a model can do; `model` is `provider:model` or the provider's own id.
    #[must_use]
    pub fn info(&self, model: &str) -> ModelInfo {
        let id = self.id(model);
        let known = capability::of(id, &self.provider.models);
        ModelInfo {
            name: format!("{}:{id}", self.provider.name),
            context_tokens: known.context_tokens,
            output_tokens: known.output_tokens,
            takes_temperature: known.takes_temperature,
            is_local: self.provider.is_local,
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
        let id = self.id(&request.model);
        let dialect = Dialect {
            says_completion_tokens: self.provider.endpoint.host_str() == Some(OPENAI_HOST),
            takes_temperature: capability::of(id, &self.provider.models).takes_temperature,
        };
        let body = self.provider.tools.of(&request.tools);
        match body.and_then(|tools| request::body(request, tools.as_deref(), id, dialect)) {
            Ok(body) => exchange::Exchange::stream(self.provider.clone(), body),
            Err(error) => {
                let fault =
                    Fault::new(Code::INTERNAL, format!("the request cannot be written: {error}"), "report this");
                Box::pin(stream::iter([Err(fault)]))
            }
        }
    }

    /// The provider's own id of a model; ids may contain colons themselves.
    fn id<'a>(&self, model: &'a str) -> &'a str {
        model.strip_prefix(self.name()).and_then(|rest| rest.strip_prefix(':')).unwrap_or(model)
    }
}

/// `{base_url}/chat/completions`; a query, as some gateways want, is kept.
fn endpoint(name: &str, base_url: &str) -> Result<Url, Fault> {
    let refuse = |why: &str| {
        let message = format!("`base_url` of provider `{name}` {why}");
        Fault::new(Code::CONFIG_INVALID, message, "write it like `https://api.openai.com/v1`")
    };
    let mut url = Url::parse(base_url).map_err(|_| refuse("is not an address"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refuse("is neither http nor https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("contains a password; keys belong into the key's variable"));
    }
    url.set_fragment(None);
    url.path_segments_mut().map_err(|()| refuse("cannot have a path"))?.pop_if_empty().extend(["chat", "completions"]);
    Ok(url)
}
