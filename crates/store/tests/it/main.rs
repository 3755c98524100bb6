//! The store through its public face: what it promises in its module documents.

#[cfg(test)]
mod appends;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod erasure;
#[cfg(test)]
mod full;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod model;
#[cfg(test)]
mod projections;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tree;
