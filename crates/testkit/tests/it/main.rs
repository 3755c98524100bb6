//! The architecture's gates: what the compiler cannot check and a person forgets.
//!
//! Each gate says how much it looked at and insists on a minimum, so that none
//! of them passes by looking at nothing. They read the sources as text: comments,
//! strings and test code are taken out first where a gate is about the product.

#[cfg(test)]
mod controls;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod edges;
#[cfg(test)]
mod effects;
#[cfg(test)]
mod entry_points;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod permit;
#[cfg(test)]
mod programs;
#[cfg(test)]
mod size;
#[cfg(test)]
mod source;
