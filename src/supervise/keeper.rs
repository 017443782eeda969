//! Keeps one pool as it should be: looks at it, does what it needs, and waits for the next event.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep;

use super::backoff::Backoff;
use super::decision::{Need, View, decide};
use super::limits::{Excess, Measured};
use super::link::{Identity, Link, Links};
use super::log_events::LogEvents;
use super::rhythm::Rhythm;
use crate::cancel::Cancel;
use crate::error::{Error, Exit, Result};
use crate::lock::{self, Lock};
use crate::pool::{Pinning, Pool};
use crate::release::{Pinned, Release};
use crate::rollout::{self, Observed, Occasion, Request, SpecQuery, Target, Wanted, observe};
use crate::state::{self, CrashLoop, Outcome, State};

/// The time between two looks at a pool without events. All keepers look at the same moment, so that
/// they share what is read from the system.
const LOOK: Duration = Duration::from_secs(30);
/// The time between two looks while another command changes the pool.
const BUSY: Duration = Duration::from_millis(50);
/// The number of attempts from which on a pool whose replicas end again and again is reported.
const LOOP: u32 = 4;

/// An order to a keeper.
pub(super) enum Order {
    /// Renew all replicas, on the release that the symlink names.
    Restart,
    /// The pool's settings have changed.
    Settings(Arc<Pool>),
}

pub(super) struct Keeper {
    pool: Arc<Pool>,
    links: Links,
    /// None: releases are not pinned, or the symlink is not to be followed.
    link: Option<Link>,
    /// The symlink as it was when its release failed. That release is not tried again.
    bounced: Option<Identity>,
    /// How many looks have failed in a row.
    failed_looks: u32,
    backoff: Backoff,
    measured: Measured,
    rhythm: Rhythm,
    orders: UnboundedReceiver<Order>,
    cancel: Cancel,
}

/// What a look at a pool has found.
struct Look {
    need: Need,
    /// Its replicas: the ends of their masters are events.
    replicas: Vec<Observed>,
    /// The symlink when it was resolved.
    symlink: Option<Identity>,
}

impl Keeper {
    pub(super) fn new(
        pool: Arc<Pool>,
        links: Links,
        rhythm: Rhythm,
        orders: UnboundedReceiver<Order>,
        cancel: Cancel,
    ) -> Self {
        let mut keeper = Self {
            pool: Arc::clone(&pool),
            links,
            link: None,
            bounced: None,
            failed_looks: 0,
            backoff: Backoff::default(),
            measured: Measured::default(),
            rhythm,
            orders,
            cancel,
        };
        keeper.take_over(pool);
        keeper.bounced = keeper.bounced_before();
        keeper
    }

    /// Runs until it is cancelled, or until the supervisor closes its channel of orders.
    pub(super) async fn run(mut self) {
        while self.cancel.check().is_ok() {
            let wait = match self.look().await {
                Ok(look) => {
                    self.failed_looks = 0;
                    self.act(look).await
                }
                Err(error) => {
                    self.note(&error);
                    Wait::of(self.look_again())
                }
            };
            if !self.wait(wait).await {
                return;
            }
        }
    }

    /// How long to wait after a failed look. The first wait is short, because processes come and go while
    /// /proc is read. Each further failure in a row doubles the wait.
    fn look_again(&mut self) -> Duration {
        let doubled = BUSY.saturating_mul(1 << self.failed_looks.min(16));
        self.failed_looks += 1;
        doubled.min(LOOK)
    }

    fn take_over(&mut self, pool: Arc<Pool>) {
        let watch = &pool.settings.watch;
        let pinning = pool.settings.pinning.as_ref().filter(|_| watch.enabled);
        self.link = pinning.map(|it| self.links.follow(&it.symlink, watch.debounce));
        self.pool = pool;
    }

    /// The symlink, if the last rollout has failed and the symlink still names its release.
    fn bounced_before(&self) -> Option<Identity> {
        let Pinning { symlink, .. } = self.pool.settings.pinning.as_ref()?;
        let named = Release::resolve(symlink).ok()?;
        let state = State::read(&self.pool.state_file()).ok()?;
        let last = state.history.last()?;
        let has_failed = matches!(last.result, Outcome::Failed(_));
        (has_failed && last.to.as_ref() == Some(&named.path)).then(|| Identity::of(symlink))?
    }

