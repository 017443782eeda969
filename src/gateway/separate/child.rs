//! The child: `pools-manager gateway-process`.

use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

use super::message::{Begin, Failure, Outcome, Passed, ToChild, ToParent};
use super::process::CHILD;
use crate::config::{Global, LineFormat};
use crate::error::{Error, Result};
use crate::gateway::control_answers::ControlAnswers;
use crate::gateway::reload::Reloads;
use crate::gateway::serve::{Gateway, Given, Start};
use crate::log;
use crate::privsep::link::Limits;
use crate::privsep::{self, Asked, Link, system_calls};
use crate::root::Root;

/// The parent is trusted: this limit is larger than any of its answers.
const LIMITS: Limits = Limits { bytes: 1 << 28, takes_fds: true };
/// How long the parent may take to close the connection after the last answer.
const END: Duration = Duration::from_secs(5);

/// Runs a child, if the arguments of this process are those of one. To be called before any thread is
/// started.
pub fn run() -> Option<ExitCode> {
    if std::env::args().nth(1).as_deref() != Some(CHILD) {
        return None;
    }
    let status = match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::say(&format!("ERROR: the gateway process: {error}\n"));
            error.exit.into()
        }
    };
    log::flush();
    Some(status)
}

fn work() -> Result<()> {
    let (stream, begin) = privsep::begin::<Begin>(LIMITS).map_err(|error| {
        Error::failed(format!("cannot begin: {error}"))
            .hint("only serve itself starts this program")
    })?;
    raise_descriptor_limit();
    // No data of a client has been read yet.
    begin.identity.assume().map_err(|error| {
        Error::failed(format!("cannot become the user {}: {error}", begin.identity.name))
            .hint("root needs CAP_SETUID and CAP_SETGID for that")
    })?;
    let denied = system_calls::deny();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::failed(format!("cannot start: {error}")))?;
    runtime.block_on(serve(stream, begin, denied.err()))
}

/// The limit of open files is raised to its maximum: a connection needs one descriptor, and its response
/// often a second one.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

async fn serve(stream: UnixStream, begin: Begin, undenied: Option<String>) -> Result<()> {
    let cannot = |error: io::Error| Error::failed(format!("cannot start: {error}"));
    ignore_signals().map_err(cannot)?;
    let (link, mut asked) = Link::start(stream, LIMITS).map_err(cannot)?;
    privsep::become_child(Arc::new(link));
    let Some((gateway, reloads)) = start(&begin, &mut asked).await? else { return Ok(()) };
    if let Some(why) = undenied {
        tracing::info!("no system call is denied to the gateway process: {why}");
    }
    let (ended, mut has_ended) = mpsc::channel::<()>(1);
    let child = Child {
        answers: gateway.control_answers(),
        gateway: Arc::new(Mutex::new(Some(gateway))),
        reloads,
        ended,
    };
    tokio::spawn(tell_reloads(Arc::clone(&child.reloads)));
    loop {
        tokio::select! {
            next = asked.recv() => match next {
                // Each request is a task. The tasks wait for the gateway in the order in which the
                // requests came.
                Some(asked) => drop(tokio::spawn(child.clone().carry_out(asked))),
                None => break,
            },
            _ = has_ended.recv() => {
                await_end(&mut asked).await;
                return Ok(());
            }
        }
    }
    let Some(gateway) = child.gateway.lock().await.take() else { return Ok(()) };
    tracing::error!("serve has ended: the gateway process ends after its requests");
    gateway.shut_down().await
}

/// Ignores the signals that would end this process. A terminal or a service manager may send them to both
/// processes. Only the parent acts on them, and tells this process what to do.
fn ignore_signals() -> io::Result<()> {
    use rustix::process::Signal;
    let meant = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::USR1, Signal::USR2];
    let others = [
        Signal::ALARM,
        Signal::STKFLT,
        Signal::XCPU,
        Signal::XFSZ,
        Signal::VTALARM,
        Signal::PROF,
        Signal::IO,
        Signal::POWER,
    ];
    for number in meant.into_iter().chain(others).map(Signal::as_raw) {
        // The handler stays when the stream is dropped, and does nothing.
        drop(signal(SignalKind::from_raw(number))?);
    }
    for number in 35..=64 {
        // A kernel or a C library may lack some of these.
        drop(signal(SignalKind::from_raw(number)));
    }
    Ok(())
}

