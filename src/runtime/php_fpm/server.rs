//! A master's own pages: `ping.path` and `pm.status_path`.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Resolved;
use crate::fastcgi::{self, FastCgiError};
use crate::runtime::{Children, LogFile, Occupied};

/// How long the status page may take, also after the deadline. It takes about 1 ms.
const ANSWER: Duration = Duration::from_secs(1);

/// php-fpm's part of a record: the pages that the server answers itself, and its capacity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// The path that answers a ping. Empty: none is known.
    pub(in crate::runtime) ping_path: String,
    /// The body of the answer to a ping.
    pub(in crate::runtime) ping_response: String,
    /// The path of the status page; None: the master has none.
    pub(in crate::runtime) status_path: Option<String>,
    /// Its children; None: they are not on record.
    #[serde(default)]
    pub(in crate::runtime) children: Option<Children>,
    /// The name of its section; empty: it is not on record.
    #[serde(default)]
    pub(in crate::runtime) section: String,
    /// Its logs; empty: they are not on record.
    #[serde(default)]
    pub(in crate::runtime) logs: Vec<LogFile>,
}

impl Server {
    /// The server of a generation. Paths that the operator does not set get defaults.
    pub(in crate::runtime) fn of(resolved: &Resolved) -> Self {
        let or = |path: &Option<String>, default: &str| path.clone().unwrap_or(default.to_owned());
        Self {
            ping_path: or(&resolved.ping_path, "/pools-manager-ping"),
            ping_response: resolved.ping_response.clone(),
            status_path: Some(or(&resolved.status_path, "/pools-manager-status")),
            children: resolved.children,
            section: resolved.section.clone(),
            logs: resolved.logs.clone(),
        }
    }

    /// The server of a master that was started by other means: it has only the operator's paths.
    pub(in crate::runtime) fn adopted(resolved: &Resolved) -> Self {
        Self {
            ping_path: resolved.ping_path.clone().unwrap_or_default(),
            ping_response: resolved.ping_response.clone(),
            status_path: resolved.status_path.clone(),
            children: resolved.children,
            section: resolved.section.clone(),
            logs: resolved.logs.clone(),
        }
    }

    pub(in crate::runtime) async fn ping(
        &self,
        socket: &Path,
        timeout: Duration,
    ) -> Result<(), FastCgiError> {
        fastcgi::ping(socket, &self.ping_path, &self.ping_response, timeout).await
    }

    /// Whether no child but the one that answers the status request is active. True without a status
    /// page: then the connections alone decide.
    ///
    /// If the master is dead, a child that was killed stays busy on the page, and a child that was
    /// forked just before may hold the socket and never accept a connection.
    pub(in crate::runtime) async fn is_idle(
        &self,
        socket: &Path,
        has_master: bool,
        deadline: Instant,
    ) -> bool {
        let Some(path) = &self.status_path else { return true };
        let left = deadline.saturating_duration_since(Instant::now()).max(ANSWER);
        let left = if has_master { left } else { ANSWER };
        match fastcgi::status(socket, path, left).await {
            Ok(status) if has_master => status.active_processes <= 1,
            Ok(status) => {
                let is_alive = |pid: &&i32| Path::new("/proc").join(pid.to_string()).exists();
                status.busy.iter().filter(is_alive).count() <= 1
            }
            Err(FastCgiError::TimedOut { .. }) => !has_master,
            Err(_) => true,
        }
    }

    /// The status page; None: it has none, or no child answers within `timeout`.
    pub(in crate::runtime) async fn status(
        &self,
        socket: &Path,
        timeout: Duration,
    ) -> Option<fastcgi::Status> {
        fastcgi::status(socket, self.status_path.as_deref()?, timeout).await.ok()
    }

    /// What occupies the children; None: no child answers within `timeout`.
    pub(in crate::runtime) async fn occupied(
        &self,
        socket: &Path,
        timeout: Duration,
    ) -> Option<Occupied> {
        let status = self.status(socket, timeout).await?;
        // Without the list of children, the sums do not show what the children do.
        let busy = u32::try_from(status.busy.len()).ok().filter(|busy| *busy > 0)?;
        let (idle, used, own) = (status.kept_idle, status.kept - status.kept_idle, 1);
        Some(Occupied { idle, used, working: busy.saturating_sub(status.kept + own) })
    }

    /// Whether all children have been busy at once, and no more can be started.
    pub(in crate::runtime) async fn was_full(&self, socket: &Path, timeout: Duration) -> bool {
        let status = self.status(socket, timeout).await;
        status.is_some_and(|status| status.max_children_reached > 0)
    }
}
