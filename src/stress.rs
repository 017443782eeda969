//! Load on a pool, and a verdict on how it bore it: the engine of `ping-stress` and `sleep-stress`.
//!
//! A number of clients ask for the same page, each one request at a time, as fast as the answers
//! come (a closed loop). Every answer is judged by its content, not by its status alone, and is
//! written into one book. The book's order is the order of events: a client takes a ticket from it
//! before it sends, and hands the ticket in when the answer is complete. That is all that it takes
//! to say whether time ever went back:
//!
//! - Releases are ranked by the order in which their first complete answers came in.
//! - A *step back* is a request that started after some answer of a newer release was complete, for
//!   any client, and yet was answered by an older one.
//!
//! A deliberate switch from release 1 to 2 and back to 1 counts as well, as nothing in an answer
//! tells it from an accident. Step backs are therefore reported, and are a failure only if
//! [`Options::monotonic`] says so. A run should begin while one release serves alone: when the very
//! first answers come from two releases, the one that happens to finish first counts as the older.
//!
//! Every request has a connection of its own and is sent once. See `ask.rs` for why.

mod answer;
mod ask;
mod book;
mod command;
mod options;
mod page;
mod print;
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

pub use answer::{Answer, Failure, FailureKind};
pub use command::main;
pub use options::Options;
pub use page::Page;
pub use summary::{FailureCount, Latency, ReleaseCount, Summary};

use crate::error::Result;
use ask::Asker;
use book::{Book, Ticket};

/// What the clients have been told to do. It only ever grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Go on, until the duration or the number of requests is reached.
    #[default]
    Not,
    /// Send nothing more, but wait for the answers to what has been sent.
    Finish,
    /// Give up what is under way: it counts neither as good nor as failed.
    Abandon,
}

/// What all clients share.
struct Load<F> {
    asker: Asker,
    desk: Mutex<Desk<F>>,
}

/// The book, and whom to tell of what is written into it.
struct Desk<F> {
    book: Book,
    on_answer: F,
}

/// Puts the load on, until the limits in `options` or an order through `stop` end it.
///
/// `on_answer` hears of every answer in the order of the book. The clients wait for it, so it has
/// to be quick. Dropping the sender of `stop` means that no order will come.
pub async fn run<F>(
    options: &Options,
    mut stop: watch::Receiver<Stop>,
    on_answer: F,
) -> Result<Summary>
where
    F: FnMut(&Answer) + Send + 'static,
{
    let asker = select! {
        asker = Asker::new(options) => asker?,
        _ = order_beyond(Stop::Not, &mut stop) => {
            return Ok(Book::new(options.requests).summary(options.monotonic));
        }
    };
    let book = Book::new(options.requests);
    let load = Arc::new(Load { asker, desk: Mutex::new(Desk { book, on_answer }) });
    let mut clients = JoinSet::new();
    for _ in 0..options.concurrency.get() {
        // Taken here, so that even the shortest run sends something.
        let Some(ticket) = load.desk().book.begin() else { break };
        clients.spawn(client(Arc::clone(&load), ticket));
    }
    all_ended(clients, options.duration, stop, || load.desk().book.close()).await;
    let summary = load.desk().book.summary(options.monotonic);
    Ok(summary)
}

/// Waits until all clients have ended, and sees to it that they do when their time is over.
async fn all_ended(
    mut clients: JoinSet<()>,
    duration: Option<Duration>,
    mut stop: watch::Receiver<Stop>,
    close: impl Fn(),
) {
    let deadline = after(duration);
    pin!(deadline);
    let mut told = Stop::Not;
    loop {
        select! {
            ended = clients.join_next() => match ended {
                Some(ended) => pass_panic_on(ended),
                None => return,
            },
            () = &mut deadline, if told == Stop::Not => told = Stop::Finish,
            order = order_beyond(told, &mut stop) => told = order,
        }
        match told {
            Stop::Not => {}
            Stop::Finish => close(),
            Stop::Abandon => clients.abort_all(),
        }
    }
}

/// One client: asks, waits for the answer, and asks again, until the book is closed.
async fn client<F: FnMut(&Answer)>(load: Arc<Load<F>>, first: Ticket) {
    let mut next = Some(first);
    while let Some(ticket) = next {
        let result = load.asker.ask().await;
        load.desk().end(ticket, result);
        // A refused connection can fail without ever waiting. Where everything shares one thread,
        // a client of a dead server would keep deadlines and signals from being seen.
        yield_now().await;
        next = load.desk().book.begin();
    }
}

impl<F> Load<F> {
    /// The desk, even if `on_answer` panicked over it: the panic is passed on by `run`.
    fn desk(&self) -> MutexGuard<'_, Desk<F>> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: FnMut(&Answer)> Desk<F> {
    fn end(&mut self, ticket: Ticket, result: std::result::Result<String, Failure>) {
        let answer = self.book.end(ticket, result);
        (self.on_answer)(&answer);
    }
}

/// Waits until an order goes beyond what is known already.
async fn order_beyond(known: Stop, stop: &mut watch::Receiver<Stop>) -> Stop {
    let order = stop.wait_for(|order| *order > known).await.ok().map(|order| *order);
    match order {
        Some(order) => order,
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

/// A panic in `on_answer` is its caller's: a client that was cancelled is ours.
fn pass_panic_on(ended: std::result::Result<(), JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        resume_unwind(panic);
    }
}
