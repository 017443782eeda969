//! The goal of a rollout.

use std::time::Duration;

use crate::config::Strategy;

/// The wanted state of some replicas of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goal {
    /// The wanted state.
    pub state: Wanted,
    /// The numbers of these replicas, ascending.
    pub replicas: Vec<u32>,
    /// The order of the steps of a renewal.
    pub strategy: Strategy,
    /// How long the first renewed replica is watched before the others follow; None: they follow at
    /// once.
    pub canary: Option<Duration>,
}

/// The state that a replica should be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// It serves. A running generation stays.
    Running,
    /// It does not run.
    Stopped,
    /// It serves from a new generation.
    Renewed,
    /// It serves the release of the other replicas; or it does not run, if the operator has stopped
    /// it. A healthy replica stays as it is.
    Repaired,
}
