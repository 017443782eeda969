//! The settings of one pool: its `pools-manager.toml`.

mod command;
#[cfg(test)]
mod fuzz;
mod keys;
mod pinning;
pub mod templates;

use std::mem::take;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use crate::backend;
use crate::config::{File, Gateway, Hooks, Limits, Rollout, Strategy, Systemd, Watch, values};
use crate::error::Result;
use crate::root::Root;
pub use command::{Command, Listen, Protocol};
pub use keys::TABLES;
use pinning::Raw as RawPinning;
pub use pinning::{Isolate, Pinning};

/// One pool's settings, all paths absolute.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How releases are pinned. None: they are not.
    pub pinning: Option<Pinning>,
    /// The kind of server that its replicas are.
    pub server: Server,
    /// A page that is requested through the web server before and after a rollout.
    pub monitor_url: Option<String>,
    /// The web server or balancer in front of the pool.
    pub backend: backend::Settings,
    /// How a rollout proceeds.
    pub rollout: Rollout,
    /// The programs that a rollout runs.
    pub hooks: Hooks,
    /// Whether `serve` follows the symlink.
    pub watch: Watch,
    /// When `serve` renews a replica.
    pub limits: Limits,
    /// The scopes of its generations.
    pub systemd: Systemd,
}

/// The settings of the servers that a pool's replicas are.
#[derive(Debug, Clone)]
pub enum Server {
    /// `[php]`
    PhpFpm(Php),
    /// `[command]`
    Command(Box<Command>),
}

/// The settings of `[php]` for php-fpm itself.
#[derive(Debug, Clone)]
pub struct Php {
    /// The command before `--fpm-config FILE`, with its placeholders. Empty:
    /// the newest php-fpm that is installed.
    pub command: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    php: Option<Spanned<RawPhp>>,
    command: Option<Spanned<command::Raw>>,
    apache: Option<Spanned<backend::apache::Settings>>,
    haproxy: Option<Spanned<backend::haproxy::Settings>>,
    gateway: Option<Spanned<Gateway>>,
    #[serde(default)]
    rollout: Rollout,
    #[serde(default)]
    hooks: Hooks,
    #[serde(default)]
    watch: Watch,
    limits: Option<Spanned<Limits>>,
    #[serde(default)]
    systemd: Systemd,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPhp {
    #[serde(default)]
    current_release_symlink: String,
    #[serde(default)]
    current_dir: String,
    isolate: Option<Spanned<bool>>,
    #[serde(default)]
    php_fpm_cmd: Vec<String>,
    #[serde(default, deserialize_with = "values::page_url_or_empty")]
    monitor_url: String,
}

/// Only php-fpm counts its requests.
fn limits(file: &File<'_>, raw: Option<Spanned<Limits>>, server: &Server) -> Result<Limits> {
    let Some(raw) = raw else { return Ok(Limits::default()) };
    if raw.get_ref().max_requests.is_some() && matches!(server, Server::Command(_)) {
        return Err(file
            .error(&raw.span(), "max_requests has no effect in a pool with [command]")
            .hint("remove it: only php-fpm counts its requests"));
    }
    Ok(raw.into_inner())
}

impl Settings {
    /// Reads a `pools-manager.toml`.
    pub fn read(path: &Path, root: &Root) -> Result<Self> {
        let dir = path.parent().and_then(Path::file_name).unwrap_or_default();
        Self::of(&File::read(path)?, root, &dir.to_string_lossy())
    }

    /// `pool`: its name.
    fn of(file: &File<'_>, root: &Root, pool: &str) -> Result<Self> {
        let raw: RawFile = file.parse()?;
        let (pinning, monitor_url, server) = match (raw.php, raw.command) {
            (Some(php), None) => {
                let (at, php) = (php.span(), php.into_inner());
                let server = Server::PhpFpm(Php { command: php.php_fpm_cmd });
                let pinning = RawPinning {
                    table: "php",
                    at,
                    symlink: php.current_release_symlink,
                    current_dir: php.current_dir,
                    isolate: php.isolate,
                };
                (pinning, php.monitor_url, server)
            }
            (None, Some(command)) => {
                let (at, mut raw) = (command.span(), command.into_inner());
                let pinning = RawPinning {
                    table: "command",
                    at,
                    symlink: take(&mut raw.current_release_symlink),
                    current_dir: take(&mut raw.current_dir),
                    isolate: raw.isolate.take(),
                };
                let monitor_url = take(&mut raw.monitor_url);
                let server = Server::Command(Box::new(raw.check(file, root, pool)?));
                (pinning, monitor_url, server)
            }
            (Some(_), Some(command)) => {
                return Err(file
                    .error(&command.span(), "there are both [php] and [command]")
                    .hint("a pool's replicas are servers of one kind: remove one of the tables"));
            }
            (None, None) => {
                return Err(file
                    .error(&(0..0), "there is no table [php]")
                    .hint("begin it with the line [php], and name current_release_symlink and current_dir below that; a pool of other servers has [command] instead"));
            }
        };
        let pinning = pinning.check(file, root)?;
        let RawFile { apache, haproxy, mut gateway, .. } = raw;
        if let (Some(gateway), Server::Command(command)) = (&mut gateway, &server)
            && command.protocol == Protocol::Http
        {
            // An HTTP server gets every path, unless `document_root` is set.
            gateway.as_mut().document_root.get_or_insert(Spanned::new(0..0, String::new()));
        }
        let backend = backend::Settings::new(file, backend::Tables { apache, haproxy, gateway })?;
        raw.rollout.check(file)?;
        let limits = limits(file, raw.limits, &server)?;
        Ok(Self {
            pinning,
            server,
            monitor_url: Some(monitor_url).filter(|url| !url.is_empty()),
            backend,
            rollout: raw.rollout,
            hooks: raw.hooks,
            watch: raw.watch,
            limits,
            systemd: raw.systemd,
        })
    }

    /// The directory on which releases are mounted; None: they are not pinned.
    pub fn current_dir(&self) -> Option<&Path> {
        self.pinning.as_ref().map(|pinning| pinning.current_dir.as_path())
    }

    /// The settings of `[command]`, if the pool has it.
    pub fn command(&self) -> Option<&Command> {
        match &self.server {
            Server::Command(command) => Some(command),
            Server::PhpFpm(_) => None,
        }
    }

    /// The strategy of a rollout, if the command line names none.
    pub fn strategy(&self) -> Strategy {
        self.rollout.strategy.unwrap_or(self.backend.default_strategy())
    }
}
