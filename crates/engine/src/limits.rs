//! The limits of turns and calls that several modules here agree on, each with unit and reason.

/// Calls with effect `none` and retry `pure` that run together.
pub(crate) const PARALLEL_CALLS_MAX: usize = 8;
/// Calls that one running call may ask for; more is a loop.
pub const CHILDREN_PER_CALL_MAX: u32 = 256;
/// Steps of a turn that running calls leave to the model, so that it can still answer.
pub(crate) const STEPS_KEPT_FROM_CHILDREN: u32 = 8;
/// Denied or unanswered calls after which a turn is stopped.
pub(crate) const DENIALS_PER_TURN_MAX: u32 = 3;
/// Milliseconds a person has to answer an approval before a turn without an approver is denied it.
pub const APPROVAL_MS: u64 = 15 * 60 * 1000;
/// Groups of one account.
pub const GROUPS_PER_ACCOUNT_MAX: usize = 32;
/// Bytes of the artifacts of one session: what a database holds with ease, and hundreds of pictures.
pub const ARTIFACTS_BYTES_MAX: u64 = 128 << 20;
