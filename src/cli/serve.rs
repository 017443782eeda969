//! `serve`

mod drain;
mod gateway;
mod signals;
mod upgrade;

use std::pin::pin;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::sync::mpsc::Receiver;

use self::gateway::Gateway;
use self::signals::{Received, Signals};
use crate::cancel;
use crate::config::{Global, LineFormat};
use crate::error::{Error, Exit, Result};
use crate::failpoint;
use crate::gateway::{Reloads, Reply, Start, Upgrades, is_wanted};
use crate::inherited::Inherited;
use crate::log;
use crate::logs::Gathering;
use crate::render::print;
use crate::root::Root;
use crate::service_manager;
use crate::supervise::Supervisor;
use crate::upgrade::{Go, Predecessor, Program};

const EXAMPLES: &str = "\
Examples:
  pools-manager serve
      in the working directory, until Ctrl-C
  pools-manager --root /srv/site serve
      as a unit of systemd does
  pools-manager serve --upgrade
      replace the running serve by the program that is installed now";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Replace the running gateway by a new process, without a refused connection or a lost request, and
    /// wait for the result. If the new process is not well, the running process goes on serving
    #[arg(long)]
    upgrade: bool,
}

impl Args {
    pub(super) async fn run(self, root: &Root, json: bool) -> Result<()> {
        if self.upgrade {
            return upgrade::request(root, json).await;
        }
        let program = Program::of_this_process()?;
        let (predecessor, inherited) = match Predecessor::take().await? {
            Some((predecessor, inherited)) => (Some(Arc::new(predecessor)), inherited),
            None => (None, Inherited::from_service_manager()?),
        };
        let served = serve(root, json, program, inherited, predecessor.clone()).await;
        if let (Err(error), Some(predecessor)) = (&served, predecessor) {
            predecessor.failed(error).await;
        }
        served
    }
}

async fn requested_by_command(reloads: Option<&Reloads>) {
    match reloads {
        Some(reloads) => reloads.requested_by_command().await,
        None => std::future::pending().await,
    }
}

async fn serve(
    root: &Root,
    json: bool,
    program: Program,
    inherited: Inherited,
    predecessor: Option<Arc<Predecessor>>,
) -> Result<()> {
    let global = Global::read(root)?;
    let format = if json { LineFormat::Json } else { global.log.format };
    log::start(format, &global.log.output(root))?;
    let signals = Signals::listen()?;
    raise_descriptor_limit();
    if predecessor.is_none() {
        service_manager::keep_watchdog();
    }
    let has_gateway = is_wanted(root, &global);
    if !has_gateway && !global.supervisor.enabled {
        global.listens()?;
    }
    let (upgrades, asked) = Upgrades::new();
    let reloads = has_gateway.then(Arc::default);
    let serving = Serving {
        root,
        program,
        is_json: format == LineFormat::Json,
        is_json_wanted: json,
        global,
        signals,
        asked,
        reloads: reloads.clone(),
        predecessor: predecessor.clone(),
        gateway: None,
        supervisor: None,
        logs: None,
    };
    let start = reloads.map(|reloads| Start {
        reloads,
        upgrades: Some(upgrades),
        inherited,
        predecessor,
        given: None,
    });
    serving.run(start).await
}

/// What `serve` runs.
struct Serving<'a> {
    root: &'a Root,
    /// The program that an upgrade starts.
    program: Program,
    /// Whether the output is JSON.
    is_json: bool,
    /// Whether the command line asks for JSON.
    is_json_wanted: bool,
    global: Global,
    signals: Signals,
    /// Requests of upgrades on the control socket.
    asked: Receiver<Reply>,
    /// The reloads of the gateway, if it runs.
    reloads: Option<Arc<Reloads>>,
    /// The process that this one replaces.
    predecessor: Option<Arc<Predecessor>>,
    /// None: not started yet, or not wanted.
    gateway: Option<Gateway>,
    /// None: not started yet, or not wanted.
    supervisor: Option<Supervisor>,
    /// None: not started yet, or not wanted.
    logs: Option<Gathering>,
}

