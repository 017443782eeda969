//! Shows the events of rollouts as lines of the log.

use crate::event::{Event, Report};

/// The events of one pool.
pub(super) struct LogEvents(String);

impl LogEvents {
    pub(super) fn of(pool: &str) -> Self {
        Self(pool.to_owned())
    }
}

impl Report for LogEvents {
    fn event(&mut self, event: &Event) {
        let pool = &self.0;
        match event {
            Event::LockWait { holder } => {
                tracing::info!(pool = %pool, "waiting for its lock: {holder}");
            }
            Event::StageDone { title, ms } => tracing::info!(pool = %pool, "{title}: {ms} ms"),
            Event::StageFailed { title, reason } => {
                tracing::error!(pool = %pool, "{title}: {reason}");
            }
            Event::RollingBack { replica, release } => {
                let to = release.as_ref().map(|it| format!(" to {}", it.display()));
                let to = to.unwrap_or_default();
                tracing::warn!(pool = %pool, "replica {replica} goes back{to}");
            }
            Event::HookDone { hook, failure: Some(failure), .. } => {
                tracing::error!(pool = %pool, "the hook {hook}: {failure}");
            }
            Event::Warning { text } => tracing::warn!(pool = %pool, "{text}"),
            _ => {}
        }
    }
}
