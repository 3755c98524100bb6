//! are-engine
