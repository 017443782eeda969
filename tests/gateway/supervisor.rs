//! The supervisor: `serve` starts the replicas, starts them again, and follows the symlink.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::served::{Connection, Served, UNSUPERVISED};
use harness::{Process, Site, wait_for};
use rustix::process::Signal;

const POOL: &str = "etc/php/fpm/redundant-pools/www";

/// A site that `serve` supervises; nothing runs. `pool` is added to the settings of the pool.
pub(crate) fn site(pool: &str, supervisor: &str) -> Site {
    let site = Served::site(&format!("[watch]\ndebounce = \"20ms\"\n{pool}"), "");
    let supervised = format!("[supervisor]\n{supervisor}\n");
    site.replace("etc/pools-manager.toml", UNSUPERVISED, &supervised);
    site
}

/// The same, served, with both replicas running.
pub(crate) fn supervised(pool: &str) -> Served {
    let served = Served::serve(site(pool, ""));
    await_release(&served, "release1");
    served
}

/// Waits until `status` is content with both replicas on one release.
pub(crate) fn await_release(served: &Served, release: &str) {
    let wanted = served.site.path(&format!("www/{release}"));
    wait_for("both replicas on the release", || {
        let status = served.site.look();
        let is_there = status.releases() == [wanted.clone(), wanted.clone()];
        (is_there && status.document["pools"][0]["ok"] == true).then_some(())
    });
}

fn deploy(served: &Served, release: &str) {
    served.site.switch(release);
}

#[test]
fn replicas_are_started_with_serve_and_outlive_it() {
    let mut served = supervised("");
    assert_eq!(served.get("/ping.php").text(), "pong1\n");
    let masters = served.site.masters();
    served.stop_gateway().status(0);
    assert_eq!(served.site.masters(), masters);
    // The next `serve` takes over what runs, also after a crash.
    served.start_gateway();
    served.kill_gateway();
    served.start_gateway();
    deploy(&served, "release2");
    await_release(&served, "release2");
    let renewed = served.site.masters();
    served.kill_gateway();
    served.start_gateway();
    assert_eq!(served.get("/ping.php").text(), "pong2\n");
    assert_eq!(served.site.masters(), renewed);
}

#[test]
fn replicas_end_with_serve_if_stop_replicas_is_set() {
    let mut served = Served::serve(site("", "stop_replicas = true"));
    await_release(&served, "release1");
    served.stop_gateway().status(0);
    assert!(served.site.all_masters().is_empty());
    // The operator has not stopped these replicas.
    served.start_gateway();
    await_release(&served, "release1");
}

#[test]
fn hup_reads_the_settings_of_the_supervisor_again() {
    for has_gateway in [true, false] {
        let site = site("", "");
        if !has_gateway {
            let settings =
                site.read(&format!("{POOL}/pools-manager.toml")).replace("[gateway]", "");
            site.write(&format!("{POOL}/pools-manager.toml"), &settings);
            site.write("etc/pools-manager.toml", "");
        }
        let global = site.read("etc/pools-manager.toml").replace("[supervisor]\n", "");
        site.write("etc/pools-manager.toml", &format!("{global}[log]\noutput = \"pid/log\"\n"));
        let supervisor = site.spawn(&["serve"]);
        let await_log = |parts: &[&str]| {
            wait_for("a line in the log", || {
                let log = fs::read_to_string(site.path("pid/log")).unwrap_or_default();
                let is_it = |line: &str| parts.iter().all(|part| line.contains(part));
                log.lines().any(is_it).then_some(())
            });
        };
        wait_for("both replicas", || (site.look().running().len() == 2).then_some(()));
        site.write("etc/pools-manager.toml", "[supervisor]\nstop_replica = true\n");
        supervisor.signal(Signal::HUP);
        await_log(&["the previous configuration stays in use", "`stop_replica`"]);
        let changed = "[supervisor]\nstop_replicas = true\n";
        site.write("etc/pools-manager.toml", &format!("{global}{changed}"));
        supervisor.signal(Signal::HUP);
        await_log(&["[log] in ", "has changed: pools-manager serve --upgrade"]);
        supervisor.signal(Signal::TERM);
        supervisor.finish().status(0);
        assert!(site.all_masters().is_empty());
    }
}

