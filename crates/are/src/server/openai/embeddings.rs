//! Vectors of texts. The one model of them here knows words, not meanings: it is
//! what the search in memories uses, and is called what it is.

use std::sync::Arc;

use are_core::error::{Code, Fault};
use are_engine::engine::LEXICAL;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use serde_json::{Value, json};

use super::error::Wrong;
use super::fields::{Fields, HELP};
use crate::server::api;
use crate::server::app::App;

/// Texts of one request.
const INPUTS_MAX: usize = 256;

/// Turns texts into vectors, with the model `are-lexical` alone: near each other are texts that share words and parts
/// of words.
#[utoipa::path(post, path = "/v1/embeddings", request_body = Value, responses((status = 200, body = Value), (status = "default", body = Value)))]
pub(in crate::server) async fn embed(
    State(app): State<Arc<App>>,
    _: api::Who,
    request: Request<Body>,
) -> Result<Response, Wrong> {
    let mut fields = Fields::read(request.into_body()).await?;
    let model: String = fields.require("model")?;
    if model != LEXICAL {
        let shown: String = model.chars().take(64).collect();
        let help = format!("the one there is, `{LEXICAL}`, knows words and not meanings; ask a provider for others");
        return Err(Fault::new(Code::MODEL_UNKNOWN, format!("`{shown}` makes no embeddings here"), help).into());
    }
    let texts = match fields.require::<Value>("input")? {
        Value::String(text) => vec![text],
        list => serde_json::from_value::<Vec<String>>(list)
            .map_err(|_| Wrong::at("input", "`input` is neither a text nor texts", "send texts and not tokens"))?,
    };
    if texts.is_empty() || texts.len() > INPUTS_MAX || texts.iter().any(String::is_empty) {
        let message = format!("`input` takes 1 to {INPUTS_MAX} texts, none of them empty");
        return Err(Wrong::at("input", message, HELP));
    }
    let is_base64 = match fields.take::<String>("encoding_format")?.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(Wrong::at("encoding_format", "this encoding is not known", HELP)),
    };
    let words: usize = texts.iter().map(|text| text.split_whitespace().count()).sum();
    let vectors = app.engine.embed(texts).await?;
    let dimensions = vectors.first().map_or(0, Vec::len);
    if fields.take::<usize>("dimensions")?.is_some_and(|wanted| wanted != dimensions) {
        let message = format!("`{LEXICAL}` has {dimensions} dimensions and no others");
        return Err(Wrong::at("dimensions", message, "leave `dimensions` out"));
    }
    let one = |(index, vector): (usize, &Vec<f32>)| {
        let embedding = if is_base64 {
            let bytes: Vec<u8> = vector.iter().flat_map(|part| part.to_le_bytes()).collect();
            Value::String(STANDARD.encode(bytes))
        } else {
            json!(vector)
        };
        json!({"object": "embedding", "index": index, "embedding": embedding})
    };
    let data: Vec<Value> = vectors.iter().enumerate().map(one).collect();
    let answer = json!({
        "object": "list",
        "data": data,
        "model": LEXICAL,
        "usage": {"prompt_tokens": words, "total_tokens": words},
    });
    api::json(&answer).map_err(|refusal| refusal.fault().clone().into())
}
