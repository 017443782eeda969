//! A replica whose processes are halted, or hang in the kernel, accepts connections all the same: the
//! kernel does, up to its backlog. Each would wait for `request_timeout`.
//!
//! So a replica on which a request has had no answer for [`SILENT`] is asked for php-fpm's ping. A
//! child that is free answers it at once, however long scripts take. If the ping does not come back
//! within [`PATIENCE`], though another replica answers meanwhile, the replica is ejected: it gets no
//! requests until that ping comes back.
//!
//! A slow script does not lead there: its replica is examined only while it has fewer requests than
//! children. A replica that has none free for other reasons (scripts whose clients have gone away,
//! requests from another web server) may be ejected, and loses nothing by it: what waits at its
//! socket is served in order, so the first child that is free brings it back.
//!
//! Requests that a frozen replica has stay there. To close their connections would not take them
//! back: what has been sent stays readable, and php-fpm runs it once it goes on.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{interval, sleep, timeout};

use super::Upstream;
use super::replica::Health;
use crate::runtime::{Generation, Server};

/// How long a request may have no answer until its replica is examined; and how long until it is
/// examined once more.
pub(in crate::gateway) const SILENT: Duration = Duration::from_secs(1);
/// How long a ping may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the ping of an ejected replica is waited for until it is sent again. It waits in the
/// replica's backlog meanwhile.
const LONG: Duration = Duration::from_secs(60);
/// The time between two looks at an ejected replica.
const PAUSE: Duration = Duration::from_secs(1);

/// The ping of a replica's server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::gateway) struct Ping(Server);

impl Ping {
    /// Of a generation; None: its server has no ping.
    pub(in crate::gateway) fn of(generation: &Generation) -> Option<Arc<Self>> {
        let server = &generation.server;
        server.has_ping().then(|| Arc::new(Self(server.clone())))
    }

    #[cfg(test)]
    pub(super) fn sample() -> Self {
        Self(Server::sample())
    }

    /// Whether a replica answers, within `patience`.
    async fn answers(&self, socket: &Path, patience: Duration) -> bool {
        self.0.ping(socket, patience).await.is_ok()
    }
}

/// A replica to be examined.
#[derive(Debug)]
pub(super) struct Suspect {
    pub(super) replica: u64,
    pub(super) socket: Arc<Path>,
    pub(super) ping: Arc<Ping>,
    /// The replicas that could take its requests.
    pub(super) others: Vec<Other>,
}

/// A replica with which one is compared.
#[derive(Debug)]
pub(super) struct Other {
    pub(super) replica: u64,
    pub(super) socket: Arc<Path>,
    pub(super) ping: Option<Arc<Ping>>,
    /// How many requests it had answered when the examination began.
    pub(super) answered: u64,
}

pub(super) fn examine(upstream: &Arc<Upstream>, suspect: Suspect) {
    tokio::spawn(follow(Arc::downgrade(upstream), suspect));
}

async fn follow(upstream: Weak<Upstream>, suspect: Suspect) {
    let Suspect { replica, socket, ping, others } = suspect;
    let mut own = std::pin::pin!(ping.answers(&socket, LONG));
    let is_silent = timeout(PATIENCE, &mut own).await.is_err();
    let eject = is_silent && does_any_answer(&upstream, &others).await;
    let is_ejected = upstream.upgrade().is_some_and(|it| it.lock().examined(replica, eject));
    if !is_ejected {
        return;
    }
    let shown = socket.display();
    tracing::warn!("{shown} does not answer, and gets no requests until it does");
    let mut look = interval(PAUSE);
    loop {
        let answers = tokio::select! {
            answers = &mut own => answers,
            _ = look.tick() => {
                if !upstream.upgrade().is_some_and(|it| it.lock().is_aside(replica)) {
                    return; // it does not serve any more
                }
                continue;
            }
        };
        if answers {
            break;
        }
        sleep(PAUSE).await;
        own.set(ping.answers(&socket, LONG));
    }
    let Some(upstream) = upstream.upgrade() else { return };
    let mut state = upstream.lock();
    if state.set_health(replica, Health::Well) {
        tracing::info!("{shown} answers again");
    }
    state.hand_out();
}

/// Whether one of the replicas has answered since the examination began, or answers now.
async fn does_any_answer(upstream: &Weak<Upstream>, others: &[Other]) -> bool {
    let Some(upstream) = upstream.upgrade() else { return false };
    for other in others {
        if upstream.lock().has_answered(other) {
            return true;
        }
        if let Some(ping) = &other.ping
            && ping.answers(&other.socket, PATIENCE).await
        {
            return true;
        }
    }
    false
}
