//! The operator's `monitor_url`: a page that is requested through the web server before and after
//! a rollout.

use std::time::{Duration, Instant};

use crate::error::Result;
use crate::http;
use crate::pool::Pool;

const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a bad answer may be temporary: the web server may just reload.
const TEMPORARY: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(50);

/// Requests the page, and returns the problem with its answer; None: a success.
pub(crate) async fn problem(url: &str) -> Result<Option<String>> {
    let page = http::page(url).map_err(|error| error.within("monitor_url"))?;
    let client = http::build(http::builder(&page).timeout(TIMEOUT))?;
    Ok(match client.get(page).send().await {
        Ok(response) if response.status().is_success() => None,
        Ok(response) => Some(format!("answers {}", response.status())),
        Err(error) => Some(format!("does not answer: {}", http::cause(&error))),
    })
}

/// The problem with a pool's monitored page, if the pool has one; also if the page cannot be
/// requested.
pub(super) async fn problem_of(pool: &Pool) -> Option<String> {
    let url = pool.settings.monitor_url.as_deref()?;
    match problem(url).await {
        Ok(problem) => problem.map(|problem| format!("{} {problem}", http::shown(url))),
        Err(error) => Some(error.to_string()),
    }
}

/// The problem with a pool's monitored page, if it is still there after a second.
pub(super) async fn lasting_problem_of(pool: &Pool) -> Option<String> {
    let deadline = Instant::now() + TEMPORARY;
    loop {
        let problem = problem_of(pool).await?;
        if Instant::now() >= deadline {
            return Some(problem);
        }
        tokio::time::sleep(POLL).await;
    }
}
