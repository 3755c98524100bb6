//! `/api/ws-schema.json`: the JSON Schema of both directions of `are.v2`.

use serde_json::{Value, json};
use utoipa::OpenApi;

use super::client::{Attach, ClientFrame, Content, Effort, PromptFrame, Voice, WirePart};
use super::event::{Announced, Direct, Event, Parent, Tokens, What, WireError, WireLevels};

#[derive(OpenApi)]
#[openapi(components(schemas(
    ClientFrame,
    Attach,
    PromptFrame,
    Content,
    WirePart,
    Voice,
    Effort,
    Direct,
    Event,
    What,
    Parent,
    Tokens,
    WireLevels,
    WireError,
    Announced
)))]
struct Frames;

/// The schema. References stay as the generator writes them, hence the layout under `components`.
pub(in crate::server) fn ws_schema() -> Value {
    let document = serde_json::to_value(Frames::openapi()).unwrap_or_default();
    let of = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Frames of the WebSocket subprotocol are.v2",
        "description": "One JSON text per message. `client` is what the server accepts, `server` what it sends.",
        "client": of("ClientFrame"),
        "server": {"oneOf": [
            of("Direct"),
            of("Event"),
            {
                "description": "Token text: position and text, or first position, last position and text.",
                "type": "array",
                "minItems": 2,
                "maxItems": 3,
            },
        ]},
        "components": {"schemas": document["components"]["schemas"]},
    })
}
