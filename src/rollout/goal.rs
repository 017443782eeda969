//! The goal of a rollout.

use std::time::Duration;

use crate::canary::Share;
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
    /// How the first renewed replica is watched before the others follow; None: they follow at once.
    pub canary: Option<Canary>,
}

/// A canary: the new generation of one replica, which is watched first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Canary {
    /// How long it is watched.
    pub time: Duration,
    /// How many of the new visitors the gateway sends to it, beside the old generation of its replica;
    /// None: it takes the place of the old one, and gets all requests of its replica.
    pub share: Option<Share>,
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
