//! The parent's side of a gateway in a child.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, RwLock, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::keeper::Shared;
use super::message::{Begin, Outcome, Passed, ToChild};
use super::process::{ask, tell};
use super::requests::Requests;
use crate::config::Global;
use crate::error::{Error, Result};
use crate::gateway::blocking::run_blocking;
use crate::gateway::control_server::ControlServer;
use crate::gateway::identity::log_unreachable;
use crate::gateway::listen;
use crate::gateway::serve::Start;
use crate::gateway::sockets::Sockets;
use crate::gateway::tasks::Tasks;
use crate::inherited::Inherited;
use crate::privsep::Identity;
use crate::root::Root;
use crate::upgrade;

/// How long the child of a parent that was killed may take to close its sockets.
const OLD_CHILD: Duration = Duration::from_secs(1);
/// How long the child may take for a request that takes milliseconds. A child that takes longer counts as
/// stopped.
const ANSWER: Duration = Duration::from_secs(10);

/// A gateway in a child. Dropping it kills the child, and so cuts its connections.
#[derive(Debug)]
pub struct SeparateGateway {
    addresses: Vec<String>,
    shared: Arc<Shared>,
    control: ControlServer<Arc<Shared>>,
    control_loop: JoinSet<()>,
    /// A message on this channel ends the child.
    end: Option<oneshot::Sender<()>>,
    keeper: JoinSet<()>,
    _tasks: Tasks,
}

impl SeparateGateway {
    /// Starts a gateway that listens and accepts no connection yet, in a child of this account.
    pub async fn start(
        root: &Root,
        start: Start,
        identity: Identity,
        is_json: bool,
    ) -> Result<Self> {
        let Start { reloads, upgrades, mut inherited, predecessor, .. } = start;
        let global = Global::read(root)?;
        global.listens()?;
        let mut sockets = Sockets::control(&global.control, &mut inherited)?;
        if predecessor.is_none() {
            await_free(&global, &inherited).await;
        }
        sockets.bind(&global, inherited)?;
        let addresses = sockets.urls();
        let begin = Begin { identity, root: root.path().to_owned(), is_json };
        let requests = Requests {
            root: root.clone(),
            reloads: Arc::clone(&reloads),
            predecessor,
            pools: Arc::default(),
        };
        let socket = global.control.clone();
        let shared = Arc::new(Shared {
            begin,
            started: global,
            requests,
            sockets: Mutex::new(Some(sockets)),
            link: watch::Sender::new(None),
            is_open: AtomicBool::new(false),
            is_ending: AtomicBool::new(false),
        });
        let child = shared.launch().await?;
        let (its_root, its_global) = (root.clone(), shared.started.clone());
        tokio::spawn(run_blocking(move || log_unreachable(&its_root, &its_global)));
        let (end, is_told) = oneshot::channel();
        let mut keeper = JoinSet::new();
        keeper.spawn(Arc::clone(&shared).keep(child, is_told));
        let tasks = Tasks::new();
        let spawner = tasks.spawner();
        spawner.spawn(Arc::clone(&shared).pass_on(reloads));
        let control = ControlServer {
            answers: Arc::clone(&shared),
            socket,
            spawner,
            upgrades,
            is_handed_over: Arc::new(RwLock::new(false)),
        };
        Ok(Self {
            addresses,
            shared,
            control,
            control_loop: JoinSet::new(),
            end: Some(end),
            keeper,
            _tasks: tasks,
        })
    }

    /// The URLs on which the gateway listens.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Accepts connections from now on.
    pub async fn open(&mut self) {
        self.open_control().await;
        if let Some(sockets) = &mut *self.shared.sockets.lock().await {
            sockets.take_files();
        }
        self.shared.is_open.store(true, Ordering::Relaxed);
        self.try_tell(&ToChild::Open).await;
    }

    async fn open_control(&mut self) {
        let sockets = self.shared.sockets.lock().await;
        if let Some(control) = sockets.as_ref().and_then(|it| it.control.clone()) {
            self.control_loop.spawn(self.control.clone().listen(control));
        }
    }

    /// As [`Gateway::probe`](crate::gateway::Gateway::probe).
    pub async fn probe(&self, pools: &[String]) -> Result<()> {
        self.shared.tell(&ToChild::Probe(pools.to_vec())).await
    }

    /// Observes all pools again, before the gateway accepts connections.
    pub async fn observe(&self) {
        self.try_tell(&ToChild::Observe).await;
    }

    /// What the successor gets, and how long the successor may take to start.
    pub async fn pass(&self) -> Result<(upgrade::Passed, Duration)> {
        let link = self.shared.link().await?;
        let asked = ask::<Outcome<Passed>>(&link, &ToChild::Pass, Vec::new());
        let passed = timeout(ANSWER, asked).await.map_err(|_| {
            Error::failed("the gateway process does not answer")
                .hint("kill it: serve starts another one")
        })???;
        let sockets = self.shared.sockets.lock().await;
        let sockets = sockets.as_ref().map_or_else(|| Ok(Vec::new()), Sockets::copies)?;
        let drain_limit = Duration::from_millis(passed.drain_limit_ms);
        let upgrade_timeout = Duration::from_millis(passed.upgrade_timeout_ms);
        Ok((upgrade::Passed { sockets, pools: passed.pools, drain_limit }, upgrade_timeout))
    }

