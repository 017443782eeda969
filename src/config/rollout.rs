//! `[rollout]`: the settings of rollouts.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::file::File;
use super::keys::{Default as Holds, Key, Kind};
use super::values;
use crate::canary::Limits;
use crate::error::Result;

/// `[rollout]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rollout {
    /// None: rolling if a balancer is configured, else swap.
    pub strategy: Option<Strategy>,
    /// The longest wait for requests in flight.
    #[serde(deserialize_with = "values::duration")]
    pub drain_timeout: Duration,
    /// How long a new generation may take to become ready.
    #[serde(deserialize_with = "values::some_duration")]
    pub ready_timeout: Duration,
    /// Paths that a new generation must answer before it is published. None: its front page, see
    /// [`Rollout::probes_front_page`].
    pub warm_up: Option<Spanned<Vec<String>>>,
    /// What happens to a replica whose new generation is not ready.
    pub on_failure: OnFailure,
    /// How many requests each side of a canary by share must have before the figures decide.
    pub canary_min_requests: u64,
    /// How much higher the error rate of a canary may be, in hundredths of a percent.
    #[serde(deserialize_with = "values::percent")]
    pub canary_error_margin: u32,
    /// How many times as long the latencies of a canary may be.
    #[serde(deserialize_with = "values::factor")]
    pub canary_latency_factor: f64,
}

/// The keys of `[rollout]`.
pub(crate) const KEYS: &[Key] = &[
    Key::new(
        "strategy",
        Kind::OneOf(&["rolling", "swap"]),
        Holds::Derived("`\"rolling\"` with `[apache]` or `[haproxy]`, else `\"swap\"`"),
        "one replica after the other, or all at once: see [rolling](architecture.md#rolling) and [swap](architecture.md#swap)",
    ),
    Key::new(
        "drain_timeout",
        Kind::TIME,
        Holds::Value("\"60s\""),
        "how long requests in flight may take to finish. Then they are cut",
    ),
    Key::new(
        "ready_timeout",
        Kind::SOME_TIME,
        Holds::Value("\"10s\""),
        "how long a new generation may take until it responds, and again for all its warm-up requests. Also how long a balancer that does not answer is retried",
    ),
    Key::new(
        "warm_up",
        Kind::Texts,
        Holds::Derived("one request to [the front page](#the-front-page)"),
        "the URL paths that are requested from a new generation before it is published. `[]`: none",
    ),
    Key::new(
        "on_failure",
        Kind::OneOf(&["rollback", "stop"]),
        Holds::Value("\"rollback\""),
        "what happens to a replica whose new generation is not ready. `rollback`: it gets its old release back. `stop`: it stays out, so that you can look at it. The rollout ends in both cases",
    ),
    Key::new(
        "canary_min_requests",
        Kind::Number,
        Holds::Value("30"),
        "how many requests a [canary by share](commands.md#canary-by-share) and the old generations must each have had. With fewer, their figures decide nothing",
    ),
    Key::new(
        "canary_error_margin",
        Kind::Text,
        Holds::Value("\"1%\""),
        "how much higher the error rate of a canary by share may be than that of the old generations, in percentage points",
    ),
    Key::new(
        "canary_latency_factor",
        Kind::Number,
        Holds::Value("2"),
        "how many times as long a canary by share may take until the head of a response, at the 95th percentile; decimals are possible. 20 ms more are always allowed",
    ),
];

impl Default for Rollout {
    fn default() -> Self {
        Self {
            strategy: None,
            drain_timeout: Duration::from_secs(60),
            ready_timeout: Duration::from_secs(10),
            warm_up: None,
            on_failure: OnFailure::Rollback,
            canary_min_requests: 30,
            canary_error_margin: 100,
            canary_latency_factor: 2.0,
        }
    }
}

impl Rollout {
    /// The paths that the operator has listed.
    pub fn warm_up(&self) -> &[String] {
        self.warm_up.as_ref().map_or(&[], |paths| paths.get_ref())
    }

    /// Whether the front page of a new generation is probed. True if the operator has not set `warm_up`;
    /// an empty list disables the probe.
    pub fn probes_front_page(&self) -> bool {
        self.warm_up.is_none()
    }

    /// The limits of a canary by share.
    pub(crate) fn canary_limits(&self) -> Limits {
        Limits {
            min_requests: self.canary_min_requests,
            error_margin: f64::from(self.canary_error_margin) / 10_000.0,
            latency_factor: self.canary_latency_factor,
        }
    }

    pub(crate) fn check(&self, file: &File<'_>) -> Result<()> {
        let Some(paths) = &self.warm_up else { return Ok(()) };
        let Some(path) = paths.get_ref().iter().find(|path| !path.starts_with('/')) else {
            return Ok(());
        };
        let message = format!("the warm-up path \"{path}\" does not begin with /");
        Err(file
            .error(&paths.span(), &message)
            .hint("write what follows the host in the page's URL, like /index.php"))
    }
}

/// The order of a rollout's steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// One replica after the other: the old generation stops, then the new one starts.
    Rolling,
    /// All new generations start beside the old ones, then all names move at once.
    Swap,
}

impl std::fmt::Display for Strategy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Rolling => "rolling",
            Self::Swap => "swap",
        })
    }
}

/// What to do with a replica whose new generation is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// It goes back to its old release.
    Rollback,
    /// It stays out of the balancer, so that the operator can examine it.
    Stop,
}
