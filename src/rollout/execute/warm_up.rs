//! `WarmUp`: the first requests of a new generation come from us.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;

use super::{Execution, millis};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::runtime::Generation;
use crate::step::GenerationId;

impl Execution<'_> {
    /// Asks for each warm-up path: once, so that opcache compiles it once, and
    /// then on as many children at a time as the pool begins with, so that
    /// each has its own caches filled. A server error is a bad release. If the operator lists no
    /// paths, the front page is probed instead.
    pub(super) async fn warm_up(&mut self, id: GenerationId) -> Result<()> {
        if self.pool.settings.rollout.probes_front_page() {
            return self.probe(id).await;
        }
        let paths = self.pool.settings.rollout.warm_up();
        if paths.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        let deadline = started + self.pool.settings.rollout.ready_timeout;
        let children = self.children(id.replica);
        let generation = self.running(id)?.generation.clone();
        for path in paths {
            for at_once in [1, children] {
                self.visit(&generation, path, at_once, deadline).await?;
            }
        }
        let requests = paths.len() * (1 + children);
        self.report.event(&Event::Warmed { replica: id.replica, requests, ms: millis(started) });
        Ok(())
    }

    /// Requests a page of a generation, several times at once; a server error is a failure.
    pub(super) async fn visit(
        &self,
        generation: &Generation,
        path: &str,
        at_once: usize,
        deadline: Instant,
    ) -> Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut visits = JoinSet::new();
        for _ in 0..at_once {
            let (pool, generation) = (Arc::clone(self.pool), generation.clone());
            let path = path.to_owned();
            visits.spawn(async move { generation.visit(&pool, &path, left).await });
        }
        while let Some(visited) = visits.join_next().await {
            let visited = visited.unwrap_or_else(|error| Err(error.to_string()));
            visited.map_err(|why| failed(generation, path, &why))?;
        }
        Ok(())
    }

    fn children(&self, replica: u32) -> usize {
        let spec = self.observation.replica(replica).and_then(|it| it.spec.as_ref());
        spec.map_or(1, |spec| spec.children_at_start() as usize)
    }
}

fn failed(generation: &Generation, path: &str, why: &str) -> Error {
    let on = generation.release.as_ref().map(|it| format!(" on {}", it.path.display()));
    let on = on.unwrap_or_default();
    Error::failed(format!("warm-up of {}{on}: {path}: {why}", generation.id()))
}
