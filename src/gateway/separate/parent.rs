//! The parent's side of a gateway in a child.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, RwLock, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::message::{Begin, Outcome, Passed, ToChild, harmless};
use super::process::{ChildProcess, ask, tell};
use super::requests::Requests;
use crate::config::Global;
use crate::control::{Request, Response};
use crate::error::{Error, Result};
use crate::gateway::blocking::run_blocking;
use crate::gateway::control_server::{Answers, ControlServer};
use crate::gateway::identity::log_unreachable;
use crate::gateway::listen;
use crate::gateway::reload::Reloads;
use crate::gateway::serve::Start;
use crate::gateway::sockets::Sockets;
use crate::gateway::tasks::Tasks;
use crate::inherited::Inherited;
use crate::privsep::{Identity, Link};
use crate::root::Root;
use crate::service_manager;
use crate::upgrade;

/// How long the child of a parent that was killed may take to close its sockets.
const OLD_CHILD: Duration = Duration::from_secs(1);
/// How long the child may take for what takes milliseconds, before it counts as halted.
const ANSWER: Duration = Duration::from_secs(10);
/// How much later than `shutdown_timeout` the child may answer that its connections have ended.
const MARGIN: Duration = Duration::from_secs(4);
/// How long a command waits for a child that is being started again. A command waits for 10 s.
const NEXT_CHILD: Duration = Duration::from_secs(8);
/// The time until the second attempt to start a child. Each attempt doubles it, up to the last one.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(10);
/// A child that has lived for so long is started again at once.
const STABLE: Duration = Duration::from_secs(60);

/// A gateway in a child. Dropping it kills the child, and so cuts its connections.
#[derive(Debug)]
pub struct SeparateGateway {
    addresses: Vec<String>,
    shared: Arc<Shared>,
    control: ControlServer<Arc<Shared>>,
    control_loop: JoinSet<()>,
    /// Told when the child is to end.
    end: Option<oneshot::Sender<()>>,
    keeper: JoinSet<()>,
    _tasks: Tasks,
}

/// What the parts of the parent share.
#[derive(Debug)]
struct Shared {
    begin: Begin,
    /// The settings at the start.
    started: Global,
    requests: Requests,
    /// None: another process has them.
    sockets: Mutex<Option<Sockets>>,
    /// The connection to the child; None: it is being started.
    link: watch::Sender<Option<Arc<Link>>>,
    /// Whether the child accepts connections.
    is_open: AtomicBool,
    /// Whether the child is not to be started again.
    is_ending: AtomicBool,
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
        let requests = Requests { root: root.clone(), reloads: Arc::clone(&reloads), predecessor };
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

    /// The URLs on which it listens.
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

    /// Observes all pools again, before it is opened.
    pub async fn observe(&self) {
        self.try_tell(&ToChild::Observe).await;
    }

