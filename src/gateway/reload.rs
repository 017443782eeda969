//! HUP: the access log is opened again, and all settings are read again.
//!
//! What is wrong is refused: the settings from before stay, those of one pool where only its files
//! are broken.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::access_log::AccessLog;
use super::aside::aside;
use super::live::Live;
use super::settings::Settings;
use super::site::Site;
use super::sync::{Reason, sync};
use crate::config::Global;
use crate::error::Result;
use crate::root::Root;

/// The least time between two looks at a pool whose replicas cannot be connected to.
const DOUBT: Duration = Duration::from_millis(100);
/// The time until a pool is looked at again that cannot be served; each look doubles it, up to the
/// last.
const FIRST: Duration = Duration::from_secs(1);
const LAST: Duration = Duration::from_secs(60);

/// What a gateway was started with, and what it has become.
#[derive(Debug)]
pub(super) struct Reload {
    /// Where the files are.
    pub root: Root,
    /// The settings that it was started with.
    pub started: Global,
    /// The gateway.
    pub live: Arc<Live>,
}

impl Reload {
    /// Reads the settings again whenever that is asked for, for ever.
    pub(super) async fn run(self, asked: Arc<Notify>) {
        let mut global = self.started.clone();
        loop {
            asked.notified().await;
            tracing::info!("reload: opening the access log and reading the configuration");
            match self.change().await {
                Ok(now) => global = now,
                Err(error) => {
                    let error = error.in_one_line();
                    tracing::error!("the configuration from before is kept: {error}");
                    self.open_log(&global).await;
                }
            }
        }
    }

    async fn change(&self) -> Result<Global> {
        let old = self.live.gateway();
        let settings = Settings::read(&self.root).await?;
        let (global, sites) = settings.sites(Some(&old.sites)).await?;
        let log = self.open_log(&global).await;
        self.live.exchange(old.changed(sites, global.front.clone(), log));
        let new = self.live.gateway();
        for site in new.sites.all() {
            match old.sites.of_pool(&site.pool.name) {
                None => watch(&self.live, site),
                // A command may have had a look meanwhile, by the settings from before.
                Some(before) if before.document_root != site.document_root => site.doubt(),
                Some(_) => {}
            }
        }
        // Its watch finds that it is not the gateway's any more.
        let gone = |site: &&Arc<Site>| new.sites.of_pool(&site.pool.name).is_none();
        old.sites.all().iter().filter(gone).for_each(|site| site.doubt());
        let file = global.path.display();
        for key in needs_start(&self.started, &global) {
            tracing::warn!("{key} in {file} has changed: only another start of serve applies that");
        }
        tracing::info!("the configuration has been read, pools: {}", new.sites.all().len());
        Ok(global)
    }

    /// Where the file cannot be opened, the log stays as it was.
    async fn open_log(&self, global: &Global) -> Option<Arc<AccessLog>> {
        let before = self.live.gateway().log.clone();
        let (root, global, kept) = (self.root.clone(), global.clone(), before.clone());
        let opened = aside(move || AccessLog::open(&root, &global, kept.as_deref())).await;
        opened.and_then(|opened| opened).unwrap_or_else(|error| {
            tracing::error!("the access log stays as it was: {}", error.in_one_line());
            before
        })
    }
}

/// The keys that are read once, when the gateway starts, and have another value now.
fn needs_start(started: &Global, now: &Global) -> Vec<&'static str> {
    let (one, other) = (&started.front, &now.front);
    let keys = [
        ("[gateway] listen", one.listen() != other.listen()),
        ("[gateway] threads", one.threads != other.threads),
        ("[gateway] max_connections", one.max_connections != other.max_connections),
        ("[control] socket", started.control != now.control),
    ];
    keys.into_iter().filter(|(_, is_changed)| *is_changed).map(|(key, _)| key).collect()
}

/// Looks at a pool again whenever there is reason to, until it is not the gateway's any more.
pub(super) fn watch(live: &Arc<Live>, site: &Arc<Site>) {
    let (live, watch) = (Arc::clone(live), Arc::clone(&site.watch));
    let name = site.pool.name.clone();
    live.clone().spawn(async move {
        let mut pause = FIRST;
        loop {
            if watch.is_broken() {
                let _ = timeout(pause, watch.doubted()).await;
                pause = (pause * 2).min(LAST);
            } else {
                watch.doubted().await;
                pause = FIRST;
            }
            let now = live.gateway().sites.of_pool(&name).cloned();
            // A pool that has gone may have come back: it is watched anew then.
            let Some(site) = now.filter(|now| Arc::ptr_eq(&now.watch, &watch)) else { return };
            // An error is logged there.
            let _ = sync(&site, Reason::Serve).await;
            sleep(DOUBT).await;
        }
    });
}
