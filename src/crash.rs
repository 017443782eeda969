//! Where a test can kill or halt the manager: between two steps, and within one at each place where
//! something is half done. Only debug builds have it; in a release build [`point`] is empty.

/// A place like that. `POOLS_MANAGER_TEST_AT="KILL 7"` ends the process at the seventh place that
/// it comes by, `"STOP 7"` halts it there; either way it names all places up to that one.
#[cfg(debug_assertions)]
pub(crate) fn point(place: impl std::fmt::Display) {
    use rustix::process::{Signal, getpid, kill_process};
    use std::sync::atomic::{AtomicUsize, Ordering};

    static PASSED: AtomicUsize = AtomicUsize::new(0);
    let Ok(told) = std::env::var("POOLS_MANAGER_TEST_AT") else { return };
    eprintln!("passing: {place}");
    let number = PASSED.fetch_add(1, Ordering::Relaxed) + 1;
    let signal = match told.split_once(' ') {
        Some(("KILL", at)) if at == number.to_string() => Signal::KILL,
        Some(("STOP", at)) if at == number.to_string() => Signal::STOP,
        _ => return,
    };
    let _ = kill_process(getpid(), signal);
}

#[cfg(not(debug_assertions))]
pub(crate) fn point(_: impl std::fmt::Display) {}
