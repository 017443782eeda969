//! `serve`

mod signals;

use std::pin::{Pin, pin};
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::sync::oneshot;

use self::signals::{Received, Signals};
use crate::cancel;
use crate::config::{Global, LineFormat};
use crate::error::{Error, Exit, Result};
use crate::gateway;
use crate::log;
use crate::logs::Gathering;
use crate::render::print;
use crate::root::Root;
use crate::service_manager;
use crate::supervise::Supervisor;

const EXAMPLES: &str = "\
Examples:
  pools-manager serve
      in the working directory, until Ctrl-C
  pools-manager --root /srv/site serve
      as a unit of systemd does";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {}

impl Args {
    pub(super) async fn run(self, root: &Root, json: bool) -> Result<()> {
        let global = Global::read(root)?;
        let format = if json { LineFormat::Json } else { global.log.format };
        log::start(format, &global.log.output(root))?;
        let signals = Signals::listen()?;
        raise_descriptor_limit();
        service_manager::keep_watchdog();
        let has_gateway = gateway::is_wanted(root, &global);
        if !has_gateway && !global.supervisor.enabled {
            global.listens()?;
        }
        let reloads = Arc::new(gateway::Reloads::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let (up, is_up) = oneshot::channel::<()>();
        let ready = move |addresses: &[String]| {
            print_ready(addresses, format == LineFormat::Json);
            let _ = up.send(());
        };
        let gateway = async {
            let shutdown = async { drop(stopped.await) };
            if has_gateway {
                return gateway::serve(root, shutdown, Arc::clone(&reloads), ready).await;
            }
            ready(&[]);
            shutdown.await;
            Ok(())
        };
        let reloads = has_gateway.then(|| Arc::clone(&reloads));
        let mut serving = Serving { root, global, signals, reloads, supervisor: None, logs: None };
        let mut gateway = pin!(gateway);
        match serving.until_stopped(gateway.as_mut(), is_up).await {
            Ok(signal) => {
                drop(stop);
                serving.shut_down(gateway, signal).await
            }
            Err(ended) => {
                if let Some(supervisor) = serving.supervisor {
                    supervisor.stop(false).await;
                }
                stop_gathering(serving.logs).await;
                ended
            }
        }
    }
}

async fn requested_by_command(reloads: Option<&gateway::Reloads>) {
    match reloads {
        Some(reloads) => reloads.requested_by_command().await,
        None => std::future::pending().await,
    }
}

/// What `serve` runs.
struct Serving<'a> {
    root: &'a Root,
    global: Global,
    signals: Signals,
    /// Those of the gateway, if it runs.
    reloads: Option<Arc<gateway::Reloads>>,
    /// None: not started yet, or not wanted.
    supervisor: Option<Supervisor>,
    /// None: not started yet, or not wanted.
    logs: Option<Gathering>,
}

impl Serving<'_> {
    /// Returns the signal that stops everything; an error has what the gateway has ended with.
    ///
    /// The supervisor starts once the gateway is up: a gateway that cannot start changes nothing.
    async fn until_stopped(
        &mut self,
        mut gateway: Pin<&mut impl Future<Output = Result<()>>>,
        is_up: oneshot::Receiver<()>,
    ) -> std::result::Result<Error, Result<()>> {
        let mut is_up = pin!(is_up);
        let mut is_starting = true;
        loop {
            let received = tokio::select! {
                ended = gateway.as_mut() => return Err(ended),
                _ = is_up.as_mut(), if is_starting => {
                    is_starting = false;
                    if self.global.supervisor.enabled {
                        // First, so that it has all that the replicas log.
                        self.logs = self.gather_logs();
                        self.supervisor = Some(Supervisor::start(self.root).await.map_err(Err)?);
                    }
                    service_manager::ready();
                    continue;
                }
                () = requested_by_command(self.reloads.as_deref()) => {
                    // Not waited for: the command goes on once the gateway has the settings.
                    self.supervisor.iter().for_each(|it| drop(it.reload()));
                    continue;
                }
                received = self.signals.next() => received,
            };
            match received {
                Received::Stop(signal) => return Ok(signal),
                Received::Reload => self.reload(),
                Received::Restart if self.supervisor.is_none() => {
                    tracing::warn!("SIGUSR1 is ignored: there is no supervisor");
                }
                Received::Restart => self.supervisor.iter().for_each(Supervisor::restart),
            }
        }
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

    /// Reads `[supervisor]` and `[log]` again. An error keeps the previous settings.
    fn read_settings(&mut self) {
        match Global::read(self.root) {
            Ok(now) => {
                let file = now.path.display();
                for key in self.global.serve_restart_keys(&now) {
                    tracing::warn!("{key} in {file} has changed: restart serve to apply it");
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

    /// Waits until the gateway has served its requests, and the supervisor has ended. A second signal
    /// ends both at once; the next command puts right what the supervisor leaves.
    async fn shut_down(
        mut self,
        gateway: Pin<&mut impl Future<Output = Result<()>>>,
        signal: Error,
    ) -> Result<()> {
        service_manager::stopping();
        self.supervisor.iter().for_each(Supervisor::cancel);
        let (supervisor, stop_replicas) = (self.supervisor, self.global.supervisor.stop_replicas);
        let logs = self.logs;
        let mut ended = pin!(async {
            let drained = gateway.await;
            if let Some(supervisor) = supervisor {
                supervisor.stop(stop_replicas).await;
            }
            stop_gathering(logs).await;
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
