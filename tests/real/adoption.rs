//! Rollouts replace masters that were started by hand, and children without a master. No request
//! fails.

use harness::Site;

#[test]
fn rolling_restart_adopts_masters_started_by_hand() {
    adopts(&["restart", "--strategy", "rolling"]);
}

#[test]
fn swap_adopts_masters_started_by_hand() {
    adopts(&["restart", "--strategy", "swap"]);
}

/// The masters listen on the public names, as with the original tool. So each would unlink its name at its end.
fn adopts(restart: &[&str]) {
    let site = Site::new();
    site.start_by_hand(1);
    site.start_by_hand(2);
    site.run(&["status", "-q"]).succeeds();
    assert_eq!(site.generations(), [0, 0]);
    let loads = [site.steady_load(), site.sleepers(2, "0.3")];
    site.switch("release2");
    site.run(restart).succeeds();
    site.is_in_order_on("release2");
    assert_eq!(site.generations(), [1, 1]);
    for load in loads {
        load.finish();
    }
    site.apache_saw_no_error();
}

#[test]
fn start_leaves_an_adopted_master_alone_and_stop_ends_it() {
    let site = Site::new();
    site.start_by_hand(1);
    site.run(&["start"]).prints(
        "Redundant pool \"www\"...\n  \
         Replica 1 is already running\n  \
         Starting replica 2  [OK]\n",
    );
    assert_eq!(site.generations(), [0, 1]);
    site.run(&["stop", "single", "www", "1"]).prints(
        "Redundant pool \"www\"...\n  \
         Stopping replica 1  [OK]\n",
    );
    assert!(!site.path("sockets/php-fpm-www1.sock").exists());
    assert!(!site.path("pid/php-fpm-www1.pid").exists());
    site.run(&["start"]).succeeds();
    site.is_in_order_on("release1");
}

#[test]
fn rolling_restart_replaces_children_without_a_master() {
    takes_over_from_orphans(&["restart", "--strategy", "rolling"]);
}

#[test]
fn swap_replaces_children_without_a_master() {
    takes_over_from_orphans(&["restart", "--strategy", "swap"]);
}

/// Both replicas lose their masters: one that pools-manager started, and one that was started by hand.
fn takes_over_from_orphans(restart: &[&str]) {
    let site = Site::new();
    site.start_by_hand(1);
    site.run(&["start"]).succeeds();
    let loads = [site.steady_load(), site.sleepers(2, "0.3")];
    site.kill(&site.masters());
    site.run(&["status", "-q"]).status(1);
    site.switch("release2");
    site.run(restart).succeeds();
    site.is_in_order_on("release2");
    for load in loads {
        load.finish();
    }
    site.apache_saw_no_error();
}
