//! What the caller wants.

use std::time::Duration;

use crate::config::Strategy;

/// A wish for some replicas of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goal {
    /// What they should be.
    pub state: Wanted,
    /// Which ones, ascending.
    pub replicas: Vec<u32>,
    /// The order in which a renewal takes its steps.
    pub strategy: Strategy,
    /// For how long the first replica that is renewed is watched before the others follow; None:
    /// they follow at once.
    pub canary: Option<Duration>,
}

/// The state that a replica should be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// It serves; a generation that runs is left alone.
    Running,
    /// It does not run.
    Stopped,
    /// It serves from a new generation.
    Renewed,
    /// It serves what the others serve, as it did before something went wrong; or it does not run,
    /// if the operator has stopped it. What is well is left alone.
    Repaired,
}
