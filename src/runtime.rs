//! The kinds of servers that a replica can be. For each kind, the engine (`src/rollout.rs`) must be
//! able to start the server, to find out whether it is ready or idle, to request its pages, to stop
//! it, and to describe it.
//!
//! The engine calls only this module. Each kind of server is a folder in `runtime/`, and a variant of
//! three enums: [`Runtime`] starts a replica, [`Spec`] is the replica's resolved configuration, and
//! [`Server`] is the server's part of a generation's record. To add a kind, add its variants here,
//! and its table to `pool/settings.rs`.
//!
//! A [`Generation`] is what all kinds have: a private socket, a pinned release, a pid file and a
//! record.

pub mod command;
mod end;
mod generation;
mod held;
mod inherited;
mod launch;
mod log_file;
mod lost;
pub mod php_fpm;
mod pin;
mod running;
mod server;
mod settle;
mod snapshot;
mod usage;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::account::Account;
use crate::error::{Error, Result};
use crate::finding::Checked;
use crate::pool::{self, Pool};
use crate::release::Release;
pub use generation::{Generation, has_room, remove_record};
pub use log_file::{LogFile, LogKind};
pub use lost::{lost, restore_record};
pub use php_fpm::{Demand, Log};
pub use running::{Running, look};
pub use settle::settle;
pub use snapshot::{Snapshot, discover};
pub use usage::Usage;

/// The child processes of a replica: each serves one request at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Children {
    /// Their highest number.
    pub max: u32,
    /// Whether the replica always has that many.
    pub fixed: bool,
}

/// What occupies the children of a replica.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Occupied {
    /// Children that have waited for at least a second for the next request, on a connection that a
    /// web server keeps open.
    pub idle: u32,
    /// The same, for less than a second.
    pub used: u32,
    /// Children that work on a request, or that work on after an early answer
    /// (`fastcgi_finish_request`).
    pub working: u32,
}

/// Starts the replicas of a pool.
#[derive(Debug)]
pub enum Runtime {
    /// PHP-FPM: one master for each generation.
    PhpFpm(php_fpm::Command),
    /// A server of `[command]`: one master of pools-manager's own for each generation.
    Command(Box<pool::Command>, command::Program),
}

/// The resolved configuration of one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spec {
    /// A section of php-fpm's configuration.
    PhpFpm(php_fpm::Resolved),
    /// The values of `[command]`.
    Command(command::Resolved),
}

/// The server's part of a generation's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Server {
    /// A php-fpm master.
    PhpFpm(php_fpm::Server),
    /// A server of `[command]`.
    Command(command::Server),
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
        match &pool.settings.server {
            pool::Server::PhpFpm(_) => php_fpm::Command::of(pool).map(Self::PhpFpm),
            pool::Server::Command(command) => {
                Ok(Self::Command(command.clone(), command::Program::of(pool, command)))
            }
        }
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
            Self::Command(command, _) => {
                command::Resolved::read(pool, command, replica, release).map(Spec::Command)
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
        match (self, spec, &generation.server) {
            (Self::PhpFpm(command), Spec::PhpFpm(resolved), Server::PhpFpm(server)) => {
                php_fpm::start(pool, command, generation, server, resolved, drain_timeout).await
            }
            (Self::Command(..), Spec::Command(resolved), Server::Command(_)) => {
                command::start(pool, generation, resolved).await
            }
            _ => Err(Error::failed(format!("{generation} is of another kind than its pool"))),
        }
    }

    /// The program that it runs, as a path or a name to look up in `PATH`. None: it is a part of the
    /// release, or does not exist.
    pub fn program(&self) -> Option<String> {
        match self {
            Self::PhpFpm(command) => Some(command.program.clone()),
            Self::Command(_, program) => {
                let path = program.path.as_ref().filter(|_| !program.is_of_release)?;
                Some(path.display().to_string())
            }
        }
    }
}

/// Checks for `check` how the runtime of a pool would start its replicas on `release`. `turns`
/// limits how many pools do this at once.
pub async fn inspect(pool: &Arc<Pool>, release: Option<Release>, turns: &Semaphore) -> Inspected {
    match pool.settings.command() {
        None => php_fpm::inspect(pool, release, turns).await,
        Some(command) => command::inspect(pool, command, release.as_ref()),
    }
}

