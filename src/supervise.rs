//! The supervisor: keeps the pools of a root as they should be for as long as `serve` runs.
//!
//! Each pool has a keeper, a task that looks at its pool, does what the pool needs, and waits for the
//! next event:
//!
//! | event | source | what follows |
//! |---|---|---|
//! | a master ends | its pidfd | the replica is started again, with a growing delay if it ends again |
//! | the symlink moves | inotify, and a look every 2 s | a rollout, after `debounce` |
//! | USR1 | the command `serve` | all replicas are renewed |
//! | HUP | the command `serve` | the settings are read again |
//! | a replica exceeds a limit | a measurement every `interval` | the replica is renewed |
//! | every 30 s | | a look |
//!
//! A keeper changes a pool as a command does: by the engine (`src/rollout.rs`), and under the pool's
//! lock. So a keeper and a command never work on a pool at the same time. The replicas do not depend
//! on the supervisor: when it ends, they serve on, and the next supervisor starts from the state that
//! it finds.
//!
//! The supervisor runs on a thread of its own: its reads of /proc and of disks must not delay requests.

mod backoff;
mod decision;
mod keeper;
mod limits;
mod link;
mod log_events;
mod rhythm;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::cancel::{Cancel, Canceller};
use crate::error::{Error, Exit, Result};
use crate::file;
use crate::lock::{self, Lock};
use crate::pool::{self, Pool};
use crate::rollout::{self, Occasion, Request, Target, Wanted};
use crate::root::Root;
use keeper::Keeper;
use link::Links;
use log_events::LogEvents;
use rhythm::Rhythm;

/// An order to the supervisor.
enum Order {
    Restart,
    /// The sender is dropped when the reload is done.
    Reload(oneshot::Sender<()>),
    /// Ends it after the rollouts in progress.
    Rest,
    /// Ends it; true: the replicas too.
    Stop(bool),
}

/// A supervisor at work.
pub struct Supervisor {
    orders: UnboundedSender<Order>,
    canceller: Arc<Canceller>,
    ended: oneshot::Receiver<()>,
}