/// Starts the gateway when the parent asks for it. None: the gateway cannot start, and the parent has got
/// the reason; or the parent has ended.
async fn start(
    begin: &Begin,
    asked: &mut mpsc::Receiver<Asked>,
) -> Result<Option<(Gateway, Arc<Reloads>)>> {
    let mut sockets: Vec<(OwnedFd, bool)> = Vec::new();
    while let Some(mut asking) = asked.recv().await {
        match asking.request().map_err(|error| Error::failed(error.to_string()))? {
            ToChild::Sockets(are_tls) => {
                sockets.extend(mem::take(&mut asking.fds).into_iter().zip(are_tls));
                asking.answer(&Outcome::Ok(()), Vec::new());
            }
            ToChild::Start { is_successor } => {
                let reloads = Arc::new(Reloads::default());
                let given = Given { sockets, is_successor };
                let started = start_gateway(begin, given, Arc::clone(&reloads)).await;
                let outcome = started.as_ref().map(drop).map_err(|it| Failure::from(it.clone()));
                asking.answer(&outcome, Vec::new());
                let Ok(gateway) = started else {
                    await_end(asked).await;
                    return Ok(None);
                };
                return Ok(Some((gateway, reloads)));
            }
            _ => return Err(Error::failed("the gateway has not started yet")),
        }
    }
    Ok(None)
}

async fn start_gateway(begin: &Begin, given: Given, reloads: Arc<Reloads>) -> Result<Gateway> {
    let root = Root::new(begin.root.clone());
    let global = Global::read(&root)?;
    let format = if begin.is_json { LineFormat::Json } else { global.log.format };
    log::start(format, &global.log.output(&root))?;
    let start = Start { reloads, given: Some(given), ..Start::default() };
    Gateway::start(&root, start).await
}

/// Waits until the parent closes the connection: until then, answers may still be on their way.
async fn await_end(asked: &mut mpsc::Receiver<Asked>) {
    let _ = timeout(END, async { while asked.recv().await.is_some() {} }).await;
}

/// If a command makes this process read the configuration again, the parent reads it again too.
async fn tell_reloads(reloads: Arc<Reloads>) {
    loop {
        reloads.requested_by_command().await;
        if let Some(parent) = privsep::parent() {
            let _ = parent.ask::<Outcome>(&ToParent::Reloaded, Vec::new()).await;
        }
    }
}

#[derive(Clone)]
struct Child {
    answers: ControlAnswers,
    /// None: the gateway ends.
    gateway: Arc<Mutex<Option<Gateway>>>,
    reloads: Arc<Reloads>,
    ended: mpsc::Sender<()>,
}

impl Child {
    async fn carry_out(self, mut asked: Asked) {
        match asked.request() {
            Ok(ToChild::Control(request)) => {
                let response = self.answers.answer(request).await;
                asked.answer(&response, Vec::new());
            }
            Ok(ToChild::Pass) => {
                let passed = match &*self.gateway.lock().await {
                    Some(gateway) => gateway.pass().map(|it| passed(it, gateway.upgrade_timeout())),
                    None => Err(ends()),
                };
                asked.answer(&passed.map_err(Failure::from), Vec::new());
            }
            Ok(request) => {
                let outcome: Outcome = self.outcome(request).await.map_err(Failure::from);
                asked.answer(&outcome, Vec::new());
            }
            Err(error) => {
                let unknown = Error::failed(format!("the request is malformed: {error}"));
                asked.answer(&Outcome::<()>::Err(unknown.into()), Vec::new());
            }
        }
    }

    async fn outcome(self, request: ToChild) -> Result<()> {
        match request {
            ToChild::Ping => return Ok(()),
            ToChild::Reload => {
                self.reloads.reload().await;
                return Ok(());
            }
            ToChild::Drained => {
                let drained = self.gateway.lock().await.as_ref().map(Gateway::drained);
                if let Some(drained) = drained {
                    drained.await;
                }
                return Ok(());
            }
            ToChild::ShutDown | ToChild::End => {
                let Some(gateway) = self.gateway.lock().await.take() else { return Ok(()) };
                let result = match request {
                    ToChild::End => gateway.end().await,
                    _ => gateway.shut_down().await,
                };
                // The answer is queued before the loop goes on.
                let ended = self.ended;
                tokio::spawn(async move { ended.send(()).await });
                return result;
            }
            _ => {}
        }
        let mut gateway = self.gateway.lock().await;
        let gateway = gateway.as_mut().ok_or_else(ends)?;
        match request {
            ToChild::Probe(pools) => return gateway.probe(&pools).await,
            ToChild::Pause(pool) => return gateway.pause(&pool).await,
            ToChild::Unpause(pool) => return gateway.unpause(&pool).await,
            ToChild::Observe => gateway.observe().await,
            ToChild::Open => gateway.open(),
            ToChild::HandOver => gateway.hand_over().await,
            ToChild::UnpauseAll => gateway.unpause_all().await,
            ToChild::CloseIdle => gateway.close_idle(),
            _ => return Err(Error::failed("the request has come at the wrong time")),
        }
        Ok(())
    }
}

fn ends() -> Error {
    Error::failed("the gateway process ends")
}

fn passed(passed: crate::upgrade::Passed, upgrade_timeout: Duration) -> Passed {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Passed {
        pools: passed.pools,
        drain_limit_ms: millis(passed.drain_limit),
        upgrade_timeout_ms: millis(upgrade_timeout),
    }
}
