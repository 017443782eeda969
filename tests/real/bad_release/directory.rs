//! Releases whose directory is invalid, or is deleted during a rollout.

use std::fs;

use super::{bounced, bounced_message, left};
use harness::{Load, Site};

const SETTINGS: &str = "etc/php/fpm/redundant-pools/www/pools-manager.toml";
const STRATEGIES: [&str; 2] = ["rolling", "swap"];

fn running_under_load() -> (Site, Load) {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let load = site.steady_load();
    (site, load)
}

fn refuses_all(site: &Site, commands: &[&[&str]], stderr: &str) {
    for command in commands {
        site.refuses(command, stderr);
    }
}

/// A deploy that makes the directory, and moves the link before it has copied anything.
#[test]
fn empty_release_is_refused() {
    let (site, load) = running_under_load();
    fs::create_dir(site.path("www/release3")).unwrap();
    let stderr =
        "error: the release ROOT/www/release3 is empty\n  help: put the code there first\n";
    let switch = ["switch", "www", "release3"];
    refuses_all(&site, &[&switch, &["switch", "www", "release3", "--dry-run"]], stderr);
    site.switch("release3");
    let commands: [&[&str]; 3] = [&["restart"], &["restart", "--strategy", "swap"], &["start"]];
    refuses_all(&site, &commands, stderr);
    site.run(&["check", "-q"]).status(2).stderr("error: pool \"www\" is not in order: Release\n");
    load.finish();
}

/// `switch www ..` names a directory too.
#[test]
fn parent_directory_of_the_releases_is_refused() {
    let (site, load) = running_under_load();
    let holds = |dir: &str| {
        format!(
            "error: the release {dir} holds current_dir\n  \
             help: name one release, not the directory of them all\n"
        )
    };
    for (named, dir) in [("..", "/tmp"), (".", "ROOT"), ("www/.", "ROOT/www"), ("/", "/")] {
        site.refuses(&["switch", "www", named], &holds(dir));
    }
    load.finish();
}

/// Without the page and an index.php, php-fpm would answer 404, as a page may, and would count as warm.
#[test]
fn release_without_its_warm_up_page_is_refused() {
    let (site, load) = running_under_load();
    site.add_rollout(r#"warm_up = ["/login?warm=1"]"#);
    site.switch("release2");
    fs::remove_file(site.path("www/release2/index.php")).unwrap();
    let stderr = format!(
        "error: ROOT/{SETTINGS}: warm_up has \"/login?warm=1\", and the release ROOT/www/release2 has neither that nor an index.php\n  \
         help: complete the release, or correct warm_up\n"
    );
    refuses_all(&site, &[&["restart"], &["restart", "--strategy", "swap"]], &stderr);
    site.write("www/release2/login", "<?php echo 'warm';");
    site.run(&["restart"]).succeeds();
    site.is_in_order_on("release2");
    load.finish();
}

#[test]
fn release_deleted_during_a_drain_is_rolled_back() {
    let (site, load) = running_under_load();
    let requests = site.hold_both();
    site.switch("release2");
    let mut manager = site.spawn(&["restart", "--strategy", "rolling", "--json"]);
    manager.await_event("that it waits", |event| event["event"] == "progress");
    fs::remove_dir_all(site.path("www/release2")).unwrap();
    for request in requests {
        request.end(1);
    }
    let ran = manager.finish();
    let new = site.path("www/release2");
    let gone = format!("the release {} does not exist any more", new.display());
    assert!(ran.stdout.contains(&gone), "{ran}");
    assert_eq!(ran.status(1).error_message(), bounced_message(&site), "{ran}");
    site.switch("release1");
    site.is_in_order_on("release1");
    load.finish();
}

#[test]
fn release_deleted_after_its_start_is_rolled_back() {
    for strategy in STRATEGIES {
        let (site, load) = running_under_load();
        let (manager, warm_up) = site.restart_until_warm_up(strategy);
        fs::remove_dir_all(site.path("www/release2")).unwrap();
        warm_up.open();
        let ran = manager.finish();
        let gone = site.path("www/release2").display().to_string();
        let said = match strategy {
            // The first request had opened its page already, and the others get 404.
            "rolling" => format!("the release {gone} has been deleted\n"),
            _ => format!("the release {gone} does not exist any more\n"),
        };
        assert!(ran.stdout.contains(&said), "{ran}");
        ran.status(1).stderr(&bounced(&site));
        site.switch("release1");
        site.serves("release1");
        load.finish();
    }
}

/// There is no release to go back to: the replica that serves is kept.
#[test]
fn deleted_old_release_prevents_the_rollback() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let second = site.masters()[1];
    let warm_up = site.hold_warm_up();
    site.switch("release2");
    let manager = site.spawn(&["restart", "--strategy", "rolling"]);
    warm_up.reached();
    fs::remove_dir_all(site.path("www/release1")).unwrap();
    // The new generation dies by itself.
    site.kill_generation("www.1.g2");
    let ran = manager.finish();
    let gone = site.path("www/release1");
    let ending =
        format!("  Warning: replica 1 stays out: its old release {} is gone\n", gone.display());
    assert!(ran.stdout.ends_with(&ending), "{ran}");
    ran.status(1).stderr(&left(&site, "replica 1 does not run (LB=\"Init Drn Ok\")"));
    assert_eq!(site.master(2), second);
    // The new release is a good one after all.
    warm_up.open();
    site.run(&["restart"]).succeeds();
    site.is_in_order_on("release2");
    assert_eq!(site.get("/ping.php").body, "pong2\n");
}
