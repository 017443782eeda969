//! The kinds of servers that a replica can be, and what the engine needs of each: start it, know
//! that it is ready or idle, request its pages, stop it, describe it.
//!
//! The engine calls this module only. Each kind of server is a folder below it, and a variant of
//! three enums: [`Runtime`] starts a replica, [`Spec`] is the replica's resolved configuration, and
//! [`Server`] is the server's part of a generation's record. To add a kind, add its variants here,
//! and its table to `pool/settings.rs`.
//!
//! A [`Generation`] is what all kinds have: a private socket, a pinned release, a pid file and a
//! record.

mod generation;
mod log_file;
pub mod php_fpm;
mod pin;
mod running;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::account::Account;
use crate::error::{Error, Result};
use crate::finding::Checked;
use crate::pool::Pool;
use crate::process::Process;
use crate::release::Release;
use crate::socket::UnixSockets;
pub use generation::{Generation, discover, remove_record};
pub use log_file::{LogFile, LogKind};
pub use php_fpm::{Demand, Log};
pub use running::{Running, look};

/// The child processes of a replica: each serves one request at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Children {
    /// Their highest number.
    pub max: u32,
    /// Whether the replica always has that many.
    pub fixed: bool,
}

/// Starts the replicas of a pool.
#[derive(Debug)]
pub enum Runtime {
    /// PHP-FPM: one master for each generation.
    PhpFpm(php_fpm::Command),
}

/// The resolved configuration of one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spec {
    /// A section of php-fpm's configuration.
    PhpFpm(php_fpm::Resolved),
}

/// The server's part of a generation's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Server {
    /// A php-fpm master.
    PhpFpm(php_fpm::Server),
}

/// The answer of a generation to a request for its front page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrontPage {
    /// Its release has none.
    None,
    /// A page.
    Good,
    /// A server error, or a page with a fatal error: why the answer is bad.
    Bad(String),
}

/// The runtime's part of `check`.
#[derive(Debug)]
pub struct Inspected {
    /// The resolved configurations of the replicas, ascending, where they are valid.
    pub specs: Vec<(u32, Spec)>,
    /// The account that runs the application, if it is known.
    pub account: Option<Account>,
    /// The notes and findings.
    pub checked: Checked,
}

impl Runtime {
    /// The runtime of a pool.
    pub fn of(pool: &Pool) -> Result<Self> {
        php_fpm::Command::of(pool).map(Self::PhpFpm)
    }

    /// Resolves the configuration of a replica, as for a start on `release`. An error shows the
    /// server's own message.
    pub async fn resolve(
        &self,
        pool: &Pool,
        replica: u32,
        release: Option<&Release>,
    ) -> Result<Spec> {
        match self {
            Self::PhpFpm(command) => {
                php_fpm::Resolved::read(pool, command, replica, release).await.map(Spec::PhpFpm)
            }
        }
    }

    /// Records a generation and starts it; returns when its server reports that it is up.
    /// `drain_timeout` is the time that a later stop gives to requests in flight.
    pub async fn start(
        &self,
        pool: &Pool,
        generation: &Generation,
        spec: &Spec,
        drain_timeout: Duration,
    ) -> Result<()> {
        let (Self::PhpFpm(command), Spec::PhpFpm(resolved), Server::PhpFpm(server)) =
            (self, spec, &generation.server);
        php_fpm::start(pool, command, generation, server, resolved, drain_timeout).await
    }

    /// The program that it runs, as a path or a name to look up in `PATH`.
    pub fn program(&self) -> &str {
        match self {
            Self::PhpFpm(command) => &command.program,
        }
    }
}

/// Checks for `check` how the runtime of a pool would start its replicas on `release`. `turns`
/// limits how many pools do this at once.
pub async fn inspect(pool: &Arc<Pool>, release: Option<Release>, turns: &Semaphore) -> Inspected {
    php_fpm::inspect(pool, release, turns).await
}

/// Waits for servers that a killed command has launched and that do not listen yet; kills those
/// that are not up in time. Only for the holder of the pool's lock.
pub async fn settle(pool: &Pool) -> Result<()> {
    php_fpm::settle(pool).await
}

/// The generations of a replica that run and have lost their record, ascending. `public` are the
/// replica's present and former public names; `known` are the records that exist.
pub fn lost(
    pool: &Pool,
    replica: u32,
    public: &[&Path],
    known: &[Generation],
    unix_sockets: &UnixSockets,
) -> Result<Vec<Generation>> {
    php_fpm::lost(pool, replica, public, known, unix_sockets)
}

/// Restores the record and the pid file of a generation, if they are gone.
pub fn restore_record(pool: &Pool, running: &Running) -> Result<()> {
    match running.generation.server {
        Server::PhpFpm(_) => php_fpm::restore_record(pool, running),
    }
}