impl Supervisor {
    /// Starts the supervisor of all pools below the root. Fails if there is one already.
    pub async fn start(root: &Root) -> Result<Self> {
        let path = root.supervisor_lock();
        let lock =
            Lock::take(&path, "", false, |_| {}).await.map_err(|error| {
                match lock::holder(&path) {
                    Some(holder) => {
                        Error::config(format!("another process supervises this root: {holder}"))
                            .hint("stop that `pools-manager serve` first")
                    }
                    None => error,
                }
            })?;
        let failed = |error: std::io::Error| Error::failed(format!("the supervisor: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(failed)?;
        let canceller = Arc::new(Canceller::new());
        let (orders, received) = unbounded_channel();
        let pools = Pools::new(root, canceller.cancel());
        let (end, ended) = oneshot::channel();
        let work = move || {
            runtime.block_on(pools.run(received));
            drop((lock, end));
        };
        std::thread::Builder::new().name("supervisor".to_owned()).spawn(work).map_err(failed)?;
        Ok(Self { orders, canceller, ended })
    }

    /// Renews all replicas of all pools.
    pub fn restart(&self) {
        let _ = self.orders.send(Order::Restart);
    }

    /// Reads the settings of all pools again. A new pool is started. A pool that is gone is stopped. A
    /// pool whose new settings are wrong keeps its old settings. The returned receiver is closed when
    /// the reload is done.
    pub fn reload(&self) -> oneshot::Receiver<()> {
        let (done, is_done) = oneshot::channel();
        let _ = self.orders.send(Order::Reload(done));
        is_done
    }

    /// Ends the supervisor after the rollouts in progress, whose deadlines limit the wait. The replicas run
    /// on. Cancel safe: [`Supervisor::stop`] ends it sooner.
    pub async fn rest(&mut self) {
        let _ = self.orders.send(Order::Rest);
        let _ = (&mut self.ended).await;
    }

    /// Cancels its work: a rollout stops at the next safe point.
    pub fn cancel(&self) {
        self.canceller.signal(Exit::Terminated);
    }

    /// Ends the supervisor. With `replicas` it then stops all replicas, after their requests. Returns
    /// when that is done.
    pub async fn stop(mut self, replicas: bool) {
        self.cancel();
        let _ = self.orders.send(Order::Stop(replicas));
        let _ = (&mut self.ended).await;
    }
}

/// The pools, and the keeper of each.
struct Pools {
    root: Root,
    rhythm: Rhythm,
    cancel: Cancel,
    links: Links,
    kept: BTreeMap<String, Kept>,
    keepers: JoinSet<()>,
}

struct Kept {
    pool: Arc<Pool>,
    orders: UnboundedSender<keeper::Order>,
}

impl Pools {
    fn new(root: &Root, cancel: Cancel) -> Self {
        let rhythm = Rhythm::start();
        Self {
            root: root.clone(),
            rhythm,
            cancel,
            links: Links::new(rhythm),
            kept: BTreeMap::new(),
            keepers: JoinSet::new(),
        }
    }

    async fn run(mut self, mut orders: UnboundedReceiver<Order>) {
        self.reload().await;
        let stops_replicas = loop {
            match orders.recv().await {
                None => break false,
                Some(Order::Stop(replicas)) => break replicas,
                Some(Order::Rest) => {
                    // A keeper ends after its present work when its channel of orders is closed.
                    self.kept.clear();
                    break false;
                }
                Some(Order::Reload(done)) => {
                    self.reload().await;
                    drop(done);
                }
                Some(Order::Restart) => {
                    for kept in self.kept.values() {
                        let _ = kept.orders.send(keeper::Order::Restart);
                    }
                }
            }
        };
        while self.keepers.join_next().await.is_some() {}
        if stops_replicas {
            self.stop_replicas().await;
        }
    }

    async fn reload(&mut self) {
        // The time of the file is for `check`, which finds settings that have changed since.
        let _ = file::touch(&self.root.supervisor_lock());
        let names = match pool::names(&self.root) {
            Ok(names) => names,
            Err(error) => return tracing::error!("the pools stay as they are: {error}"),
        };
        for name in &names {
            match pool::load(&self.root, name) {
                Ok(pool) => self.keep(Arc::new(pool)),
                Err(error) => tracing::error!(pool = %name, "{error}"),
            }
        }
        let gone: Vec<String> =
            self.kept.keys().filter(|name| !names.contains(name)).cloned().collect();
        for name in gone {
            if let Some(kept) = self.kept.remove(&name) {
                tracing::info!(pool = %name, "it is gone: its replicas are stopped");
                drop(kept.orders);
                stop(&kept.pool, &self.cancel).await;
            }
        }
    }

    fn keep(&mut self, pool: Arc<Pool>) {
        if let Some(kept) = self.kept.get_mut(&pool.name) {
            kept.pool = Arc::clone(&pool);
            let _ = kept.orders.send(keeper::Order::Settings(pool));
            return;
        }
        let (orders, received) = unbounded_channel();
        let keeper = Keeper::new(
            Arc::clone(&pool),
            self.links.clone(),
            self.rhythm,
            received,
            self.cancel.clone(),
        );
        self.keepers.spawn(keeper.run());
        self.kept.insert(pool.name.clone(), Kept { pool, orders });
    }

    async fn stop_replicas(&self) {
        let mut stops = JoinSet::new();
        for kept in self.kept.values() {
            let pool = Arc::clone(&kept.pool);
            stops.spawn(async move { stop(&pool, &Cancel::never()).await });
        }
        while stops.join_next().await.is_some() {}
    }
}

/// Stops all replicas of a pool, after their requests.
async fn stop(pool: &Arc<Pool>, cancel: &Cancel) {
    let (all, needed) = (pool.replicas().collect(), Occasion::Needed);
    let request = Request::of_supervisor(pool, Wanted::Stopped, all, Target::Current, needed);
    let mut report = LogEvents::of(&pool.name);
    if let Err(error) = rollout::run(pool, &request, cancel, &mut report).await {
        tracing::error!(pool = %pool.name, "{error}");
    }
}
