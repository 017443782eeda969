//! Taking a pool from what it is to what is wanted: observe, plan, execute.
//!
//! Start, stop and restart differ only in their goal. So does what comes after
//! a crash: the next command sees what is there, and plans from it.

mod check;
mod execute;
mod goal;
mod hooks;
pub(crate) mod monitor;
mod observe;
mod plan;
mod prepare;
mod record;
pub(crate) mod repair;
mod steps;
mod switch;
mod target;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) use check::check_names;
pub use goal::{Goal, Wanted};
pub(crate) use observe::refuse_stranger;
pub use observe::{Ask, Observation, Observed, look, observe};
pub use plan::{Member, Replica, Seen, plan};
pub use target::Target;

use crate::backend::Backend;
use crate::cancel::Cancel;
use crate::error::{Error, Exit, Result};
use crate::event::{Event, Report};
use crate::lock::Lock;
use crate::pool::Pool;
use crate::runtime;
use execute::{Done, Execution};
use hooks::Hooks;
use prepare::{Prepared, prepare};
use record::Record;
use steps::{members, millis};

/// What a command asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is wanted of which replicas.
    pub goal: Goal,
    /// The release to go to.
    pub target: Target,
    /// How long requests in flight are waited for; None: as configured.
    pub drain_timeout: Option<Duration>,
    /// Do nothing where all replicas serve the target already.
    pub unless_current: bool,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Wait for the pool's lock, or refuse.
    pub wait: bool,
}

/// Takes a pool to the goal, as the only command that changes it. Once `cancel` says so, it stops at
/// the next good place.
pub async fn run(
    pool: &Arc<Pool>,
    request: &Request,
    cancel: &Cancel,
    report: &mut dyn Report,
) -> Result<()> {
    let started = Instant::now();
    report.event(&Event::Pool { pool: pool.name.clone() });
    check::check_trust(pool)?;
    let backend = pool.backend()?;
    let result = if request.dry_run {
        prepare(pool, &backend, request)
            .await
            .and_then(|prepared| prepared.report(pool, request, report))
    } else {
        change(pool, &backend, request, cancel, report).await
    };
    let (ok, ms) = (result.is_ok(), millis(started));
    report.event(&Event::Done { pool: pool.name.clone(), ok, ms });
    result
}

async fn change(
    pool: &Arc<Pool>,
    backend: &Backend,
    request: &Request,
    cancel: &Cancel,
    report: &mut dyn Report,
) -> Result<()> {
    let lock = take_lock(pool, request, cancel, report).await?;
    runtime::settle(pool).await?;
    if let Err(error) = backend.clean_up().await {
        let text = format!("{}; a member's errors are still ignored there", error.message);
        report.event(&Event::Warning { text });
    }
    let prepared = prepare(pool, backend, request).await?;
    cancel.check().map_err(|cancelled| left_alone(pool, cancelled))?;
    prepared.warn(report);
    report_nothing(&request.goal, &prepared, report);
    let headless = prepared.headless.clone();
    let renews = request.goal.state == Wanted::Renewed;
    if renews && prepared.stages.is_empty() {
        report.event(&Event::Plan { stages: prepared.stages });
        return Ok(());
    }
    let mut hooks = None;
    if renews {
        hooks = Some(Hooks::begin(pool, request, &prepared, cancel, report).await?);
    } else {
        record::note_wanted(&lock, pool, &request.goal, report);
    }
    let (result, cause) = prepared.carry_out(pool, backend, request, &lock, cancel, report).await;
    if let Some(hooks) = hooks {
        hooks.end(cause.as_ref().or(result.as_ref().err()), report).await;
    }
    result.and_then(|()| repair::refuse_headless(&headless))
}

async fn take_lock(
    pool: &Pool,
    request: &Request,
    cancel: &Cancel,
    report: &mut dyn Report,
) -> Result<Lock> {
    let in_hook = hooks::has_started_us(pool);
    let wait = request.wait && !in_hook;
    let told = |holder: &_| report.event(&Event::LockWait { holder: Clone::clone(holder) });
    let path = pool.lock_file();
    let lock = tokio::select! {
        lock = Lock::take(&path, &pool.name, wait, told) => lock,
        cancelled = cancel.cancelled() => Err(left_alone(pool, cancelled)),
    };
    lock.map_err(|error| match error.exit {
        Exit::Locked if in_hook => error.hint(
            "a hook cannot change its own pool: the rollout that holds the lock waits for the hook",
        ),
        _ => error,
    })
}

