//! `hold POOL -- COMMAND`, and what `hold`, `resume` and `maintenance` refuse.

use std::fs;

use harness::served::Served;
use harness::wait_for;

use super::hold::{SETTINGS, ask, await_held};

#[test]
fn command_runs_during_the_hold_which_ends_with_it() {
    let served = Served::new();
    let mark = served.site.scratch().join("mark");
    let script =
        format!("touch {0}; while [ -e {0} ]; do sleep 0.01; done; exit $1", mark.display());
    for (status, expected) in [("0", 0), ("7", 1)] {
        let command = ["hold", "www", "--for", "60s", "--", "sh", "-c", &script, "sh", status];
        let manager = served.site.spawn(&command);
        wait_for("the command", || mark.exists().then_some(()));
        let mut waiting = ask(&served, "/ping.php");
        await_held(&served, 1);
        fs::remove_file(&mark).unwrap();
        let ran = manager.finish();
        ran.status(expected);
        if expected == 1 {
            assert!(ran.stderr.contains("sh ended with exit status: 7"), "{ran}");
        }
        assert_eq!(waiting.answer().unwrap().text(), "pong1\n");
    }
    let ran = served.site.run(&["hold", "www", "--", "/none/such"]);
    assert!(ran.stderr.contains("cannot run /none/such: "), "{ran}");
    ran.status(1);
    assert_eq!(served.get("/ping.php").text(), "pong1\n");
}

#[test]
fn hold_whose_manager_is_told_to_stop_ends() {
    let served = Served::new();
    let mark = served.site.scratch().join("mark");
    let script = format!(
        "trap 'rm {0}; exit 0' TERM; touch {0}; while :; do sleep 0.01; done",
        mark.display()
    );
    let manager = served.site.spawn(&["hold", "www", "--", "sh", "-c", &script]);
    wait_for("the command", || mark.exists().then_some(()));
    manager.signal(rustix::process::Signal::TERM);
    manager.finish().status(143);
    assert!(!mark.exists());
    assert_eq!(served.get("/ping.php").text(), "pong1\n");
}

/// A manager that is killed leaves a hold that ends by itself.
#[test]
fn hold_whose_manager_is_killed_ends_by_itself() {
    let served = Served::new();
    let mark = served.site.scratch().join("mark");
    let script = format!("touch {0}; while [ -e {0} ]; do sleep 0.01; done", mark.display());
    let manager = served.site.spawn(&["hold", "www", "--for", "1s", "--", "sh", "-c", &script]);
    wait_for("the command", || mark.exists().then_some(()));
    manager.signal(rustix::process::Signal::KILL);
    fs::remove_file(&mark).unwrap();
    manager.finish().killed_by(rustix::process::Signal::KILL);
    assert_eq!(served.get("/ping.php").text(), "pong1\n");
}

#[test]
fn impossible_hold_and_maintenance_are_errors_and_change_nothing() {
    let site = Served::site("", "");
    let says = |args: &[&str], status: i32, part: &str| {
        let ran = site.run(args);
        assert!(ran.stderr.contains(part), "{args:?}: {ran}");
        ran.status(status);
    };
    says(&["hold", "www", "--for", "0s"], 2, "it must be more than 0");
    says(&["hold", "www", "--for", "11m"], 2, "10m are the most");
    says(&["hold", "shop"], 2, "there is no pool \"shop\"");
    says(&["hold"], 2, "<POOL>");
    says(&["maintenance", "on", "www", "--allow", "10.0.0.0/40"], 2, "a network like 10.0.0.0/8");
    says(
        &["maintenance", "on", "www", "--page", "none.html"],
        2,
        "cannot use the page none.html: ",
    );
    assert!(!site.path("pid/www.traffic.json").exists());
    site.replace(SETTINGS, "[gateway]\n", "");
    for command in [&["hold", "www"][..], &["resume", "www"], &["maintenance", "on", "www"]] {
        says(command, 2, "the pool \"www\" is behind a web server that connects by path, and only");
    }
}
