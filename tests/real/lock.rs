//! One command at a time: a second command waits for the first, or refuses.

use rustix::process::{Pid, Signal};
use serde_json::Value;

use harness::{Held, Program, Site, wait_for};

/// A restart that is under way: it waits for a request, and has drained a replica.
fn restart_at_work(site: &Site) -> (Program, Held) {
    site.run(&["start"]).succeeds();
    let request = site.hold();
    site.switch("release2");
    let mut manager = site.spawn(&["restart", "--json"]);
    manager.await_event("that it waits", |event| event["event"] == "progress");
    (manager, request)
}

fn is_held_by(holder: Pid, line: &str) -> bool {
    let pid = holder.as_raw_nonzero();
    line.contains(&format!("the pool is locked by pid {pid}, \"restart --json\", since 2"))
}

#[test]
fn second_restart_waits_for_the_first() {
    let site = Site::new();
    let (first, request) = restart_at_work(&site);
    let mut second = site.spawn(&["restart"]);
    let holder = first.pid();
    second.await_line("who holds the lock", |line| {
        line.starts_with("  Waiting: ") && is_held_by(holder, line)
    });
    request.end(1);
    first.finish().succeeds();
    let ran = second.finish();
    // The work of the second command began only after that of the first.
    let lines: Vec<&str> = ran.succeeds().stdout.lines().collect();
    assert_eq!(lines[0], "Redundant pool \"www\"...");
    assert!(is_held_by(holder, lines[1]), "{ran}");
    assert_eq!(lines.len(), 2 + 8, "{ran}");
    assert_eq!(site.generations(), [3, 3]);
    assert_eq!(site.get("/ping.php").body, "pong2\n");
}

#[test]
fn no_wait_refuses_and_changes_nothing() {
    let site = Site::new();
    let (first, request) = restart_at_work(&site);
    let before = (site.files(), site.members());
    for command in [&["restart"][..], &["start"], &["stop", "single", "www", "2"]] {
        let ran = site.run(&[command, &["--no-wait"]].concat());
        ran.status(3).stdout("Redundant pool \"www\"...\n");
        let message = ran.stderr.replace("the pool \"www\"", "the pool");
        assert!(message.starts_with("error: ") && is_held_by(first.pid(), &message), "{ran}");
        assert_eq!(message.lines().count(), 1, "{ran}");
        assert_eq!((site.files(), site.members()), before);
    }
    // Commands that change nothing need no lock.
    site.run(&["restart", "--dry-run"]).succeeds();
    site.run(&["list", "-q"]).prints("www\n");
    request.end(1);
    first.finish().succeeds();
    site.run(&["status", "-q"]).succeeds();
}

#[test]
fn lock_ends_with_its_holder() {
    let site = Site::new();
    let (first, request) = restart_at_work(&site);
    first.signal(Signal::KILL);
    first.finish().killed_by(Signal::KILL);
    let mut second = site.spawn(&["restart", "--no-wait", "--json"]);
    second.await_event("that it waits", |event| event["event"] == "progress");
    request.end(1);
    second.finish().succeeds();
    assert_eq!(site.get("/ping.php").body, "pong2\n");
}

fn ten(site: &Site, args: &[&str]) -> (Vec<Program>, Vec<Pid>) {
    let managers: Vec<Program> = (0..10).map(|_| site.spawn(args)).collect();
    let pids = managers.iter().map(Program::pid).collect();
    (managers, pids)
}

/// The process that the line names as the holder of the lock.
fn named(line: &str) -> Pid {
    let (_, rest) = line.split_once(" is locked by pid ").unwrap();
    Pid::from_raw(rest.split_once(',').unwrap().0.parse().unwrap()).unwrap()
}

#[test]
#[ignore = "takes long: bin/test --all"]
fn ten_simultaneous_restarts_run_in_turn() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let load = site.sleepers(2, "0.005");
    site.switch("release2");
    let (managers, pids) = ten(&site, &["restart"]);
    let mut waited = 0;
    for manager in managers {
        let pid = manager.pid();
        let ran = manager.finish();
        for line in ran.succeeds().stdout.lines().filter(|line| line.starts_with("  Waiting: ")) {
            let holder = named(line);
            assert!(pids.contains(&holder) && holder != pid, "{pids:?}: {ran}");
            waited += 1;
        }
    }
    assert!(waited > 0);
    site.is_in_order_on("release2");
    assert_eq!(site.generations(), [11, 11]);
    let history: Value = serde_json::from_str(&site.run(&["history", "--json"]).stdout).unwrap();
    let history = history["pools"][0]["history"].as_array().unwrap();
    assert_eq!(history.len(), 10, "{history:#?}");
    assert!(history.iter().all(|rollout| rollout["result"] == "done"), "{history:#?}");
    load.finish();
    site.apache_saw_no_error();
}

#[test]
fn one_of_ten_simultaneous_restarts_with_no_wait_runs() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let load = site.sleepers(2, "0.005");
    let warm_up = site.hold_warm_up();
    site.switch("release2");
    let (managers, pids) = ten(&site, &["restart", "--no-wait"]);
    warm_up.reached();
    let has_ended = |manager: &&Program| manager.has_ended();
    wait_for("nine of them", || (managers.iter().filter(has_ended).count() == 9).then_some(()));
    let worker = managers.iter().position(|manager| !manager.has_ended()).unwrap();
    warm_up.open();
    for (n, manager) in managers.into_iter().enumerate() {
        let ran = manager.finish();
        if n == worker {
            ran.succeeds();
        } else {
            assert_eq!(named(&ran.status(3).stderr), pids[worker], "{ran}");
        }
    }
    assert_eq!(site.generations(), [2, 2]);
    site.is_in_order_on("release2");
    load.finish();
}
