//! are
