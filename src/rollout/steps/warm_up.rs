//! `WarmUp`: the rollout sends a new generation its first requests.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;

use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::runtime::Generation;

/// Requests each path of `warm_up`. The first request lets opcache compile the page once. Then as
/// many requests at a time follow as the replica starts children, so that each child fills its
/// caches. A server error fails the release. Returns the number of requests.
pub(in crate::rollout) async fn warm_up(
    pool: &Arc<Pool>,
    generation: &Generation,
    children: usize,
) -> Result<usize> {
    let paths = pool.settings.rollout.warm_up();
    let deadline = Instant::now() + pool.settings.rollout.ready_timeout;
    for path in paths {
        for at_once in [1, children] {
            request_page(pool, generation, path, at_once, deadline).await?;
        }
    }
    Ok(paths.len() * (1 + children))
}

/// Requests a page of a generation, `at_once` times in parallel. A server error is a failure.
pub(super) async fn request_page(
    pool: &Arc<Pool>,
    generation: &Generation,
    path: &str,
    at_once: usize,
    deadline: Instant,
) -> Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    let mut requests = JoinSet::new();
    for _ in 0..at_once {
        let (pool, generation, path) = (Arc::clone(pool), generation.clone(), path.to_owned());
        requests.spawn(async move { generation.request_page(&pool, &path, left).await });
    }
    while let Some(result) = requests.join_next().await {
        let result = result.unwrap_or_else(|error| Err(error.to_string()));
        result.map_err(|why| failed(generation, path, &why))?;
    }
    Ok(())
}

fn failed(generation: &Generation, path: &str, why: &str) -> Error {
    let on = generation.release.as_ref().map(|it| format!(" on {}", it.path.display()));
    let on = on.unwrap_or_default();
    Error::failed(format!("warm-up of {}{on}: {path}: {why}", generation.id()))
}
