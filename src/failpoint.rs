//! Failpoints: named places where a test can kill or halt the manager. There is a failpoint after each
//! step, and within a step wherever a change is half done. Only debug builds have failpoints; in a release
//! build [`hit`] is empty.

/// Hits a failpoint. `POOLS_MANAGER_TEST_AT="KILL 7"` kills the process at its seventh failpoint, and
/// `"STOP 7"` halts the process there. The name of a failpoint can stand in place of the number. If the
/// variable is set, to any value, the process prints the name of each failpoint that it hits. Hits of one
/// failpoint in a row, such as one for each process of a generation, count as one.
#[cfg(debug_assertions)]
pub(crate) fn hit(name: impl std::fmt::Display) {
    use rustix::process::{Signal, getpid, kill_process};
    use std::sync::Mutex;

    static PASSED: Mutex<(usize, String)> = Mutex::new((0, String::new()));
    let Ok(order) = std::env::var("POOLS_MANAGER_TEST_AT") else { return };
    let Ok(mut passed) = PASSED.lock() else { return };
    let name = name.to_string();
    if passed.1 == name {
        return;
    }
    eprintln!("passing: {name}");
    *passed = (passed.0 + 1, name);
    let is_it = |at: &str| at == passed.0.to_string() || at == passed.1;
    let signal = match order.split_once(' ') {
        Some(("KILL", at)) if is_it(at) => Signal::KILL,
        Some(("STOP", at)) if is_it(at) => Signal::STOP,
        _ => return,
    };
    let _ = kill_process(getpid(), signal);
}

#[cfg(not(debug_assertions))]
pub(crate) fn hit(_: impl std::fmt::Display) {}