#[test]
fn second_signal_does_not_wait_for_the_replicas() {
    let mut served = Served::serve(site("", "stop_replicas = true"));
    await_release(&served, "release1");
    let held = served.site.hold_on(1);
    served.gateway().signal(Signal::TERM);
    let gone = || TcpStream::connect(("127.0.0.1", served.port())).is_err();
    wait_for("a gateway that listens no more", || gone().then_some(()));
    served.gateway().signal(Signal::TERM);
    served.finish_gateway().status(143);
    held.end(1);
}

#[test]
fn killed_masters_are_replaced_and_stopped_replicas_stay_stopped() {
    let served = supervised("");
    let masters = served.site.masters();
    served.site.kill(&[masters[0]]);
    wait_for("another master", || {
        let now = served.site.look().running();
        (now.len() == 2 && now[0].1 != masters[0]).then_some(())
    });
    await_release(&served, "release1");
    served.site.run(&["stop", "single", "www", "1"]).succeeds();
    let other = served.site.master(2);
    served.site.kill(&[other]);
    wait_for("replica 2 again", || {
        let running = served.site.look().running();
        matches!(running.as_slice(), [(2, pid)] if *pid != other).then_some(())
    });
}

#[test]
fn replicas_that_do_not_stay_up_are_shown() {
    let served = supervised("");
    let shown = || served.site.run(&["status"]).stdout;
    assert!(!shown().contains("do not stay up"), "{}", shown());
    let mut master = served.site.master(1);
    // The start of the pool counts too.
    for _ in 0..4 {
        let dead = master;
        served.site.kill(&[dead]);
        master = wait_for("another master", || {
            let running = served.site.look().running();
            running
                .into_iter()
                .find_map(|(replica, pid)| (replica == 1 && pid != dead).then_some(pid))
        });
    }
    served.await_log("times in short order, the next time in");
    let report = "\n  The replicas do not stay up: the supervisor has started them ";
    wait_for("the report of `status`", || shown().contains(report).then_some(()));
}

/// Ways in which operators deploy.
#[test]
fn a_moved_symlink_is_rolled_out_however_it_was_moved() {
    let served = supervised("");
    let www = served.site.path("www");
    let link = www.join("current.release");
    for round in 0..6 {
        let release = if round % 2 == 0 { "release2" } else { "release1" };
        match round / 2 {
            0 => deploy(&served, release),
            1 => {
                fs::remove_file(&link).unwrap();
                symlink(release, &link).unwrap();
            }
            _ => {
                let status = served.site.command("ln").args(["-nsf", release]).arg(&link).status();
                assert!(status.unwrap().success());
            }
        }
        await_release(&served, release);
    }
}

#[test]
fn three_deploys_lose_nothing() {
    deploy_again_and_again(3);
}

#[test]
#[ignore = "a soak: bin/test --all"]
fn fifty_deploys_lose_nothing() {
    deploy_again_and_again(50);
}

fn deploy_again_and_again(deploys: u32) {
    let served = supervised("");
    let (port, enough) = (served.port(), AtomicBool::new(false));
    thread::scope(|scope| {
        let visits = Visits(&enough);
        let visitor = scope.spawn(|| visit_until(port, &enough).1);
        for round in 0..deploys {
            let release = if round % 2 == 0 { "release2" } else { "release1" };
            deploy(&served, release);
            let pong = format!("pong{}\n", &release[7..]);
            wait_for("the release", || (served.get("/ping.php").text() == pong).then_some(()));
        }
        drop(visits);
        assert_eq!(visitor.join().unwrap(), 0);
    });
}

/// Ends the visits, also if the test fails: else the test would wait for their threads.
pub(crate) struct Visits<'a>(pub(crate) &'a AtomicBool);

impl Drop for Visits<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Visits until `enough` is set. Returns how many visits there were, and how many of them failed.
pub(crate) fn visit_until(port: u16, enough: &AtomicBool) -> (u32, u32) {
    let (mut visits, mut failed) = (0, 0);
    while !enough.load(Ordering::Relaxed) {
        let mut connection = Connection::to(port);
        let is_good = connection.get("/ping.php").is_ok_and(|answer| answer.status == 200);
        visits += 1;
        failed += u32::from(!is_good);
        harness::think();
    }
    (visits, failed)
}

