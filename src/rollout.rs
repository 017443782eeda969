//! Taking a pool from what it is to what is wanted: observe, plan, execute.
//!
//! Start, stop and restart differ only in their goal. So does what comes after
//! a crash: the next command sees what is there, and plans from it.

mod before;
mod check;
mod execute;
mod goal;
pub(crate) mod monitor;
mod observe;
mod plan;
mod record;
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
use crate::error::Result;
use crate::event::{Event, Report};
use crate::interrupt::Interrupt;
use crate::lock::Lock;
use crate::pool::Pool;
use crate::release::Release;
use crate::step::Stage;
use execute::{Done, Execution, millis};
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
        prepare(pool, &balancer, request).await.map(|prepared| {
            if let Some(switch) = &prepared.switch {
                switch.report_plan(report);
            }
            report.event(&Event::Plan { stages: prepared.stages });
        })
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
    let goal = &request.goal;
    let told = |holder: &_| report.event(&Event::LockWait { holder: Clone::clone(holder) });
    let lock = Lock::take(&pool.lock_file(), &pool.name, request.wait, told).await?;
    let prepared = prepare(pool, balancer, request).await?;
    let Prepared { observation, release, stages, switch } = prepared;
    report_nothing(goal, &stages, report);
    let renews = goal.state == Wanted::Renewed;
    if renews && stages.is_empty() {
        report.event(&Event::Plan { stages });
        return Ok(());
    }
    let interrupt = Interrupt::listen()?;
    if let Some(switch) = &switch {
        switch.begin(report)?;
    }
    let record = renews.then(|| Record::begin(pool, request, &observation, release.as_ref()));
    let mut execution = Execution {
        pool,
        balancer,
        observation,
        release,
        drain_timeout: request.drain_timeout.unwrap_or(pool.settings.rollout.drain_timeout),
        keep_floor: goal.state != Wanted::Stopped,
        interrupt,
        report: &mut *report,
        done: Done::default(),
    };
    let mut result = execution.execute(&stages).await;
    let cause = execution.done.cause.take();
    if renews && result.is_ok() {
        result = monitor::check(pool).await;
    }
    if let Some(record) = record {
        record.end(&lock, pool, cause.as_ref().or(result.as_ref().err()), report);
    }
    match (result, switch) {
        (Err(error), Some(switch)) => Err(switch.end(pool, error, report).await),
        (result, _) => result,
    }
}

struct Prepared {
    observation: Observation,
    release: Option<Release>,
    stages: Vec<Stage>,
    /// What is to be done to the symlink.
    switch: Option<Switch>,
}

/// All that can be wrong before anything is changed is found here.
async fn prepare(pool: &Arc<Pool>, balancer: &Balancer, request: &Request) -> Result<Prepared> {
    let goal = &request.goal;
    let starts = goal.state != Wanted::Stopped;
    let release = if starts { request.target.resolve(pool).await? } else { None };
    let replicas: &[u32] = if starts { &goal.replicas } else { &[] };
    let ask = Ask { replicas, release: release.as_ref() };
    let observation = observe(pool, balancer.members(), ask).await?;
    let mut stages = plan(&observation.seen(), goal);
    let mut switch = None;
    if let (Some(release), true) = (&release, request.target != Target::Current) {
        switch = Switch::plan(pool, release)?;
        if switch.is_none() && observation.all_serve(pool, release) {
            stages = Vec::new();
        }
    }
    if let Some(release) = &release {
        balancer.check_release(release)?;
    }
    check::check_plan(pool, balancer, &observation, &stages).await?;
    Ok(Prepared { observation, release, stages, switch })
}

/// Whether a rollout could begin: it would be refused where this fails.
pub async fn check(pool: &Arc<Pool>, request: &Request) -> Result<()> {
    prepare(pool, &Balancer::of(pool)?, request).await.map(drop)
}

fn report_nothing(goal: &Goal, stages: &[Stage], report: &mut dyn Report) {
    let because = match goal.state {
        Wanted::Running => "is already running",
        Wanted::Stopped => "is not running",
        Wanted::Renewed => return,
    };
    for &replica in &goal.replicas {
        let planned = stages.iter().any(|stage| stage.title.replica() == Some(replica));
        if !planned {
            report.event(&Event::Nothing { replica, because });
        }
    }
}
