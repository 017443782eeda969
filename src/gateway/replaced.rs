//! The process that a gateway replaces, as the gateway reaches it.

use std::sync::Arc;

use super::separate::{Outcome, ToParent};
use crate::error::{Error, Result};
use crate::privsep;
use crate::upgrade::Predecessor;

/// The process that a gateway replaces.
#[derive(Debug)]
pub(super) enum Replaced {
    /// It has started this process.
    ByThis(Arc<Predecessor>),
    /// It has started the parent of this process, which passes everything on.
    ByParent,
}

impl Replaced {
    /// Makes it begin no request of a pool, until [`Replaced::unpause`]. Error: it does not answer.
    pub(super) async fn pause(&self, pool: &str) -> Result<()> {
        match self {
            Self::ByThis(predecessor) => predecessor.pause(pool).await,
            Self::ByParent => ask(ToParent::Pause(pool.to_owned())).await,
        }
    }

    /// Makes it observe a pool that it has paused, and serve it again.
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
    // Without the parent, nothing is replaced any more.
    answer.map_or(Ok(()), |outcome| outcome.map_err(Error::from))
}
