//! Scripts through their lane: real files, and a host that decides and records as little as a test needs.

mod example;
mod examples;
mod limits;
mod measured;
mod reach;
mod values;
mod world;
