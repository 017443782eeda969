//! A replica that could not be connected to is tried again and again, until it can.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::sleep;

use super::replica::Health;
use super::{Upstream, connection};

/// The time before the first attempt; each one doubles it, up to the last.
const FIRST: Duration = Duration::from_millis(5);
const LAST: Duration = Duration::from_secs(1);

pub(super) fn start(upstream: &Arc<Upstream>, replica: u64, socket: &Arc<Path>) {
    tokio::spawn(probe(Arc::downgrade(upstream), replica, Arc::clone(socket)));
}

async fn probe(upstream: Weak<Upstream>, replica: u64, socket: Arc<Path>) {
    let mut pause = FIRST;
    loop {
        sleep(pause).await;
        pause = (pause * 2).min(LAST);
        let Some(upstream) = upstream.upgrade() else { return };
        if !upstream.lock().is_aside(replica) {
            return; // it does not serve any more
        }
        // A full backlog: somebody listens.
        let answers = match connection::open(&socket) {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        };
        if answers {
            let mut state = upstream.lock();
            state.set_health(replica, Health::Well);
            state.hand_out();
            return;
        }
    }
}
