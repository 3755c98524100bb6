//! are-tools
