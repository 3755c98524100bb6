//! The engine through its facade, over a real store, a scripted model and counted tools.

mod crash;
mod replay;
mod support;
mod turns;
