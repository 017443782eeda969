//! The operator's `monitor_url`: a page that is requested through the web server before and after
//! a rollout.

use std::time::{Duration, Instant};

use crate::error::Result;
use crate::http;
use crate::pool::Pool;

const TIMEOUT: Duration = Duration::from_secs(10);
/// For how long a bad answer may be one that passes: the web server may just be reloaded.
const PASSES: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(50);

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

/// The same of a pool, if it names a page; also where it could not be requested.
pub(super) async fn complaint_of(pool: &Pool) -> Option<String> {
    let url = pool.settings.monitor_url.as_deref()?;
    match complaint(url).await {
        Ok(complaint) => complaint.map(|complaint| format!("{} {complaint}", http::shown(url))),
        Err(error) => Some(error.to_string()),
    }
}

/// The same, where it does not pass.
pub(super) async fn lasting_complaint_of(pool: &Pool) -> Option<String> {
    let deadline = Instant::now() + PASSES;
    loop {
        let complaint = complaint_of(pool).await?;
        if Instant::now() >= deadline {
            return Some(complaint);
        }
        tokio::time::sleep(POLL).await;
    }
}
