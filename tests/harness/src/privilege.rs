//! Tests that only root can run.

use std::fs::File;
use std::io::{self, Write};

/// Ends the test unless root runs it. It prints and records the skip, so that nobody takes it for a
/// test that passed. It has to be the first statement of the test.
#[macro_export]
macro_rules! needs_root {
    () => {
        fn here() {}
        if !$crate::runs_as_root(std::any::type_name_of_val(&here)) {
            return;
        }
    };
}

/// Whether root runs the test. If not, it prints that the test is skipped, and appends the same line
/// to the file that `HARNESS_SKIP_LIST` names. For [`needs_root!`].
pub fn runs_as_root(here: &str) -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    report_skip(here, "needs root");
    false
}

/// Prints that a test is skipped, and appends the same line to the file that `HARNESS_SKIP_LIST` names.
pub(crate) fn report_skip(here: &str, reason: &str) {
    let name = here.trim_end_matches("::here");
    let line = format!("skipped: {name} {reason}\n");
    // Not by `eprint!`: its output is not shown for a test that passes.
    io::stderr().write_all(line.as_bytes()).unwrap();
    if let Some(list) = std::env::var_os("HARNESS_SKIP_LIST") {
        let mut list = File::options().create(true).append(true).open(list).unwrap();
        list.write_all(line.as_bytes()).unwrap();
    }
}
