//! What a running server answers: pings, pages, and whether it is idle.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{Children, FrontPage, Generation, Occupied, Server, command, php_fpm};
use crate::pool::{self, Pool};
use crate::process::{Process, Signal};

impl Server {
    /// Its children; None: they are not on record.
    pub fn children(&self) -> Option<Children> {
        match self {
            Self::PhpFpm(server) => server.children,
            Self::Command(server) => server.children,
        }
    }

    /// Whether it speaks HTTP, not FastCGI.
    pub fn speaks_http(&self) -> bool {
        matches!(self, Self::Command(command::Server { protocol: pool::Protocol::Http, .. }))
    }

    /// Its name, and where its socket is configured, for messages.
    pub(super) fn described(&self) -> (&'static str, &'static str) {
        match self {
            Self::PhpFpm(_) => ("php-fpm", "`listen` in the php-fpm configuration"),
            Self::Command(_) => ("the pool's server", "`socket` in [command]"),
        }
    }

    /// A php-fpm with a ping page.
    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        Self::PhpFpm(php_fpm::Server {
            ping_path: "/ping".to_owned(),
            ping_response: "pong".to_owned(),
            status_path: None,
            children: None,
            section: "www1".to_owned(),
            logs: Vec::new(),
        })
    }

    /// Whether it has a ping page.
    pub fn has_ping(&self) -> bool {
        match self {
            Self::PhpFpm(server) => !server.ping_path.is_empty(),
            Self::Command(_) => true,
        }
    }

    /// The signal with which systemd ends all its processes at a shutdown of the machine. php-fpm
    /// completes its requests after QUIT, the master of `[command]` ends the server after TERM.
    pub(super) fn shutdown_signal(&self) -> Signal {
        match self {
            Self::Command(server) if server.stop_signal != Signal::QUIT.as_raw() => Signal::TERM,
            Self::PhpFpm(_) | Self::Command(_) => Signal::QUIT,
        }
    }

    /// The body of its answer to a ping.
    pub fn pong(&self) -> &str {
        match self {
            Self::PhpFpm(server) => &server.ping_response,
            Self::Command(_) => "pong",
        }
    }

    /// Requests a ping at the server's socket. An error is the reason, in one sentence.
    pub async fn ping(&self, socket: &Path, timeout: Duration) -> std::result::Result<(), String> {
        match self {
            Self::PhpFpm(server) => {
                server.ping(socket, timeout).await.map_err(|error| error.to_string())
            }
            Self::Command(server) => server.ping(socket, timeout).await,
        }
    }

    /// Whether a process is a master of this kind, by its process title.
    pub(super) fn is_master(&self, process: &Process) -> std::io::Result<bool> {
        match self {
            Self::PhpFpm(_) => process.is_php_fpm_master(),
            Self::Command(_) => process.is_command_master(),
        }
    }
}

impl Generation {
    /// Requests a ping. An error is the reason, in one sentence.
    pub async fn ping(&self, timeout: Duration) -> std::result::Result<(), String> {
        self.server.ping(&self.socket, timeout).await
    }

    /// Whether no child works on after an early answer (`fastcgi_finish_request`). True for a
    /// server of `[command]`, and for a php-fpm without a status page: then its connections alone decide.
    pub async fn is_idle(&self, has_master: bool, deadline: Instant) -> bool {
        match &self.server {
            Server::PhpFpm(server) => server.is_idle(&self.socket, has_master, deadline).await,
            Server::Command(_) => true,
        }
    }

    /// `SCRIPT_FILENAME` of the present or last request of each child. Empty: it is not known.
    pub async fn scripts(&self, timeout: Duration) -> Vec<String> {
        match &self.server {
            Server::PhpFpm(server) => {
                let status = server.status(&self.socket, timeout).await;
                status.map(|status| status.scripts).unwrap_or_default()
            }
            Server::Command(_) => Vec::new(),
        }
    }

    /// What occupies its children; None: no child answers within `timeout`, or the server is not
    /// php-fpm with a status page.
    pub async fn occupied(&self, timeout: Duration) -> Option<Occupied> {
        match &self.server {
            Server::PhpFpm(server) => server.occupied(&self.socket, timeout).await,
            Server::Command(_) => None,
        }
    }

    /// Whether all children have been busy at once, and no more can be started.
    pub async fn was_full(&self, timeout: Duration) -> bool {
        match &self.server {
            Server::PhpFpm(server) => server.was_full(&self.socket, timeout).await,
            Server::Command(_) => false,
        }
    }

    /// Requests a page. Fails with the reason, in one or more lines, if the answer is a server
    /// error, or does not come within `timeout`.
    pub async fn request_page(
        &self,
        pool: &Pool,
        path: &str,
        timeout: Duration,
    ) -> std::result::Result<(), String> {
        match &self.server {
            Server::PhpFpm(_) => php_fpm::request_page(pool, self, path, timeout).await,
            Server::Command(server) => {
                command::request_page(pool, server, self, path, timeout).await
            }
        }
    }

    /// Requests the front page. `release` is the directory that the generation's processes see as
    /// their release.
    pub async fn front_page(&self, pool: &Pool, release: &Path, timeout: Duration) -> FrontPage {
        match &self.server {
            Server::PhpFpm(_) => php_fpm::front_page(pool, self, release, timeout).await,
            Server::Command(server) => {
                command::front_page(pool, server, self, release, timeout).await
            }
        }
    }
}
