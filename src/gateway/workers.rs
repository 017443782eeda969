//! The worker threads. Each has an event loop of its own, and serves the connections that it gets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{mpsc, watch};

use super::connection::{self, Accepted, SharedLimits};
use super::drain::Drain;
use super::state::CurrentState;
use crate::error::{Error, Result};

/// All worker threads. Dropping it ends them, and cuts their connections.
#[derive(Debug)]
pub(super) struct Workers(Vec<Worker>);

#[derive(Debug)]
struct Worker {
    accepted: mpsc::UnboundedSender<Accepted>,
    /// The number of its connections.
    connections: Arc<AtomicUsize>,
}

impl Workers {
    /// Starts the threads. `drain`: tells the connections when to end.
    pub(super) fn start(
        state: &Arc<CurrentState>,
        drain: &watch::Receiver<Drain>,
    ) -> Result<Arc<Self>> {
        let limits = SharedLimits::new(state.get().front.max_connections);
        let workers = (0..state.get().front.thread_count()).map(|number| {
            let (accepted, receiver) = mpsc::unbounded_channel();
            let connections = Arc::new(AtomicUsize::new(0));
            let thread = Thread {
                state: Arc::clone(state),
                limits: Arc::clone(&limits),
                connections: Arc::clone(&connections),
                drain: drain.clone(),
            };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let error = |error| Error::failed(format!("cannot start a thread: {error}"));
            let runtime = runtime.map_err(error)?;
            std::thread::Builder::new()
                .name(format!("gateway-{number}"))
                .spawn(move || runtime.block_on(thread.run(receiver)))
                .map_err(error)?;
            Ok(Worker { accepted, connections })
        });
        workers.collect::<Result<_>>().map(|workers| Arc::new(Self(workers)))
    }

    /// Gives a connection to the thread with the fewest connections.
    pub(super) fn hand_over(&self, accepted: Accepted) {
        let fewest = self.0.iter().min_by_key(|worker| worker.connections.load(Ordering::Relaxed));
        if let Some(worker) = fewest {
            worker.connections.fetch_add(1, Ordering::Relaxed);
            // The thread receives as long as the sender exists.
            let _ = worker.accepted.send(accepted);
        }
    }
}

struct Thread {
    state: Arc<CurrentState>,
    limits: Arc<SharedLimits>,
    connections: Arc<AtomicUsize>,
    drain: watch::Receiver<Drain>,
}

impl Thread {
    async fn run(self, mut accepted: mpsc::UnboundedReceiver<Accepted>) {
        while let Some(accepted) = accepted.recv().await {
            let (state, limits) = (Arc::clone(&self.state), Arc::clone(&self.limits));
            let (connections, drain) = (Arc::clone(&self.connections), self.drain.clone());
            tokio::spawn(async move {
                // An error means that the client has broken the connection, or the protocol.
                let _ = connection::serve(&state, &limits, accepted, drain).await;
                connections.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }
}
