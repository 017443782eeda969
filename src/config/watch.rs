//! `[watch]`: whether `serve` follows the symlink of a pool.

use std::time::Duration;

use serde::Deserialize;

use super::keys::{Default as Holds, Key, Kind};
use super::values;

/// `[watch]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Watch {
    /// Whether `serve` rolls out the release that the symlink names, when the symlink moves.
    pub enabled: bool,
    /// How long the symlink has to stay the same before `serve` rolls out the release.
    #[serde(deserialize_with = "values::duration")]
    pub debounce: Duration,
}

/// The keys of `[watch]`.
pub(crate) const KEYS: &[Key] = &[
    Key::new(
        "enabled",
        Kind::Bool,
        Holds::Value("true"),
        "`serve` rolls out the release when the symlink moves",
    ),
    Key::new(
        "debounce",
        Kind::TIME,
        Holds::Value("\"500ms\""),
        "how long the symlink has to stay the same before that",
    ),
];

impl Default for Watch {
    fn default() -> Self {
        Self { enabled: true, debounce: Duration::from_millis(500) }
    }
}
