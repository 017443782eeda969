//! `before_rollout` can refuse a rollout: then nothing is changed.

use rustix::process::{Pid, Signal};

use super::{WAIT, await_file, link, set, site};
use harness::{Ran, Site};

const HELP: &str = "  help: nothing was changed: the hook has refused the rollout\n";

/// A switch that is refused in these words: nothing is changed, and nothing is in the history.
fn refused(site: &Site, why: &str) -> Ran {
    let ran = site.unchanged_by(|| site.run(&["switch", "www", "release2"]));
    ran.status(1).stderr(&format!("error: the hook before_rollout {why}\n{HELP}"));
    let what = why.lines().next().unwrap();
    ran.stdout(&format!(
        "Redundant pool \"www\"...\n  Running the hook before_rollout  [FAILED]\n    {what}\n"
    ));
    assert_eq!(link(site).as_os_str(), "release1");
    site.run(&["history"]).prints("Redundant pool \"www\"...\n  No rollout is on record\n");
    ran
}

#[test]
fn failed_before_rollout_hook_prevents_the_rollout() {
    let site = site(&[("before_rollout", "echo one; echo two >&2; exit 3")]);
    let end = |lines: &str| format!("\n  the end of its output:\n{lines}");
    let both = end("    one\n    two");
    refused(&site, &format!("ended with exit status: 3{both}"));
    site.write("hooks/before_rollout", "kill -9 $$");
    refused(&site, "ended with signal: 9 (SIGKILL)");
    // Far more output than a pipe holds: it is read, and its end is shown.
    site.write("hooks/before_rollout", "yes | head -c 1000000; seq 12; exit 1");
    let last: Vec<String> = (3..=12).map(|number| format!("    {number}")).collect();
    refused(&site, &format!("ended with exit status: 1{}", end(&last.join("\n"))));

    site.replace(super::SETTINGS, "\"hooks/shell\"", "\"hooks/none\"");
    let none = site.path("hooks/none");
    let missing = "No such file or directory (os error 2)";
    refused(&site, &format!("cannot be run: {}: {missing}", none.display()));
    site.replace(super::SETTINGS, "\"hooks/none\"", "\"hooks/shell\"");
    site.write("hooks/before_rollout", "exit 0");
    site.run(&["switch", "www", "release2"]).succeeds();
    site.is_in_order_on("release2");
}

/// This hook ignores TERM, and so do the processes that it has started.
const STUBBORN: &str = "trap '' TERM; sleep 1000 & echo waiting; wait; sleep 1000";

#[test]
fn hook_timeout_ends_the_hook_and_its_children() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    set(&site, &[("before_rollout", "echo waiting; sleep 1000")], "timeout = \"300ms\"");
    let why = "was not done after 300ms\n  the end of its output:\n    waiting";
    refused(&site, why);
    has_no_hooks(&site);
    site.write("hooks/before_rollout", STUBBORN);
    refused(&site, why);
    has_no_hooks(&site);
}

/// The process that this hook leaves behind prints without end.
const CHATTERS: &str =
    "while echo y; do touch printed; done & until [ -e printed ]; do sleep 0.01; done; exit 1";

#[test]
fn background_process_of_a_hook_does_not_block() {
    let site = site(&[("before_rollout", "sleep 1000 & echo $! > left")]);
    site.run(&["restart"]).succeeds();
    let left = Pid::from_raw(site.read("left").trim().parse().unwrap()).unwrap();
    assert!(site.processes().iter().any(|process| process.pid == left));
    site.write("hooks/before_rollout", CHATTERS);
    let ran = site.run(&["restart"]);
    assert!(ran.status(1).stderr.ends_with(&format!("    y\n{HELP}")), "{ran}");
}

#[test]
fn signal_ends_the_hook_and_changes_nothing() {
    let site = site(&[("before_rollout", WAIT)]);
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let ran = site.unchanged_by(|| {
            let manager = site.spawn(&["switch", "www", "release2"]);
            await_file(&site, "begun");
            std::fs::remove_file(site.path("begun")).unwrap();
            manager.signal(signal);
            manager.finish()
        });
        let name = ran.stderr.split("told to stop by ").nth(1).unwrap();
        let rest = " while the hook before_rollout ran\n  help: nothing was changed\n";
        assert!(name.starts_with("SIG") && name.ends_with(rest), "{ran}");
        ran.status(status);
        has_no_hooks(&site);
        assert_eq!(link(&site).as_os_str(), "release1");
    }
    site.run(&["history"]).prints("Redundant pool \"www\"...\n  No rollout is on record\n");
}

#[test]
fn hook_of_a_killed_manager_does_not_hold_the_lock() {
    let site = site(&[("before_rollout", WAIT)]);
    let manager = site.spawn(&["restart"]);
    await_file(&site, "begun");
    site.run(&["restart", "--no-wait"]).status(3);
    manager.signal(Signal::KILL);
    manager.finish().killed_by(Signal::KILL);
    site.replace(super::SETTINGS, "before_rollout =", "on_failure =");
    site.run(&["restart", "--no-wait"]).succeeds();
    // The hook has run all the time.
    assert!(!site.path("ended").exists());
    site.write("end", "");
    await_file(&site, "ended");
    site.is_in_order_on("release1");
}

/// No hook, and nothing that one has started, is left.
fn has_no_hooks(site: &Site) {
    let mut left = site.processes();
    left.retain(|it| it.title.contains("hooks/") || it.title.starts_with("sleep"));
    assert!(left.is_empty(), "{left:#?}");
}
