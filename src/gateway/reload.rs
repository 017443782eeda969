//! Reload: opens the access log again, and reads the configuration again.
//!
//! After an error, the previous configuration stays in use: all of it, or only that of one pool if the error
//! is in the files of that pool.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{Notify, watch};

use super::access_log::AccessLog;
use super::blocking::run_blocking;
use super::configuration::Configuration;
use super::gate;
use super::refresh::{keep_canary, refresh_on_request};
use super::state::CurrentState;
use super::virtual_host::VirtualHost;
use crate::config::Global;
use crate::error::Result;
use crate::root::Root;

/// The requests for a reload, and their progress.
#[derive(Debug, Default)]
pub struct Reloads {
    requested: Notify,
    progress: watch::Sender<Progress>,
    by_command: Notify,
}

/// How many reloads have begun, and how many are done.
#[derive(Debug, Default)]
struct Progress {
    begun: u64,
    done: u64,
}

impl Reloads {
    /// Requests a reload, and waits until one is done that has begun after this call.
    pub async fn reload(&self) {
        let mut progress = self.progress.subscribe();
        let next = progress.borrow().begun + 1;
        self.requested.notify_one();
        // The sender lives as long as `self`.
        let _ = progress.wait_for(|progress| progress.done >= next).await;
    }

    /// The same for a command, which needs settings that have changed.
    pub(super) async fn reload_by_command(&self) {
        self.note_command();
        self.reload().await;
    }

    /// Notes that a command has requested a reload.
    pub(super) fn note_command(&self) {
        self.by_command.notify_one();
    }

    /// Waits for the next request, and has it carried out by `reload`.
    pub(super) async fn carry_out(&self, reload: impl Future<Output = ()>) {
        self.requested.notified().await;
        self.progress.send_modify(|progress| progress.begun += 1);
        reload.await;
        self.progress.send_modify(|progress| progress.done = progress.begun);
    }

    /// Waits until a command has requested a reload since the last call. Other parts of the program that
    /// have read the configuration must then read it again.
    pub async fn requested_by_command(&self) {
        self.by_command.notified().await;
    }
}

/// Reloads a gateway.
#[derive(Debug)]
pub(super) struct Reload {
    /// The root with the files.
    pub root: Root,
    /// The configuration at the start.
    pub started: Arc<Global>,
    /// The state to replace.
    pub state: Arc<CurrentState>,
}

impl Reload {
    /// Reloads after each request. Never ends.
    pub(super) async fn run(self, requests: Arc<Reloads>) {
        let mut global = Global::clone(&self.started);
        loop {
            requests
                .carry_out(async {
                    tracing::info!("reload: opening the access log and reading the configuration");
                    match self.reload().await {
                        Ok(current) => global = current,
                        Err(error) => {
                            let error = error.in_one_line();
                            tracing::error!(
                                "reload failed, the previous configuration stays in use: {error}"
                            );
                            self.open_log(&global).await;
                        }
                    }
                })
                .await;
        }
    }

    async fn reload(&self) -> Result<Global> {
        let old = self.state.get();
        let configuration = Configuration::read(&self.root).await?;
        let (global, hosts) = configuration.into_hosts(Some(&old.hosts)).await?;
        let log = self.open_log(&global).await;
        if let Some(tls) = old.tls.clone() {
            let front = global.front.clone();
            run_blocking(move || tls.apply(&front)).await?;
        }
        self.state.replace(old.next(hosts, &global, log));
        let new = self.state.get();
        for vhost in new.hosts.all() {
            match old.hosts.of_pool(&vhost.pool.name) {
                None => {
                    refresh_on_request(&self.state, vhost);
                    self.state.spawn(gate::keep(&vhost.gate, vhost.pool.traffic_file()));
                    keep_canary(&self.state, vhost);
                }
                // A command may have refreshed the endpoints by the previous configuration.
                Some(before) if !before.has_document_root_of(vhost) => {
                    vhost.request_refresh();
                }
                Some(_) => {}
            }
        }
        // The refresh task of a removed pool then finds that it must end.
        let is_gone = |it: &&Arc<VirtualHost>| new.hosts.of_pool(&it.pool.name).is_none();
        old.hosts.all().iter().filter(is_gone).for_each(|vhost| vhost.request_refresh());
        let file = global.path.display();
        for key in self.started.gateway_restart_keys(&global) {
            tracing::warn!("{key} in {file} has changed: pools-manager serve --upgrade applies it");
        }
        tracing::info!("reload done: {} pools", new.hosts.all().len());
        Ok(global)
    }

    /// If the file cannot be opened, the previous access log stays in use.
    async fn open_log(&self, global: &Global) -> Option<Arc<AccessLog>> {
        let before = self.state.get().access_log.clone();
        let (root, global, kept) = (self.root.clone(), global.clone(), before.clone());
        let opened = run_blocking(move || AccessLog::open(&root, &global, kept.as_deref())).await;
        opened.and_then(|opened| opened).unwrap_or_else(|error| {
            tracing::error!("the previous access log stays in use: {}", error.in_one_line());
            before
        })
    }
}
