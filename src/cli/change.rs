//! `start`, `stop`, `restart`

use std::sync::Arc;
use std::time::Duration;

use clap::value_parser;

use super::Wanted;
use super::scope::{SCOPE, Scope, Selected};
use crate::config::Strategy;
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::render;
use crate::rollout::{self, Goal, Request};
use crate::root::Root;

/// Beyond any use, and well below what the clock can count.
const A_YEAR: u64 = 365 * 24 * 60 * 60;

#[derive(Debug, clap::Args)]
#[command(subcommand_value_name = SCOPE)]
pub(super) struct Args {
    #[command(subcommand)]
    scope: Option<Scope>,
    /// Only say what would be done
    #[arg(long, global = true)]
    dry_run: bool,
    /// Exit with status 3 when another command is at work on the pool, instead of waiting
    #[arg(long, global = true)]
    no_wait: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct StopArgs {
    #[command(flatten)]
    args: Args,
    /// How long to wait for requests in flight, which are cut then; 0 cuts them at once [default:
    /// 60, or as the pool is configured]
    #[arg(long, value_name = "SECONDS", global = true, value_parser = value_parser!(u64).range(..=A_YEAR))]
    timeout: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub(super) struct RestartArgs {
    #[command(flatten)]
    stop: StopArgs,
    /// rolling: one replica after the other. swap: all new ones beside the old ones, then all at
    /// once [default: strategy of the pool]
    #[arg(long, global = true)]
    strategy: Option<Strategy>,
}

impl Args {
    pub(super) async fn run(self, root: &Root, json: bool) -> Result<()> {
        self.change(root, json, Wanted::Running, None, None).await
    }

    async fn change(
        self,
        root: &Root,
        json: bool,
        state: Wanted,
        timeout: Option<u64>,
        strategy: Option<Strategy>,
    ) -> Result<()> {
        let mut report = render::for_stdout(json);
        let selected = self.scope.unwrap_or(Scope::All).select_all(root)?;
        let wanted: Vec<(Arc<Pool>, Goal)> = selected
            .into_iter()
            .map(|Selected { pool, replicas }| {
                let strategy = strategy.unwrap_or(pool.settings.strategy());
                (pool, Goal { state, replicas, strategy })
            })
            .collect();
        // A pool that will be refused is found before another one is changed.
        for (pool, goal) in wanted.iter().skip(1) {
            let refused = |error: Error| error.within(format!("pool \"{}\"", pool.name));
            rollout::check(pool, goal).await.map_err(refused)?;
        }
        for (pool, goal) in wanted {
            let request = Request {
                goal,
                drain_timeout: timeout.map(Duration::from_secs),
                dry_run: self.dry_run,
                wait: !self.no_wait,
            };
            rollout::run(&pool, &request, report.as_mut()).await?;
        }
        Ok(())
    }
}

impl StopArgs {
    pub(super) async fn run(self, root: &Root, json: bool) -> Result<()> {
        self.args.change(root, json, Wanted::Stopped, self.timeout, None).await
    }
}

impl RestartArgs {
    pub(super) async fn run(self, root: &Root, json: bool) -> Result<()> {
        let StopArgs { args, timeout } = self.stop;
        args.change(root, json, Wanted::Renewed, timeout, self.strategy).await
    }
}