    /// What its successor gets, and how long that may take to start.
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
        self.unless_ended(&ToChild::Pause(pool.to_owned())).await
    }

    /// Observes a pool that it has paused, and serves it again.
    pub async fn unpause(&mut self, pool: &str) -> Result<()> {
        self.unless_ended(&ToChild::Unpause(pool.to_owned())).await
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

    /// Closes the listeners, and waits for the connections to end. Error: some did not, and were cut.
    pub async fn shut_down(self) -> Result<()> {
        self.finish(&ToChild::ShutDown).await
    }

    /// The same after [`SeparateGateway::drained`].
    pub async fn end(self) -> Result<()> {
        self.finish(&ToChild::End).await
    }

    async fn finish(mut self, how: &ToChild) -> Result<()> {
        self.shared.is_ending.store(true, Ordering::Relaxed);
        self.control_loop.shutdown().await;
        // The files go at once: no program is to find a socket that nothing accepts from.
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

    /// Nothing is to be done if the child has ended.
    async fn unless_ended(&self, request: &ToChild) -> Result<()> {
        let Some(link) = self.shared.link.borrow().clone() else { return Ok(()) };
        match link.ask::<Outcome>(request, Vec::new()).await {
            Ok(outcome) => outcome.map_err(Error::from),
            Err(_) => Ok(()),
        }
    }

    /// A child that has ended is started again, and does the same by itself.
    async fn try_tell(&self, request: &ToChild) {
        let told = timeout(ANSWER, self.unless_ended(request)).await;
        match told {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!("{}", error.in_one_line()),
            Err(_) => tracing::error!("the gateway process does not answer"),
        }
    }
}

/// Waits until the addresses are free, for a while: if a parent was killed, its child closes them a moment
/// later. An address that stays in use is an error of the bind.
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

impl Shared {
    /// The connection to the child. Waits for one that is being started.
    async fn link(&self) -> Result<Arc<Link>> {
        let mut links = self.link.subscribe();
        let found = timeout(NEXT_CHILD, links.wait_for(Option::is_some)).await;
        let link = found.ok().and_then(|found| found.ok().and_then(|link| link.clone()));
        link.ok_or_else(|| Error::failed("the gateway process has ended, and does not start again"))
    }

    /// How long the child may take to end its connections.
    fn drain_limit(&self) -> Duration {
        let now = Global::read(&self.requests.root);
        let front = now.as_ref().map_or(&self.started.front, |now| &now.front);
        front.shutdown_timeout.max(self.started.front.shutdown_timeout) + MARGIN
    }

    async fn tell(&self, request: &ToChild) -> Result<()> {
        tell(&*self.link().await?, request, Vec::new()).await
    }

    /// Starts a child, and waits until it can serve.
    async fn launch(&self) -> Result<ChildProcess> {
        let sockets = match &*self.sockets.lock().await {
            Some(sockets) => sockets.for_child(),
            None => Ok(Vec::new()),
        };
        let sockets = sockets
            .map_err(|error| Error::failed(format!("cannot pass the sockets on: {error}")))?;
        let (mut child, asked) = ChildProcess::launch(&self.begin)?;
        tokio::spawn(self.requests.clone().serve(asked));
        child.start(sockets, self.requests.predecessor.is_some()).await?;
        let name = &self.begin.identity.name;
        tracing::info!("the gateway process {} serves as the user {name}", child.pid);
        self.link.send_replace(Some(Arc::clone(&child.link)));
        Ok(child)
    }

    /// Keeps a child until `end` is told, or until it ends after the sockets were handed over.
    async fn keep(self: Arc<Self>, mut child: ChildProcess, end: oneshot::Receiver<()>) {
        let mut end = pin!(end);
        loop {
            let begun = Instant::now();
            let link = Arc::clone(&child.link);
            tokio::select! {
                _ = &mut end => return child.end().await,
                status = child.ended() => {
                    self.link.send_replace(None);
                    if self.is_ending.load(Ordering::Relaxed) {
                        return;
                    }
                    let how = status.map_or_else(|error| error.to_string(), |it| it.to_string());
                    tracing::error!(
                        "the gateway process {} has ended with {how}: its requests are lost, another one is started",
                        child.pid
                    );
                }
                () = self.watch(&link) => {
                    tracing::error!(
                        "the gateway process {} does not answer: it is killed", child.pid
                    );
                    child.kill();
                    continue;
                }
            }
            let pause = if begun.elapsed() < STABLE { FIRST_RETRY } else { Duration::ZERO };
            let next = tokio::select! {
                _ = &mut end => return,
                next = self.launch_again(pause) => next,
            };
            let Some(next) = next else { return };
            child = next;
        }
    }

    /// None: another process has the sockets meanwhile.
    async fn launch_again(&self, mut pause: Duration) -> Option<ChildProcess> {
        loop {
            sleep(pause).await;
            if self.is_ending.load(Ordering::Relaxed) {
                return None;
            }
            match self.launch().await {
                Ok(child) => {
                    if self.is_open.load(Ordering::Relaxed) {
                        let _ = tell(&child.link, &ToChild::Open, Vec::new()).await;
                    }
                    return Some(child);
                }
                Err(error) => tracing::error!("{}", error.in_one_line()),
            }
            pause = (pause * 2).clamp(FIRST_RETRY, LAST_RETRY);
        }
    }

    /// Completes when the child does not answer for a third of the watchdog's interval. Without a watchdog
    /// it never does.
    async fn watch(&self, link: &Link) {
        let Some(interval) = service_manager::watchdog_interval() else {
            return std::future::pending().await;
        };
        loop {
            let ping = link.ask::<Outcome>(&ToChild::Ping, Vec::new());
            match timeout(interval / 3, ping).await {
                Ok(Ok(_)) => service_manager::is_well(true),
                // It has ended.
                Ok(Err(_)) => {
                    service_manager::is_well(false);
                    return std::future::pending().await;
                }
                Err(_) => return service_manager::is_well(false),
            }
            sleep(interval / 10).await;
        }
    }

    /// Has the child carry out each reload.
    async fn pass_on(self: Arc<Self>, reloads: Arc<Reloads>) {
        loop {
            let reload = async {
                if let Err(error) = self.tell(&ToChild::Reload).await {
                    tracing::error!("reload failed: {}", error.in_one_line());
                }
            };
            reloads.carry_out(reload).await;
        }
    }

    /// The response of the child; if it ends meanwhile, that of the next one. Each request can be carried
    /// out twice.
    async fn control(&self, request: &Request) -> Result<Response> {
        loop {
            let link = self.link().await?;
            match ask(&link, &ToChild::Control(request.clone()), Vec::new()).await {
                Err(_) if self.await_other(&link).await => {}
                answered => return answered,
            }
        }
    }

    /// Waits until the child with this connection is known to have ended. False: it runs.
    async fn await_other(&self, ended: &Arc<Link>) -> bool {
        let mut links = self.link.subscribe();
        let is_other =
            |link: &Option<Arc<Link>>| link.as_ref().is_none_or(|link| !Arc::ptr_eq(link, ended));
        timeout(NEXT_CHILD, links.wait_for(is_other)).await.is_ok()
    }
}

impl Answers for Arc<Shared> {
    async fn answer(&self, request: Request) -> Response {
        let settings =
            matches!(request, Request::Settings).then(|| Global::read(&self.requests.root));
        match self.control(&request).await {
            // What only the parent knows is not the child's to say.
            Ok(Response::Settings(mut of_child)) => {
                of_child.pid = std::process::id();
                let listen = self.started.front.all_listen();
                of_child.listen = listen.map(|(listen, _)| listen.to_string()).collect();
                of_child.user = Some(self.begin.identity.name.clone());
                if let Some(Ok(now)) = settings {
                    let keys = self.started.gateway_restart_keys(&now).into_iter();
                    let keys = keys.chain(self.started.serve_restart_keys(&now));
                    of_child.restart_keys = keys.map(str::to_owned).collect();
                }
                Response::Settings(of_child)
            }
            Ok(Response::Failed(why)) => Response::Failed(harmless(&why)),
            Ok(response) => response,
            Err(error) => Response::Failed(error.message),
        }
    }
}
