//! A canary by share: beside the old generations, a new generation gets a share of the new visitors. It
//! is compared with the old generations before the rollout goes on.
//!
//! | module | what |
//! |---|---|
//! | [`Share`] | how many of the new visitors the canary gets |
//! | [`Record`], [`Offer`] | the file that tells the gateway of the canary, while the command runs |
//! | [`Counts`] | what the gateway counts for each side |
//! | [`Limits`] | the decision |
//!
//! The canary has no public name, so web servers that use the public names send it nothing. Only the
//! gateway sends it requests, as long as the record names the canary.

mod counts;
mod record;
mod share;
mod verdict;

use serde::{Deserialize, Serialize};

pub use counts::{Counts, Figures};
pub use record::{Offer, Record, forget};
pub use share::{Share, percent};
pub use verdict::{Limits, Moment, Verdict};

/// A value for each side: for the canary, and for the generations with which the canary is compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sides<T> {
    /// The canary.
    pub new: T,
    /// The old generations.
    pub old: T,
}
