//! When an endpoint is ejected, and when it gets requests again.
//!
//! An endpoint that refuses a connection is ejected until its socket accepts connections.
//!
//! An endpoint whose processes are stopped (SIGSTOP), or hang in the kernel, still accepts connections:
//! the kernel accepts them, until the backlog is full. Each request to this endpoint would wait until
//! `request_timeout`. So when a request has had no response for [`UNRESPONSIVE_AFTER`], the gateway sends
//! php-fpm's ping to the endpoint. A free child answers the ping at once, however long scripts take. If
//! no pong comes within [`PING_TIMEOUT`], and another endpoint responds meanwhile, the endpoint is
//! ejected until the pong comes.
//!
//! A slow script does not get its endpoint ejected: an endpoint is probed only while it has fewer
//! requests than children. If all children are busy for another reason (scripts whose clients have gone,
//! requests from another web server), the endpoint may be ejected. This does no harm: php-fpm accepts
//! connections in order, so the first free child answers the ping and puts the endpoint back.
//!
//! The requests that were sent to an unresponsive endpoint stay there. Closing their connections would
//! not cancel them: php-fpm can still read the sent bytes, and runs the script when its processes go on.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{interval, sleep, timeout};

use super::connection;
use super::endpoint::{Health, Other, Ping, Suspect};
use super::scheduler::SharedScheduler;

/// How long a request may have no response before its endpoint is probed. Without a response, the
/// endpoint is probed again after the same time.
pub(in crate::gateway) const UNRESPONSIVE_AFTER: Duration = Duration::from_secs(1);
/// The time limit for a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// The time limit for the ping of an ejected endpoint. The ping waits in the backlog of the socket. After
/// the time limit it is sent again.
const EJECTED_PING_TIMEOUT: Duration = Duration::from_secs(60);
/// The time between two checks whether an ejected endpoint is still current.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The time before the first attempt to connect to an unreachable endpoint. Each attempt doubles the
/// time, up to [`LAST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_millis(5);
const LAST_RETRY: Duration = Duration::from_secs(1);

impl Ping {
    /// Whether the pong comes within `limit`.
    async fn succeeds(&self, socket: &Path, limit: Duration) -> bool {
        self.0.ping(socket, limit).await.is_ok()
    }
}

/// Starts to probe an endpoint that has not responded for a while.
pub(super) fn probe(scheduler: &Arc<SharedScheduler>, suspect: Suspect) {
    tokio::spawn(run_probe(Arc::downgrade(scheduler), suspect));
}

async fn run_probe(scheduler: Weak<SharedScheduler>, suspect: Suspect) {
    let Suspect { endpoint, socket, ping, others } = suspect;
    let mut pong = std::pin::pin!(ping.succeeds(&socket, EJECTED_PING_TIMEOUT));
    let is_unresponsive = timeout(PING_TIMEOUT, &mut pong).await.is_err();
    let eject = is_unresponsive && does_any_respond(&scheduler, &others).await;
    let is_ejected = scheduler.upgrade().is_some_and(|it| it.lock().end_probe(endpoint, eject));
    if !is_ejected {
        return;
    }
    let shown = socket.display();
    tracing::warn!("{shown} does not respond: it is ejected until it does");
    let mut check = interval(CHECK_INTERVAL);
    loop {
        let responds = tokio::select! {
            responds = &mut pong => responds,
            _ = check.tick() => {
                if !scheduler.upgrade().is_some_and(|it| it.lock().is_ejected(endpoint)) {
                    return; // the endpoint has been replaced
                }
                continue;
            }
        };
        if responds {
            break;
        }
        sleep(CHECK_INTERVAL).await;
        pong.set(ping.succeeds(&socket, EJECTED_PING_TIMEOUT));
    }
    let Some(scheduler) = scheduler.upgrade() else { return };
    let mut scheduler = scheduler.lock();
    if scheduler.set_health(endpoint, Health::Healthy) {
        tracing::info!("{shown} responds again");
    }
    scheduler.assign_waiting();
}

/// Whether another endpoint has responded since the probe began, or answers a ping now.
async fn does_any_respond(scheduler: &Weak<SharedScheduler>, others: &[Other]) -> bool {
    let Some(scheduler) = scheduler.upgrade() else { return false };
    for other in others {
        if scheduler.lock().has_responded(other) {
            return true;
        }
        if let Some(ping) = &other.ping
            && ping.succeeds(&other.socket, PING_TIMEOUT).await
        {
            return true;
        }
    }
    false
}

/// Starts to wait until the socket of an unreachable endpoint accepts connections.
pub(super) fn await_listener(scheduler: &Arc<SharedScheduler>, endpoint: u64, socket: &Arc<Path>) {
    tokio::spawn(retry_connect(Arc::downgrade(scheduler), endpoint, Arc::clone(socket)));
}

async fn retry_connect(scheduler: Weak<SharedScheduler>, endpoint: u64, socket: Arc<Path>) {
    let mut pause = FIRST_RETRY;
    loop {
        sleep(pause).await;
        pause = (pause * 2).min(LAST_RETRY);
        let Some(scheduler) = scheduler.upgrade() else { return };
        if !scheduler.lock().is_ejected(endpoint) {
            return; // the endpoint has been replaced
        }
        // A full backlog means that a process listens.
        let is_reachable = match connection::open(&socket) {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        };
        if is_reachable {
            let mut scheduler = scheduler.lock();
            scheduler.set_health(endpoint, Health::Healthy);
            scheduler.assign_waiting();
            return;
        }
    }
}
