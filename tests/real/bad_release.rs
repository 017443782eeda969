//! Releases and configurations that do not work: the old generations continue to serve, and the
//! command reports the error and the resulting state.

mod directory;
mod page;
mod server;

use std::fs;
use std::path::Path;

use harness::{Load, Ran, Site};

const POOL_CONF: &str = "etc/php/fpm/redundant-pools/www/pool.conf";

/// A site under load whose next release has a broken page, which the manager requests before
/// any client can.
fn site_with_a_bad_release(rollout: &str) -> (Site, Load) {
    let site = Site::new();
    site.add_rollout(rollout);
    site.add_page("warm.php", "<?php echo 'warm';");
    site.run(&["start"]).succeeds();
    site.write("www/release2/warm.php", "<?php this is no PHP;");
    site.switch("release2");
    let load = site.steady_load();
    (site, load)
}

const WARM_UP: &str = r#"warm_up = ["/warm.php"]"#;

#[test]
fn failed_warm_up_restores_the_old_release() {
    let (site, load) = site_with_a_bad_release(WARM_UP);
    let old = site.path("www/release1");
    for generation in [2, 4] {
        let ran = site.run(&["restart", "--strategy", "rolling"]);
        ran.status(1).stderr(&bounced(&site));
        says(&ran, &failed_warm_up(&site, generation));
        let rolled_back = format!("  Rolling replica 1 back to {}\n", old.display());
        let ending = format!("{rolled_back}  Starting replica 1  [OK]\n");
        assert!(ran.stdout.ends_with(&ending), "{ran}");
        // The link still says what the operator wants; what runs is as good as before.
        assert_eq!(fs::read_link(site.path("www/current.release")).unwrap(), Path::new("release2"));
        site.is_in_order_on("release1");
    }
    site.write("www/release2/warm.php", "<?php echo 'warm';");
    site.run(&["restart", "--strategy", "rolling"]).succeeds();
    site.is_in_order_on("release2");
    load.finish();
}

#[test]
fn on_failure_stop_keeps_the_replica_out_of_the_balancer() {
    let (site, load) = site_with_a_bad_release(&format!("{WARM_UP}\non_failure = \"stop\""));
    let ran = site.run(&["restart", "--strategy", "rolling"]);
    ran.status(1).stderr(&left(&site, "replica 1 does not run (LB=\"Init Drn Ok\")"));
    says(&ran, &failed_warm_up(&site, 2));
    site.run(&["status", "-q"]).status(1);
    assert_eq!(site.get("/ping.php").body, "pong1\n");

    // Once more, and nothing gets worse; then with a release that works.
    site.run(&["restart", "--strategy", "rolling"]).status(1);
    site.write("www/release2/warm.php", "<?php echo 'warm';");
    site.run(&["restart", "--strategy", "rolling"]).succeeds();
    site.is_in_order_on("release2");
    load.finish();
}

#[test]
fn rollback_goes_to_the_old_directory_not_to_its_name() {
    let (site, load) = site_with_a_bad_release(WARM_UP);
    fs::rename(site.path("www/release1"), site.path("www/moved")).unwrap();
    fs::create_dir(site.path("www/release1")).unwrap();
    site.run(&["restart", "--strategy", "rolling"]).status(1);
    site.is_in_order_on("moved");
    load.finish();
}

#[test]
fn replica_whose_old_release_is_deleted_stays_out() {
    let (site, load) = site_with_a_bad_release(WARM_UP);
    load.finish();
    fs::remove_dir_all(site.path("www/release1")).unwrap();
    let ran = site.run(&["restart", "--strategy", "rolling"]);
    let gone = site.path("www/release1");
    let said =
        format!("  Warning: replica 1 stays out: its old release {} is gone\n", gone.display());
    assert!(ran.stdout.ends_with(&said), "{ran}");
    ran.status(1).stderr(&left(&site, "replica 1 does not run (LB=\"Init Drn Ok\")"));
}

fn failed_warm_up(site: &Site, generation: u32) -> String {
    format!(
        "Redundant pool \"www\"...\n  \
         Deactivating the load balancer for replica 1  [OK]\n  \
         Stopping replica 1  [OK]\n  \
         Starting replica 1  [FAILED]\n    \
         warm-up of generation {generation} of replica 1 on {}: /warm.php: status 500\n    \
         PHP message: PHP Parse error: ",
        site.path("www/release2").display()
    )
}

