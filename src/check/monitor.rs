//! `monitor_url`: whether the web server answers.

use crate::finding::{Checked, Finding, Topic};
use crate::http;
use crate::pool::Pool;
use crate::rollout::monitor;

/// Requests the page, if a replica runs that could answer.
pub(super) async fn check(pool: &Pool, anybody_runs: bool) -> Checked {
    let Some(url) = &pool.settings.monitor_url else {
        return Checked::new(Topic::Monitor, ["no monitor_url".to_owned()], []);
    };
    let shown = http::shown(url);
    if !anybody_runs {
        let note = format!("{shown} is not asked: no replica runs");
        return Checked::new(Topic::Monitor, [note], []);
    }
    match monitor::problem(url).await {
        Ok(None) => Checked::new(Topic::Monitor, [shown], []),
        Ok(Some(problem)) => {
            let finding = Finding::warning(
                format!("{shown} {problem}"),
                "a rollout cannot be judged by it: look at the web server, or correct monitor_url",
            );
            Checked::new(Topic::Monitor, [], [finding])
        }
        Err(error) => Checked::new(Topic::Monitor, [], [error.into()]),
    }
}
