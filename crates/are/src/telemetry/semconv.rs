//! Names of OpenTelemetry's semantic conventions that are used here, and nowhere else written out.
//!
//! The conventions for generative AI are in *Development*: names may change
//! with a later version of them, and then change here.
//!
//! SOURCE: <https://github.com/open-telemetry/semantic-conventions>, version 1.41, `docs/gen-ai`.

/// Version of the conventions, as spans name it.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.41.0";

/// `chat`, `invoke_agent` or `execute_tool`.
pub const OPERATION_NAME: &str = "gen_ai.operation.name";
/// Name of the provider in the settings.
pub const PROVIDER_NAME: &str = "gen_ai.provider.name";
/// The model that is asked.
pub const REQUEST_MODEL: &str = "gen_ai.request.model";
/// True: every answer is read as it comes.
pub const REQUEST_STREAM: &str = "gen_ai.request.stream";
/// `json` where an answer must have a form, else `text`.
pub const OUTPUT_TYPE: &str = "gen_ai.output.type";
/// Why an answer ended; one, because there is one answer.
pub const FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
/// Seconds from the request to the first piece of the answer.
pub const TIME_TO_FIRST_CHUNK: &str = "gen_ai.response.time_to_first_chunk";
/// Tokens read.
pub const INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
/// Tokens written.
pub const OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
/// Of the tokens read, those that the provider had cached.
pub const CACHE_READ_TOKENS: &str = "gen_ai.usage.cache_read.input_tokens";
/// Of the tokens read, those that it cached now.
pub const CACHE_CREATION_TOKENS: &str = "gen_ai.usage.cache_creation.input_tokens";
/// Key of the session.
pub const CONVERSATION_ID: &str = "gen_ai.conversation.id";
/// The agent.
pub const AGENT_NAME: &str = "gen_ai.agent.name";
/// The tool.
pub const TOOL_NAME: &str = "gen_ai.tool.name";
/// The call, as the model is told of it.
pub const TOOL_CALL_ID: &str = "gen_ai.tool.call.id";
/// `function`.
pub const TOOL_TYPE: &str = "gen_ai.tool.type";
/// A code of this program, or a word where nothing failed that has one.
pub const ERROR_TYPE: &str = "error.type";
/// Version of this program.
pub const SERVICE_VERSION: &str = "service.version";
/// `input` or `output`.
pub const TOKEN_TYPE: &str = "gen_ai.token.type";
/// Number of the turn in its session; ours, because the conventions have no word for it.
pub const TURN: &str = "are.turn";

/// Tokens of a model's call.
pub const TOKEN_USAGE: &str = "gen_ai.client.token.usage";
/// Seconds of a model's call.
pub const OPERATION_DURATION: &str = "gen_ai.client.operation.duration";
/// Seconds until the first piece of its answer.
pub const FIRST_CHUNK: &str = "gen_ai.client.operation.time_to_first_chunk";

/// Upper ends of the buckets of tokens, as the conventions have them.
pub const TOKEN_BOUNDARIES: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
/// Upper ends of the buckets of durations, in seconds.
pub const DURATION_BOUNDARIES: [f64; 14] =
    [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
/// Upper ends of the buckets of the time to the first piece, in seconds.
pub const FIRST_CHUNK_BOUNDARIES: [f64; 16] =
    [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
