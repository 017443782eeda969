//! The steps of a plan. Each file is one step, or a few that belong together. A step shares only
//! its arguments and results with the rest. `execute` decides the order of the steps, and what is
//! undone after a failure.

pub(super) mod compare;
pub(super) mod front_page;
pub(super) mod idle;
mod kept;
pub(super) mod members;
pub(super) mod names;
pub(super) mod start;
pub(super) mod warm_up;
pub(super) mod watch;

use std::time::Instant;

use crate::event::{Event, Report};

/// Reports a warning; the work goes on.
pub(super) fn warn(report: &mut dyn Report, text: String) {
    report.event(&Event::Warning { text });
}

/// The time since a moment, in milliseconds.
pub(super) fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
