//! Address rules.
