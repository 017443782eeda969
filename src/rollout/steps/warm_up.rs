//! `WarmUp`: a new generation gets its first requests from the rollout.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;

use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::runtime::Generation;

/// Requests each path of `warm_up`: once, so that opcache compiles the page once, and then on as
/// many children at a time as the replica begins with, so that each fills its own caches. A server
/// error is a bad release. Returns the number of requests.
pub(in crate::rollout) async fn warm_up(
    pool: &Arc<Pool>,
    generation: &Generation,
    children: usize,
) -> Result<usize> {
    let paths = pool.settings.rollout.warm_up();
    let deadline = Instant::now() + pool.settings.rollout.ready_timeout;
    for path in paths {
        for at_once in [1, children] {
            visit(pool, generation, path, at_once, deadline).await?;
        }
    }
    Ok(paths.len() * (1 + children))
}

/// Requests a page of a generation, several times at once; a server error is a failure.
pub(super) async fn visit(
    pool: &Arc<Pool>,
    generation: &Generation,
    path: &str,
    at_once: usize,
    deadline: Instant,
) -> Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    let mut visits = JoinSet::new();
    for _ in 0..at_once {
        let (pool, generation, path) = (Arc::clone(pool), generation.clone(), path.to_owned());
        visits.spawn(async move { generation.visit(&pool, &path, left).await });
    }
    while let Some(visited) = visits.join_next().await {
        let visited = visited.unwrap_or_else(|error| Err(error.to_string()));
        visited.map_err(|why| failed(generation, path, &why))?;
    }
    Ok(())
}

fn failed(generation: &Generation, path: &str, why: &str) -> Error {
    let on = generation.release.as_ref().map(|it| format!(" on {}", it.path.display()));
    let on = on.unwrap_or_default();
    Error::failed(format!("warm-up of {}{on}: {path}: {why}", generation.id()))
}