/// It may also have come when another pool's rollout was as good as done.
fn left_alone(pool: &Pool, told: Error) -> Error {
    told.hint(format!("the pool \"{}\" was left as it is", pool.name))
}

impl Prepared {
    /// Does it. Where that fails, the error says what state is left; what stands beside it is
    /// why, if that is something else.
    async fn carry_out(
        self,
        pool: &Arc<Pool>,
        backend: &Backend,
        request: &Request,
        lock: &Lock,
        cancel: &Cancel,
        report: &mut dyn Report,
    ) -> (Result<()>, Option<Error>) {
        let Self { observation, release, stages, keep_floor, switch, .. } = self;
        let renews = request.goal.state == Wanted::Renewed;
        // Before the symlink moves, which changes static files at once.
        let monitored = if renews { monitor::complaint_of(pool).await } else { None };
        let begins = (&observation, release.as_ref());
        let record = renews.then(|| Record::begin(lock, pool, request, begins, report));
        if let Some(switch) = &switch
            && let Err(error) = switch.begin(report)
        {
            if let Some(record) = record {
                record.withdraw(lock, pool, report);
            }
            return (Err(error), None);
        }
        let mut execution = Execution {
            pool,
            backend,
            observation,
            release,
            drain_timeout: request.drain_timeout.unwrap_or(pool.settings.rollout.drain_timeout),
            canary: request.goal.canary.unwrap_or_default(),
            keep_floor,
            cancel,
            report: &mut *report,
            done: Done::default(),
        };
        let mut result = execution.execute(&stages).await;
        if renews && result.is_ok() {
            result = execution.monitor(monitored.as_deref(), request.goal.strategy).await;
        }
        if request.goal.state == Wanted::Stopped && result.is_ok() {
            members::leave_enabled(backend, &execution.observation, execution.report).await;
        }
        let cause = execution.done.cause.take();
        if request.goal.state == Wanted::Repaired && result.is_ok() {
            repair::mention_symlink(pool, execution.release.as_ref(), report);
        }
        if let Some(record) = record {
            record.end(lock, pool, cause.as_ref().or(result.as_ref().err()), report);
        }
        let result = match (result, switch) {
            (Err(error), Some(switch)) => Err(switch.end(pool, error, report).await),
            (result, _) => result,
        };
        (result, cause)
    }
}

fn report_nothing(goal: &Goal, prepared: &Prepared, report: &mut dyn Report) {
    let usual = match goal.state {
        Wanted::Running => "is already running",
        Wanted::Stopped => "is not running",
        Wanted::Repaired => "needs no repair",
        Wanted::Renewed => return,
    };
    for &replica in &goal.replicas {
        let stages = &prepared.stages;
        let planned = stages.iter().any(|stage| stage.title.replica() == Some(replica));
        let lost = prepared.observation.replica(replica).is_some_and(|it| !it.lost.is_empty());
        let because = match () {
            () if prepared.headless.contains(&replica) => {
                "serves without its master, which is dead"
            }
            () if lost => "runs; its record in pid/ is written again",
            () => usual,
        };
        if !planned {
            report.event(&Event::Nothing { replica, because });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A long-running program may carry out rollouts on any thread.
    #[test]
    fn a_rollout_is_work_for_any_thread() {
        fn is_send<T: Send>(_: impl FnOnce(&Arc<Pool>, &Request, &Cancel) -> T) {}
        is_send(|pool, request, cancel| {
            let (pool, request, cancel) = (Arc::clone(pool), request.clone(), cancel.clone());
            async move { run(&pool, &request, &cancel, &mut Nobody).await }
        });
    }

    struct Nobody;

    impl Report for Nobody {
        fn event(&mut self, _event: &Event) {}
    }
}