#[test]
fn swap_with_failed_warm_up_changes_nothing() {
    let (site, load) = site_with_a_bad_release(WARM_UP);
    let before = (site.masters(), site.sockets(), site.members());
    let ran = site.run(&["restart", "--strategy", "swap"]);
    ran.status(1).stderr(&bounced(&site));
    says(
        &ran,
        "Redundant pool \"www\"...\n  \
         Starting replica 1  [FAILED]\n    \
         warm-up of generation 2 of replica 1 on ",
    );
    assert_eq!((site.masters(), site.sockets(), site.members()), before);
    site.run(&["status", "-q"]).succeeds();

    site.write("www/release2/warm.php", "<?php echo 'warm';");
    site.run(&["restart", "--strategy", "swap"]).succeeds();
    site.is_in_order_on("release2");
    load.finish();
}

#[test]
fn warm_up_ends_at_its_timeout() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let load = site.steady_load();
    let gate = site.hold_warm_up();
    site.add_rollout("ready_timeout = \"5s\"");
    let before = (site.masters(), site.sockets(), site.members());
    let ran = site.run(&["restart", "--strategy", "swap"]);
    gate.reached();
    says(&ran, "Redundant pool \"www\"...\n  Starting replica 1  [FAILED]\n    warm-up of ");
    ran.status(1);
    assert_eq!((site.masters(), site.sockets(), site.members()), before);
    gate.open();
    site.run(&["restart", "--strategy", "swap"]).succeeds();
    site.is_in_order_on("release1");
    load.finish();
}

#[test]
fn configuration_that_php_fpm_rejects_changes_nothing() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let load = site.steady_load();
    let before = (site.files(), site.members());
    site.replace(POOL_CONF, "pm = dynamic", "pm = elastic");
    for strategy in ["rolling", "swap"] {
        let ran = site.run(&["restart", "--strategy", strategy]);
        ran.status(2).stdout("Redundant pool \"www\"...\n");
        let conf = site.path("etc/php/fpm/redundant-pools/www/1.conf");
        let what = format!("error: php-fpm does not accept {}:\n", conf.display());
        assert!(ran.stderr.starts_with(&what), "{ran}");
        assert!(
            ran.stderr.contains("invalid process manager (static, dynamic or ondemand)"),
            "{ran}"
        );
        let help = "  help: nothing was changed; correct the file and run the command again\n";
        assert!(ran.stderr.ends_with(help), "{ran}");
        assert_eq!((site.files(), site.members()), before);
    }
    site.run(&["status", "-q"]).succeeds();
    load.finish();
}

#[test]
fn failed_start_of_one_replica_does_not_stop_another() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let load = site.steady_load();
    // The test of the configuration does not find this mistake: Apache has the address.
    let listen = format!("pm.status_listen = 127.0.0.1:{}\n", site.port());
    site.replace(POOL_CONF, "pm.status_path", &format!("{listen}pm.status_path"));
    for strategy in ["swap", "rolling"] {
        let ran = site.run(&["restart", "--strategy", strategy]);
        ran.status(1);
        assert!(ran.stdout.contains("  Starting replica 1  [FAILED]\n"), "{ran}");
        assert!(ran.stdout.contains("Address already in use"), "{ran}");
        assert_eq!(site.get("/ping.php").body, "pong1\n");
    }
    site.replace(POOL_CONF, &listen, "");
    site.run(&["restart"]).succeeds();
    site.is_in_order_on("release1");
    load.finish();
}

/// The end of the command's message: the state of replica 1, and replica 2 as it was.
fn left(site: &Site, first: &str) -> String {
    let release = site.path("www/release1");
    let second = format!("replica 2 runs {} (LB=\"Init Ok\")", release.display());
    ended(&format!("pool \"www\" is left as follows: {first}; {second}"))
}

/// The end of the message of a restart that has changed nothing for visitors and has not moved the symlink.
fn bounced(site: &Site) -> String {
    ended(&bounced_message(site))
}

fn bounced_message(site: &Site) -> String {
    let link = site.path("www/current.release");
    let leads = format!(" {} still leads to it.", link.display());
    let leads = if link.exists() { &leads } else { "" };
    format!(
        "release2 bounced: pool \"www\" is back on release1. No new generation got a visitor's request.{leads}"
    )
}

fn ended(how: &str) -> String {
    format!(
        "error: {how}\n  \
         help: remove the cause, and run the command again: it continues from the present state\n"
    )
}

/// Checks how the output begins. The rest is php-fpm's own wording.
fn says(ran: &Ran, beginning: &str) {
    assert!(ran.stdout.starts_with(beginning), "{ran}");
}
