//! The store through its public face: what it promises in its module documents.

mod appends;
mod damage;
mod erasure;
mod full;
mod identity;
mod kill;
mod model;
mod projections;
mod support;
