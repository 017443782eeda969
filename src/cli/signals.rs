//! Ctrl-C, TERM and HUP while a command changes pools: the first signal cancels the work at the next
//! safe point, the second one ends the process.

use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cancel::{self, Cancel, Canceller};
use crate::error::{Error, Exit, Result};
use crate::render::print_note;

const NOTED: &str = "stopping at the next good place; once more stops at once";

/// Handles the three signals like this from now on, for the rest of the process.
pub(super) fn cancel(json: bool) -> Result<Cancel> {
    let kinds = [
        (SignalKind::hangup(), Exit::HungUp),
        (SignalKind::interrupt(), Exit::Interrupted),
        (SignalKind::terminate(), Exit::Terminated),
    ];
    let canceller = Arc::new(Canceller::new());
    for (kind, exit) in kinds {
        let signals = signal(kind)
            .map_err(|error| Error::failed(format!("cannot listen for signals: {error}")))?;
        tokio::spawn(await_signals(signals, exit, Arc::clone(&canceller), json));
    }
    Ok(canceller.cancel())
}

async fn await_signals(mut signals: Signal, exit: Exit, canceller: Arc<Canceller>, json: bool) {
    while signals.recv().await.is_some() {
        if canceller.signal(exit) {
            cancel::released().await;
            // The next command repairs what this exit leaves.
            std::process::exit(i32::from(exit as u8));
        }
        print_note(NOTED, json);
    }
}
