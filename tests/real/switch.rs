//! `switch`: the symlink moves with the rollout, and back with a rollback.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use rustix::process::Signal;

use harness::Site;

const WARM_UP: &str = r#"warm_up = ["/warm.php"]"#;

/// A site that runs release 1, whose releases have to answer a page.
fn site() -> Site {
    let site = Site::new();
    site.add_rollout(WARM_UP);
    site.add_page("warm.php", "<?php echo 'warm';");
    site.run(&["start"]).succeeds();
    site
}

fn link(site: &Site) -> PathBuf {
    fs::read_link(site.path("www/current.release")).unwrap()
}

#[test]
fn switch_moves_link_and_replicas_and_keeps_relative_links_relative() {
    let site = site();
    let load = site.steady_load();
    let www = site.path("www");
    let shown = www.join("current.release").display().to_string();
    let ran = site.run(&["switch", "www", "release2"]);
    let begins = format!("Redundant pool \"www\"...\n  {shown} leads to release2\n  Deactivating ");
    assert!(ran.succeeds().stdout.starts_with(&begins), "{ran}");
    assert_eq!(link(&site), PathBuf::from("release2"));
    site.is_in_order_on("release2");
    let nothing = "Redundant pool \"www\"...\n  Nothing to do\n";
    site.run(&["switch", "www", "release2"]).prints(nothing);
    site.run(&["switch", "www", "www/release2/", "--dry-run"]).prints(nothing);

    // An absolute link stays one; the path may be written in any way.
    site.switch(www.join("release2"));
    let path = format!("{}/../www/release1", www.display());
    site.run(&["switch", "www", &path, "--strategy", "swap"]).succeeds();
    assert_eq!(link(&site), www.join("release1"));
    site.is_in_order_on("release1");
    site.switch("release1");
    fs::create_dir(site.path("elsewhere")).unwrap();
    fs::rename(www.join("release2"), site.path("elsewhere/release2")).unwrap();
    site.run(&["switch", "www", "elsewhere/release2"]).succeeds();
    assert_eq!(link(&site), PathBuf::from("../elsewhere/release2"));
    load.finish();
}

#[test]
fn dry_run_of_switch_prints_the_plan_and_changes_nothing() {
    let site = site();
    let before = site.files();
    let ran = site.run(&["switch", "www", "release2", "--dry-run"]);
    let shown = site.path("www/current.release").display().to_string();
    assert!(ran.succeeds().stdout.contains(&format!("  {shown} would lead to release2\n")));
    assert!(ran.stdout.contains("    publish generation 2 of replica 1\n"), "{ran}");
    assert_eq!((link(&site), site.files()), (PathBuf::from("release1"), before));
}

#[test]
fn invalid_release_is_refused_and_changes_nothing() {
    let site = site();
    site.write("www/file", "");
    let before = site.files();
    let www = site.path("www").display().to_string();
    for (release, what) in [
        ("nowhere", format!("the release {www}/nowhere: No such file or directory")),
        ("./release2", format!("the release {}/./release2: No such", site.root().display())),
        ("file", format!("{www}/file is not a directory")),
        ("current", format!("{www}/current is current_dir")),
    ] {
        let ran = site.run(&["switch", "www", release]);
        assert!(ran.status(2).stderr.starts_with(&format!("error: {what}")), "{ran}");
        assert_eq!((link(&site), site.files()), (PathBuf::from("release1"), before.clone()));
    }
    site.run(&["switch", "www"]).status(2);
    site.run(&["switch", "www", ""]).status(2);
    site.run(&["switch", "wwww", "release2"]).status(2);
    let settings = "etc/php/fpm/redundant-pools/www/pools-manager.toml";
    site.write(settings, "[php]\n");
    let ran = site.run(&["switch", "www", "release2"]);
    let error = "error: the pool \"www\" pins no releases, so it cannot switch\n";
    assert!(ran.status(2).stderr.starts_with(error), "{ran}");
}

#[test]
fn link_goes_back_with_the_rollback() {
    let site = site();
    let load = site.steady_load();
    site.write("www/release2/warm.php", "<?php this is no PHP;");
    site.point("www/stable", "release1");
    site.switch("stable");
    for strategy in ["rolling", "swap"] {
        let ran = site.run(&["switch", "www", "release2", "--strategy", strategy]);
        let shown = site.path("www/current.release").display().to_string();
        let back = format!("  {shown} leads to stable again\n");
        assert!(ran.status(1).stdout.ends_with(&back), "{ran}");
        assert_eq!(link(&site), PathBuf::from("stable"));
        assert_eq!(site.releases(), [site.path("www/release1"), site.path("www/release1")]);
    }
    // A configuration that would be refused moves nothing at all.
    site.replace("etc/php/fpm/redundant-pools/www/pool.conf", "pm = dynamic", "pm = elastic");
    let ran = site.run(&["switch", "www", "release2"]);
    ran.status(2).stdout("Redundant pool \"www\"...\n");
    assert_eq!(link(&site), PathBuf::from("stable"));
    load.finish();
}

