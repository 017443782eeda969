//! The settings of one pool: its `pools-manager.toml`.

#[cfg(test)]
mod fuzz;

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::backend;
use crate::config::{File, Gateway, Hooks, Limits, Rollout, Strategy, Watch, values};
use crate::error::Result;
use crate::root::Root;

/// One pool's settings, all paths absolute.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How releases are pinned. None: they are not.
    pub pinning: Option<Pinning>,
    /// The PHP-FPM runtime.
    pub php: Php,
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
}

/// Where releases come from, and where processes see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinning {
    /// The symlink that the operator moves (`current_release_symlink`).
    pub symlink: PathBuf,
    /// The empty directory on which the release is mounted (`current_dir`).
    pub current_dir: PathBuf,
}

/// The settings of `[php]` for php-fpm itself.
#[derive(Debug, Clone)]
pub struct Php {
    /// The command before `--fpm-config FILE`, with its placeholders. Empty:
    /// the newest php-fpm that is installed.
    pub command: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    php: Option<Spanned<RawPhp>>,
    apache: Option<Spanned<backend::apache::Settings>>,
    haproxy: Option<Spanned<backend::haproxy::Settings>>,
    gateway: Option<Spanned<Gateway>>,
    #[serde(default)]
    rollout: Rollout,
    #[serde(default)]
    hooks: Hooks,
    #[serde(default)]
    watch: Watch,
    #[serde(default)]
    limits: Limits,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPhp {
    #[serde(default)]
    current_release_symlink: String,
    #[serde(default)]
    current_dir: String,
    #[serde(default)]
    php_fpm_cmd: Vec<String>,
    #[serde(default, deserialize_with = "values::page_url_or_empty")]
    monitor_url: String,
}

impl Settings {
    /// Reads a `pools-manager.toml`.
    pub fn read(path: &Path, root: &Root) -> Result<Self> {
        Self::of(&File::read(path)?, root)
    }

    fn of(file: &File<'_>, root: &Root) -> Result<Self> {
        let raw: RawFile = file.parse()?;
        let php = raw.php.ok_or_else(|| {
            file.error(&(0..0), "there is no table [php]")
                .hint("begin it with the line [php], and name current_release_symlink and current_dir below that")
        })?;
        let at = php.span();
        let php = php.into_inner();
        let pinning = match (php.current_release_symlink.as_str(), php.current_dir.as_str()) {
            ("", _) => None,
            (_, "") => {
                return Err(file
                    .error(&at, "[php] has current_release_symlink but no current_dir")
                    .hint(
                        "current_dir names the empty directory on which the release is mounted",
                    ));
            }
            (symlink, dir) => {
                Some(Pinning { symlink: root.resolve(symlink), current_dir: root.resolve(dir) })
            }
        };
        let RawFile { apache, haproxy, gateway, .. } = raw;
        let backend = backend::Settings::new(file, backend::Tables { apache, haproxy, gateway })?;
        raw.rollout.check(file)?;
        Ok(Self {
            pinning,
            php: Php { command: php.php_fpm_cmd },
            monitor_url: Some(php.monitor_url).filter(|url| !url.is_empty()),
            backend,
            rollout: raw.rollout,
            hooks: raw.hooks,
            watch: raw.watch,
            limits: raw.limits,
        })
    }

    /// The directory on which releases are mounted; None: they are not pinned.
    pub fn current_dir(&self) -> Option<&Path> {
        self.pinning.as_ref().map(|pinning| pinning.current_dir.as_path())
    }

    /// The strategy of a rollout, if the command line names none.
    pub fn strategy(&self) -> Strategy {
        self.rollout.strategy.unwrap_or(self.backend.default_strategy())
    }
}
