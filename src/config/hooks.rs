//! `[hooks]`: the operator's own programs, which a rollout runs.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::keys::{Default as Holds, Key, Kind};
use super::values;

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// Before a rollout changes anything; it may refuse.
    BeforeRollout,
    /// When a rollout is done.
    AfterRollout,
    /// When a rollout has failed, or was cancelled.
    OnFailure,
}

impl Hook {
    /// All hooks.
    pub const ALL: [Self; 3] = [Self::BeforeRollout, Self::AfterRollout, Self::OnFailure];
}

/// Its key in `[hooks]`.
impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeforeRollout => "before_rollout",
            Self::AfterRollout => "after_rollout",
            Self::OnFailure => "on_failure",
        })
    }
}

/// `[hooks]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hooks {
    before_rollout: Option<Words>,
    after_rollout: Option<Words>,
    on_failure: Option<Words>,
    /// The longest run of a hook.
    #[serde(deserialize_with = "values::some_duration")]
    pub timeout: Duration,
}

/// A program and its arguments, with their placeholders.
#[derive(Debug, Clone, Deserialize)]
struct Words(#[serde(deserialize_with = "values::command")] Vec<String>);

const NO_HOOK: Holds = Holds::Unset("no program runs");

/// The keys of `[hooks]`.
pub(crate) const KEYS: &[Key] = &[
    Key::new(
        "before_rollout",
        Kind::Command,
        NO_HOOK,
        "runs after all checks, and before any change, also of the symlink. If it fails, the rollout is refused with exit status 1, nothing is changed, and no other hook runs",
    ),
    Key::new(
        "after_rollout",
        Kind::Command,
        NO_HOOK,
        "runs when the rollout is done, and `monitor_url` has been compared",
    ),
    Key::new(
        "on_failure",
        Kind::Command,
        NO_HOOK,
        "runs when the rollout has failed or was interrupted, after what could be put back is back",
    ),
    Key::new("timeout", Kind::SOME_TIME, Holds::Value("\"60s\""), "how long each hook may take"),
];

impl Default for Hooks {
    fn default() -> Self {
        let timeout = Duration::from_secs(60);
        Self { before_rollout: None, after_rollout: None, on_failure: None, timeout }
    }
}

impl Hooks {
    /// The program of a hook and its arguments, with their placeholders; None: it is not set.
    pub fn command(&self, hook: Hook) -> Option<&[String]> {
        let words = match hook {
            Hook::BeforeRollout => &self.before_rollout,
            Hook::AfterRollout => &self.after_rollout,
            Hook::OnFailure => &self.on_failure,
        };
        words.as_ref().map(|Words(words)| words.as_slice())
    }
}
