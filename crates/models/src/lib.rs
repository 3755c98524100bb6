//! are-models