    /// Answers no command from now on.
    pub async fn close_control(&mut self) {
        self.control_loop.shutdown().await;
        *self.control.is_handed_over.write().await = true;
    }

    /// Answers commands again.
    pub async fn reopen_control(&mut self) {
        *self.control.is_handed_over.write().await = false;
        if self.control_loop.is_empty() {
            self.open_control().await;
        }
    }

    /// Accepts no more connections: another process has the sockets.
    pub async fn hand_over(&mut self) {
        self.shared.is_ending.store(true, Ordering::Relaxed);
        if let Some(sockets) = self.shared.sockets.lock().await.take() {
            sockets.leave();
        }
        self.try_tell(&ToChild::HandOver).await;
    }

    /// Begins no request of a pool from now on.
    pub async fn pause(&mut self, pool: &str) -> Result<()> {
        self.within(upgrade::ANSWER, &ToChild::Pause(pool.to_owned())).await
    }

    /// Observes a pool that it has paused, and serves it again.
    pub async fn unpause(&mut self, pool: &str) -> Result<()> {
        self.within(upgrade::ANSWER, &ToChild::Unpause(pool.to_owned())).await
    }

    /// The same for all pools that it has paused.
    pub async fn unpause_all(&mut self) {
        self.try_tell(&ToChild::UnpauseAll).await;
    }

    /// Completes when the connections have ended, or the child has.
    pub fn drained(&self) -> impl Future<Output = ()> + use<> {
        let (link, limit) = (self.shared.link.borrow().clone(), self.shared.drain_limit());
        async move {
            if let Some(link) = link {
                let drained = tell(&link, &ToChild::Drained, Vec::new());
                let _ = timeout(limit, drained).await;
            }
        }
    }

    /// Closes idle connections.
    pub fn close_idle(&self) {
        let link = self.shared.link.borrow().clone();
        tokio::spawn(async move {
            if let Some(link) = link {
                let _ = timeout(ANSWER, tell(&link, &ToChild::CloseIdle, Vec::new())).await;
            }
        });
    }

    /// Closes the listeners, and waits for the connections to end. Error: some connections did not end,
    /// and were cut.
    pub async fn shut_down(self) -> Result<()> {
        self.finish(&ToChild::ShutDown).await
    }

    /// As [`SeparateGateway::shut_down`], after [`SeparateGateway::drained`].
    pub async fn end(self) -> Result<()> {
        self.finish(&ToChild::End).await
    }

    async fn finish(mut self, how: &ToChild) -> Result<()> {
        self.shared.is_ending.store(true, Ordering::Relaxed);
        self.control_loop.shutdown().await;
        // The files of the sockets are removed at once: no program is to find a socket on which nobody
        // accepts.
        drop(self.shared.sockets.lock().await.take());
        let limit = self.shared.drain_limit();
        let result = timeout(limit, self.unless_ended(how)).await.unwrap_or_else(|_| {
            Err(Error::failed("the gateway process does not answer, and its connections were cut"))
        });
        if let Some(end) = self.end.take() {
            let _ = end.send(());
        }
        while self.keeper.join_next().await.is_some() {}
        result
    }

    /// Sends a request to the child. If the child has ended, nothing is to be done.
    async fn unless_ended(&self, request: &ToChild) -> Result<()> {
        let Some(link) = self.shared.link.borrow().clone() else { return Ok(()) };
        match link.ask::<Outcome>(request, Vec::new()).await {
            Ok(outcome) => outcome.map_err(Error::from),
            Err(_) => Ok(()),
        }
    }

    /// Sends a request to the child, and logs an error. If the child has ended, the next child does the
    /// same by itself when it starts.
    async fn try_tell(&self, request: &ToChild) {
        if let Err(error) = self.within(ANSWER, request).await {
            tracing::error!("{}", error.in_one_line());
        }
    }

    /// As [`SeparateGateway::unless_ended`]. A child that does not answer within the limit is an error.
    async fn within(&self, limit: Duration, request: &ToChild) -> Result<()> {
        let answered = timeout(limit, self.unless_ended(request)).await;
        answered.unwrap_or_else(|_| Err(Error::failed("the gateway process does not answer")))
    }
}

/// Waits until the addresses are free, up to [`OLD_CHILD`]: if a parent was killed, its child closes the
/// sockets a moment later. If an address stays in use, the bind fails.
async fn await_free(global: &Global, inherited: &Inherited) {
    let begun = Instant::now();
    for (listen, _) in global.front.all_listen() {
        while !inherited.has(listen)
            && listen::refusal(listen, global).is_some()
            && begun.elapsed() < OLD_CHILD
        {
            sleep(Duration::from_millis(10)).await;
        }
    }
}
