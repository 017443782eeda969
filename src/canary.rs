//! A canary by share: a new generation gets a share of the new visitors beside the old ones, and is
//! compared with them before the rollout goes on.
//!
//! | module | what |
//! |---|---|
//! | [`Share`] | how many of the new visitors it gets |
//! | [`Record`], [`Offer`] | the file by which the gateway knows of it, while the command lives |
//! | [`Counts`] | what the gateway counts for each side |
//! | [`Limits`] | the decision |
//!
//! The canary has no public name: other clients by path see nothing of it. Only the gateway sends it
//! requests, as long as the record names it.

mod counts;
mod record;
mod share;
mod verdict;

use serde::{Deserialize, Serialize};

pub use counts::{Counts, Figures};
pub use record::{Offer, Record, forget};
pub use share::{Share, percent};
pub use verdict::{Limits, Moment, Verdict};

/// A value for each side: the canary, and the generations that it is compared with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sides<T> {
    /// The canary.
    pub new: T,
    /// The old generations.
    pub old: T,
}
