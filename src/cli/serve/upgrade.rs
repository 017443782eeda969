//! The upgrade: `serve --upgrade` asks for it, and `serve` does it.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::signals::Received;
use super::{Serving, left_alone, stop_gathering};
use crate::config::Global;
use crate::control::{self, Request, Response};
use crate::error::{Error, Exit, Result};
use crate::failpoint;
use crate::gateway::Reply;
use crate::init;
use crate::render::print;
use crate::root::Root;
use crate::service_manager;
use crate::supervise::Supervisor;
use crate::upgrade::{Go, Passed, Predecessor, Successor};

/// How long `serve --upgrade` waits. The upgrade waits for the rollouts of the supervisor.
const PATIENCE: Duration = Duration::from_secs(3600);
/// How long a `serve` without a gateway may take to start.
const START: Duration = Duration::from_secs(30);

/// Asks the running `serve` for an upgrade, and prints the result.
pub(super) async fn request(root: &Root, json: bool) -> Result<()> {
    let global = Global::read(root)?;
    let asked = control::send_within(PATIENCE, &global.control, &Request::Upgrade).await?;
    match asked {
        Some(Response::Upgraded(pid)) if json => {
            print(&format!("{}\n", json!({ "event": "upgraded", "pid": pid })));
        }
        Some(Response::Upgraded(pid)) => print(&format!("Upgraded: pid {pid} serves now\n")),
        Some(Response::Failed(why)) => {
            let message = format!("the upgrade failed, the running serve goes on: {why}");
            return Err(Error::failed(message));
        }
        Some(_) => return Err(Error::failed("the running serve cannot be upgraded: restart it")),
        None => {
            let message = format!("no gateway runs at {}", global.control.display());
            return Err(Error::failed(message)
                .hint("start it with `pools-manager serve`; a serve without a gateway can be restarted at any time"));
        }
    }
    Ok(())
}

/// How an attempt has ended.
pub(super) enum Ended {
    /// This process serves on.
    Failed,
    /// A signal has come meanwhile.
    Stopped(Error),
    /// The new process serves.
    Replaced(Box<Successor>),
}

/// Signals that have come during an attempt. They are for the process that serves after it.
#[derive(Default)]
struct Deferred {
    reload: bool,
    restart: bool,
}

