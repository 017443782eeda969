//! Apache stops during a rollout. Its clients get no response meanwhile, but the pool must be in order
//! when Apache runs again.

use harness::{Gate, Program, Site};

/// A rolling restart to release 2 that waits for a request on replica 1. The request does not come through
/// Apache, and so survives the end of Apache.
fn waiting(site: &Site) -> (Program, Program, Gate) {
    site.run(&["start"]).succeeds();
    let (gate, page) = site.gate();
    let mut request = site.command(harness::program_path("fcgi-request"));
    request.arg("--document-root").arg(site.path("www/current"));
    let request = Program::start(request.arg(page).arg("sockets/php-fpm-www1.sock"));
    gate.reached();
    site.switch("release2");
    let mut manager = site.spawn(&["restart", "--strategy", "rolling", "--json"]);
    manager.await_event("that it waits", |event| event["accepted"] == 1);
    (manager, request, gate)
}

#[test]
fn stop_of_apache_during_a_drain_stops_no_replica() {
    let mut site = Site::new();
    site.add_rollout("ready_timeout = \"5s\"");
    let (manager, request, gate) = waiting(&site);
    let port = site.stop_apache();
    gate.open();
    request.finish().succeeds();
    let ran = manager.finish();
    let (old, new) = (site.path("www/release1"), site.path("www/release2"));
    let nobody = format!(
        "cannot connect to http://localhost:{port}/balancer-manager: Connection refused (os error 111)"
    );
    let left = format!(
        "pool \"www\" is left as follows: replica 1 runs {}; replica 2 runs {}; {nobody}",
        new.display(),
        old.display()
    );
    assert_eq!(ran.status(1).error_message(), left, "{ran}");
    // The next restart changes nothing as long as it cannot read the balancer.
    let masters = site.masters();
    let ran = site.run(&["restart"]);
    assert!(ran.status(2).stderr.starts_with(&format!("error: {nobody}\n")), "{ran}");
    assert_eq!(site.masters(), masters);

    site.start_apache(port);
    let load = site.steady_load();
    site.run(&["restart"]).succeeds();
    site.is_in_order_on("release2");
    load.finish();
}

#[test]
fn restart_of_apache_during_a_drain_is_waited_for() {
    let mut site = Site::new();
    let (mut manager, request, gate) = waiting(&site);
    let port = site.stop_apache();
    gate.open();
    request.finish().succeeds();
    manager.await_event("that it enables replica 1", |event| event["step"] == "enable");
    site.start_apache(port);
    manager.finish().succeeds();
    site.is_in_order_on("release2");
    assert_eq!(site.get("/ping.php").body, "pong2\n");
}

/// The rollback does not need Apache. A restarted Apache does not know the drain any more.
#[test]
fn bad_release_is_rolled_back_while_apache_is_stopped() {
    let mut site = Site::new();
    site.add_rollout("ready_timeout = \"5s\"");
    let (manager, request, gate) = waiting(&site);
    let port = site.stop_apache();
    std::fs::remove_dir_all(site.path("www/release2")).unwrap();
    gate.open();
    request.finish().succeeds();
    let ran = manager.finish();
    let old = site.path("www/release1");
    let left = format!("replica 1 runs {0}; replica 2 runs {0}; cannot connect to ", old.display());
    assert!(ran.status(1).stderr.contains(&left), "{ran}");
    site.start_apache(port);
    site.switch("release1");
    site.is_in_order_on("release1");
    assert_eq!(site.get("/ping.php").body, "pong1\n");
}

/// As when the machine boots or goes down, whether Apache or the pool comes first.
#[test]
fn start_repair_and_stop_work_without_apache() {
    let mut site = Site::new();
    let port = site.stop_apache();
    let warning = format!(
        "  Warning: cannot connect to http://localhost:{port}/balancer-manager: Connection refused (os error 111); so no member is drained or enabled\n"
    );
    let pool = "Redundant pool \"www\"...\n";
    let stages = |what: &str| format!("{pool}{warning}  {what} 1  [OK]\n  {what} 2  [OK]\n");
    site.run(&["start"]).prints(&stages("Starting replica"));
    site.kill_replica(1);
    site.run(&["repair"]).prints(&format!(
        "{pool}{warning}  Replica 2 needs no repair\n  Starting replica 1  [OK]\n"
    ));
    // While a part of the pool runs on, the command has to change the balancer.
    site.run(&["stop", "single", "www", "1"]).status(2);
    site.run(&["restart"]).status(2);
    site.run(&["stop"]).prints(&stages("Stopping replica"));
    assert!(site.php_fpm().is_empty());
    site.run(&["start"]).succeeds();
    site.start_apache(port);
    site.is_in_order_on("release1");
    assert_eq!(site.get("/ping.php").body, "pong1\n");
}
