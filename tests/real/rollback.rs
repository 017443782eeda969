//! `rollback` goes to the previous release of the history.

use std::fs;
use std::path::PathBuf;

use harness::Site;

/// A site that runs release 3, after 2, after 1.
fn site() -> Site {
    let site = Site::new();
    for file in ["ping.php", "sleep-long.php"] {
        let text = site.read(&format!("www/release2/{file}"));
        site.write(&format!("www/release3/{file}"), &text);
    }
    site.run(&["start"]).succeeds();
    site.switch("release2");
    site.run(&["restart"]).succeeds();
    site.run(&["switch", "www", "release3"]).succeeds();
    site
}

fn link(site: &Site) -> PathBuf {
    fs::read_link(site.path("www/current.release")).unwrap()
}

#[test]
#[ignore = "takes long: bin/test --all"]
fn each_rollback_goes_one_release_back() {
    let site = site();
    let load = site.pings(2);
    for release in ["release2", "release1"] {
        let ran = site.run(&["rollback", "www"]);
        let moved = format!("{} leads to {release}\n", site.path("www/current.release").display());
        assert!(ran.succeeds().stdout.contains(&moved), "{ran}");
        assert_eq!(link(&site), PathBuf::from(release));
        site.is_in_order_on(release);
    }
    let ran = site.run(&["rollback"]);
    let www = site.path("www").display().to_string();
    ran.status(2).stdout("Redundant pool \"www\"...\n").stderr(&format!(
        "error: the pool \"www\" has no release to roll back to: {www}/release1 is what runs; \
         {www}/release2 was rolled back from; {www}/release3 was rolled back from\n  \
         help: name one: pools-manager switch POOL RELEASE\n"
    ));
    // `switch` still rolls the release out by its name, and then the release counts again.
    site.run(&["switch", "www", "release2"]).succeeds();
    site.run(&["rollback", "--strategy", "swap"]).succeeds();
    site.is_in_order_on("release1");
    load.finish();
}

#[test]
fn rollback_skips_failed_and_deleted_releases() {
    let site = site();
    site.add_rollout(r#"warm_up = ["/ping.php"]"#);
    let bad = site.read("www/release2/ping.php");
    site.write("www/release2/ping.php", "<?php this is no PHP;");
    // The rollback itself bounces: the link stays at the release that runs.
    site.run(&["rollback"]).status(1);
    assert_eq!(link(&site), PathBuf::from("release3"));
    site.is_in_order_on("release3");
    site.write("www/release2/ping.php", &bad);
    site.run(&["rollback", "--dry-run"]).succeeds();
    assert_eq!(link(&site), PathBuf::from("release3"));
    site.run(&["rollback"]).succeeds();
    site.is_in_order_on("release1");

    site.run(&["switch", "www", "release2"]).succeeds();
    fs::rename(site.path("www/release1"), site.path("www/moved")).unwrap();
    let ran = site.run(&["rollback"]);
    ran.status(2);
    assert!(ran.stderr.contains("/release1 does not exist any more"), "{ran}");
    site.is_in_order_on("release2");
}

#[test]
fn rollback_without_history_is_an_error() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let ran = site.run(&["rollback", "www"]);
    let error = "error: the pool \"www\" has no release to roll back to: the history names none\n";
    assert!(ran.status(2).stderr.starts_with(error), "{ran}");
    site.write("pid/www.state.json", "garbage");
    let ran = site.run(&["rollback", "www"]);
    assert!(ran.status(1).stderr.contains("/www.state.json is no state file: "), "{ran}");
    assert_eq!(site.read("pid/www.state.json"), "garbage");
    site.is_in_order_on("release1");
}
