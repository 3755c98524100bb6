//! The architecture's gates: what the compiler cannot check and a person forgets.
//!
//! Each gate says how much it looked at and insists on a minimum, so that none
//! of them passes by looking at nothing. They read the sources as text: comments,
//! strings and test code are taken out first where a gate is about the product.

mod documents;
mod edges;
mod effects;
mod entry_points;
mod errors;
mod permit;
mod programs;
mod size;
mod source;
