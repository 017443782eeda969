//! Taking a pool from what it is to what is wanted: observe, plan, execute.
//!
//! Start, stop and restart differ only in their goal. So does what comes after
//! a crash: the next command sees what is there, and plans from it.

mod before;
mod check;
mod execute;
mod goal;
mod hooks;
pub(crate) mod monitor;
mod observe;
mod plan;
mod record;
mod repair;
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

use crate::balancer::Balancer;
use crate::config::Hook;
use crate::error::{Error, Exit, Result};
use crate::event::{Event, Report};
use crate::interrupt::Interrupt;
use crate::lock::Lock;
use crate::php_fpm;
use crate::pool::Pool;
use crate::release::Release;
use crate::step::Stage;
use execute::{Done, Execution, millis};
use hooks::Hooks;
use record::Record;
use switch::Switch;

/// What a command asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is wanted of which replicas.
    pub goal: Goal,
    /// The release to go to.
    pub target: Target,
    /// How long requests in flight are waited for; None: as configured.
    pub drain_timeout: Option<Duration>,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Wait for the pool's lock, or refuse.
    pub wait: bool,
}

/// Takes a pool to the goal, as its only hand.
pub async fn run(pool: &Arc<Pool>, request: &Request, report: &mut dyn Report) -> Result<()> {
    let started = Instant::now();
    report.event(&Event::Pool { pool: pool.name.clone() });
    let balancer = Balancer::of(pool)?;
    let result = if request.dry_run {
        prepare(pool, &balancer, request)
            .await
            .map(|prepared| prepared.report(pool, request, report))
    } else {
        change(pool, &balancer, request, report).await
    };
    let (ok, ms) = (result.is_ok(), millis(started));
    report.event(&Event::Done { pool: pool.name.clone(), ok, ms });
    result
}

async fn change(
    pool: &Arc<Pool>,
    balancer: &Balancer,
    request: &Request,
    report: &mut dyn Report,
) -> Result<()> {
    let interrupt = Interrupt::listen()?;
    // It may have come when another pool's rollout was as good as done.
    interrupt
        .check()
        .map_err(|it| it.hint(format!("the pool \"{}\" was left as it is", pool.name)))?;
    let lock = tokio::select! {
        lock = take_lock(pool, request, report) => lock?,
        told = interrupt.told() => return Err(told.and("nothing was changed")),
    };
    php_fpm::settle(pool).await?;
    let prepared = prepare(pool, balancer, request).await?;
    interrupt.check().map_err(|told| told.and("nothing was changed"))?;
    report_nothing(&request.goal, &prepared.stages, report);
    let renews = request.goal.state == Wanted::Renewed;
    if renews && prepared.stages.is_empty() {
        report.event(&Event::Plan { stages: prepared.stages });
        return Ok(());
    }
    let mut hooks = None;
    if renews {
        hooks = Some(Hooks::begin(pool, request, &prepared, &interrupt, report).await?);
    } else {
        record::note_wanted(&lock, pool, &request.goal, report);
    }
    let (result, cause) =
        prepared.carry_out(pool, balancer, request, &lock, interrupt, report).await;
    if let Some(hooks) = hooks {
        hooks.end(cause.as_ref().or(result.as_ref().err()), report).await;
    }
    result
}

async fn take_lock(pool: &Pool, request: &Request, report: &mut dyn Report) -> Result<Lock> {
    let in_hook = hooks::has_started_us(pool);
    let wait = request.wait && !in_hook;
    let told = |holder: &_| report.event(&Event::LockWait { holder: Clone::clone(holder) });
    let lock = Lock::take(&pool.lock_file(), &pool.name, wait, told).await;
    lock.map_err(|error| match error.exit {
        Exit::Locked if in_hook => error.hint(
            "a hook cannot change its own pool: the rollout that holds the lock waits for the hook",
        ),
        _ => error,
    })
}

struct Prepared {
    observation: Observation,
    release: Option<Release>,
    stages: Vec<Stage>,
    /// Whether the last replica that serves has to stay.
    keep_floor: bool,
    /// What is to be done to the symlink.
    switch: Option<Switch>,
}

