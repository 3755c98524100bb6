//! are-testkit