/// Stops a generation, and leaves its files. `idle`: it has no request, and gets `timeout` to exit;
/// else its requests are cut.
pub async fn stop(running: &Running, idle: bool, timeout: Duration) -> Result<()> {
    match running.generation.server {
        Server::PhpFpm(_) => php_fpm::stop(running, idle, timeout).await,
    }
}

/// Stops a generation that has served no request, and removes its files.
pub async fn discard(running: &Running) -> Result<()> {
    stop(running, false, Duration::ZERO).await?;
    running.generation.remove_leftovers().map_err(|error| {
        Error::failed(format!("cannot remove what {} left: {error}", running.generation))
    })
}

/// Whether a release has a page to warm up with.
pub fn has_page(release: &Path, path: &str) -> bool {
    php_fpm::has_script(release, path)
}

impl Spec {
    /// The replica's public socket name.
    pub fn public(&self) -> &Path {
        match self {
            Self::PhpFpm(resolved) => &resolved.listen,
        }
    }

    /// The public name of the pid file.
    pub fn public_pid(&self) -> Option<&Path> {
        match self {
            Self::PhpFpm(resolved) => resolved.pid.as_deref(),
        }
    }

    /// How many children a generation starts with; at least 1.
    pub fn children_at_start(&self) -> u32 {
        match self {
            Self::PhpFpm(resolved) => resolved.start_servers,
        }
    }

    /// The memory and processes that some replicas need together.
    pub fn demand<'a>(specs: impl IntoIterator<Item = &'a Self>) -> Demand {
        Demand::of(specs.into_iter().map(|Self::PhpFpm(resolved)| resolved))
    }

    /// The logs that a record keeps: see [`Generation::logs`].
    pub fn logs(&self) -> &[LogFile] {
        match self {
            Self::PhpFpm(resolved) => &resolved.logs,
        }
    }

    /// Checks that the names of a generation can be written in its configuration.
    pub fn check(&self, pool: &Pool, generation: &Generation) -> Result<()> {
        match self {
            Self::PhpFpm(resolved) => resolved.check(pool, generation),
        }
    }

    /// The first crash of a child in the log since the last call, in the server's own words.
    pub fn crash(&self, log: &mut Log) -> Option<String> {
        match self {
            Self::PhpFpm(resolved) => log.crash(&resolved.section),
        }
    }

    /// The server's part of a new generation's record.
    fn server(&self) -> Server {
        match self {
            Self::PhpFpm(resolved) => Server::PhpFpm(php_fpm::Server::of(resolved)),
        }
    }

    /// The same for a server that was started by other means.
    fn adopted_server(&self) -> Server {
        match self {
            Self::PhpFpm(resolved) => Server::PhpFpm(php_fpm::Server::adopted(resolved)),
        }
    }
}

impl Server {
    /// Its children; None: they are not on record.
    pub fn children(&self) -> Option<Children> {
        match self {
            Self::PhpFpm(server) => server.children,
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
        }
    }

    /// The body of its answer to a ping.
    pub fn pong(&self) -> &str {
        match self {
            Self::PhpFpm(server) => &server.ping_response,
        }
    }

    /// Requests a ping at the server's socket. An error is the reason, in one sentence.
    pub async fn ping(&self, socket: &Path, timeout: Duration) -> std::result::Result<(), String> {
        match self {
            Self::PhpFpm(server) => {
                server.ping(socket, timeout).await.map_err(|error| error.to_string())
            }
        }
    }

    /// Whether a process is a master of this kind, by its process title.
    fn is_master(&self, process: &Process) -> std::io::Result<bool> {
        match self {
            Self::PhpFpm(_) => process.is_php_fpm_master(),
        }
    }
}

impl Generation {
    /// Requests a ping. An error is the reason, in one sentence.
    pub async fn ping(&self, timeout: Duration) -> std::result::Result<(), String> {
        self.server.ping(&self.socket, timeout).await
    }

    /// Whether no child works on after an early answer (`fastcgi_finish_request`). True for a
    /// server without a status page: then its connections alone decide.
    pub async fn is_idle(&self, deadline: Instant) -> bool {
        match &self.server {
            Server::PhpFpm(server) => server.is_idle(&self.socket, deadline).await,
        }
    }

    /// Whether all children have been busy at once, and no more can be started.
    pub async fn was_full(&self, timeout: Duration) -> bool {
        match &self.server {
            Server::PhpFpm(server) => server.was_full(&self.socket, timeout).await,
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
        }
    }

    /// Requests the front page. `release` is the directory that the generation's processes see as
    /// their release.
    pub async fn front_page(&self, pool: &Pool, release: &Path, timeout: Duration) -> FrontPage {
        match &self.server {
            Server::PhpFpm(_) => php_fpm::front_page(pool, self, release, timeout).await,
        }
    }
}