impl Prepared {
    /// Says what would be done.
    fn report(self, pool: &Pool, request: &Request, report: &mut dyn Report) {
        let calls = request.goal.state == Wanted::Renewed && !self.stages.is_empty();
        if calls {
            hooks::report_plan(pool, Hook::BeforeRollout, report);
        }
        if let Some(switch) = &self.switch {
            switch.report_plan(report);
        }
        report.event(&Event::Plan { stages: self.stages });
        if calls {
            hooks::report_plan(pool, Hook::AfterRollout, report);
        }
    }

    /// Does it. Where that fails, the error says what state is left; what stands beside it is
    /// why, if that is something else.
    async fn carry_out(
        self,
        pool: &Arc<Pool>,
        balancer: &Balancer,
        request: &Request,
        lock: &Lock,
        interrupt: Interrupt,
        report: &mut dyn Report,
    ) -> (Result<()>, Option<Error>) {
        let Self { observation, release, stages, keep_floor, switch } = self;
        let renews = request.goal.state == Wanted::Renewed;
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
            balancer,
            observation,
            release,
            drain_timeout: request.drain_timeout.unwrap_or(pool.settings.rollout.drain_timeout),
            canary: request.goal.canary.unwrap_or_default(),
            keep_floor,
            interrupt,
            report: &mut *report,
            done: Done::default(),
        };
        let mut result = execution.execute(&stages).await;
        let cause = execution.done.cause.take();
        if request.goal.state == Wanted::Repaired && result.is_ok() {
            repair::mention_symlink(pool, execution.release.as_ref(), report);
        }
        if renews && result.is_ok() {
            result = monitor::check(pool).await;
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

/// All that can be wrong before anything is changed is found here.
async fn prepare(pool: &Arc<Pool>, balancer: &Balancer, request: &Request) -> Result<Prepared> {
    let goal = &request.goal;
    let starts = goal.state != Wanted::Stopped;
    let release = if starts { request.target.resolve(pool).await? } else { None };
    let replicas: &[u32] = if starts { &goal.replicas } else { &[] };
    let ask = Ask { replicas, release: release.as_ref() };
    let observation = observe(pool, balancer.members(), ask).await?;
    let mut seen = observation.seen();
    match goal.state {
        Wanted::Repaired => repair::judge(pool, &observation, release.as_ref(), &mut seen)?,
        Wanted::Running => {
            repair::judge_unproven(pool, &observation, release.as_ref(), &mut seen);
        }
        Wanted::Renewed | Wanted::Stopped => {}
    }
    let mut stages = plan(&seen, goal);
    let mut switch = None;
    if let (Some(release), true) = (&release, request.target.moves_symlink()) {
        switch = Switch::plan(pool, release)?;
        if switch.is_none() && observation.all_serve(pool, release) {
            stages = Vec::new();
        }
    }
    if let Some(release) = &release {
        balancer.check_release(release)?;
    }
    check::check_plan(pool, balancer, &observation, release.as_ref(), &stages).await?;
    // Of a pool that is stopped as a whole, the last replica may go too.
    let keep_floor = match goal.state {
        Wanted::Stopped => false,
        Wanted::Repaired => seen.replicas.iter().any(|replica| !replica.stopped),
        Wanted::Running | Wanted::Renewed => true,
    };
    Ok(Prepared { observation, release, stages, keep_floor, switch })
}

/// Whether a rollout could begin: it would be refused where this fails.
pub async fn check(pool: &Arc<Pool>, request: &Request) -> Result<()> {
    prepare(pool, &Balancer::of(pool)?, request).await.map(drop)
}

fn report_nothing(goal: &Goal, stages: &[Stage], report: &mut dyn Report) {
    let because = match goal.state {
        Wanted::Running => "is already running",
        Wanted::Stopped => "is not running",
        Wanted::Repaired => "needs no repair",
        Wanted::Renewed => return,
    };
    for &replica in &goal.replicas {
        let planned = stages.iter().any(|stage| stage.title.replica() == Some(replica));
        if !planned {
            report.event(&Event::Nothing { replica, because });
        }
    }
}
