//! A lock that is held by a halted process, owned by another user, or no regular file.

use std::fs;
use std::os::unix::fs::chown;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use rustix::process::Signal;

use harness::{Site, needs_root};

const LOCK: &str = "pid/www.lock";
const COMMANDS: [&str; 3] = ["start", "restart", "stop"];

#[test]
fn halted_lock_holder_is_named() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let request = site.hold();
    let mut first = site.spawn(&["restart", "--json"]);
    first.await_event("that it waits", |event| event["event"] == "progress");
    first.signal(Signal::STOP);
    let before = (site.files(), site.members());
    let held_by = format!("is locked by pid {}, ", first.pid().as_raw_nonzero());
    let ran = site.run(&["restart", "--no-wait"]);
    assert!(
        ran.status(3).stderr.starts_with(&format!("error: the pool \"www\" {held_by}")),
        "{ran}"
    );
    for (signal, name, status) in
        [(Signal::INT, "SIGINT", 130), (Signal::TERM, "SIGTERM", 143), (Signal::HUP, "SIGHUP", 129)]
    {
        let mut second = site.spawn(&["restart"]);
        second.await_line("who holds the lock", |line| line.contains(&held_by));
        second.signal(signal);
        let ran = second.finish();
        let told =
            format!("error: told to stop by {name}\n  help: the pool \"www\" was left as it is\n");
        assert!(ran.status(status).stderr.ends_with(&told), "{ran}");
    }
    // Commands that change nothing do not wait.
    site.run(&["check", "-q"]).prints("");
    site.run(&["history"]).succeeds();
    site.run(&["restart", "--dry-run"]).succeeds();
    assert_eq!((site.files(), site.members()), before);
    first.signal(Signal::CONT);
    request.end(1);
    first.finish().succeeds();
    site.is_in_order_on("release1");
}

#[test]
fn fifo_or_hard_link_in_place_of_the_lock_is_refused() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let lock = site.path(LOCK);
    let stderr = format!(
        "error: ROOT/{LOCK} is not a regular file of its own, so it cannot be the lock\n  \
         help: move it away: pools-manager writes this file itself\n"
    );
    let refuses = || {
        for command in COMMANDS {
            site.refuses(&[command], &stderr);
        }
        // Commands that only test the lock do not wait.
        let found = site.run(&["check", "-q"]);
        let told = stderr.strip_prefix("error: ").unwrap().replace("\n  help", "\n    help");
        assert!(site.shown(&found.status(2).stdout).contains(&told), "{found}");
        site.run(&["releases", "www"]).succeeds();
    };
    fs::remove_file(&lock).unwrap();
    mkfifo(&lock, Mode::S_IRWXU).unwrap();
    refuses();
    fs::remove_file(&lock).unwrap();
    // The holder is written into the lock: never into another file.
    site.write("precious", "precious");
    fs::hard_link(site.path("precious"), &lock).unwrap();
    refuses();
    assert_eq!(site.read("precious"), "precious");
    fs::remove_file(&lock).unwrap();
    site.run(&["restart"]).succeeds();
    site.is_in_order_on("release1");
}

#[test]
fn lock_of_another_user_is_an_error() {
    needs_root!();
    let site = Site::prepared().owned_by_ordinary_user().serve();
    site.run(&["start"]).succeeds();
    chown(site.path(LOCK), Some(0), Some(0)).unwrap();
    let stderr = format!(
        "error: cannot lock ROOT/{LOCK}: Permission denied (os error 13)\n  \
         help: the directory pid/ in the root has to be there, and it and the file writable for you\n"
    );
    for command in COMMANDS {
        site.refuses(&[command], &stderr);
    }
    let found = site.run(&["check", "-q"]);
    let told = "cannot lock ROOT/pid/www.lock: Permission denied (os error 13)";
    assert!(site.shown(&found.status(2).stdout).contains(told), "{found}");
    chown(site.path(LOCK), Some(site.uid()), None).unwrap();
    site.run(&["restart"]).succeeds();
    site.is_in_order_on("release1");
}
