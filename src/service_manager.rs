//! Tells the service manager what `serve` does, by the protocol of `sd_notify(3)`. Without
//! `NOTIFY_SOCKET` in the environment, nothing is sent.

use std::time::Duration;

use sd_notify::{NotifyState, notify, watchdog_enabled};

/// `serve` is up, or has reloaded.
pub fn ready() {
    send(&[NotifyState::Ready]);
}

/// `serve` reads its configuration again.
pub fn reloading() {
    let now = NotifyState::monotonic_usec_now();
    match now {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!("cannot read the clock: {error}"),
    }
}

/// `serve` ends.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// Sends a sign of life twice in each watchdog interval, if the service manager expects one
/// (`WatchdogSec=`). It shows that the runtime works.
pub fn keep_watchdog() {
    let Some(interval) = watchdog_enabled().filter(|interval| *interval > Duration::ZERO) else {
        return;
    };
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(interval / 2);
        loop {
            ticks.tick().await;
            send(&[NotifyState::Watchdog]);
        }
    });
}

fn send(states: &[NotifyState]) {
    if let Err(error) = notify(states) {
        tracing::warn!("cannot notify the service manager: {error}");
    }
}
