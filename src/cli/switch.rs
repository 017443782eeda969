//! `switch`, `rollback`

use std::path::PathBuf;

use super::change::Options;
use super::scope::Scope;
use super::side_by_side::run_all;
use crate::error::{Error, Result};
use crate::rollout::{Target, Wanted};
use crate::root::Root;

const SWITCH_EXAMPLES: &str = "\
Examples:
  pools-manager switch www release2
      the directory beside the current release
  pools-manager switch www /srv/www/releases/42
      a path
  pools-manager switch www release2 --canary 1m
      watch one replica for a minute first";

#[derive(Debug, clap::Args)]
#[command(after_help = SWITCH_EXAMPLES)]
pub(super) struct SwitchArgs {
    /// The name of the pool
    pool: String,
    /// The release directory: a path, or the bare name of a directory beside the current release
    release: PathBuf,
    #[command(flatten)]
    options: Options,
}

const ROLLBACK_EXAMPLES: &str = "\
Examples:
  pools-manager rollback www
      the release from before the last rollout
  pools-manager rollback www --dry-run
      print which release that is";

#[derive(Debug, clap::Args)]
#[command(after_help = ROLLBACK_EXAMPLES)]
pub(super) struct RollbackArgs {
    /// Roll back only this pool
    pool: Option<String>,
    #[command(flatten)]
    options: Options,
}

impl SwitchArgs {
    pub(super) async fn run(self, root: &Root, json: bool) -> Result<()> {
        let target = Target::Release(absolute(self.release)?);
        run(Some(self.pool), &self.options, &target, root, json).await
    }
}

impl RollbackArgs {
    pub(super) async fn run(self, root: &Root, json: bool) -> Result<()> {
        run(self.pool, &self.options, &Target::Before, root, json).await
    }
}

async fn run(
    pool: Option<String>,
    options: &Options,
    target: &Target,
    root: &Root,
    json: bool,
) -> Result<()> {
    let scope = pool.map_or(Scope::All, |pool| Scope::Single { pool, replica: None });
    let jobs = options.jobs(&scope, Wanted::Renewed, target, root)?;
    run_all(jobs, options.parallel(), json).await
}

/// Makes a path with a slash absolute, from the working directory, as a shell does. A bare name stays
/// as it is: the pool looks for it beside its current release.
fn absolute(release: PathBuf) -> Result<PathBuf> {
    if release.file_name() == Some(release.as_os_str()) {
        return Ok(release);
    }
    let here = std::env::current_dir()
        .map_err(|error| Error::config(format!("the working directory: {error}")))?;
    Ok(here.join(release))
}
