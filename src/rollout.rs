//! Takes a pool from its present state to the wanted one: observe, plan, execute.
//!
//! Start, stop and restart differ only in their goal. Recovery after a crash has no code of its
//! own: the next command observes the pool, and plans from what it finds.

mod check;
mod execute;
mod goal;
mod hooks;
pub(crate) mod monitor;
mod observe;
mod offer;
mod plan;
mod prepare;
mod record;
pub(crate) mod refusals;
pub(crate) mod repair;
mod steps;
mod switch;
mod target;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use goal::{Canary, Goal, Wanted};
pub(crate) use observe::refuse_other_file;
pub use observe::{Observation, Observed, SpecQuery, look, observe};
pub use plan::{MemberState, PoolView, ReplicaView, plan};
pub use target::Target;

use crate::backend::Backend;
use crate::canary;
use crate::cancel::Cancel;
use crate::error::{Error, Exit, Result};
use crate::event::{Event, Report};
use crate::lock::Lock;
use crate::pool::Pool;
use crate::runtime;
use execute::{Execution, Progress, Visitors};
use hooks::Hooks;
use prepare::{Prepared, prepare};
use record::Record;
use steps::{members, millis};

/// A change of one pool, as a command requests it.
#[derive(Debug, Clone)]
pub struct Request {
    /// The wanted state, and the replicas that it is for.
    pub goal: Goal,
    /// The target release.
    pub target: Target,
    /// The longest wait for requests in flight; None: the configured one.
    pub drain_timeout: Option<Duration>,
    /// Why the pool is changed.
    pub occasion: Occasion,
    /// Report the plan, and change nothing.
    pub dry_run: bool,
    /// Whether to wait for the pool's lock. If false, a locked pool is an error.
    pub wait: bool,
}

/// Why a pool is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// The operator requests it: the replicas that are to run are stored.
    Asked,
    /// The supervisor finds it needed: the replicas that are to run are not stored, and a renewal
    /// does nothing if the replicas serve the target already.
    Needed,
    /// The supervisor renews replicas that exceed a limit. That is no rollout: it is not in the
    /// history, runs no hooks, and requests no `monitor_url`.
    Limit,
}

impl Request {
    /// Whether this is a rollout: a renewal that may change the release.
    fn is_rollout(&self) -> bool {
        self.goal.state == Wanted::Renewed && self.occasion != Occasion::Limit
    }

    /// A request of the supervisor. It has the settings of the pool, and no canary.
    pub fn of_supervisor(
        pool: &Pool,
        state: Wanted,
        replicas: Vec<u32>,
        target: Target,
        occasion: Occasion,
    ) -> Self {
        let strategy = pool.settings.strategy();
        Self {
            goal: Goal { state, replicas, strategy, canary: None },
            target,
            occasion,
            drain_timeout: None,
            dry_run: false,
            wait: true,
        }
    }
}

/// Takes a pool to the goal, under the pool's lock. After `cancel` is cancelled, it stops at the
/// next safe point.
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
    canary::forget(&pool.canary_file())?;
    let prepared = prepare(pool, backend, request).await?;
    cancel.check().map_err(|cancelled| left_alone(pool, cancelled))?;
    prepared.warn(report);
    report_unplanned(&request.goal, &prepared, report);
    prepared.announce_release();
    let masterless = prepared.masterless.clone();
    let renews = request.goal.state == Wanted::Renewed;
    if renews && prepared.stages.is_empty() {
        report.event(&Event::Plan { stages: prepared.stages });
        return Ok(());
    }
    let mut hooks = None;
    if request.is_rollout() {
        hooks = Some(Hooks::begin(pool, request, &prepared, cancel, report).await?);
    } else if request.occasion == Occasion::Asked {
        record::note_wanted(&lock, pool, &request.goal, report);
    }
    let (result, cause) = prepared.carry_out(pool, backend, request, &lock, cancel, report).await;
    if let Some(hooks) = hooks {
        hooks.end(cause.as_ref().or(result.as_ref().err()), report).await;
    }
    result.and_then(|()| repair::refuse_masterless(&masterless))
}

async fn take_lock(
    pool: &Pool,
    request: &Request,
    cancel: &Cancel,
    report: &mut dyn Report,
) -> Result<Lock> {
    let in_hook = hooks::has_started_this_process(pool);
    let wait = request.wait && !in_hook;
    let on_wait = |holder: &_| report.event(&Event::LockWait { holder: Clone::clone(holder) });
    let path = pool.lock_file();
    let lock = tokio::select! {
        lock = Lock::take(&path, &pool.name, wait, on_wait) => lock,
        cancelled = cancel.cancelled() => Err(left_alone(pool, cancelled)),
    };
    lock.map_err(|error| match error.exit {
        Exit::Locked if in_hook => error.hint(
            "a hook cannot change its own pool: the rollout that holds the lock waits for the hook",
        ),
        _ => error,
    })
}

/// Adds to the error that the pool was not changed.
fn left_alone(pool: &Pool, cancelled: Error) -> Error {
    cancelled.hint(format!("the pool \"{}\" was left as it is", pool.name))
}

impl Prepared {
    /// Executes the plan. After a failure, the result says what state is left, and the second value
    /// is the cause, if it differs.
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
        let is_rollout = request.is_rollout();
        // Requested before the symlink moves, because static files change with the symlink at once.
        let monitored = if is_rollout { monitor::problem_of(pool).await } else { None };
        let begins = (&observation, release.as_ref());
        let record = is_rollout.then(|| Record::begin(lock, pool, request, begins, report));
        if let Some(switch) = &switch
            && let Err(error) = switch.begin(report)
        {
            if let Some(record) = record {
                record.withdraw(lock, pool, report);
            }
            return (Err(error), None);
        }
        let visitors = Visitors::before(pool, &observation, release.as_ref(), switch.is_some());
        let mut execution = Execution {
            pool,
            backend,
            observation,
            release,
            drain_timeout: request.drain_timeout.unwrap_or(pool.settings.rollout.drain_timeout),
            canary: request.goal.canary,
            keep_floor,
            cancel,
            report: &mut *report,
            progress: Progress::default(),
            visitors,
        };
        let mut result = execution.execute(&stages).await;
        if is_rollout && result.is_ok() {
            result = execution.monitor(monitored.as_deref(), request.goal.strategy).await;
        }
        if request.goal.state == Wanted::Stopped && result.is_ok() {
            members::leave_enabled(backend, &execution.observation, execution.report).await;
        }
        let cause = execution.progress.cause.take();
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

fn report_unplanned(goal: &Goal, prepared: &Prepared, report: &mut dyn Report) {
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
            () if prepared.masterless.contains(&replica) => {
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

    /// A long-running program may run rollouts on any thread.
    #[test]
    fn rollout_future_is_send() {
        fn is_send<T: Send>(_: impl FnOnce(&Arc<Pool>, &Request, &Cancel) -> T) {}
        is_send(|pool, request, cancel| {
            let (pool, request, cancel) = (Arc::clone(pool), request.clone(), cancel.clone());
            async move { run(&pool, &request, &cancel, &mut Silent).await }
        });
    }

    struct Silent;

    impl Report for Silent {
        fn event(&mut self, _event: &Event) {}
    }
}
