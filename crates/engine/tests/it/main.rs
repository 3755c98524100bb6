//! The engine through its facade, over a real store, a scripted model and counted tools.

#[cfg(test)]
mod accounts;
#[cfg(test)]
mod adaptive;
#[cfg(test)]
mod agents;
#[cfg(test)]
mod agents_bounds;
#[cfg(test)]
mod answers;
#[cfg(test)]
mod approvals;
#[cfg(test)]
mod children;
#[cfg(test)]
mod compaction;
#[cfg(test)]
mod compaction_property;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod deadlines;
#[cfg(test)]
mod direct;
#[cfg(test)]
mod exchanged;
#[cfg(test)]
mod failover;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod images;
#[cfg(test)]
mod leaves;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod plans;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod repair;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod screen;
#[cfg(test)]
mod search;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod support;
#[cfg(test)]
mod system;
#[cfg(test)]
mod tools;
#[cfg(test)]
mod turns;
