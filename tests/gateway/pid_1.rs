//! `serve` as pid 1 of a container.

use std::fs;

use harness::served::{Served, UNSUPERVISED};
use harness::{needs_root, wait_for};
use rustix::process::{Pid, Signal, kill_process};

const UNSHARE: [&str; 3] = ["--pid", "--fork", "--mount-proc"];

/// The children of a process, with their states: `Z` is a zombie.
fn children(of: i32) -> Vec<(i32, char)> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let all = all.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    let child = |stat: String| {
        let (pid, fields) = (stat.split(' ').next()?.parse().ok()?, stat.rsplit_once(") ")?.1);
        let mut fields = fields.split(' ');
        let state = fields.next()?.chars().next()?;
        (fields.next()?.parse() == Ok(of)).then_some((pid, state))
    };
    all.filter_map(child).collect()
}

#[test]
fn orphans_are_waited_for_and_signals_are_passed_on() {
    needs_root!();
    let site = Served::site("", "");
    site.replace("etc/pools-manager.toml", UNSUPERVISED, "[supervisor]\nstop_replicas = true\n");
    let mut served = Served::serve_through(site, "unshare", &UNSHARE);
    let unshare = served.gateway().pid().as_raw_nonzero().get();
    let init = children(unshare)[0].0;
    // The children of pid 1: `serve`, and the masters that processes of `serve` have left.
    let masters = |except: &[i32]| {
        let title =
            |pid: &i32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut all: Vec<i32> = children(init).into_iter().map(|(pid, _)| pid).collect();
        all.retain(|pid| title(pid).starts_with("php-fpm: master") && !except.contains(pid));
        all
    };
    let first = wait_for("two masters", || Some(masters(&[])).filter(|it| it.len() == 2));
    for pid in &first {
        kill_process(Pid::from_raw(*pid).unwrap(), Signal::KILL).unwrap();
    }
    wait_for("two others", || (masters(&first).len() == 2).then_some(()));
    wait_for("no zombie", || children(init).iter().all(|(_, state)| *state != 'Z').then_some(()));
    wait_for("the page", || (served.get("/ping.php").status == 200).then_some(()));
    let signal = |signal| kill_process(Pid::from_raw(init).unwrap(), signal).unwrap();
    signal(Signal::HUP);
    served.await_log("reload done");
    // The container ends with its pid 1, so an upgrade cannot replace pid 1.
    signal(Signal::USR2);
    served.await_log("serve is the main program of a container, which ends with it");
    assert_eq!(served.get("/ping.php").status, 200);
    signal(Signal::TERM);
    served.finish_gateway().status(0);
    assert!(served.site.php_fpm().is_empty());
}
