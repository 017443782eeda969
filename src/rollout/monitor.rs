//! After a rollout: ask the operator's `monitor_url` through the web server.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::http;
use crate::pool::Pool;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Fails unless the page answers with a success. The rollout itself is done by now.
pub(super) async fn check(pool: &Pool) -> Result<()> {
    let Some(url) = &pool.settings.php.monitor_url else { return Ok(()) };
    let shown = http::shown(url);
    let failed = |what: String| {
        Error::failed(format!("the rollout of \"{}\" is done, but {shown} {what}", pool.name)).hint(
            "the replicas answer on their sockets: look at the web server, or correct monitor_url",
        )
    };
    complaint(url).await?.map_or(Ok(()), |complaint| Err(failed(complaint)))
}

/// What is wrong with the answer; None when it is a success.
pub(crate) async fn complaint(url: &str) -> Result<Option<String>> {
    let page = http::page(url).map_err(|error| error.within("monitor_url"))?;
    let client = http::build(http::builder(&page).timeout(TIMEOUT))?;
    Ok(match client.get(page).send().await {
        Ok(response) if response.status().is_success() => None,
        Ok(response) => Some(format!("answers {}", response.status())),
        Err(error) => Some(format!("does not answer: {}", http::cause(&error))),
    })
}
