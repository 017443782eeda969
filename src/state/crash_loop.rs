//! Replicas that do not stay up, as the supervisor has noted last.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// How long a note counts. The supervisor tries at least once a minute, and a start takes a while.
const VALID: Duration = Duration::from_secs(180);
/// A newer note replaces an older one only from this age on: a crash loop must not keep the disk busy.
const RENEWED: Duration = Duration::from_secs(15);

/// A note that a supervisor has started the pool's replicas several times in short order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashLoop {
    /// When it was noted, as RFC 3339 in UTC.
    pub when: String,
    /// The number of starts since the pool was last well for a minute.
    pub starts: u32,
}

impl CrashLoop {
    /// A note of this moment.
    pub fn now(starts: u32) -> Self {
        let when = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        Self { when, starts }
    }

    /// Whether it is about the present, not about a loop that has ended.
    pub fn is_recent(&self) -> bool {
        self.is_younger_than(VALID)
    }

    /// Whether it need not be written again yet.
    pub fn is_fresh(&self) -> bool {
        self.is_younger_than(RENEWED)
    }

    /// A note whose time is in the future is not young: the clock was set back since.
    fn is_younger_than(&self, age: Duration) -> bool {
        let when = humantime::parse_rfc3339(&self.when).ok();
        when.and_then(|when| SystemTime::now().duration_since(when).ok()).is_some_and(|it| it < age)
    }
}
