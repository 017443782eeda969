//! Canaries that fail while they are watched: the replica gets its old release back.

use rustix::process::{Pid, Signal};
use serde_json::Value;

use super::{BREAKS, LONG, SAME, link, site, watching};
use harness::{Program, Ran, Site, wait_for};

/// The watch ends by itself, for this reason, and all is as it was.
fn bounces(site: &Site, manager: Program, reason: &str) -> Ran {
    let ran = manager.finish();
    ran.status(1);
    let back = "release2 bounced: pool \"www\" is back on release1. Visitors may have had the new release for ";
    let said = site.shown(&ran.error_message());
    assert!(
        said.starts_with(back) && said.ends_with("/current.release still leads to it."),
        "{said}"
    );
    let failed = |event: &Value| event["event"] == "stage_failed" && event["stage"] == "watching";
    let told = events(&ran).into_iter().find(failed).unwrap()["reason"].take();
    let told = site.shown(told.as_str().unwrap());
    assert!(told.starts_with(reason), "{told}");
    assert!(!ran.stdout.contains("could not be rolled back"), "{ran}");
    is_well_on_release1(site);
    ran
}

fn events(ran: &Ran) -> Vec<Value> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The record of a canary that was undone at once may be left: the numbers go on from it.
fn is_well_on_release1(site: &Site) {
    site.run(&["status", "-q"]).succeeds();
    let release = site.path("www/release1");
    assert_eq!(site.releases(), [release.clone(), release]);
    let sockets = site.sockets();
    let private = sockets.keys().filter(|path| path.display().to_string().contains(".g"));
    assert_eq!(private.count(), 2, "{sockets:#?}");
    assert_eq!(site.all_masters().len(), 2);
}

/// The children of a replica's master.
fn children(site: &Site, master: Pid) -> Vec<Pid> {
    let all = site.php_fpm();
    let children = all.iter().filter(|process| process.parent == Some(master));
    children.map(|process| process.pid).collect()
}

#[test]
fn canary_with_a_failing_page_is_rolled_back() {
    let (site, load) = site(BREAKS);
    for (strategy, generation) in [("rolling", 2), ("swap", 4)] {
        let second = site.masters()[1];
        let manager = watching(&site, strategy);
        site.write("scratch/broken", "");
        let reason = format!(
            "warm-up of generation {generation} of replica 1 on ROOT/www/release2: /warm.php: \
             status 500"
        );
        let ran = bounces(&site, manager, &reason);
        let back = events(&ran).into_iter().find(|event| event["event"] == "rolling_back");
        assert_eq!(back.unwrap()["release"], site.path("www/release1").to_str().unwrap());
        assert_eq!(site.masters()[1], second, "the rest is untouched");
        std::fs::remove_file(site.path("scratch/broken")).unwrap();
    }
    let ran = site.run(&["history"]);
    assert_eq!(ran.succeeds().stdout.matches("  failed: warm-up of ").count(), 2, "{ran}");
    load.finish();
    site.run(&["restart", "--canary", "1s"]).succeeds();
    site.is_in_order_on("release2");
}

#[test]
fn canary_with_a_crashed_child_is_rolled_back() {
    let (site, load) = site(SAME);
    // Nothing of the old release is watched.
    site.write("www/release1/crash.php", "<?php echo 'no';");
    site.write("www/release2/crash.php", "<?php posix_kill(posix_getpid(), 11);");
    let manager = watching(&site, "rolling");
    // The balancer chooses the replica, and can send the request to the other one after the crash.
    let client = site.client();
    wait_for("the crash", || {
        client.get("/crash.php");
        site.read("pid/php-fpm-www1.log").contains("exited on signal 11").then_some(())
    });
    let ran = bounces(&site, manager, "");
    // Apache can report the error before php-fpm has written its line.
    let told = ["generation 2 of replica 1 is not sound: child ", "the balancer finds "];
    assert!(told.iter().any(|told| ran.stdout.contains(told)), "{ran}");
    load.finish();

    let manager = watching(&site, "swap");
    let child = children(&site, site.masters()[0])[0];
    rustix::process::kill_process(child, Signal::KILL).unwrap();
    let ran = bounces(&site, manager, "generation 4 of replica 1 is not sound: child ");
    assert!(ran.stdout.contains("exited on signal 9 (SIGKILL)"), "{ran}");
}