    async fn look(&self) -> Result<Look> {
        let symlink = self.pool.settings.pinning.as_ref().map(|it| &it.symlink);
        let identity = symlink.and_then(|symlink| Identity::of(symlink));
        let is_settled = self.link.as_ref().is_some_and(|link| link.is_settled(identity.as_ref()));
        let named = match symlink.filter(|_| is_settled && identity != self.bounced) {
            Some(symlink) => Some(Release::resolve(symlink)?),
            None => None,
        };
        let seen = observe(&self.pool, async { Ok(Vec::new()) }, SpecQuery::default()).await?;
        let stopped = State::read(&self.pool.state_file()).map(|it| it.stopped).unwrap_or_default();
        let current_dir = self.pool.settings.current_dir();
        let views: Vec<View> = seen
            .replicas
            .iter()
            .map(|it| View {
                stopped: stopped.contains(&it.number),
                runs: it.current().is_some(),
                is_well: is_well(it),
                is_behind: named
                    .as_ref()
                    .zip(current_dir)
                    .is_some_and(|(to, dir)| is_behind(it, to, dir)),
            })
            .collect();
        let need = decide(&views);
        Ok(Look { need, replicas: seen.replicas, symlink: identity })
    }

    /// Does what the pool needs; returns what to wait for then.
    async fn act(&mut self, look: Look) -> Wait {
        if look.need == Need::Nothing {
            return self.keep_limits(look.replicas).await;
        }
        if self.is_locked() {
            // Another command is at work: what this look has found may be mended in a moment.
            return Wait::of(BUSY);
        }
        let result = match look.need {
            Need::Rollout => self.roll_out(Occasion::Needed).await,
            need => {
                let left = self.backoff.delay(Instant::now());
                if !left.is_zero() {
                    return Wait::of(left);
                }
                let result = self.respawn(need).await;
                if !is_locked_out(&result) {
                    self.count(&result).await;
                }
                result
            }
        };
        match result {
            Ok(()) => Wait::of(Duration::ZERO),
            Err(_) if is_locked_out(&result) => Wait::of(BUSY),
            Err(error) => {
                self.note(&error);
                if look.need == Need::Rollout && error.exit == Exit::Failed {
                    self.bounced = look.symlink;
                    let pool = &self.pool.name;
                    tracing::error!(
                        pool = %pool, "the release is not tried again until the symlink changes"
                    );
                    return Wait::of(Duration::ZERO);
                }
                Wait::of(self.backoff.delay(Instant::now()).max(BUSY))
            }
        }
    }

    /// Renews a replica that exceeds a limit.
    async fn keep_limits(&mut self, replicas: Vec<Observed>) -> Wait {
        let limits = &self.pool.settings.limits;
        match self.measured.excess(limits, &replicas).await {
            Ok(Some(_)) if self.is_locked() => return Wait::of(BUSY),
            Ok(Some(excess)) => {
                self.renew(&excess).await;
                return Wait::of(Duration::ZERO);
            }
            Ok(None) => {}
            Err(error) => self.note(&error),
        }
        let measures = self.measured.wait(&self.pool.settings.limits, Instant::now());
        let time = self.rhythm.until_next(LOOK);
        Wait { replicas, time: measures.map_or(time, |measures| measures.min(time)) }
    }

    async fn renew(&mut self, excess: &Excess) {
        let pool = &self.pool.name;
        tracing::warn!(pool = %pool, "{excess}");
        let replica = excess.replica;
        if let Some(renewals) = self.measured.renewed(replica) {
            tracing::error!(
                pool = %pool, "replica {replica} has been renewed {renewals} times in short order; a limit may be too low"
            );
        }
        let (only, limit) = (vec![replica], Occasion::Limit);
        let renewed = self.request(Wanted::Renewed, only, Target::Kept, limit).await;
        if let Err(error) = &renewed
            && !is_locked_out(&renewed)
        {
            self.note(error);
        }
    }

    fn is_locked(&self) -> bool {
        lock::holder(&self.pool.lock_file()).is_some()
    }

    async fn count(&mut self, result: &Result<()>) {
        let attempts = self.backoff.attempt(Instant::now(), result.is_err());
        let delay = self.backoff.delay(Instant::now());
        if attempts < LOOP {
            return;
        }
        let pool = &self.pool.name;
        tracing::error!(
            pool = %pool, "replicas have been started {attempts} times in short order, the next time in {delay:?} at the earliest"
        );
        self.note_crash_loop(attempts).await;
    }

