//! `WarmUp`: the first requests of a new generation come from us.

use std::path::{Path, PathBuf};
use std::time::Instant;

use tokio::task::JoinSet;

use super::{Execution, millis};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::fastcgi::{self, Request};
use crate::php_fpm::Generation;
use crate::step::Id;

impl Execution<'_> {
    /// Asks for each warm-up path: once, so that opcache compiles it once, and
    /// then on as many children at a time as the pool begins with, so that
    /// each has its own caches filled. A server error is a bad release. If the operator lists no
    /// paths, the front page is probed instead.
    pub(super) async fn warm_up(&mut self, id: Id) -> Result<()> {
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

    /// Asks a generation for a page, several times at once; a server error is a failure.
    pub(super) async fn visit(
        &self,
        generation: &Generation,
        path: &str,
        at_once: usize,
        deadline: Instant,
    ) -> Result<()> {
        let script = self.script(generation, path);
        Visit { generation, path, script: &script }.make(at_once, deadline).await
    }

    fn children(&self, replica: u32) -> usize {
        let resolved = self.observation.replica(replica).and_then(|it| it.resolved.as_ref());
        resolved.map_or(1, |resolved| resolved.start_servers as usize)
    }

    /// The file that answers a path, as the generation sees it.
    fn script(&self, generation: &Generation, path: &str) -> PathBuf {
        let below = self.pool.settings.current_dir().unwrap_or(self.pool.root.path());
        let outside = generation.release.as_ref().map_or(below, |release| &release.path);
        below.join(script(outside, path))
    }
}

/// The file of a release that answers a path: itself, or else the front controller.
pub(in crate::rollout) fn script<'a>(release: &Path, path: &'a str) -> &'a Path {
    let file = path.split('?').next().unwrap_or(path).trim_start_matches('/');
    let is_there = release.join(file).is_file();
    Path::new(if is_there { file } else { "index.php" })
}

/// One warm-up path.
struct Visit<'a> {
    generation: &'a Generation,
    path: &'a str,
    script: &'a Path,
}

impl Visit<'_> {
    async fn make(&self, at_once: usize, deadline: Instant) -> Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut visits = JoinSet::new();
        for _ in 0..at_once {
            let socket = self.generation.socket.clone();
            let request = Request::get(self.path).script(self.script.display().to_string());
            visits.spawn(async move { fastcgi::send(&socket, &request, left).await });
        }
        while let Some(visit) = visits.join_next().await {
            let response = visit
                .map_err(|error| self.failed(&error.to_string()))?
                .map_err(|error| self.failed(&error.to_string()))?;
            if response.status >= 500 {
                return Err(self.failed(&server_error(&response)));
            }
        }
        Ok(())
    }

    fn failed(&self, why: &str) -> Error {
        let Generation { number, replica, release, .. } = self.generation;
        let on = release.as_ref().map(|it| format!(" on {}", it.path.display()));
        let on = on.unwrap_or_default();
        let path = self.path;
        Error::failed(format!(
            "warm-up of generation {number} of replica {replica}{on}: {path}: {why}"
        ))
    }
}

/// The status of an answer, and what PHP said on the error stream.
pub(super) fn server_error(response: &fastcgi::Response) -> String {
    let said = String::from_utf8_lossy(&response.stderr);
    format!("status {}\n{}", response.status, said.trim()).trim_end().to_owned()
}