impl Serving<'_> {
    /// Serves until a signal or an upgrade ends this process. `start`: None if no gateway is wanted.
    async fn run(mut self, start: Option<Start>) -> Result<()> {
        if let Err(signal) = self.start(start).await? {
            return self.shut_down(signal).await;
        }
        loop {
            let reply = tokio::select! {
                Some(reply) = self.asked.recv() => Some(reply),
                () = requested_by_command(self.reloads.as_deref()) => {
                    // `serve` does not wait for the supervisor: the command goes on once the gateway has the
                    // settings.
                    self.supervisor.iter().for_each(|it| drop(it.reload()));
                    continue;
                }
                received = self.signals.next() => match received {
                    Received::Stop(signal) => return self.shut_down(signal).await,
                    Received::Upgrade => None,
                    Received::Reload => { self.reload(); continue }
                    Received::Restart => { self.restart(); continue }
                },
            };
            match self.upgrade(reply).await {
                upgrade::Ended::Failed => {}
                upgrade::Ended::Stopped(signal) => return self.shut_down(signal).await,
                upgrade::Ended::Replaced(successor) => return self.drain(*successor).await,
            }
        }
    }

    /// Starts all parts. The inner error is the signal that has stopped the start.
    ///
    /// First the gateway listens, so that nothing has changed if it cannot start. It accepts connections only
    /// when the supervisor has its lock, so that each accepted connection is served.
    async fn start(&mut self, start: Option<Start>) -> Result<std::result::Result<(), Error>> {
        if let Some(start) = start {
            let global = self.global.clone();
            let starting = Gateway::start(self.root, &global, self.is_json_wanted, start);
            let mut starting = pin!(starting);
            let gateway = loop {
                tokio::select! {
                    gateway = starting.as_mut() => break gateway?,
                    received = self.signals.next() => match received {
                        Received::Stop(signal) => return Ok(Err(signal)),
                        Received::Reload => self.reload(),
                        Received::Restart => self.restart(),
                        Received::Upgrade => {
                            tracing::warn!("SIGUSR2 is ignored: serve has not started yet");
                        }
                    },
                }
            };
            self.gateway = Some(gateway);
        }
        if let Some(predecessor) = self.predecessor.clone()
            && let Err(signal) = self.await_turn(&predecessor).await?
        {
            return Ok(Err(signal));
        }
        self.supervise().await?;
        if let Some(gateway) = &mut self.gateway {
            if self.predecessor.is_some() {
                gateway.observe().await;
            }
            gateway.open().await;
        }
        print_ready(self.gateway.as_ref().map_or(&[], Gateway::addresses), self.is_json);
        if let Some(predecessor) = self.predecessor.clone() {
            failpoint::hit("upgrade, new: open");
            if predecessor.serves().await == Go::Alone && service_manager::is_watching() {
                return Ok(Err(left_alone()));
            }
            service_manager::keep_watchdog();
        }
        service_manager::ready();
        Ok(Ok(()))
    }

    /// Starts the supervisor and the gathering of logs.
    async fn supervise(&mut self) -> Result<()> {
        if self.global.supervisor.enabled {
            // The gathering comes first, so that it gets everything that the replicas log.
            self.logs = self.gather_logs();
            self.supervisor = Some(Supervisor::start(self.root).await?);
        }
        Ok(())
    }

    /// Makes the gateway and the supervisor read their configuration again.
    fn reload(&mut self) {
        service_manager::reloading();
        self.read_settings();
        self.logs.iter().for_each(Gathering::reload);
        let (reloads, supervisor) = (self.reloads.clone(), self.supervisor.as_ref());
        let supervised = supervisor.map(Supervisor::reload);
        tokio::spawn(async move {
            if let Some(reloads) = reloads {
                reloads.reload().await;
            }
            if let Some(supervised) = supervised {
                let _ = supervised.await;
            }
            service_manager::ready();
        });
    }

    /// Renews all replicas.
    fn restart(&self) {
        if let Some(supervisor) = &self.supervisor {
            supervisor.restart();
        } else {
            tracing::warn!("SIGUSR1 is ignored: there is no supervisor");
        }
    }

    /// Reads `[supervisor]` and `[log]` again. An error keeps the previous settings.
    fn read_settings(&mut self) {
        match Global::read(self.root) {
            Ok(now) => {
                let file = now.path.display();
                for key in self.global.serve_restart_keys(&now) {
                    tracing::warn!(
                        "{key} in {file} has changed: pools-manager serve --upgrade applies it"
                    );
                }
                self.global.supervisor.stop_replicas = now.supervisor.stop_replicas;
            }
            // The gateway reads the same file, and logs the error.
            Err(_) if self.reloads.is_some() => {}
            Err(error) => {
                let error = error.in_one_line();
                tracing::error!("reload failed, the previous configuration stays in use: {error}");
            }
        }
    }

    fn gather_logs(&self) -> Option<Gathering> {
        let style = log::style().filter(|_| self.global.log.replicas)?;
        let gathering = Gathering::start(self.root, style).inspect_err(|error| {
            tracing::error!("the logs of the replicas are not gathered: {}", error.in_one_line());
        });
        gathering.ok()
    }

    /// Waits until the gateway has served its requests, until the supervisor has ended, and until the process
    /// that this one has replaced has ended. A second signal ends everything at once; the next command repairs
    /// what the supervisor leaves.
    async fn shut_down(mut self, signal: Error) -> Result<()> {
        service_manager::stopping();
        self.supervisor.iter().for_each(Supervisor::cancel);
        let (supervisor, stop_replicas) = (self.supervisor, self.global.supervisor.stop_replicas);
        let (gateway, logs, predecessor) = (self.gateway, self.logs, self.predecessor);
        let mut ended = pin!(async {
            let drained = match gateway {
                Some(gateway) => gateway.shut_down().await,
                None => Ok(()),
            };
            if let Some(supervisor) = supervisor {
                supervisor.stop(stop_replicas).await;
            }
            stop_gathering(logs).await;
            if let Some(predecessor) = predecessor {
                predecessor.ended().await;
            }
            drained
        });
        loop {
            tokio::select! {
                drained = ended.as_mut() => return drained.and_then(|()| exit_status(signal)),
                received = self.signals.next() => if let Received::Stop(second) = received {
                    cancel::released().await;
                    return Err(second);
                },
            }
        }
    }
}

async fn stop_gathering(logs: Option<Gathering>) {
    if let Some(logs) = logs {
        logs.stop().await;
    }
}

/// The service manager has lost the process that it watched, and starts one of its own.
fn left_alone() -> Error {
    Error::failed(
        "the serve that has started this one has ended before the service manager knew this one",
    )
}

/// TERM and QUIT are how a service manager stops the gateway: that is no error.
fn exit_status(signal: Error) -> Result<()> {
    match signal.exit {
        Exit::Terminated => Ok(()),
        _ => Err(signal),
    }
}

fn print_ready(addresses: &[String], json: bool) {
    let ready = if json {
        format!("{}\n", json!({ "event": "ready", "listen": addresses }))
    } else if addresses.is_empty() {
        "Supervising all pools\n".to_owned()
    } else {
        format!("Serving on {}\n", addresses.join(", "))
    };
    // On another thread: standard output may be a pipe that is not read, and the write may block.
    let _ = std::thread::Builder::new().spawn(move || print(&ready));
}

/// Raises the limit of open files to its maximum: a connection needs one descriptor, and its
/// response often a second one. If this fails, connections wait in the kernel.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
