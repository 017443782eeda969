//! Keeps a child: starts it again when it ends, and passes requests on to it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, oneshot, watch};
use tokio::time::{sleep, timeout};

use super::message::{Begin, Outcome, ToChild, harmless};
use super::process::{ChildProcess, ask, tell};
use super::requests::Requests;
use crate::config::Global;
use crate::control::{Request, Response};
use crate::error::{Error, Result};
use crate::gateway::control_server::Answers;
use crate::gateway::reload::Reloads;
use crate::gateway::sockets::Sockets;
use crate::privsep::Link;
use crate::service_manager;

/// How much later than `shutdown_timeout` the child may answer that its connections have ended.
const MARGIN: Duration = Duration::from_secs(4);
/// How long the request of a command waits for a child that is being started again. The command itself
/// gives up after 10 s.
const NEXT_CHILD: Duration = Duration::from_secs(8);
/// The time until the second attempt to start a child. Each attempt doubles the time, up to
/// [`LAST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(10);
/// If a child that ends has lived for at least this time, the next one is started at once.
const STABLE: Duration = Duration::from_secs(60);

/// What the parts of the parent share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) begin: Begin,
    /// The settings at the start.
    pub(super) started: Global,
    pub(super) requests: Requests,
    /// None: another process has the sockets.
    pub(super) sockets: Mutex<Option<Sockets>>,
    /// The connection to the child; None: it is being started.
    pub(super) link: watch::Sender<Option<Arc<Link>>>,
    /// Whether the child accepts connections.
    pub(super) is_open: AtomicBool,
    /// Whether the child is not to be started again.
    pub(super) is_ending: AtomicBool,
}

impl Shared {
    /// The connection to the child. Waits for one that is being started.
    pub(super) async fn link(&self) -> Result<Arc<Link>> {
        let mut links = self.link.subscribe();
        let found = timeout(NEXT_CHILD, links.wait_for(Option::is_some)).await;
        let link = found.ok().and_then(|found| found.ok().and_then(|link| link.clone()));
        link.ok_or_else(|| Error::failed("the gateway process has ended, and does not start again"))
    }

    /// How long the child may take to end its connections.
    pub(super) fn drain_limit(&self) -> Duration {
        let now = Global::read(&self.requests.root);
        let front = now.as_ref().map_or(&self.started.front, |now| &now.front);
        front.shutdown_timeout.max(self.started.front.shutdown_timeout) + MARGIN
    }

    pub(super) async fn tell(&self, request: &ToChild) -> Result<()> {
        tell(&*self.link().await?, request, Vec::new()).await
    }

    /// Starts a child, and waits until it can serve.
    pub(super) async fn launch(&self) -> Result<ChildProcess> {
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

    /// Keeps a child until a message comes on `end`, or until the child ends after the sockets were
    /// handed over.
    pub(super) async fn keep(self: Arc<Self>, mut child: ChildProcess, end: oneshot::Receiver<()>) {
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

    /// Starts the next child. None: no child is to be started any more.
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

    /// Completes when the child does not answer for a third of the watchdog's interval. Without a
    /// watchdog it never completes.
    async fn watch(&self, link: &Link) {
        let Some(interval) = service_manager::watchdog_interval() else {
            return std::future::pending().await;
        };
        loop {
            let ping = link.ask::<Outcome>(&ToChild::Ping, Vec::new());
            match timeout(interval / 3, ping).await {
                Ok(Ok(_)) => service_manager::is_well(true),
                // The child has ended.
                Ok(Err(_)) => {
                    service_manager::is_well(false);
                    return std::future::pending().await;
                }
                Err(_) => return service_manager::is_well(false),
            }
            sleep(interval / 10).await;
        }
    }

    /// Makes the child carry out each reload.
    pub(super) async fn pass_on(self: Arc<Self>, reloads: Arc<Reloads>) {
        loop {
            let reload = async {
                if let Err(error) = self.tell(&ToChild::Reload).await {
                    tracing::error!("reload failed: {}", error.in_one_line());
                }
            };
            reloads.carry_out(reload).await;
        }
    }

    /// The response of the child. If the child ends meanwhile: the response of the next child. The same
    /// request may then be carried out twice, which does no harm.
    async fn control(&self, request: &Request) -> Result<Response> {
        loop {
            let link = self.link().await?;
            match ask(&link, &ToChild::Control(request.clone()), Vec::new()).await {
                Err(_) if self.await_other(&link).await => {}
                answered => return answered,
            }
        }
    }

    /// Waits until the child with this connection is known to have ended. False: the child runs.
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
            // The parent fills in what only the parent knows: the child's values are not used.
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
