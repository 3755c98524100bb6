//! The limits that several crates must agree on, each with unit and reason.
//! Limits of one module stand in that module.

/// Bytes of one prompt or steer, all parts together: more than a long article, less than a flood.
pub const PROMPT_BYTES_MAX: usize = 1 << 20;
/// What an image may be: what every provider that takes images takes.
pub const IMAGE_TYPES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];
/// Parts of one prompt.
pub const PROMPT_PARTS_MAX: usize = 64;
/// Steps (model calls and tool calls) of one turn before it is stopped.
pub const TURN_STEPS_MAX: u32 = 200;
/// Prompts that may wait behind a running turn.
pub const PENDING_TURNS_MAX: usize = 8;
/// Tool calls in one answer; more is a broken or hostile model.
pub const CALLS_PER_ANSWER_MAX: usize = 64;
/// Bytes of one call's arguments as the model writes them.
pub const CALL_ARGUMENTS_BYTES_MAX: usize = 1 << 20;
/// Bytes of one answer's text and reasoning.
pub const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Bytes of one frame's text; longer pieces are split at a character.
pub const FRAME_BYTES_MAX: usize = 16 << 10;
/// Bytes of a tool result that are stored.
pub const TOOL_STORED_BYTES_MAX: usize = 1 << 20;
/// Bytes of one call's live output that are journaled; the rest is counted, not kept.
pub const TOOL_OUTPUT_BYTES_MAX: usize = 1 << 20;
/// Bytes of one variable's JSON.
pub const VARIABLE_BYTES_MAX: usize = 64 << 10;
/// Variables of one session or account.
pub const VARIABLES_MAX: usize = 256;
/// Bytes of one memory's text: a paragraph, not a document.
pub const MEMORY_BYTES_MAX: usize = 8 << 10;
/// Memories of one account: a search looks at each.
pub const MEMORIES_MAX: usize = 100_000;
/// Memories that one search or page returns.
pub const MEMORIES_PAGE_MAX: usize = 100;
/// Tokens that are good at once.
pub const TOKENS_MAX: usize = 10_000;
