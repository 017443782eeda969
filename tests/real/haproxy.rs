//! HAProxy as the backend of a pool.

mod faults;
mod reload;

use harness::Site;

const SETTINGS: &str = "etc/php/fpm/redundant-pools/www/pools-manager.toml";

/// A site behind HAProxy that serves release 1.
fn running() -> Site {
    let site = Site::with_haproxy();
    site.run(&["start"]).succeeds();
    assert_eq!(site.members(), ["UP", "UP"]);
    site
}

#[test]
fn servers_are_drained_and_enabled() {
    let site = running();
    let load = site.steady_load();
    let request = site.hold_on(1);
    site.switch("release2");
    let mut manager = site.spawn(&["restart", "--strategy", "rolling", "--json"]);
    manager.await_event("that it waits for the request", |event| event["accepted"] == 1);
    assert_eq!(site.members(), ["DRAIN", "UP"]);
    request.end(1);
    manager.finish().succeeds();
    assert_eq!(site.members(), ["UP", "UP"]);
    site.is_in_order_on("release2");
    site.goes_both_ways();
    load.finish();
}

#[test]
fn stopped_replica_is_drained_until_it_starts() {
    let site = running();
    let load = site.steady_load();
    site.run(&["stop", "single", "www", "2"]).succeeds();
    assert!(site.tell_haproxy("show servers state www").contains(" www2 - "));
    let status = site.status();
    assert!(status["pools"][0]["replicas"][1]["lb"].as_str().unwrap().starts_with("DRAIN"));
    site.run(&["start"]).succeeds();
    site.is_in_order_on("release1");
    load.finish();
}

#[test]
fn sample_serves_scripts_and_the_front_controller() {
    let site = Site::with_haproxy();
    let page = "<?php echo $_SERVER['SCRIPT_NAME'], ' ', $_SERVER['REQUEST_URI'], ' ', \
                $_SERVER['PATH_INFO'] ?? '-', ' ', $_SERVER['QUERY_STRING'] ?? '';";
    // Before the start: OPcache keeps a script that it has compiled for 2 s.
    site.add_page("index.php", page);
    site.add_page("page.php", page);
    site.run(&["start"]).succeeds();
    for (path, body) in [
        ("/", "/index.php / - "),
        ("/a/path?x=1", "/index.php /a/path?x=1 - x=1"),
        ("/page.php?x=1", "/page.php /page.php?x=1 - x=1"),
        ("/page.php/info", "/page.php /page.php/info /info "),
        ("/ping-php-fpm", "pong"),
    ] {
        assert_eq!(site.get(path).body, body, "{path}");
    }
    for hidden in ["/.git/config", "/a/.env", "/none.php"] {
        assert_eq!(site.get(hidden).status, 404, "{hidden}");
    }
}
