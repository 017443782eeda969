//! What the parent does for its child.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, mpsc};

use super::files;
use super::message::{Failure, Outcome, ToParent};
use crate::canary::Record;
use crate::error::{Error, Result};
use crate::gateway::blocking::run_blocking;
use crate::gateway::reload::Reloads;
use crate::gateway::seen::Seen;
use crate::pool::{self, Pool};
use crate::privsep::Asked;
use crate::privsep::files::Refused;
use crate::root::Root;
use crate::upgrade::Predecessor;

/// How many requests are carried out at a time.
const CONCURRENT: usize = 16;

/// Carries out the requests of a child.
#[derive(Debug, Clone)]
pub(super) struct Requests {
    /// The root with the configuration.
    pub(super) root: Root,
    /// Notes that the configuration was read.
    pub(super) reloads: Arc<Reloads>,
    /// The process that this one replaces.
    pub(super) predecessor: Option<Arc<Predecessor>>,
    /// The pools by their last valid settings.
    pub(super) pools: Arc<Mutex<HashMap<String, Arc<Pool>>>>,
}

impl Requests {
    /// Carries out requests until the connection to the child ends.
    pub(super) async fn serve(self, mut asked: mpsc::Receiver<Asked>) {
        let places = Arc::new(Semaphore::new(CONCURRENT));
        while let Some(asked) = asked.recv().await {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let requests = self.clone();
            tokio::spawn(async move {
                requests.carry_out(asked).await;
                drop(place);
            });
        }
    }

    async fn carry_out(self, mut asked: Asked) {
        let outcome: Outcome = match asked.request() {
            Ok(ToParent::Open(open)) => {
                let opened = run_blocking(move || files::open(&self.root, &open)).await;
                let opened = match opened {
                    Ok(opened) => opened.map_err(Refused::from),
                    Err(error) => Err(Refused { errno: None, why: error.message }),
                };
                let fds = opened.as_ref().ok().and_then(|file| file.try_clone().ok());
                let answer = opened.map(drop);
                return asked.answer(&answer, fds.map(Into::into).into_iter().collect());
            }
            Ok(ToParent::Observe(pool)) => {
                let seen = run_blocking(move || self.observe(&pool)).await;
                let seen = seen.and_then(|seen| seen).map_err(Failure::from);
                return asked.answer(&seen, Vec::new());
            }
            Ok(ToParent::Canary(pool)) => {
                let read = run_blocking(move || Record::in_force(&self.pool(&pool)?.canary_file()));
                let record = read.await.and_then(|record| record).map_err(Failure::from);
                return asked.answer(&record, Vec::new());
            }
            Ok(ToParent::Pause(pool)) => self.of_predecessor(&pool, true).await,
            Ok(ToParent::Unpause(pool)) => self.of_predecessor(&pool, false).await,
            Ok(ToParent::Reloaded) => {
                self.reloads.note_command();
                Ok(())
            }
            Err(error) => Err(Error::failed(format!("the request is malformed: {error}")).into()),
        };
        asked.answer(&outcome, Vec::new());
    }

    async fn of_predecessor(&self, pool: &str, is_pause: bool) -> Outcome {
        let Some(predecessor) = &self.predecessor else { return Ok(()) };
        let done =
            if is_pause { predecessor.pause(pool).await } else { predecessor.unpause(pool).await };
        done.map_err(Failure::from)
    }

    /// Observes a pool. Blocks.
    fn observe(&self, name: &str) -> Result<Seen> {
        Seen::of(&self.pool(name)?)
    }

    /// A pool. If its settings are not valid any more, its last valid settings are used. Blocks.
    fn pool(&self, name: &str) -> Result<Arc<Pool>> {
        let loaded = pool::load(&self.root, name).map(Arc::new);
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        match loaded {
            Ok(pool) => {
                pools.insert(name.to_owned(), Arc::clone(&pool));
                Ok(pool)
            }
            Err(error) => Ok(Arc::clone(pools.get(name).ok_or(error)?)),
        }
    }
}
