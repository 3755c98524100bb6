//! The limits that several crates must agree on, each with unit and reason.
//! Limits of one module stand in that module.

/// Bytes of one prompt or steer, all parts together: more than a long article, less than a flood.
pub const PROMPT_BYTES_MAX: usize = 1 << 20;
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
/// Calls with effect `none` and retry `pure` that run together.
pub const PARALLEL_CALLS_MAX: usize = 8;
/// Calls that one running call may ask for; more is a loop.
pub const CHILDREN_PER_CALL_MAX: u32 = 256;
/// Steps of a turn that running calls leave to the model, so that it can still answer.
pub const STEPS_KEPT_FROM_CHILDREN: u32 = 8;
/// Denied or unanswered calls after which a turn is stopped.
pub const DENIALS_PER_TURN_MAX: u32 = 3;
/// Milliseconds a person has to answer an approval before a turn without an approver is denied it.
pub const APPROVAL_MS: u64 = 15 * 60 * 1000;
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
/// Groups of one account.
pub const GROUPS_PER_ACCOUNT_MAX: usize = 32;
/// Tokens that are good at once.
pub const TOKENS_MAX: usize = 10_000;
/// Tokens made by tokens made by tokens: longer chains are refused.
pub const TOKEN_DEPTH_MAX: usize = 16;
/// Groups and accounts that one token may speak for.
pub const SPEAKS_FOR_MAX: usize = 64;
