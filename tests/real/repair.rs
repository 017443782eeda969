//! `repair` recovers from a crash on the release that the pool serves. Stopped replicas stay stopped.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use rustix::process::Signal;

use harness::{Program, Site, php_fpm, wait_for, write_script};

const POOL: &str = "Redundant pool \"www\"...\n";

#[test]
fn repair_leaves_healthy_replicas_alone() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let ran = site.unchanged_by(|| site.run(&["repair"]));
    ran.prints(&format!("{POOL}  Replica 1 needs no repair\n  Replica 2 needs no repair\n"));
    site.unchanged_by(|| site.run(&["repair", "--dry-run"]))
        .prints(&format!("{POOL}  Nothing to do\n"));
}

#[test]
fn dead_replica_gets_the_release_of_the_others() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    site.kill_replica(1);
    // A deploy has moved the link, and has not restarted the pool.
    site.switch("release2");
    let ran = site.run(&["repair"]);
    let shown = site.shown(&ran.succeeds().stdout);
    assert_eq!(
        shown,
        format!(
            "{POOL}  \
             Replica 2 needs no repair\n  \
             Starting replica 1  [OK]\n  \
             Warning: ROOT/www/current.release leads to ROOT/www/release2; the pool stays on \
             ROOT/www/release1, which it serves: `restart` rolls out the symlink's release\n"
        )
    );
    site.is_in_order_on("release1");
}

#[test]
fn children_without_a_master_are_replaced() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let loads = [site.steady_load(), site.sleepers(2, "0.3")];
    site.kill(&site.masters());
    site.run(&["repair"]).succeeds();
    site.is_in_order_on("release1");
    for load in loads {
        load.finish();
    }
    site.apache_saw_no_error();
}

#[test]
fn halted_master_is_replaced() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let load = site.steady_load();
    rustix::process::kill_process(site.masters()[0], Signal::STOP).unwrap();
    site.run(&["repair", "single", "www", "1", "--timeout", "1"]).succeeds();
    assert_eq!(site.generations(), [2, 1]);
    site.is_in_order_on("release1");
    load.finish();
}

#[test]
fn stopped_replica_stays_stopped() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    site.run(&["stop", "single", "www", "2"]).succeeds();
    site.kill_replica(1);
    let ran = site.run(&["repair"]);
    ran.prints(&format!("{POOL}  Replica 2 needs no repair\n  Starting replica 1  [OK]\n"));
    site.run(&["start"]).succeeds();
    site.kill_replica(2);
    site.run(&["repair"]).succeeds();
    site.is_in_order_on("release1");
    site.run(&["stop"]).succeeds();
    site.run(&["repair"]).succeeds();
    assert!(site.php_fpm().is_empty());
    site.run(&["restart"]).succeeds();
    site.kill_replica(1);
    site.run(&["repair"]).succeeds();
    site.is_in_order_on("release1");
}

#[test]
fn killed_stop_is_finished() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let requests = site.hold_both();
    let mut manager = site.spawn(&["stop", "--json"]);
    manager.await_event("that it waits", |event| event["event"] == "progress");
    manager.signal(Signal::KILL);
    manager.finish().killed_by(Signal::KILL);
    for request in requests {
        request.end(1);
    }
    site.run(&["repair"]).succeeds();
    assert!(site.php_fpm().is_empty());
    let left = site.file_names();
    assert_eq!(left, ["pid/www.1.g1.conf", "pid/www.2.g1.conf"], "the newest records stay");
    site.run(&["start"]).succeeds();
    site.is_in_order_on("release1");
}

#[test]
fn killed_rollout_is_finished_after_its_first_warm_up() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let [first, second] = site.hold_both();
    let load = site.steady_load();
    site.switch("release2");
    let mut manager = site.spawn(&["restart", "--json", "--strategy", "rolling"]);
    manager.await_event("that it waits for replica 1", |event| event["event"] == "progress");
    first.end(1);
    manager.await_event("that it waits for replica 2", |event| {
        event["event"] == "progress" && event["replica"] == 2
    });
    manager.signal(Signal::KILL);
    manager.finish().killed_by(Signal::KILL);
    second.end(1);
    site.run(&["repair"]).succeeds();
    site.is_in_order_on("release2");
    load.finish();
    site.apache_saw_no_error();
}

