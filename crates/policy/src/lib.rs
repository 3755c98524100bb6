//! are-policy
