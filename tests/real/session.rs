//! The exact output of a session, which scripts of the previous tool parse. Without a wait, no line has
//! progress dots.

use harness::Site;

#[test]
fn output_of_a_session_is_as_documented() {
    session(&Site::new());
}

/// No root, no sudo: a user namespace is all that it takes.
#[test]
fn output_for_an_ordinary_user_is_the_same() {
    let site = Site::prepared().owned_by_ordinary_user().serve();
    session(&site);
    change_of_release(&site);
    site.run(&["start"]).prints(STARTED);
    let users: Vec<u32> = site.php_fpm().iter().map(|process| process.uid).collect();
    // Two masters with two children each.
    assert_eq!(users, [site.uid(); 6]);
}

fn session(site: &Site) {
    let port = site.port();
    site.run(&["list"]).prints(&format!(
        "www -> (replica_count=\"2\" backend=\"apache\" balancer_name=\"phpfpmlb\" \
         manager_url=\"http://localhost:{port}/balancer-manager\" \
         member_urls=\"['fcgi://pool-1', 'fcgi://pool-2']\")\n"
    ));
    site.run(&["list", "-q"]).prints("www\n");
    site.run(&["start"]).prints(STARTED);
    site.run(&["status"]).prints(&well(site, "release1"));
    site.run(&["status", "-q"]).prints(WELL);
    site.run(&["stop", "single", "www", "2"]).prints(
        "Redundant pool \"www\"...\n  \
         Stopping replica 2  [OK]\n",
    );
    site.run(&["start", "single", "www", "2"]).prints(
        "Redundant pool \"www\"...\n  \
         Starting replica 2  [OK]\n",
    );
    site.run(&["restart", "single", "www", "2"]).prints(&format!("{POOL}{}", restarted(2)));
    site.run(&["restart"]).prints(&format!("{POOL}{}{}", restarted(1), restarted(2)));
    site.run(&["status"]).prints(&well(site, "release1"));
    site.run(&["stop"]).prints(STOPPED);
}

#[test]
fn release_changes_with_the_restart_not_with_the_link() {
    change_of_release(&Site::new());
}

fn change_of_release(site: &Site) {
    site.run(&["start", "all"]).prints(STARTED);
    assert_eq!(site.get("/ping.php").body, "pong1\n");
    assert_eq!(site.get("/release.txt").body, "1\n");

    site.switch("release2");
    assert_eq!(site.get("/ping.php").body, "pong1\n");
    assert_eq!(site.get("/release.txt").body, "2\n");
    site.run(&["status"]).prints(&well(site, "release1"));

    site.run(&["restart", "all"]).prints(&format!("{POOL}{}{}", restarted(1), restarted(2)));
    assert_eq!(site.get("/ping.php").body, "pong2\n");
    assert_eq!(site.get("/release.txt").body, "2\n");
    site.run(&["status", "single", "www"]).prints(&well(site, "release2"));
    site.run(&["stop", "all"]).prints(STOPPED);
}

#[test]
fn replica_that_the_operator_stopped_is_no_error_in_status() {
    let site = Site::new();
    site.run(&["stop"]).prints(
        "Redundant pool \"www\"...\n  \
         Replica 1 is not running\n  \
         Replica 2 is not running\n",
    );
    site.run(&["start", "single", "www", "1"]).prints(
        "Redundant pool \"www\"...\n  \
         Starting replica 1  [OK]\n",
    );
    site.run(&["status", "-q"]).prints(
        "Redundant pool \"www\"...\n  \
         Status for replica 1 [OK]\n  \
         Status for replica 2 [Stopped]\n",
    );
    site.run(&["start"]).prints(
        "Redundant pool \"www\"...\n  \
         Replica 1 is already running\n  \
         Starting replica 2  [OK]\n",
    );
    site.run(&["status", "-q"]).prints(WELL);
    assert_eq!(site.get("/ping-php-fpm").body, "pong");
    assert_eq!(site.get("/no-such-page.php").status, 404);
}

#[test]
fn pool_without_a_balancer_has_no_balancer_output() {
    let site = Site::prepared();
    site.write(
        "etc/php/fpm/redundant-pools/www/pools-manager.toml",
        "[php]\ncurrent_release_symlink = \"www/current.release\"\ncurrent_dir = \"www/current\"\n",
    );
    site.run(&["list"]).prints("www -> (replica_count=\"2\" backend=\"none\")\n");
    site.run(&["start"]).prints(STARTED);
    // Without a balancer there is no drain: the new generations start beside the old ones.
    site.run(&["restart"]).prints(
        "Redundant pool \"www\"...\n  \
         Starting replica 1  [OK]\n  \
         Starting replica 2  [OK]\n  \
         Switching all names to the new generations  [OK]\n  \
         Stopping replica 1  [OK]\n  \
         Stopping replica 2  [OK]\n",
    );
    site.run(&["status", "-q"]).prints(WELL);
    site.run(&["stop"]).prints(STOPPED);
}

#[test]
fn changed_php_fpm_configuration_takes_effect_with_the_restart() {
    let site = Site::new();
    let pings = |answer: &str| well(&site, "release1").replace("pong", answer);
    site.run(&["start"]).prints(STARTED);
    let ping = "ping.path = /ping-php-fpm\n";
    let file = "etc/php/fpm/redundant-pools/www/pool.conf";
    site.replace(file, ping, &format!("{ping}ping.response = fine\n"));
    site.run(&["status"]).prints(&pings("pong"));
    site.run(&["restart"]).status(0);
    site.run(&["status"]).prints(&pings("fine"));
    assert_eq!(site.get("/ping-php-fpm").body, "fine");
}

const POOL: &str = "Redundant pool \"www\"...\n";

const STARTED: &str = "Redundant pool \"www\"...
  Starting replica 1  [OK]
  Starting replica 2  [OK]
";

const STOPPED: &str = "Redundant pool \"www\"...
  Stopping replica 1  [OK]
  Stopping replica 2  [OK]
";

const WELL: &str = "Redundant pool \"www\"...
  Status for replica 1 [OK]
  Status for replica 2 [OK]
";

fn restarted(replica: u32) -> String {
    format!(
        "  Deactivating the load balancer for replica {replica}  [OK]\n  \
           Stopping replica {replica}  [OK]\n  \
           Starting replica {replica}  [OK]\n  \
           Activating the load balancer for replica {replica}  [OK]\n"
    )
}

fn well(site: &Site, release: &str) -> String {
    let release = site.path("www").join(release);
    let line = |replica: u32| {
        format!(
            "  Status for replica {replica} [OK]  (LB=\"Init Ok\", ping_php=\"pong\", current=\"{}\")\n",
            release.display()
        )
    };
    format!("{POOL}{}{}", line(1), line(2))
}
