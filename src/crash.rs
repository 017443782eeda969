//! Where a test can kill or halt the manager: between two steps, and within one at each place where
//! something is half done. Only debug builds have it; in a release build [`point`] is empty.

/// A place like that. `POOLS_MANAGER_TEST_AT="KILL 7"` ends the process at the seventh place that
/// it comes by, `"STOP 7"` halts it there; either way it names all places up to that one. A place
/// that it comes by several times in a row, once for each process of a generation, is one.
#[cfg(debug_assertions)]
pub(crate) fn point(place: impl std::fmt::Display) {
    use rustix::process::{Signal, getpid, kill_process};
    use std::sync::Mutex;

    static PASSED: Mutex<(usize, String)> = Mutex::new((0, String::new()));
    let Ok(told) = std::env::var("POOLS_MANAGER_TEST_AT") else { return };
    let Ok(mut passed) = PASSED.lock() else { return };
    let place = place.to_string();
    if passed.1 == place {
        return;
    }
    eprintln!("passing: {place}");
    *passed = (passed.0 + 1, place);
    let signal = match told.split_once(' ') {
        Some(("KILL", at)) if at == passed.0.to_string() => Signal::KILL,
        Some(("STOP", at)) if at == passed.0.to_string() => Signal::STOP,
        _ => return,
    };
    let _ = kill_process(getpid(), signal);
}

#[cfg(not(debug_assertions))]
pub(crate) fn point(_: impl std::fmt::Display) {}