/// Why an attempt was given up.
enum Problem {
    Failed(Error),
    Stopped(Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Serving<'_> {
    /// Replaces this process by a new one. `reply` gets the result; None: a signal has asked for the upgrade.
    pub(super) async fn upgrade(&mut self, reply: Option<Reply>) -> Ended {
        let mut deferred = Deferred::default();
        let tried = self.try_upgrade(&mut deferred).await;
        let (result, ended) = match tried {
            Ok(mut successor) => {
                service_manager::hand_over_to(successor.pid());
                successor.confirm().await;
                let pid = successor.pid();
                tracing::info!(
                    "upgrade: pid {pid} serves now, this process ends after its requests"
                );
                if deferred.reload {
                    successor.signal(Signal::HUP);
                }
                if deferred.restart {
                    successor.signal(Signal::USR1);
                }
                (Ok(pid), Ended::Replaced(Box::new(successor)))
            }
            Err(problem) => {
                self.take_back().await;
                let (why, ended) = match problem {
                    Problem::Failed(error) => (error, Ended::Failed),
                    Problem::Stopped(signal) => (signal.clone(), Ended::Stopped(signal)),
                };
                tracing::error!("upgrade failed, this process serves on: {}", why.in_one_line());
                if deferred.reload {
                    self.reload();
                }
                if deferred.restart {
                    self.restart();
                }
                (Err(why.to_string()), ended)
            }
        };
        if let Some(reply) = reply {
            let _ = reply.send(result);
        }
        ended
    }

    async fn try_upgrade(
        &mut self,
        deferred: &mut Deferred,
    ) -> std::result::Result<Successor, Problem> {
        refuse_where_impossible()?;
        let (passed, limit) = match &self.gateway {
            Some(gateway) => gateway.pass().await?,
            None => (Passed::default(), START),
        };
        tracing::info!("upgrade: starting {}", self.program.path().display());
        let mut successor = Successor::launch(&self.program, passed).await?;
        match self.hand_over(&mut successor, limit, deferred).await {
            Ok(()) => Ok(successor),
            Err(problem) => {
                successor.kill().await;
                Err(problem)
            }
        }
    }

    /// All steps until the successor serves.
    async fn hand_over(
        &mut self,
        successor: &mut Successor,
        limit: Duration,
        deferred: &mut Deferred,
    ) -> std::result::Result<(), Problem> {
        failpoint::hit("upgrade, old: launched");
        self.meanwhile(deferred, successor.ready(limit)).await??;
        failpoint::hit("upgrade, old: ready");
        if let Some(mut supervisor) = self.supervisor.take() {
            let rested = self.meanwhile(deferred, supervisor.rest()).await;
            if let Err(stopped) = rested {
                supervisor.stop(false).await;
                return Err(stopped);
            }
        }
        stop_gathering(self.logs.take()).await;
        if let Some(mut gateway) = self.gateway.take() {
            let closed = self.meanwhile(deferred, gateway.close_control()).await;
            self.gateway = Some(gateway);
            closed?;
        }
        failpoint::hit("upgrade, old: rested");
        self.meanwhile(deferred, successor.go(limit)).await??;
        failpoint::hit("upgrade, old: served");
        Ok(())
    }

    /// Waits for a part of an attempt. A signal to stop ends the wait; other signals are noted.
    async fn meanwhile<T>(
        &mut self,
        deferred: &mut Deferred,
        part: impl Future<Output = T>,
    ) -> std::result::Result<T, Problem> {
        let mut part = pin!(part);
        loop {
            tokio::select! {
                done = part.as_mut() => return Ok(done),
                Some(reply) = self.asked.recv() => {
                    let _ = reply.send(Err("an upgrade is under way already".to_owned()));
                }
                received = self.signals.next() => match received {
                    Received::Stop(signal) => return Err(Problem::Stopped(signal)),
                    Received::Upgrade => tracing::warn!("an upgrade is under way already"),
                    Received::Reload => deferred.reload = true,
                    Received::Restart => deferred.restart = true,
                },
            }
        }
    }

    /// After a failed attempt: this process supervises and answers commands again. The new process has been
    /// killed, so it does not hold the supervisor's lock any more.
    async fn take_back(&mut self) {
        if self.supervisor.is_none() && self.global.supervisor.enabled {
            self.logs = self.logs.take().or_else(|| self.gather_logs());
            match Supervisor::start(self.root).await {
                Ok(supervisor) => self.supervisor = Some(supervisor),
                // The requests go on.
                Err(error) => {
                    let error = error.in_one_line();
                    tracing::error!("this process serves on without a supervisor: {error}");
                }
            }
        }
        if let Some(gateway) = &mut self.gateway {
            gateway.reopen_control().await;
        }
    }

    /// Tells the old process that this new one can serve, and waits until this one may serve. The inner error
    /// is the signal that has come meanwhile.
    pub(super) async fn await_turn(
        &mut self,
        predecessor: &Predecessor,
    ) -> Result<std::result::Result<(), Error>> {
        match &self.gateway {
            Some(gateway) => gateway.probe(predecessor.pools()).await?,
            None if predecessor.pools().is_empty() => {}
            None => {
                return Err(Error::config("no pool has a [gateway] any more")
                    .hint("restart serve, if its gateway is to end"));
            }
        }
        failpoint::hit("upgrade, new: started");
        let mut deferred = Deferred::default();
        let go = self.meanwhile(&mut deferred, predecessor.ready()).await;
        failpoint::hit("upgrade, new: told");
        match go {
            Ok(Go::Alone) if service_manager::is_watching() => Err(left_alone()),
            Ok(Go::Alone) => {
                // Until the old process has ended, the kernel keeps its locks.
                predecessor.ended().await;
                Ok(Ok(()))
            }
            Ok(Go::Told) => Ok(Ok(())),
            Err(Problem::Stopped(signal)) => Ok(Err(signal)),
            Err(Problem::Failed(error)) => Err(error),
        }
    }
}

/// Refuses an upgrade where this process cannot be replaced: pid 1 of a container, or systemd, would take its
/// end for the end of the service.
fn refuse_where_impossible() -> Result<()> {
    if init::is_parent() {
        return Err(Error::new(
            Exit::Config,
            "serve is the main program of a container, which ends with it",
        )
        .hint("start a new container, or restart this one"));
    }
    let own = std::process::id().to_string();
    let is_of_systemd = std::env::var("SYSTEMD_EXEC_PID").is_ok_and(|pid| pid == own);
    if is_of_systemd && !service_manager::is_watching() {
        return Err(Error::config("systemd would end the service with this process")
            .hint("set Type=notify in the unit, and restart the service"));
    }
    Ok(())
}
