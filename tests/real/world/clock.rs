//! A clock that was set back. A test cannot set the clock of the machine, so all files get times in the
//! future. No decision may depend on them.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use harness::Site;

const STATE: &str = "pid/www.state.json";
const LOCK: &str = "pid/www.lock";
const FUTURE: &str = "2099-12-31T23:59:59Z";

#[test]
fn timestamps_in_the_future_change_nothing() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    site.switch("release2");
    site.run(&["restart"]).succeeds();
    let history = site.read(STATE);
    let when = history.split_once("\"when\": \"").unwrap().1.split_once('"').unwrap().0;
    site.write(STATE, &history.replace(when, FUTURE));
    site.write(LOCK, &format!("{{\"pid\":1,\"command\":\"restart\",\"since\":\"{FUTURE}\"}}\n"));
    let later = SystemTime::now() + Duration::from_secs(10 * 365 * 24 * 60 * 60);
    for dir in ["pid", "sockets", "www/release1", "www/release2"] {
        for entry in fs::read_dir(site.path(dir)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                File::options().write(true).open(path).unwrap().set_modified(later).unwrap();
            }
        }
    }
    let load = site.steady_load();
    site.is_in_order_on("release2");
    site.run(&["check", "-q"]).prints("");
    // The entries are in the order in which they were made, whatever their times are.
    site.run(&["rollback"]).succeeds();
    site.is_in_order_on("release1");
    let ran = site.run(&["history"]);
    let lines: Vec<&str> = ran.succeeds().stdout.lines().skip(2).collect();
    assert!(lines[0].starts_with(&format!("  {FUTURE}  ")), "{ran}");
    assert!(lines[0].contains("  restart ") && lines[1].contains("  rollback "), "{ran}");
    assert!(site.run(&["rollback"]).stderr.contains("release2 was rolled back from"));
    site.switch("release2");
    for strategy in ["rolling", "swap"] {
        site.run(&["restart", "--strategy", strategy]).succeeds();
        site.is_in_order_on("release2");
    }
    load.finish();
}

/// The message shows the time in the lock as it is, and computes no age from it.
#[test]
fn lock_with_a_future_timestamp_is_waited_for() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let request = site.hold();
    let mut first = site.spawn(&["restart", "--json"]);
    first.await_event("that it waits", |event| event["event"] == "progress");
    let holder = site.read(LOCK);
    let since = holder.split_once("\"since\":\"").unwrap().1.split_once('"').unwrap().0;
    site.write(LOCK, &holder.replace(since, FUTURE));
    let ran = site.run(&["restart", "--no-wait"]);
    let pid = first.pid().as_raw_nonzero();
    ran.status(3).stderr(&format!(
        "error: the pool \"www\" is locked by pid {pid}, \"restart --json\", since {FUTURE}\n"
    ));
    request.end(1);
    first.finish().succeeds();
}
