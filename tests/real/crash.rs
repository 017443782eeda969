//! The manager is killed in the middle of its work, again and again. Nobody who asks for a page
//! notices, and the next command makes good what was left half done.

use rustix::process::Signal;

use super::site::Site;

/// A step, and the replica that it is about.
type Step = (&'static str, u32);

const ROLLING: [Step; 14] = [
    ("drain", 1),
    ("lend", 1),
    ("await_idle", 1),
    ("stop", 1),
    ("start", 1),
    ("await_ready", 1),
    ("warm_up", 1),
    ("publish", 1),
    ("enable", 1),
    ("drain", 2),
    ("lend", 2),
    ("stop", 2),
    ("start", 2),
    ("enable", 2),
];

const SWAP: [Step; 9] = [
    ("start", 1),
    ("await_ready", 1),
    ("start", 2),
    ("warm_up", 2),
    ("publish", 1),
    ("publish", 2),
    ("await_idle", 1),
    ("stop", 1),
    ("stop", 2),
];

#[test]
fn a_rolling_restart_that_is_killed_loses_nothing_and_can_be_repeated() {
    killed_and_repeated("rolling", &ROLLING);
}

#[test]
fn a_swap_that_is_killed_loses_nothing_and_can_be_repeated() {
    killed_and_repeated("swap", &SWAP);
}

fn killed_and_repeated(strategy: &str, steps: &[Step]) {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let loads = [site.pings(1), site.sleepers(1, "0.2")];
    let releases = ["release2", "release1"].into_iter().cycle();
    for ((step, replica), release) in steps.iter().zip(releases) {
        site.switch(release);
        let mut manager = site.spawn(&["restart", "--json", "--strategy", strategy]);
        manager.await_event(&format!("{step} {replica}"), |event| {
            event["event"] == "step_started"
                && event["step"] == *step
                && event["replica"] == *replica
        });
        manager.signal(Signal::KILL);
        manager.finish().killed_by(Signal::KILL);

        site.run(&["restart", "--strategy", strategy]).succeeds();
        site.is_in_order_on(release);
    }
    for load in loads {
        load.finish();
    }
    site.apache_saw_no_error();
}