#[test]
fn canary_with_a_dead_master_is_rolled_back() {
    let (site, load) = site(SAME);
    for (strategy, generation) in [("rolling", 2), ("swap", 4)] {
        let manager = watching(&site, strategy);
        site.kill(&[site.masters()[0]]);
        let reason = format!("the master of generation {generation} of replica 1 has ended");
        bounces(&site, manager, &reason);
    }
    load.finish();
}

#[test]
fn canary_without_any_process_is_rolled_back() {
    let (site, load) = site(SAME);
    load.finish();
    for strategy in ["rolling", "swap"] {
        let manager = watching(&site, strategy);
        let master = site.masters()[0];
        // The master is killed first, because it would replace the children.
        site.kill(&[vec![master], children(&site, master)].concat());
        bounces(&site, manager, "");
    }
    site.run(&["restart"]).succeeds();
    site.is_in_order_on("release2");
}

#[test]
fn canary_in_error_in_the_balancer_is_rolled_back() {
    let (site, load) = site(SAME);
    load.finish();
    let manager = watching(&site, "rolling");
    // The socket that Apache connects to; the ping goes to the generation's own.
    let public = site.path("sockets/php-fpm-www1.sock");
    std::fs::remove_file(&public).unwrap();
    let client = site.client();
    wait_for("that Apache notices", || {
        client.get("/ping.php");
        members_say(&site, "Err").then_some(())
    });
    let ran = manager.finish();
    assert!(
        ran.status(1).stdout.contains("the balancer finds generation 2 of replica 1 broken"),
        "{ran}"
    );
    site.run(&["restart"]).succeeds();
    site.is_in_order_on("release2");
}

fn members_say(site: &Site, word: &str) -> bool {
    site.status()["pools"][0]["replicas"][0]["lb"].as_str().unwrap().contains(word)
}

#[test]
fn failed_canary_stays_out_with_on_failure_stop() {
    let (site, load) = site(BREAKS);
    site.add_rollout("on_failure = \"stop\"");
    let manager = watching(&site, "rolling");
    site.write("scratch/broken", "");
    let ran = manager.finish();
    let left = "pool \"www\" is left as follows: replica 1 does not run (LB=\"Init Drn Ok\"); \
                replica 2 runs ROOT/www/release1 (LB=\"Init Ok\")";
    assert_eq!(site.shown(&ran.status(1).error_message()), left, "{ran}");
    assert_eq!(site.get("/ping.php").body, "pong1\n");
    std::fs::remove_file(site.path("scratch/broken")).unwrap();
    site.run(&["restart"]).succeeds();
    site.is_in_order_on("release2");
    load.finish();
}

#[test]
fn failed_canary_without_its_old_release_stays_out() {
    let (site, load) = site(BREAKS);
    load.finish();
    let manager = watching(&site, "rolling");
    std::fs::remove_dir_all(site.path("www/release1")).unwrap();
    site.write("scratch/broken", "");
    let ran = manager.finish();
    let gone = "replica 1 stays out: its old release ROOT/www/release1 is gone";
    assert!(site.shown(&ran.stdout).contains(gone), "{ran}");
    let left = "replica 1 does not run (LB=\"Init Drn Ok\"); replica 2 runs ";
    assert!(ran.status(1).error_message().contains(left), "{ran}");
}

/// The generation that serves again has run all the time: nothing has to be started.
#[test]
fn failed_canary_of_a_swap_is_rolled_back_despite_a_broken_configuration() {
    let (site, load) = site(BREAKS);
    let manager = watching(&site, "swap");
    let pool = "etc/php/fpm/redundant-pools/www/pool.conf";
    site.replace(pool, "pm = dynamic", "pm = elastic");
    site.write("scratch/broken", "");
    bounces(&site, manager, "warm-up of generation 2 of replica 1 ");
    load.finish();
}

#[test]
fn failed_canary_of_a_switch_moves_the_link_back() {
    let (site, load) = site(BREAKS);
    for strategy in ["rolling", "swap"] {
        let args =
            ["switch", "www", "release2", "--canary", LONG, "--json", "--strategy", strategy];
        let mut manager = site.spawn(&args);
        manager.await_event("that it watches", |event| event["event"] == "watching");
        assert_eq!(link(&site), "release2");
        site.write("scratch/broken", "");
        manager.finish().status(1);
        assert_eq!(link(&site), "release1");
        is_well_on_release1(&site);
        std::fs::remove_file(site.path("scratch/broken")).unwrap();
    }
    load.finish();
}
