//! The load generator of `ping-stress` and `sleep-stress`.
//!
//! Some clients request the same page, each with one request at a time, as fast as the responses come
//! (a closed loop). A response is judged by its content, not by its status alone. All clients use one
//! recorder: a client calls it before it sends a request, and again when the response is complete. So
//! the recorder knows the order of these events, and detects a *step back*:
//!
//! - Releases are ranked by the order in which their first complete responses arrived.
//! - A step back is a response of an older release to a request that started after any client had a
//!   complete response of a newer release.
//!
//! A deliberate switch from release 1 to 2 and back to 1 is a step back too, because no response tells
//! it from an accident. So steps back are reported, and fail the run only with
//! [`Options::monotonic`]. Begin a run while one release serves alone: if the first responses come
//! from two releases, the one whose response is complete first counts as the older one.
//!
//! Each request has its own connection and is sent once; `request.rs` has the reasons.

mod command;
mod options;
mod page;
mod print;
mod recorder;
mod request;
mod sample;
mod summary;

use std::future::pending;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::pin;
use tokio::select;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet, yield_now};
use tokio::time::sleep;

pub use command::{command_line, main};
pub use options::Options;
pub use page::Page;
pub use sample::{Failure, FailureKind, Sample};
pub use summary::{FailureCount, Latency, ReleaseCount, Summary};

use crate::error::Result;
use recorder::{InFlight, Recorder};
use request::Requester;

/// Whether and how a run ends early. The value never decreases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Run until the duration or the number of requests is reached.
    #[default]
    No,
    /// Send no more requests, and wait for the responses in flight.
    Finish,
    /// Cancel the requests in flight: they count neither as good nor as failed.
    Cancel,
}

/// What all clients share.
struct Load<F> {
    requester: Requester,
    records: Mutex<Records<F>>,
}

/// The recorder, and the callback that gets each sample. One mutex guards both, so the callback gets
/// samples in the order in which they are recorded.
struct Records<F> {
    recorder: Recorder,
    on_sample: F,
}

/// Generates load until the limits in `options` are reached or `stop` ends the run.
///
/// `on_sample` is called once for each request that has ended, in the order of the recorder. Clients
/// wait for it, so it must be fast. `stop` may be dropped: then nothing ends the run early.
pub async fn run<F>(
    options: &Options,
    mut stop: watch::Receiver<Stop>,
    on_sample: F,
) -> Result<Summary>
where
    F: FnMut(&Sample) + Send + 'static,
{
    let requester = select! {
        requester = Requester::new(options) => requester?,
        _ = stop_beyond(Stop::No, &mut stop) => {
            return Ok(Recorder::new(options.requests).summary(options.monotonic));
        }
    };
    let recorder = Recorder::new(options.requests);
    let load = Arc::new(Load { requester, records: Mutex::new(Records { recorder, on_sample }) });
    let mut clients = JoinSet::new();
    for _ in 0..options.concurrency.get() {
        // Begun here and not by the client, so that even the shortest run sends a request.
        let Some(request) = load.records().recorder.begin() else { break };
        clients.spawn(client(Arc::clone(&load), request));
    }
    all_ended(clients, options.duration, stop, || load.records().recorder.close()).await;
    let summary = load.records().recorder.summary(options.monotonic);
    Ok(summary)
}

/// Waits until all clients have ended. Ends them when the duration is over or `stop` changes.
async fn all_ended(
    mut clients: JoinSet<()>,
    duration: Option<Duration>,
    mut stop: watch::Receiver<Stop>,
    close: impl Fn(),
) {
    let deadline = after(duration);
    pin!(deadline);
    let mut now = Stop::No;
    loop {
        select! {
            ended = clients.join_next() => match ended {
                Some(ended) => pass_panic_on(ended),
                None => return,
            },
            () = &mut deadline, if now == Stop::No => now = Stop::Finish,
            next = stop_beyond(now, &mut stop) => now = next,
        }
        match now {
            Stop::No => {}
            Stop::Finish => close(),
            Stop::Cancel => clients.abort_all(),
        }
    }
}

/// One client: sends a request, waits for its response, and repeats until the recorder is closed.
async fn client<F: FnMut(&Sample)>(load: Arc<Load<F>>, first: InFlight) {
    let mut next = Some(first);
    while let Some(request) = next {
        let result = load.requester.send().await;
        load.records().end(request, result);
        // A refused connection fails without ever waiting. On a single thread, a client of a dead
        // server would then block deadlines and signals.
        yield_now().await;
        next = load.records().recorder.begin();
    }
}

impl<F> Load<F> {
    /// Locks the records, also after a panic in `on_sample`, which `run` resumes.
    fn records(&self) -> MutexGuard<'_, Records<F>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: FnMut(&Sample)> Records<F> {
    fn end(&mut self, request: InFlight, result: std::result::Result<String, Failure>) {
        let sample = self.recorder.end(request, result);
        (self.on_sample)(&sample);
    }
}

/// Waits until `stop` is higher than `now`; for ever if its sender is dropped.
async fn stop_beyond(now: Stop, stop: &mut watch::Receiver<Stop>) -> Stop {
    let next = stop.wait_for(|next| *next > now).await.ok().map(|next| *next);
    match next {
        Some(next) => next,
        None => pending().await,
    }
}

/// Waits for `duration`, or for ever.
async fn after(duration: Option<Duration>) {
    match duration {
        Some(duration) => sleep(duration).await,
        None => pending().await,
    }
}

/// Resumes a panic of `on_sample`. A cancelled client is not an error.
fn pass_panic_on(ended: std::result::Result<(), JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        resume_unwind(panic);
    }
}