/// Stops a generation, and leaves its files. If `idle` is true, the generation has no request, and
/// gets `timeout` to exit. Else its requests are cut.
pub async fn stop(running: &Running, idle: bool, timeout: Duration) -> Result<()> {
    match &running.generation.server {
        Server::PhpFpm(_) => php_fpm::stop(running, idle, timeout).await,
        Server::Command(server) => command::stop(running, server, idle, timeout).await,
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
pub fn has_page(pool: &Pool, release: &Path, path: &str) -> bool {
    match pool.settings.command() {
        None => php_fpm::has_script(&pool.settings, release, path),
        Some(command) => command::has_page(&pool.settings, command.protocol, release, path),
    }
}

/// The script of a release that answers requests for its front page, below the release; None: there
/// is none.
pub fn front_script(pool: &Pool, release: &Path) -> Option<PathBuf> {
    php_fpm::front_script(&pool.settings, release)
}

impl Spec {
    /// The path of its ping page; None: it has none.
    pub fn ping_path(&self) -> Option<&str> {
        match self {
            Self::PhpFpm(resolved) => resolved.ping_path.as_deref(),
            Self::Command(_) => None,
        }
    }

    /// How many requests it serves at a time, at most; None: it is not known.
    pub fn children_max(&self) -> Option<u32> {
        match self {
            Self::PhpFpm(resolved) => resolved.children.map(|it| it.max),
            Self::Command(resolved) => resolved.server.children.map(|it| it.max),
        }
    }

    /// The replica's public socket name.
    pub fn public(&self) -> &Path {
        match self {
            Self::PhpFpm(resolved) => &resolved.listen,
            Self::Command(resolved) => &resolved.public,
        }
    }

    /// The public name of the pid file.
    pub fn public_pid(&self) -> Option<&Path> {
        match self {
            Self::PhpFpm(resolved) => resolved.pid.as_deref(),
            Self::Command(resolved) => Some(&resolved.pid),
        }
    }

    /// How many requests a generation can serve at once at its start; at least 1.
    pub fn children_at_start(&self) -> u32 {
        match self {
            Self::PhpFpm(resolved) => resolved.start_servers,
            Self::Command(resolved) => resolved.at_once,
        }
    }

    /// The memory and processes that some replicas need together. Only php-fpm's needs are known.
    pub fn demand<'a>(specs: impl IntoIterator<Item = &'a Self>) -> Demand {
        Demand::of(specs.into_iter().filter_map(|spec| match spec {
            Self::PhpFpm(resolved) => Some(resolved),
            Self::Command(_) => None,
        }))
    }

    /// The logs that a record keeps: see [`Generation::logs`].
    pub fn logs(&self) -> &[LogFile] {
        match self {
            Self::PhpFpm(resolved) => &resolved.logs,
            Self::Command(_) => &[],
        }
    }

    /// Checks that the names of a generation can be written in its configuration.
    pub fn check(&self, pool: &Pool, generation: &Generation) -> Result<()> {
        match self {
            Self::PhpFpm(resolved) => resolved.check(pool, generation),
            Self::Command(resolved) => resolved.check_names(generation),
        }
    }

    /// All reasons for which the server would not start on `release`.
    pub fn refusals(&self, pool: &Pool, release: Option<&Release>) -> Vec<Error> {
        match self {
            // Without a command, the configuration could not have been resolved.
            Self::PhpFpm(resolved) => php_fpm::Command::of(pool)
                .map_or_else(|error| vec![error], |it| resolved.refusals(pool, &it, release)),
            Self::Command(_) => Vec::new(),
        }
    }

    /// The first crash of a child in the log since the last call, in the words of the log.
    pub fn crash(&self, log: &mut Log) -> Option<String> {
        match self {
            Self::PhpFpm(resolved) => log.find(|line| php_fpm::crash(line, &resolved.section)),
            Self::Command(_) => log.find(command::master::crash),
        }
    }

    /// The server's part of a new generation's record.
    fn server(&self) -> Server {
        match self {
            Self::PhpFpm(resolved) => Server::PhpFpm(php_fpm::Server::of(resolved)),
            Self::Command(resolved) => Server::Command(resolved.server.clone()),
        }
    }

    /// The same for a server that was started by other means.
    fn adopted_server(&self) -> Server {
        match self {
            Self::PhpFpm(resolved) => Server::PhpFpm(php_fpm::Server::adopted(resolved)),
            Self::Command(resolved) => Server::Command(resolved.server.clone()),
        }
    }
}