#[test]
fn killed_rollout_is_undone_before_its_first_warm_up() {
    for strategy in ["rolling", "swap"] {
        let site = Site::new();
        site.run(&["start"]).succeeds();
        let load = site.steady_load();
        let (manager, warm_up) = site.restart_until_warm_up(strategy);
        manager.signal(Signal::KILL);
        manager.finish().killed_by(Signal::KILL);
        warm_up.open();
        site.run(&["repair"]).succeeds();
        site.is_in_order_on("release1");
        load.finish();
        site.apache_saw_no_error();
    }
}

#[test]
fn repair_removes_leftover_files_and_masters() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    site.run(&["restart"]).succeeds();
    let record = site.read("pid/www.1.g2.conf");
    for old in [1, 7] {
        let text = record.replace("www.1.g2", &format!("www.1.g{old}"));
        let text = text.replace("\"number\":2", &format!("\"number\":{old}"));
        let text = text.replace("www1.g2", &format!("www1.g{old}"));
        site.write(&format!("pid/www.1.g{old}.conf"), &text);
        site.write(&format!("pid/www.1.g{old}.pid"), "1");
        let socket = site.path(&format!("sockets/php-fpm-www1.g{old}.sock"));
        drop(std::os::unix::net::UnixListener::bind(socket).unwrap());
    }
    symlink("php-fpm-www1.g7.sock", site.path("sockets/php-fpm-www1.sock.new")).unwrap();
    symlink("www.1.g7.pid", site.path("pid/php-fpm-www1.pid.new")).unwrap();
    let masters = site.masters();
    site.run(&["repair"]).succeeds();
    assert_eq!(site.masters(), masters);
    site.is_in_order_on("release1");
}

#[test]
fn repair_restores_public_names_and_balancer_members() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let masters = site.masters();
    fs::remove_file(site.path("sockets/php-fpm-www1.sock")).unwrap();
    let mut manager = site.command(harness::program_path("balancer-manager"));
    let url = format!("http://localhost:{}/balancer-manager", site.port());
    manager.args([&url, "phpfpmlb", "set-drain", "on", "fcgi://pool-2"]);
    Program::start(&mut manager).finish().succeeds();
    site.run(&["status", "-q"]).status(1);
    site.run(&["repair"]).prints(&format!(
        "{POOL}  Starting replica 1  [OK]\n  Activating the load balancer for replica 2  [OK]\n"
    ));
    assert_eq!(site.masters(), masters);
    site.is_in_order_on("release1");
}

/// php-fpm is slow to start, and the manager is killed meanwhile. The next command must not overlook the
/// master that still starts.
#[test]
fn repair_waits_for_a_master_that_starts() {
    let site = Site::new();
    let slow = SlowStart::of(&site);
    site.run(&["start"]).succeeds();
    for command in ["repair", "restart"] {
        slow.holds();
        let next = site.spawn(&[command]);
        wait_for("that it has the lock", || {
            site.read("pid/www.lock").contains(command).then_some(())
        });
        slow.goes_on();
        next.finish().succeeds();
        site.is_in_order_on("release1");
    }
}

#[test]
fn repair_ends_a_master_that_does_not_become_ready() {
    let site = Site::new();
    site.add_rollout("ready_timeout = \"5s\"");
    let slow = SlowStart::of(&site);
    site.run(&["start"]).succeeds();
    slow.holds();
    site.run(&["repair"]).succeeds();
    assert!(!slow.is_running());
    site.is_in_order_on("release1");
}

