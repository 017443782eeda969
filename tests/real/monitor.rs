//! `monitor_url`: its response after a rollout is compared with the one before.

use std::fs;
use std::path::Path;

use harness::{Ran, Site};

const SETTINGS: &str = "etc/php/fpm/redundant-pools/www/pools-manager.toml";
const BAD: &str = "<?php http_response_code(500);";

/// A site that serves release 1 and monitors this page.
fn monitoring(page: &str) -> Site {
    let site = Site::new();
    site.add_page("health.php", "<?php echo 'fine';");
    site.replace(SETTINGS, "/ping-php-fpm\"", &format!("{page}\""));
    site.run(&["start"]).succeeds();
    site
}

fn results(site: &Site) -> Vec<String> {
    let ran = site.run(&["history", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let entries = document["pools"][0]["history"].as_array().unwrap();
    entries.iter().map(|entry| entry["result"].as_str().unwrap().to_owned()).collect()
}

fn says(site: &Site, ran: &Ran, what: &str) {
    assert!(site.shown(&ran.stdout).contains(what), "no {what:?}\n{ran}");
}

#[test]
fn page_that_failed_before_the_rollout_is_a_warning() {
    let site = monitoring("/absent");
    let load = site.steady_load();
    let warning = "  Warning: http://localhost:PORT/absent answers 404 Not Found; \
                   it was no better before the rollout\n";
    let commands: [&[&str]; 4] = [
        &["restart"],
        &["restart", "--strategy", "swap"],
        &["switch", "www", "release2"],
        &["rollback"],
    ];
    for command in commands {
        let ran = site.run(command);
        assert!(site.shown(&ran.succeeds().stdout).ends_with(warning), "{ran}");
    }
    assert_eq!(results(&site), ["done"; 4]);
    site.is_in_order_on("release1");
    load.finish();
}

#[test]
fn rolling_switch_after_which_a_page_fails_is_rolled_back() {
    goes_back("rolling");
}

#[test]
fn page_that_starts_to_fail_rolls_a_swap_back() {
    goes_back("swap");
}

fn goes_back(strategy: &str) {
    let site = monitoring("/health.php");
    site.write("www/release2/health.php", BAD);
    let note = "\n[hooks]\non_failure = [\"sh\", \"-c\", \"echo $POOLS_MANAGER_REASON > told\"]\n";
    site.write(SETTINGS, &format!("{}{note}", site.read(SETTINGS)));
    let load = site.steady_load();
    let ran = site.run(&["switch", "www", "release2", "--strategy", strategy]);
    let reason = "http://localhost:PORT/health.php answers 500 Internal Server Error; \
                  it answered well before the rollout\n";
    says(&site, &ran, &format!("  Requesting monitor_url  [FAILED]\n    {reason}"));
    for replica in [1, 2] {
        says(&site, &ran, &format!("  Rolling replica {replica} back to ROOT/www/release1\n"));
    }
    let back = "error: release2 bounced: pool \"www\" is back on release1. Visitors may have had the new release for ";
    let said = site.shown(&ran.status(1).stderr);
    assert!(said.starts_with(back), "{ran}");
    assert!(said.contains(" Static files may have come from it for a moment.\n"), "{ran}");
    assert_eq!(fs::read_link(site.path("www/current.release")).unwrap(), Path::new("release1"));
    assert_eq!(results(&site).len(), 1);
    assert!(results(&site)[0].starts_with("failed: http://localhost:"));
    assert_eq!(site.shown(&site.read("told")), reason);
    site.is_in_order_on("release1");
    // The release is no target of a rollback either, until the page is repaired.
    site.write("www/release2/health.php", "<?php echo 'fine';");
    site.run(&["switch", "www", "release2", "--strategy", strategy]).succeeds();
    site.is_in_order_on("release2");
    load.finish();
}

#[test]
fn on_failure_stop_keeps_the_bad_release() {
    let site = monitoring("/health.php");
    site.write("www/release2/health.php", BAD);
    site.add_rollout("on_failure = \"stop\"");
    let ran = site.run(&["switch", "www", "release2"]);
    says(&site, &ran, "  Requesting monitor_url  [FAILED]\n");
    ran.status(1);
    assert_eq!(site.releases(), [site.path("www/release2"), site.path("www/release2")]);
    assert_eq!(fs::read_link(site.path("www/current.release")).unwrap(), Path::new("release2"));
    site.run(&["rollback"]).status(0);
    site.is_in_order_on("release1");
}

/// The first requests of the new generations break the monitored page.
#[test]
fn restart_on_the_same_release_has_no_rollback() {
    let site = monitoring("/health.php");
    let mark = site.scratch().join("broken");
    let mark = mark.display();
    site.add_page("break.php", &format!("<?php touch('{mark}');"));
    site.add_page(
        "health.php",
        &format!("<?php if (file_exists('{mark}')) http_response_code(503);"),
    );
    site.add_rollout("warm_up = [\"/break.php\"]");
    let ran = site.run(&["restart"]);
    says(&site, &ran, "  Requesting monitor_url  [FAILED]\n");
    says(
        &site,
        &ran,
        "  Warning: the release is the one from before: there is none to go back to\n",
    );
    ran.status(1);
    assert!(results(&site)[0].starts_with("failed: "));
    site.is_in_order_on("release1");
}

/// As when the web server is reloaded just then.
#[test]
fn temporary_bad_response_is_no_failure() {
    let site = monitoring("/health.php");
    let count = site.scratch().join("count");
    site.write(
        "www/release2/health.php",
        &format!(
            "<?php file_put_contents('{0}', '.', FILE_APPEND); clearstatcache(); \
             if (filesize('{0}') < 3) http_response_code(503);",
            count.display()
        ),
    );
    site.run(&["switch", "www", "release2"]).succeeds();
    assert_eq!(results(&site), ["done"]);
    assert_eq!(fs::read_to_string(count).unwrap(), "...");
    site.is_in_order_on("release2");
}