    /// Notes the crash loop for `status`. If another process works on the pool, the next attempt notes it.
    async fn note_crash_loop(&self, starts: u32) {
        let (pool, path) = (&self.pool, self.pool.state_file());
        let noted = State::read(&path).ok().and_then(|state| state.crash_loop);
        if noted.is_some_and(|it| it.is_fresh()) {
            return;
        }
        let Ok(held) = Lock::take(&pool.lock_file(), &pool.name, false, |_| {}).await else {
            return;
        };
        let note = Some(CrashLoop::now(starts));
        if let Err(why) = state::change(&held, &path, |state| state.crash_loop = note) {
            tracing::warn!(pool = %pool.name, "`status` does not show the crash loop: {why}");
        }
    }

    async fn roll_out(&self, occasion: Occasion) -> Result<()> {
        self.change(Wanted::Renewed, Target::Current, occasion).await
    }

    /// Starts the replicas that do not run, and replaces those that are not well.
    async fn respawn(&self, need: Need) -> Result<()> {
        match need {
            Need::Start => self.change(Wanted::Running, Target::Current, Occasion::Needed).await,
            _ => self.change(Wanted::Repaired, Target::Kept, Occasion::Needed).await,
        }
    }

    async fn change(&self, state: Wanted, target: Target, occasion: Occasion) -> Result<()> {
        let pool = &self.pool;
        let stopped = State::read(&pool.state_file()).map(|it| it.stopped).unwrap_or_default();
        let replicas = pool.replicas().filter(|replica| !stopped.contains(replica)).collect();
        self.request(state, replicas, target, occasion).await
    }

    async fn request(
        &self,
        state: Wanted,
        replicas: Vec<u32>,
        target: Target,
        occasion: Occasion,
    ) -> Result<()> {
        let pool = &self.pool;
        let mut request = Request::of_supervisor(pool, state, replicas, target, occasion);
        // The request may not be needed any more when the lock is free. And an upgrade of `serve` would
        // wait for the command that has the lock.
        request.wait = occasion == Occasion::Asked;
        rollout::run(pool, &request, &self.cancel, &mut LogEvents::of(&pool.name)).await
    }

    fn note(&self, error: &Error) {
        if self.cancel.check().is_ok() {
            tracing::error!(pool = %self.pool.name, "{error}");
        }
    }

    /// Waits for the next event; false: it was the last one.
    async fn wait(&mut self, wait: Wait) -> bool {
        let ends = any_ends(&wait.replicas);
        let changed = async {
            match &mut self.link {
                Some(link) => link.changed().await,
                None => std::future::pending().await,
            }
        };
        let order = tokio::select! {
            biased;
            _ = self.cancel.cancelled() => return false,
            order = self.orders.recv() => order,
            () = ends => return true,
            () = changed => return true,
            () = sleep(wait.time) => return true,
        };
        match order {
            None => return false,
            Some(Order::Settings(pool)) => self.take_over(pool),
            Some(Order::Restart) => {
                if let Err(error) = self.roll_out(Occasion::Asked).await {
                    self.note(&error);
                }
            }
        }
        true
    }
}

/// Whether another process has taken the pool's lock since the last look.
fn is_locked_out(result: &Result<()>) -> bool {
    result.as_ref().is_err_and(|error| error.exit == Exit::Locked)
}

/// What a keeper waits for, besides orders and its symlink.
struct Wait {
    replicas: Vec<Observed>,
    time: Duration,
}

impl Wait {
    fn of(time: Duration) -> Self {
        Self { replicas: Vec::new(), time }
    }
}

/// Whether its public name leads to a generation whose master is alive and not halted.
fn is_well(observed: &Observed) -> bool {
    let master = observed.published_running().and_then(|running| running.master.as_ref());
    master.is_some_and(|master| !master.is_stopped().unwrap_or(false))
}

/// A master that is not pinned was started by other means, and is left to the operator.
fn is_behind(observed: &Observed, named: &Release, current_dir: &Path) -> bool {
    match observed.current().and_then(|running| running.pinned(current_dir)) {
        Some(Pinned::Release(release)) => release != *named,
        Some(Pinned::Deleted(_)) => true,
        Some(Pinned::Nothing) | None => false,
    }
}

/// Waits until one of the masters has ended; for ever, if there is none.
async fn any_ends(replicas: &[Observed]) {
    let running = replicas.iter().flat_map(|replica| &replica.running);
    let masters = running.filter_map(|running| running.master.as_ref());
    let mut waits: Vec<_> = masters.map(|master| Box::pin(master.wait(Duration::MAX))).collect();
    std::future::poll_fn(|context| {
        let mut ended = waits.iter_mut().map(|wait| wait.as_mut().poll(context));
        if ended.any(|it| it.is_ready()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}