/// `rm pid/*`, without the files of Apache.
fn empty_pid_dir(site: &Site) {
    for entry in fs::read_dir(site.path("pid")).unwrap() {
        let path = entry.unwrap().path();
        let is_apaches = path.file_name().unwrap().to_str().unwrap().starts_with("apache2");
        if !is_apaches {
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn repair_adopts_masters_whose_records_are_missing() {
    adopts_lost_masters(&Site::new());
}

#[test]
fn ordinary_user_adopts_masters_whose_records_are_missing() {
    adopts_lost_masters(&Site::prepared().owned_by_ordinary_user().serve());
}

fn adopts_lost_masters(site: &Site) {
    site.run(&["start"]).succeeds();
    site.run(&["restart", "single", "www", "2"]).succeeds();
    let load = site.steady_load();
    let masters = site.masters();
    let record = site.read("pid/www.2.g2.conf");
    empty_pid_dir(site);
    site.run(&["status", "-q"]).succeeds();
    let found = site.run(&["check", "-q"]);
    for replica in 1..=2 {
        let told = format!(
            "    replica {replica} runs, but its record in pid/ has been removed\n    \
             help: run pools-manager repair\n"
        );
        assert!(found.succeeds().stdout.contains(&told), "{found}");
    }
    site.run(&["repair"]).prints(&format!(
        "{POOL}  Replica 1 runs; its record in pid/ is written again\n  \
         Replica 2 runs; its record in pid/ is written again\n"
    ));
    assert_eq!(site.masters(), masters);
    assert_eq!(site.generations(), [1, 2]);
    assert_eq!(site.read("pid/www.2.g2.conf"), record);
    site.is_in_order_on("release1");
    site.run(&["check", "-q"]).prints("");
    // Other commands work with the running masters too.
    for (strategy, release) in [("rolling", "release2"), ("swap", "release1")] {
        empty_pid_dir(site);
        site.switch(release);
        site.run(&["restart", "--strategy", strategy]).succeeds();
        site.is_in_order_on(release);
    }
    load.finish();
    empty_pid_dir(site);
    site.run(&["stop"]).succeeds();
    assert!(site.php_fpm().is_empty());
}

/// An unrelated master on the socket of a possible generation; and a master of another pool.
#[test]
fn repair_adopts_no_unrelated_process() {
    let site = Site::new();
    let name = site.path("sockets/php-fpm-www1.g7.sock");
    let stranger = std::os::unix::net::UnixListener::bind(&name).unwrap();
    assert_eq!(site.status()["pools"][0]["replicas"][0]["running"], 0);
    site.run(&["start"]).succeeds();
    assert_eq!(site.generations(), [1, 1]);
    // A copy of the pool, under another name.
    let pools = "etc/php/fpm/redundant-pools";
    for file in ["1.conf", "2.conf", "php-fpm.conf", "pool.conf", "pools-manager.toml"] {
        let text = site.read(&format!("{pools}/www/{file}"));
        site.write(&format!("{pools}/api/{file}"), &text);
    }
    let ran = site.run(&["restart", "single", "api"]);
    assert!(ran.status(2).stderr.contains("this pool has no record of that process"), "{ran}");
    drop(stranger);
}

#[test]
fn start_reports_a_dead_master() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let load = site.steady_load();
    site.kill(&site.masters()[1..]);
    let dead = "the master of replica 2 is dead, its children serve on";
    let error = format!("error: {dead}\n  help: run pools-manager repair, which replaces them\n");
    site.unchanged_by(|| site.run(&["start"]))
        .stdout(&format!(
            "{POOL}  Replica 1 is already running\n  \
             Replica 2 serves without its master, which is dead\n"
        ))
        .stderr(&error)
        .status(1);
    site.run(&["start", "--dry-run"]).stderr(&error).status(1);
    site.run(&["start", "single", "www", "1"]).succeeds();
    let not_well =
        format!("error: pool \"www\": not well: replica 2; {dead}; run pools-manager repair www\n");
    site.run(&["status", "-q"]).stderr(&not_well).status(1);
    site.run(&["repair"]).succeeds();
    site.run(&["start"]).succeeds();
    site.is_in_order_on("release1");
    load.finish();
}

/// A php-fpm that can be held before it begins.
struct SlowStart<'a> {
    site: &'a Site,
    waits: PathBuf,
    go: PathBuf,
}

impl<'a> SlowStart<'a> {
    fn of(site: &'a Site) -> Self {
        let (waits, go) = (site.scratch().join("waits"), site.scratch().join("go"));
        let slow = Self { site, waits, go };
        slow.goes_on();
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in *fd/*[0-9])\n  : >{}\n  while [ ! -e {} ]; do sleep 0.01; done\nesac\nexec {} \"$@\"\n",
            slow.waits.display(),
            slow.go.display(),
            php_fpm().display()
        );
        let program = site.path("slow-php-fpm");
        write_script(&program, &script);
        let command = format!(
            "php_fpm_cmd = [\"{}\", \"-p\", \"%CURRENT_DIR%\"]\n\n[apache]",
            program.display()
        );
        site.replace("etc/php/fpm/redundant-pools/www/pools-manager.toml", "\n[apache]", &command);
        slow
    }

    /// A manager that waits for it is killed.
    fn holds(&self) {
        for file in [&self.waits, &self.go] {
            fs::remove_file(file).unwrap();
        }
        let manager = self.site.spawn(&["restart", "--strategy", "swap"]);
        wait_for("the slow php-fpm", || self.waits.exists().then_some(()));
        manager.signal(Signal::KILL);
        manager.finish().killed_by(Signal::KILL);
    }

    fn goes_on(&self) {
        fs::write(&self.go, "").unwrap();
    }

    fn is_running(&self) -> bool {
        self.site.processes().iter().any(|process| process.title.contains("slow-php-fpm"))
    }
}
