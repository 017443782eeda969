//! Taking a pool from what it is to what is wanted: observe, plan, execute.
//!
//! Start, stop and restart differ only in their goal. So does what comes after
//! a crash: the next command sees what is there, and plans from it.

mod check;
mod execute;
mod goal;
mod monitor;
mod observe;
mod plan;
mod record;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use goal::{Goal, Wanted};
pub use observe::{Ask, Observation, Observed, observe};
pub use plan::{Member, Replica, Seen, plan};

use crate::balancer::Balancer;
use crate::error::Result;
use crate::event::{Event, Report};
use crate::interrupt::Interrupt;
use crate::lock::Lock;
use crate::pool::Pool;
use crate::release::{self, Release};
use crate::step::Stage;
use execute::{Done, Execution, millis};
use record::Record;

/// What a command asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is wanted of which replicas.
    pub goal: Goal,
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
        prepare(pool, &balancer, &request.goal).await.map(|prepared| {
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
    let Prepared { observation, release, stages } = prepare(pool, balancer, goal).await?;
    report_nothing(goal, &stages, report);
    let renews = goal.state == Wanted::Renewed;
    let record = renews.then(|| Record::begin(pool, request, &observation, release.as_ref()));
    let mut execution = Execution {
        pool,
        balancer,
        observation,
        release,
        drain_timeout: request.drain_timeout.unwrap_or(pool.settings.rollout.drain_timeout),
        keep_floor: goal.state != Wanted::Stopped,
        interrupt: Interrupt::listen()?,
        report,
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
    result
}

struct Prepared {
    observation: Observation,
    release: Option<Release>,
    stages: Vec<Stage>,
}

/// All that can be wrong before anything is changed is found here.
async fn prepare(pool: &Arc<Pool>, balancer: &Balancer, goal: &Goal) -> Result<Prepared> {
    let starts = goal.state != Wanted::Stopped;
    let release = match &pool.settings.php.pinning {
        Some((symlink, current_dir)) if starts => {
            release::check_mount_point(current_dir)?;
            Some(Release::resolve(symlink)?)
        }
        _ => None,
    };
    let replicas: &[u32] = if starts { &goal.replicas } else { &[] };
    let ask = Ask { replicas, release: release.as_ref() };
    let observation = observe(pool, balancer.members(), ask).await?;
    let stages = plan(&observation.seen(), goal);
    check::check_plan(pool, balancer, &observation, &stages).await?;
    Ok(Prepared { observation, release, stages })
}

/// Whether a rollout could begin: it would be refused where this fails.
pub async fn check(pool: &Arc<Pool>, goal: &Goal) -> Result<()> {
    prepare(pool, &Balancer::of(pool)?, goal).await.map(drop)
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
