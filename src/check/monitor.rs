//! Checks that `monitor_url` answers well.

use crate::finding::{Checked, Finding, Topic};
use crate::http;
use crate::pool::Pool;
use crate::rollout::monitor;

/// Requests the page, if a replica is published.
pub(super) async fn check(pool: &Pool, is_served: bool) -> Checked {
    let Some(url) = &pool.settings.monitor_url else {
        return Checked::new(Topic::Monitor, ["no monitor_url".to_owned()], []);
    };
    let shown = http::shown(url);
    if !is_served {
        let note = format!("{shown} is not requested: no replica runs");
        return Checked::new(Topic::Monitor, [note], []);
    }
    match monitor::problem(url).await {
        Ok(None) => Checked::new(Topic::Monitor, [shown], []),
        Ok(Some(problem)) => {
            let finding = Finding::warning(
                format!("{shown} {problem}"),
                "a rollout cannot be verified with it: look at the web server, or correct monitor_url",
            );
            Checked::new(Topic::Monitor, [], [finding])
        }
        Err(error) => Checked::new(Topic::Monitor, [], [error.into()]),
    }
}
