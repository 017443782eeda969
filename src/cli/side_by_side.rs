//! Changes pools side by side. Pools share nothing: an error in one pool is reported at the end, and
//! does not stop the work on the others.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::Arc;

use rustix::process::{Resource, getrlimit};
use tokio::task::{JoinSet, LocalSet};

use super::OPEN_FILES_MIN;
use super::signals;
use super::status::combine;
use crate::cancel::Cancel;
use crate::error::{Error, Exit, Result};
use crate::event::{Event, Report};
use crate::pool::Pool;
use crate::render::{self, OnePool};
use crate::rollout::{self, Request};

/// The work on one pool, or the error if the pool cannot be read.
pub(super) struct Job {
    /// The name of the pool.
    pub(super) name: String,
    pub(super) work: Result<(Arc<Pool>, Request)>,
}

/// Does all jobs, at most `parallel` at the same time; None: as many as there are processors. Jobs
/// begin in their order. After Ctrl-C no further job begins.
pub(super) async fn run_all(
    jobs: Vec<Job>,
    parallel: Option<NonZeroUsize>,
    json: bool,
) -> Result<()> {
    let reports = render::for_stdout(json);
    let is_one_of_many = jobs.len() > 1;
    let is_dry_run = jobs.iter().all(|job| job.work.as_ref().is_ok_and(|(_, it)| it.dry_run));
    // A dry run changes nothing: a signal may end the process anywhere.
    let cancel = if is_dry_run { Cancel::never() } else { signals::cancel(json)? };
    let at_once = at_once(parallel);
    let all = async {
        let mut waiting = jobs.into_iter().enumerate();
        let mut running = JoinSet::new();
        let mut errors = BTreeMap::new();
        let mut is_interrupted = false;
        loop {
            while running.len() < at_once
                && !is_interrupted
                && let Some((position, job)) = waiting.next()
            {
                let report = reports.of(position, &job.name);
                let cancel = cancel.clone();
                running.spawn_local(async move {
                    (position, run(job, is_one_of_many, &cancel, report).await)
                });
            }
            match running.join_next().await {
                None => return errors.into_values().collect::<Vec<_>>(),
                Some(Ok((_, Ok(())))) => {}
                Some(Ok((position, Err(error)))) => {
                    is_interrupted |= is_signal(error.exit);
                    errors.insert(position, error);
                }
                Some(Err(broken)) => resume_unwind(broken.into_panic()),
            }
        }
    };
    combine(&LocalSet::new().run_until(all).await)
}

async fn run(job: Job, is_one_of_many: bool, cancel: &Cancel, mut report: OnePool) -> Result<()> {
    let Job { name, work } = job;
    let done = match work {
        Ok((pool, request)) => rollout::run(&pool, &request, cancel, &mut report).await,
        Err(error) => {
            report.event(&Event::Pool { pool: name.clone() });
            report.event(&Event::Done { pool: name.clone(), ok: false, ms: 0 });
            Err(error)
        }
    };
    done.map_err(|error| {
        if is_one_of_many { with_pool_name(&name, error) } else { error }.of_pool(&name)
    })
}

/// Adds the name of the pool to an error that names neither the pool nor a file of it.
fn with_pool_name(pool: &str, error: Error) -> Error {
    let said = [Some(error.message.as_str()), error.hint.as_deref()];
    let names = [format!("\"{pool}\""), format!("/redundant-pools/{pool}/")];
    let is_named = said.into_iter().flatten().any(|text| names.iter().any(|it| text.contains(it)));
    if is_named { error } else { error.within(format!("pool \"{pool}\"")) }
}

fn is_signal(exit: Exit) -> bool {
    matches!(exit, Exit::HungUp | Exit::Interrupted | Exit::Terminated)
}

/// How many pools to change at the same time. The limit of open files can make it fewer.
fn at_once(parallel: Option<NonZeroUsize>) -> usize {
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    let wanted = parallel.map_or_else(processors, usize::from);
    let files = getrlimit(Resource::Nofile).current.map(|files| files / OPEN_FILES_MIN);
    let most = files.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    wanted.min(most).max(1)
}
