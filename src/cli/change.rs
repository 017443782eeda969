//! `start`, `stop`, `restart`, `repair`

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::value_parser;

use super::Wanted;
use super::scope::{SCOPE, Scope, Selected};
use super::side_by_side::{Job, run_all};
use crate::config::Strategy;
use crate::error::Result;
use crate::pool::Pool;
use crate::rollout::{Goal, Request, Target};
use crate::root::Root;

/// Beyond any use, and well below what the clock can count.
const A_YEAR: u64 = 365 * 24 * 60 * 60;

#[derive(Debug, clap::Args)]
#[command(subcommand_value_name = SCOPE)]
pub(super) struct Args {
    #[command(subcommand)]
    scope: Option<Scope>,
    #[command(flatten)]
    care: Care,
}

/// Of those that may have to wait for requests, and roll nothing out: `stop`, `repair`.
#[derive(Debug, clap::Args)]
#[command(subcommand_value_name = SCOPE)]
pub(super) struct PatientArgs {
    #[command(subcommand)]
    scope: Option<Scope>,
    #[command(flatten)]
    care: Care,
    #[command(flatten)]
    patience: Patience,
}

#[derive(Debug, clap::Args)]
#[command(subcommand_value_name = SCOPE)]
pub(super) struct RestartArgs {
    #[command(subcommand)]
    scope: Option<Scope>,
    #[command(flatten)]
    options: Options,
}

/// The options of every command that changes a pool.
#[derive(Debug, Default, Clone, clap::Args)]
struct Care {
    /// Only say what would be done
    #[arg(long, global = true)]
    dry_run: bool,
    /// Exit with status 3 when another command is at work on the pool, instead of waiting
    #[arg(long, global = true)]
    no_wait: bool,
    /// How many pools are changed at the same time [default: the number of processors]
    #[arg(long, value_name = "N", global = true)]
    parallel: Option<NonZeroUsize>,
}

/// The options of those that stop something.
#[derive(Debug, Default, Clone, clap::Args)]
struct Patience {
    /// How long to wait for requests in flight, which are cut then; 0 cuts them at once [default:
    /// 60, or as the pool is configured]
    #[arg(long, value_name = "SECONDS", global = true, value_parser = value_parser!(u64).range(..=A_YEAR))]
    timeout: Option<u64>,
}

/// The options of those that roll out.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    care: Care,
    #[command(flatten)]
    patience: Patience,
    /// rolling: one replica after the other. swap: all new ones beside the old ones, then all at
    /// once [default: strategy of the pool]
    #[arg(long, global = true)]
    strategy: Option<Strategy>,
    /// Renew one replica first, and watch it for so long before the others follow: 30s, 5m
    #[arg(long, value_name = "TIME", global = true, value_parser = some_time)]
    canary: Option<Duration>,
}

/// A time as the settings have it, such as 30s.
fn some_time(text: &str) -> std::result::Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if !time.is_zero() && time <= Duration::from_secs(A_YEAR) => Ok(time),
        _ => {
            Err("it has to be a time like 30s or 5m, more than 0 and of a year at most".to_owned())
        }
    }
}

impl Args {
    pub(super) async fn run(self, root: &Root, json: bool) -> Result<()> {
        let options = Options { care: self.care, ..Options::default() };
        change(self.scope, &options, Wanted::Running, Target::Current, root, json).await
    }
}

impl PatientArgs {
    pub(super) async fn stop(self, root: &Root, json: bool) -> Result<()> {
        self.run(Wanted::Stopped, Target::Current, root, json).await
    }

    pub(super) async fn repair(self, root: &Root, json: bool) -> Result<()> {
        self.run(Wanted::Repaired, Target::Kept, root, json).await
    }

    async fn run(self, state: Wanted, target: Target, root: &Root, json: bool) -> Result<()> {
        let options = Options { care: self.care, patience: self.patience, ..Options::default() };
        change(self.scope, &options, state, target, root, json).await
    }
}

impl RestartArgs {
    pub(super) async fn run(self, root: &Root, json: bool) -> Result<()> {
        change(self.scope, &self.options, Wanted::Renewed, Target::Current, root, json).await
    }
}

async fn change(
    scope: Option<Scope>,
    options: &Options,
    state: Wanted,
    target: Target,
    root: &Root,
    json: bool,
) -> Result<()> {
    let jobs = options.jobs(&scope.unwrap_or(Scope::All), state, &target, root)?;
    run_all(jobs, options.care.parallel, json).await
}

impl Options {
    /// How many pools are changed at the same time, if the operator has said so.
    pub(super) fn parallel(&self) -> Option<NonZeroUsize> {
        self.care.parallel
    }

    /// What is to be done, pool by pool. One that cannot be read is among them, with the error.
    pub(super) fn jobs(
        &self,
        scope: &Scope,
        state: Wanted,
        target: &Target,
        root: &Root,
    ) -> Result<Vec<Job>> {
        let request = |Selected { pool, replicas }| {
            let request = self.request(&pool, replicas, state, target.clone());
            (pool, request)
        };
        let job = |(name, selected): (String, Result<Selected>)| Job {
            name,
            work: selected.map(request),
        };
        Ok(scope.select_each(root)?.into_iter().map(job).collect())
    }

    /// What is asked of one pool.
    fn request(&self, pool: &Pool, replicas: Vec<u32>, state: Wanted, target: Target) -> Request {
        let strategy = self.strategy.unwrap_or(pool.settings.strategy());
        Request {
            goal: Goal { state, replicas, strategy, canary: self.canary },
            target,
            drain_timeout: self.patience.timeout.map(Duration::from_secs),
            dry_run: self.care.dry_run,
            wait: !self.care.no_wait,
        }
    }
}
