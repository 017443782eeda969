//! The task that ends a hold when its time is over.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Gate;
use crate::gateway::blocking::run_blocking;

/// How often the file is read while requests are held: the command that ends the hold may not reach this
/// gateway, for example because another gateway has taken over the control socket.
const REREAD: Duration = Duration::from_secs(1);

/// Keeps a gate until the gate is dropped. `file`: the file that says what the operator wants.
pub(in crate::gateway) fn keep(
    gate: &Arc<Gate>,
    file: PathBuf,
) -> impl Future<Output = ()> + Send + use<> {
    let (gate, changed) = (Arc::downgrade(gate), Arc::clone(&gate.changed));
    async move {
        while let Some(event) = gate.upgrade().map(|gate| gate.next_event()) {
            let Some(event) = event else {
                changed.notified().await;
                continue;
            };
            let next = event.min(Instant::now() + REREAD);
            tokio::select! {
                () = changed.notified() => continue,
                () = sleep_until(next) => {}
            }
            let Some(gate) = gate.upgrade() else { return };
            gate.tick();
            if !gate.is_held() {
                continue;
            }
            let file = file.clone();
            // If the file cannot be read, the hold still ends when its time is over.
            let _ = run_blocking(move || gate.read(&file)).await;
        }
    }
}