#[test]
fn a_release_that_bounces_is_not_tried_again_until_the_symlink_moves() {
    let served = supervised("[rollout]\nwarm_up = [\"/ping.php\"]\n");
    fs::write(served.site.path("www/release2/ping.php"), "<?php nothing_of_that_name();").unwrap();
    deploy(&served, "release2");
    served.await_log("is not tried again until the symlink changes");
    let history = || served.site.run(&["history"]).stdout.lines().count();
    let tried = history();
    // Dead replicas are started again, on the release that serves. The second death shows what the
    // supervisor has done after the first repair.
    for _ in 0..2 {
        let dead = served.site.masters()[0];
        served.site.kill(&[dead]);
        await_release(&served, "release1");
    }
    assert_eq!(history(), tried);
    fs::write(served.site.path("www/release2/ping.php"), "<?php echo \"pong2\\n\";").unwrap();
    deploy(&served, "release2");
    await_release(&served, "release2");
}

#[test]
fn commands_and_the_supervisor_take_turns() {
    let served = supervised("");
    for release in ["release2", "release1", "release2"] {
        deploy(&served, release);
        served.site.run(&["restart"]).succeeds();
        await_release(&served, release);
    }
    served.site.run(&["switch", "www", "release1"]).succeeds();
    await_release(&served, "release1");
    served.site.run(&["stop"]).succeeds();
    assert!(served.site.all_masters().is_empty());
    served.site.run(&["start"]).succeeds();
    await_release(&served, "release1");
}

#[test]
fn usr1_renews_all_replicas() {
    let served = supervised("");
    let before = served.site.generations();
    served.gateway().signal(Signal::USR1);
    wait_for("newer generations", || {
        let now = served.site.look().generations();
        (now.iter().zip(&before).all(|(now, before)| now > before)).then_some(())
    });
    await_release(&served, "release1");
}

#[test]
fn a_pool_that_cannot_start_is_tried_again_more_and_more_slowly() {
    let site = site("", "");
    site.replace(&format!("{POOL}/pool.conf"), "pm.max_children", "pmm.max_children");
    let served = Served::serve(site);
    served.await_log("unknown entry 'pmm.max_children'");
    served.site.replace(&format!("{POOL}/pool.conf"), "pmm.max_children", "pm.max_children");
    await_release(&served, "release1");
}

#[test]
fn pools_without_a_gateway_are_supervised_too() {
    let site = site("", "");
    let settings = site.read(&format!("{POOL}/pools-manager.toml")).replace("[gateway]", "");
    site.write(&format!("{POOL}/pools-manager.toml"), &settings);
    site.write("etc/pools-manager.toml", "");
    let mut supervisor = site.spawn(&["serve"]);
    supervisor.await_line("that it is up", |line| line.starts_with("Supervising all pools"));
    wait_for("both replicas", || (site.look().running().len() == 2).then_some(()));
    supervisor.signal(Signal::TERM);
    supervisor.finish().status(0);
    assert_eq!(site.look().running().len(), 2);
}

/// Requests fail only where their process was killed, and all is well soon after the last kill.
fn kill_for(time: Duration) {
    let served = supervised("");
    let (port, enough) = (served.port(), AtomicBool::new(false));
    let (mut kills, mut masters) = (0, true);
    thread::scope(|scope| {
        let visits = Visits(&enough);
        let visitors: Vec<_> = (0..2).map(|_| scope.spawn(|| visit_until(port, &enough))).collect();
        let end = Instant::now() + time;
        let mut next = Instant::now();
        while Instant::now() < end {
            wait_for("the next kill", || (Instant::now() >= next).then_some(()));
            next += Duration::from_millis(200);
            masters = !masters;
            let all = served.site.php_fpm();
            let is_master = |it: &&Process| it.title.contains(": master process");
            let victims: Vec<_> = all.iter().filter(|it| is_master(it) == masters).collect();
            if let Some(victim) = victims.get(kills % victims.len().max(1)) {
                served.site.kill(&[victim.pid]);
                kills += 1;
            }
        }
        await_release(&served, "release1");
        drop(visits);
        let (visits, failed) = visitors
            .into_iter()
            .map(|visitor| visitor.join().unwrap())
            .fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        let most = u32::try_from(kills).unwrap() * 2;
        assert!(visits > 50 && failed <= most, "{failed} of {visits} failed after {kills} kills");
    });
}

#[test]
fn kills_cost_only_the_requests_of_the_killed_processes() {
    kill_for(Duration::from_secs(4));
}

#[test]
#[ignore = "a soak: bin/test --all"]
fn kills_for_half_a_minute_cost_only_the_requests_of_the_killed_processes() {
    kill_for(Duration::from_secs(30));
}
