//! Whether a canary by share runs, and how it is.

use std::fmt;

use serde::Serialize;

use crate::canary::{Figures, Record, Sides};
use crate::error::Result;
use crate::pool::Pool;
use crate::step::Number;

/// A canary by share that is in force.
#[derive(Debug, Serialize)]
pub struct CanaryStatus {
    /// The replica of its generation.
    pub replica: u32,
    /// The number of its generation.
    pub generation: Number,
    /// The share of the new visitors that it gets.
    pub share: String,
    /// When it began, as RFC 3339 in UTC.
    pub since: String,
    /// When it is decided, as RFC 3339 in UTC.
    pub until: String,
    /// Its figures, and those of the old generations; None: no gateway reports them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub figures: Option<Sides<Figures>>,
}

impl CanaryStatus {
    /// The canary of a pool, if there is one. The gateway gets a request only if there is one.
    pub(super) async fn of(pool: &Pool) -> Result<Option<Self>> {
        let Some(record) = Record::in_force(&pool.canary_file())? else { return Ok(None) };
        let state = pool.backend()?.canary().await.ok().flatten();
        let state = state.filter(|state| state.record.id == record.id);
        let figures = state.map(|state| Sides {
            new: state.counts.new.figures(),
            old: state.counts.old.figures(),
        });
        let Record { replica, generation, since, until, .. } = record;
        let share = record.share.to_string();
        Ok(Some(Self { replica, generation, share, since, until, figures }))
    }
}

/// The line for people.
impl fmt::Display for CanaryStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { replica, generation, share, until, figures, .. } = self;
        write!(
            f,
            "Canary: generation {generation} of replica {replica} gets {share} of the new visitors until {until}"
        )?;
        match figures {
            Some(Sides { new, old }) => write!(f, ": {new}; the old release: {old}"),
            None => Ok(()),
        }
    }
}