/// A link that another process has moved meanwhile stays as it is.
#[test]
fn first_deploy_makes_the_link_and_removes_it_if_the_release_bounces() {
    let site = Site::new();
    // Without another release to compare it with, a failing front page is only a warning.
    site.add_rollout(WARM_UP);
    site.add_page("warm.php", "<?php echo 'warm';");
    let link = site.path("www/current.release");
    fs::remove_file(&link).unwrap();
    site.write("www/bad/warm.php", "<?php exit(");
    let ran = site.run(&["switch", "www", "bad"]);
    ran.status(1);
    assert!(ran.stdout.contains(&format!("  {} is removed again\n", link.display())), "{ran}");
    assert!(fs::symlink_metadata(&link).is_err());
    assert!(site.all_masters().is_empty());
    site.run(&["switch", "--dry-run", "www", "release1"]).succeeds();
    assert!(fs::symlink_metadata(&link).is_err());
    site.run(&["switch", "www", "release1"]).succeeds();
    assert_eq!(fs::read_link(&link).unwrap().to_str(), Some("release1"));
    site.serves("release1");
    site.run(&["switch", "www", "release2"]).succeeds();
    site.run(&["rollback"]).succeeds();
    site.serves("release1");
}

#[test]
fn link_moved_by_another_process_does_not_go_back() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let warm_up = site.hold_warm_up();
    let manager = site.spawn(&["switch", "www", "release2", "--strategy", "swap"]);
    warm_up.reached();
    site.switch("nowhere");
    manager.signal(Signal::INT);
    manager.await_complaint();
    warm_up.open();
    let ran = manager.finish();
    ran.status(130);
    assert!(ran.stdout.contains("another program has moved it meanwhile"), "{ran}");
    assert_eq!(link(&site), PathBuf::from("nowhere"));
    assert_eq!(site.releases(), [site.path("www/release1"), site.path("www/release1")]);
}

#[test]
fn interrupt_before_the_first_replica_moves_the_link_back() {
    let site = site();
    let request = site.hold();
    let mut manager = site.spawn(&["switch", "www", "release2", "--json"]);
    manager.await_event("that it waits", |event| event["event"] == "progress");
    assert_eq!(link(&site), PathBuf::from("release2"));
    // Only one command at a time may move the link.
    site.run(&["switch", "www", "release1", "--no-wait"]).status(3);
    manager.signal(Signal::INT);
    let ran = manager.finish();
    ran.status(130);
    assert!(ran.stdout.contains(r#""event":"link","change":"moved_back","#), "{ran}");
    request.end(1);
    assert_eq!(link(&site), PathBuf::from("release1"));
    site.is_in_order_on("release1");
}

#[test]
fn link_stays_if_replicas_differ_and_the_error_says_so() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let warm_up = site.hold_warm_up();
    let manager = site.spawn(&["switch", "www", "release2", "--strategy", "rolling"]);
    warm_up.reached();
    manager.signal(Signal::TERM);
    manager.await_complaint();
    warm_up.open();
    let ran = manager.finish();
    ran.status(143);
    let stays = format!(
        "; {} stays at {}, which only replica 1 serves\n  help: `restart` takes ",
        site.path("www/current.release").display(),
        site.path("www/release2").display()
    );
    assert!(ran.stderr.contains(&stays), "{ran}");
    assert_eq!(link(&site), PathBuf::from("release2"));
    site.run(&["rollback"]).succeeds();
    assert_eq!(link(&site), PathBuf::from("release1"));
    site.is_in_order_on("release1");
}

/// The second replica does not come up: it has its old release back, and the first has the new one.
#[test]
fn rollback_of_the_second_replica_leaves_the_link() {
    let site = site();
    let load = site.steady_load();
    site.write("www/release2/warm.php", ONLY_ON_THE_FIRST);
    let ran = site.run(&["switch", "www", "release2", "--strategy", "rolling"]);
    ran.status(1);
    assert!(ran.stderr.contains("/release2, which only replica 1 serves\n  help: "), "{ran}");
    assert_eq!(link(&site), PathBuf::from("release2"));
    assert_eq!(site.releases(), [site.path("www/release2"), site.path("www/release1")]);
    // The failed release is not a target; and replicas that differ need a rollout.
    site.run(&["rollback"]).succeeds();
    assert_eq!(link(&site), PathBuf::from("release1"));
    site.is_in_order_on("release1");
    load.finish();
}

const ONLY_ON_THE_FIRST: &str = "<?php
$title = file_get_contents('/proc/self/cmdline');
http_response_code(str_contains($title, 'pool www1') ? 200 : 500);
";

#[test]
fn unwritable_link_is_reported_before_any_change() {
    let site = Site::prepared().owned_by_ordinary_user().serve();
    site.run(&["start"]).succeeds();
    let before = site.files();
    let read_only = |is: bool| {
        let mode = if is { 0o555 } else { 0o755 };
        fs::set_permissions(site.path("www"), Permissions::from_mode(mode)).unwrap();
    };
    read_only(true);
    let ran = site.run(&["switch", "www", "release2"]);
    let error = format!("error: cannot move {}: ", site.path("www/current.release").display());
    assert!(ran.status(2).stderr.starts_with(&error), "{ran}");
    assert_eq!(site.files(), before);
    site.run(&["history"]).prints("Redundant pool \"www\"...\n  No rollout is on record\n");
    read_only(false);
    site.run(&["switch", "www", "release2"]).succeeds();
    site.is_in_order_on("release2");
}

#[test]
fn two_simultaneous_switches_run_in_turn() {
    let site = site();
    let targets = ["release2", "release1", "release2"];
    let all = targets.map(|release| site.spawn(&["switch", "www", release]));
    for manager in all {
        manager.finish().succeeds();
    }
    let named = fs::canonicalize(site.path("www/current.release")).unwrap();
    assert_eq!(site.releases(), [named.clone(), named]);
}

#[test]
fn leftover_link_of_a_killed_manager_does_not_block() {
    let site = site();
    symlink("nowhere", site.path("www/.current.release.pools-manager")).unwrap();
    site.run(&["switch", "www", "release2"]).succeeds();
    assert!(!site.path("www/.current.release.pools-manager").is_symlink());
    site.is_in_order_on("release2");
}
