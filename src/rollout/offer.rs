//! What a canary by share needs before anything is changed.

use super::goal::Goal;
use super::observe::Observation;
use crate::backend::Backend;
use crate::error::{Error, Result};

/// Refuses a canary by share if nothing can send it visitors, or if there is nothing to compare it with.
pub(super) async fn check_canary(
    backend: &Backend,
    goal: &Goal,
    observation: &Observation,
) -> Result<()> {
    let Some(share) = goal.canary.and_then(|canary| canary.share) else { return Ok(()) };
    backend.check_divertible().await.map_err(|error| error.within(format!("--canary {share}")))?;
    if observation.replicas.iter().any(|replica| replica.published.is_some()) {
        return Ok(());
    }
    Err(Error::config(format!(
        "--canary {share}: no replica of the pool runs, so there is nothing to compare a canary with"
    ))
    .hint("start the pool without a canary: pools-manager start"))
}
