//! `start`, `stop`, `restart`, `repair`

use std::num::NonZeroUsize;
use std::time::Duration;

use super::Wanted;
use super::canary::CanaryOptions;
use super::scope::{Scope, Selected, Words};
use super::side_by_side::{Job, run_all};
use crate::config::Strategy;
use crate::duration;
use crate::error::Result;
use crate::pool::Pool;
use crate::rollout::{Goal, Occasion, Request, Target};
use crate::root::Root;

/// The examples of `stop`.
pub(super) const STOP_EXAMPLES: &str = "\
Examples:
  pools-manager stop www 2
      stop replica 2; the others go on
  pools-manager stop www --timeout 0
      stop the pool www, and cut its requests in flight

`single POOL [N]` means the same as `POOL [N]`; a pool with the name all or single needs this form.";

/// The examples of `repair`.
pub(super) const REPAIR_EXAMPLES: &str = "\
Examples:
  pools-manager repair
      at boot, or after a crash: start what ran before
  pools-manager repair --dry-run
      print what it would do
  pools-manager repair www 2
      repair replica 2 of the pool www

`single POOL [N]` means the same as `POOL [N]`; a pool with the name all or single needs this form.";

const START_EXAMPLES: &str = "\
Examples:
  pools-manager start
      start what does not run, in all pools
  pools-manager start www 2
      start replica 2 of the pool www

`single POOL [N]` means the same as `POOL [N]`; a pool with the name all or single needs this form.";

#[derive(Debug, clap::Args)]
#[command(after_help = START_EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    words: Words,
    #[command(flatten)]
    change: ChangeOptions,
}

/// The arguments of `stop` and `repair`, which wait for requests in flight and are no rollout.
#[derive(Debug, clap::Args)]
pub(super) struct DrainArgs {
    #[command(flatten)]
    words: Words,
    #[command(flatten)]
    drain: DrainOptions,
    #[command(flatten)]
    change: ChangeOptions,
}

const RESTART_EXAMPLES: &str = "\
Examples:
  pools-manager restart www
      restart the pool www on the release that the symlink names
  pools-manager restart www --canary 30s
      restart one replica first, and watch it for 30 s
  pools-manager restart www --canary 10% --for 2m
      send a tenth of the new visitors to a new generation, and compare it with the old ones
  pools-manager restart www 2
      restart only replica 2
  pools-manager restart --dry-run
      print what a restart of all pools would do

`single POOL [N]` means the same as `POOL [N]`; a pool with the name all or single needs this form.";

#[derive(Debug, clap::Args)]
#[command(after_help = RESTART_EXAMPLES)]
pub(super) struct RestartArgs {
    #[command(flatten)]
    words: Words,
    #[command(flatten)]
    options: Options,
}

/// The options of every command that changes a pool.
#[derive(Debug, Default, Clone, clap::Args)]
struct ChangeOptions {
    /// Print what the command would do, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// If another command holds the lock of the pool, exit with status 3 and do not wait
    #[arg(long)]
    no_wait: bool,
    /// How many pools to change at the same time [default: the number of processors]
    #[arg(long, value_name = "N")]
    parallel: Option<NonZeroUsize>,
}

/// The options of the commands that stop generations.
#[derive(Debug, Default, Clone, clap::Args)]
struct DrainOptions {
    /// How long requests in flight may take to finish (30s, 2m). Longer requests are cut; 0 cuts all
    /// at once [default: the drain timeout of the pool, which is 60s unless configured]
    #[arg(long, value_name = "TIME", value_parser = duration::option)]
    timeout: Option<Duration>,
}

/// The options of a rollout: `restart`, `switch`, `rollback`.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    canary: CanaryOptions,
    /// rolling: restart one replica after the other. swap: start all new generations beside the old
    /// ones, then switch to all of them at once [default: the strategy of the pool]
    #[arg(long, hide_possible_values = true)]
    strategy: Option<Strategy>,
    #[command(flatten)]
    drain: DrainOptions,
    #[command(flatten)]
    change: ChangeOptions,
}

impl Args {
    pub(super) async fn run(self, root: &Root, json: bool) -> Result<()> {
        let options = Options { change: self.change, ..Options::default() };
        change(self.words, &options, Wanted::Running, Target::Current, root, json).await
    }
}

impl DrainArgs {
    pub(super) async fn stop(self, root: &Root, json: bool) -> Result<()> {
        self.run(Wanted::Stopped, Target::Current, root, json).await
    }

    pub(super) async fn repair(self, root: &Root, json: bool) -> Result<()> {
        self.run(Wanted::Repaired, Target::Kept, root, json).await
    }

    async fn run(self, state: Wanted, target: Target, root: &Root, json: bool) -> Result<()> {
        let options = Options { change: self.change, drain: self.drain, ..Options::default() };
        change(self.words, &options, state, target, root, json).await
    }
}

impl RestartArgs {
    pub(super) async fn run(self, root: &Root, json: bool) -> Result<()> {
        change(self.words, &self.options, Wanted::Renewed, Target::Current, root, json).await
    }
}

async fn change(
    words: Words,
    options: &Options,
    state: Wanted,
    target: Target,
    root: &Root,
    json: bool,
) -> Result<()> {
    let jobs = options.jobs(&words.scope()?, state, &target, root)?;
    run_all(jobs, options.change.parallel, json).await
}

impl Options {
    /// How many pools to change at the same time; None: as many as there are processors.
    pub(super) fn parallel(&self) -> Option<NonZeroUsize> {
        self.change.parallel
    }

    /// One job for each pool. The job of a pool that cannot be read holds the error.
    pub(super) fn jobs(
        &self,
        scope: &Scope,
        state: Wanted,
        target: &Target,
        root: &Root,
    ) -> Result<Vec<Job>> {
        let canary = self.canary.canary()?;
        let request = |Selected { pool, replicas }| {
            let goal = Goal { state, replicas, strategy: self.strategy_of(&pool), canary };
            let request = self.request(goal, target.clone());
            (pool, request)
        };
        let job = |(name, selected): (String, Result<Selected>)| Job {
            name,
            work: selected.map(request),
        };
        Ok(scope.select_each(root)?.into_iter().map(job).collect())
    }

    fn strategy_of(&self, pool: &Pool) -> Strategy {
        self.strategy.unwrap_or(pool.settings.strategy())
    }

    /// The request for one pool.
    fn request(&self, goal: Goal, target: Target) -> Request {
        Request {
            goal,
            target,
            occasion: Occasion::Asked,
            drain_timeout: self.drain.timeout,
            dry_run: self.change.dry_run,
            wait: !self.change.no_wait,
        }
    }
}
