//! The server's part of a generation's record, and its answer to a ping.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::page::get;
use crate::fastcgi;
use crate::pool::{Listen, Protocol};
use crate::runtime::Children;

/// What later commands need of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// What it speaks.
    pub protocol: Protocol,
    /// How it gets its connections.
    pub(in crate::runtime) listen: Listen,
    /// The page that shows whether it is healthy; None: any answer does.
    pub(in crate::runtime) health_path: Option<String>,
    /// The directory in which it sees its release.
    pub(in crate::runtime) release_dir: PathBuf,
    /// How many requests it serves at once; None: it has no limit.
    pub(in crate::runtime) children: Option<Children>,
    /// What ends its processes.
    pub(in crate::runtime) stop_signal: i32,
}

impl Server {
    /// Requests its health page: the status must be 2xx or 3xx. Without a health page, any answer of the
    /// server counts: to a request for `/`, or to a management record of FastCGI, which needs no script.
    pub(in crate::runtime) async fn ping(
        &self,
        socket: &Path,
        timeout: Duration,
    ) -> Result<(), String> {
        let status = match (self.protocol, &self.health_path) {
            (Protocol::Fastcgi, None) => {
                return fastcgi::get_values(socket, timeout).await.map_err(|it| it.to_string());
            }
            (Protocol::Fastcgi, Some(path)) => {
                let file = path.split('?').next().unwrap_or(path).trim_start_matches('/');
                let script = self.release_dir.join(file).display().to_string();
                let request = fastcgi::Request::get(path).script(script);
                fastcgi::send(socket, &request, timeout).await.map_err(|it| it.to_string())?.status
            }
            (Protocol::Http, path) => {
                get(socket, path.as_deref().unwrap_or("/"), None, timeout).await?
            }
        };
        match &self.health_path {
            Some(path) if !(200..400).contains(&status) => {
                Err(format!("{path} answers with status {status}"))
            }
            _ => Ok(()),
        }
    }
}
