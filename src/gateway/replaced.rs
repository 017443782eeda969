//! The process that a gateway replaces, and how the gateway sends requests to it.

use std::sync::Arc;

use super::separate::{Outcome, ToParent};
use crate::error::{Error, Result};
use crate::privsep;
use crate::upgrade::Predecessor;

/// The process that a gateway replaces.
#[derive(Debug)]
pub(super) enum Replaced {
    /// The replaced process has started this process.
    ByThis(Arc<Predecessor>),
    /// The replaced process has started the parent of this process. The parent passes everything on.
    ByParent,
}

impl Replaced {
    /// Makes the replaced process begin no request of a pool, until [`Replaced::unpause`]. Error: that process
    /// does not answer, or refuses.
    pub(super) async fn pause(&self, pool: &str) -> Result<()> {
        match self {
            Self::ByThis(predecessor) => predecessor.pause(pool).await,
            Self::ByParent => ask(ToParent::Pause(pool.to_owned())).await,
        }
    }

    /// Makes the replaced process observe a paused pool, and serve the pool again.
    pub(super) async fn unpause(&self, pool: &str) -> Result<()> {
        match self {
            Self::ByThis(predecessor) => predecessor.unpause(pool).await,
            Self::ByParent => ask(ToParent::Unpause(pool.to_owned())).await,
        }
    }
}

async fn ask(request: ToParent) -> Result<()> {
    let Some(parent) = privsep::parent() else { return Ok(()) };
    let answer = parent.ask::<Outcome>(&request, Vec::new()).await;
    // An error means that the parent has ended: then this process replaces nothing any more.
    answer.map_or(Ok(()), |outcome| outcome.map_err(Error::from))
}
