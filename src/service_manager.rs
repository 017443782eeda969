//! Tells the service manager what `serve` does, by the protocol of `sd_notify(3)`. Without
//! `NOTIFY_SOCKET` in the environment, nothing is sent.
//!
//! A thread sends the messages: a service manager that does not read blocks the sender.

pub mod scope;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use sd_notify::{NotifyState, notify, watchdog_enabled};

/// How long the last message may take.
const LAST: Duration = Duration::from_millis(200);

/// To the thread that sends.
static SENDER: OnceLock<Option<Sender<Message>>> = OnceLock::new();
/// A sign of life is not sent yet.
static IS_WAITING: AtomicBool = AtomicBool::new(false);
/// See [`is_well`].
static IS_WELL: AtomicBool = AtomicBool::new(true);

struct Message {
    states: Vec<NotifyState<'static>>,
    /// Dropped when it is sent.
    sent: Option<Sender<()>>,
}

/// `serve` is up, or has reloaded.
pub fn ready() {
    send(vec![NotifyState::Ready], None);
}

/// The process `pid` is the main process of the service from now on. The service manager accepts this message
/// only from the main process so far. Returns when the message is sent, or soon after.
pub fn hand_over_to(pid: u32) {
    let (sent, is_sent) = channel();
    send(vec![NotifyState::MainPid(pid)], Some(sent));
    let _ = is_sent.recv_timeout(LAST);
}

/// Whether a service manager watches over this process.
pub fn is_watching() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// `serve` reads its configuration again.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(vec![NotifyState::Reloading, now], None),
        Err(error) => tracing::warn!("cannot read the clock: {error}"),
    }
}

/// `serve` ends. Returns when the message is sent, or soon after.
pub fn stopping() {
    let (sent, is_sent) = channel();
    send(vec![NotifyState::Stopping], Some(sent));
    let _ = is_sent.recv_timeout(LAST);
}

/// How often the service manager expects a sign of life (`WatchdogSec=`). None: it expects none.
pub fn watchdog_interval() -> Option<Duration> {
    watchdog_enabled().filter(|interval| *interval > Duration::ZERO)
}

/// Sets whether the child that talks to clients is well. Without such a child, the value stays true.
pub fn is_well(is_well: bool) {
    IS_WELL.store(is_well, Ordering::Relaxed);
}

/// Sends a sign of life twice in each watchdog interval, if the service manager expects one
/// (`WatchdogSec=`). The sign shows that the async runtime of this process works, and that of its child
/// ([`is_well`]).
pub fn keep_watchdog() {
    let Some(interval) = watchdog_interval() else { return };
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(interval / 2);
        loop {
            ticks.tick().await;
            if IS_WELL.load(Ordering::Relaxed) && !IS_WAITING.swap(true, Ordering::Relaxed) {
                send(vec![NotifyState::Watchdog], None);
            }
        }
    });
}

fn send(states: Vec<NotifyState<'static>>, sent: Option<Sender<()>>) {
    if let Some(sender) = SENDER.get_or_init(start) {
        let _ = sender.send(Message { states, sent });
    }
}

/// Starts the thread; None: nothing is to be sent.
fn start() -> Option<Sender<Message>> {
    std::env::var_os("NOTIFY_SOCKET")?;
    let (sender, messages) = channel();
    let thread = std::thread::Builder::new().name("notify".to_owned());
    let started = thread.spawn(move || send_all(&messages));
    started
        .inspect_err(|error| tracing::warn!("cannot notify the service manager: {error}"))
        .ok()
        .map(|_| sender)
}

fn send_all(messages: &Receiver<Message>) {
    while let Ok(Message { states, sent }) = messages.recv() {
        if let Err(error) = notify(&states) {
            tracing::warn!("cannot notify the service manager: {error}");
        }
        if matches!(states[..], [NotifyState::Watchdog]) {
            IS_WAITING.store(false, Ordering::Relaxed);
        }
        drop(sent);
    }
}
