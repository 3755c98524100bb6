//! are-store
