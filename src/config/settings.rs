//! What one `pools-manager.toml` says.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::file::File;
use super::gateway::Gateway;
use super::{Hooks, values};
use crate::error::Result;
use crate::root::Root;

const ONE_EACH: &str = "name one balancer member for each replica, the first for 1.conf";

/// One pool's settings, all paths absolute.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The PHP-FPM runtime.
    pub php: Php,
    /// The Apache balancer, where there is one.
    pub apache: Option<Apache>,
    /// What the gateway serves of it, where it does.
    pub gateway: Option<Gateway>,
    /// How a rollout goes.
    pub rollout: Rollout,
    /// What it calls.
    pub hooks: Hooks,
}

/// `[php]`
#[derive(Debug, Clone)]
pub struct Php {
    /// The link that the operator moves, and the empty directory on which
    /// its target is mounted. None: releases are not pinned.
    pub pinning: Option<(PathBuf, PathBuf)>,
    /// The command before `--fpm-config FILE`, with its placeholders. Empty:
    /// the newest php-fpm that is installed.
    pub command: Vec<String>,
    /// A page that is requested through the web server before and after a rollout.
    pub monitor_url: Option<String>,
}

/// `[apache]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Apache {
    /// The page that `SetHandler balancer-manager` serves.
    #[serde(deserialize_with = "values::page_url")]
    pub manager_url: String,
    /// The name behind `balancer://`.
    #[serde(deserialize_with = "values::not_empty")]
    pub balancer_name: String,
    #[serde(rename = "member_urls", serialize_with = "without_span")]
    members: Spanned<Vec<String>>,
}

impl Apache {
    /// The balancer's members: the first is replica 1.
    pub fn member_urls(&self) -> &[String] {
        self.members.get_ref()
    }

    fn check(&self, file: &File<'_>) -> Result<()> {
        let urls = self.member_urls();
        let mut seen = HashSet::new();
        let twice = urls.iter().find(|url| !seen.insert(*url));
        let message = match twice {
            Some(url) => format!("member_urls names {url} twice"),
            None if urls.is_empty() => "member_urls is empty".to_owned(),
            None => return Ok(()),
        };
        Err(file.error(&self.members.span(), &message).hint(ONE_EACH))
    }
}

/// `[rollout]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rollout {
    /// None: rolling where a balancer is configured, else swap.
    pub strategy: Option<Strategy>,
    /// How long requests that are in flight are waited for.
    #[serde(deserialize_with = "values::duration")]
    pub drain_timeout: Duration,
    /// How long a new generation has to become ready.
    #[serde(deserialize_with = "values::some_duration")]
    pub ready_timeout: Duration,
    /// Paths that a new generation has to answer before it is published. None: its front page, see
    /// [`Rollout::probes_front_page`].
    pub warm_up: Option<Spanned<Vec<String>>>,
    /// What to do with a replica whose new generation is not ready.
    pub on_failure: OnFailure,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            strategy: None,
            drain_timeout: Duration::from_secs(60),
            ready_timeout: Duration::from_secs(10),
            warm_up: None,
            on_failure: OnFailure::Rollback,
        }
    }
}

impl Rollout {
    /// The paths that the operator has listed.
    pub fn warm_up(&self) -> &[String] {
        self.warm_up.as_ref().map_or(&[], |paths| paths.get_ref())
    }

    /// Whether a new generation is asked for its front page: the operator has listed no paths. An
    /// empty list asks for nothing.
    pub fn probes_front_page(&self) -> bool {
        self.warm_up.is_none()
    }

    fn check(&self, file: &File<'_>) -> Result<()> {
        let Some(paths) = &self.warm_up else { return Ok(()) };
        let Some(path) = paths.get_ref().iter().find(|path| !path.starts_with('/')) else {
            return Ok(());
        };
        let message = format!("the warm-up path \"{path}\" does not begin with /");
        Err(file
            .error(&paths.span(), &message)
            .hint("write what follows the host in the page's URL, like /index.php"))
    }
}

/// The order in which a rollout takes its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// One replica after the other: the old generation leaves, the new one comes.
    Rolling,
    /// All new generations beside the old ones, then all names at once.
    Swap,
}

/// What to do with a replica whose new generation is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// It gets the release back that it had.
    Rollback,
    /// It stays out of the balancer, to be looked at.
    Stop,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    php: Option<Spanned<RawPhp>>,
    apache: Option<Apache>,
    gateway: Option<Spanned<Gateway>>,
    #[serde(default)]
    rollout: Rollout,
    #[serde(default)]
    hooks: Hooks,
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

    pub(super) fn of(file: &File<'_>, root: &Root) -> Result<Self> {
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
            (link, dir) => Some((root.resolve(link), root.resolve(dir))),
        };
        let monitor_url = Some(php.monitor_url).filter(|url| !url.is_empty());
        if let Some(apache) = &raw.apache {
            apache.check(file)?;
        }
        if let Some(gateway) = &raw.gateway {
            if raw.apache.is_some() {
                return Err(file
                    .error(&gateway.span(), "there are both [apache] and [gateway]")
                    .hint("leave out the one that does not balance this pool's requests"));
            }
            gateway.get_ref().check(file)?;
        }
        raw.rollout.check(file)?;
        let php = Php { pinning, command: php.php_fpm_cmd, monitor_url };
        let gateway = raw.gateway.map(Spanned::into_inner);
        let RawFile { apache, rollout, hooks, .. } = raw;
        Ok(Self { php, apache, gateway, rollout, hooks })
    }

    /// A member for each replica, and a replica for each member.
    pub fn check_members(&self, path: &Path, replicas: u32) -> Result<()> {
        let Some(apache) = &self.apache else { return Ok(()) };
        let members = apache.member_urls().len();
        if members == replicas as usize {
            return Ok(());
        }
        let (are, files) = match replicas {
            1 => ("is 1 replica".to_owned(), "1.conf".to_owned()),
            last => (format!("are {last} replicas"), format!("1.conf to {last}.conf")),
        };
        let message = format!(
            "member_urls names {members}, but there {are}: {files}, and no {}.conf",
            replicas + 1
        );
        Err(File::read(path)?.error(&apache.members.span(), &message).hint(ONE_EACH))
    }

    /// The strategy to take where the command line names none.
    pub fn strategy(&self) -> Strategy {
        let classic = if self.apache.is_some() { Strategy::Rolling } else { Strategy::Swap };
        self.rollout.strategy.unwrap_or(classic)
    }
}

fn without_span<S: serde::Serializer>(
    urls: &Spanned<Vec<String>>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    urls.get_ref().serialize(serializer)
}
