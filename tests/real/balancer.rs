//! Members of Apache's balancer that are in error, sticky, or reloaded during a rollout.

use harness::{Site, wait_for};

const APACHE: &str = "etc/apache2/sites-enabled/82-php-fpm.conf";

#[test]
fn rolling_restart_clears_the_error_of_a_member() {
    brings_back(&["restart", "--strategy", "rolling"]);
}

#[test]
fn swap_clears_the_error_of_a_member() {
    brings_back(&["restart", "--strategy", "swap"]);
}

#[test]
fn start_clears_the_error_of_a_member() {
    brings_back(&["start"]);
}

/// Without retry=0, Apache does not try a failed member again for a minute.
fn brings_back(command: &[&str]) {
    let site = Site::prepared();
    site.replace(APACHE, " retry=0\n", "\n");
    let site = site.serve();
    site.run(&["start"]).succeeds();
    site.kill_replica(2);
    // Apache sends one of the requests to replica 2, and then to replica 1.
    let pings = site.steady_load();
    let found = site.status_when(|status| status["pools"][0]["replicas"][1]["lb"] == "Init Err");
    assert_eq!(found["pools"][0]["replicas"][0]["ok"], true);
    assert_eq!(found["pools"][0]["replicas"][1]["ok"], false);
    site.run(&["status", "-q"])
        .stdout(
            "Redundant pool \"www\"...\n  \
             Status for replica 1 [OK]\n  \
             Status for replica 2 [Error]\n",
        )
        .stderr("error: pool \"www\": not well: replica 2\n")
        .status(1);
    site.run(command).succeeds();
    site.is_in_order_on("release1");
    assert_eq!(site.members(), ["Init Ok", "Init Ok"]);
    pings.finish();
}

#[test]
fn sticky_sessions_survive_restarts() {
    let site = Site::prepared();
    for replica in [1, 2] {
        let member = format!("fcgi://pool-{replica}\"");
        site.replace(APACHE, &member, &format!("{member} route={replica}"));
    }
    site.replace(APACHE, "lbmethod=bybusyness", "lbmethod=bybusyness stickysession=ROUTEID");
    let site = site.serve();
    site.add_page("who.php", include_str!("pages/who.php"));
    site.run(&["start"]).succeeds();
    for (replica, other) in [(1, "www1"), (2, "www2"), (1, "www1"), (2, "www2")] {
        assert_eq!(site.client().get_as(&cookie(replica), "/who.php").body, other);
    }
    // A member that drains still gets the sessions that stick to it.
    let visitors = site.visitors(4, |client, n| {
        let answer = client.get_as(&cookie(n % 2 + 1), "/ping.php");
        assert!(["pong1\n", "pong2\n"].contains(&answer.body.as_str()), "{answer:?}");
    });
    for (release, strategy) in [(2, "rolling"), (1, "swap"), (2, "swap"), (1, "rolling")] {
        site.switch(format!("release{release}"));
        site.run(&["restart", "--strategy", strategy]).succeeds();
    }
    site.run(&["stop", "single", "www", "1"]).succeeds();
    site.run(&["start", "single", "www", "1"]).succeeds();
    assert!(visitors.finish() > 100);
}

#[test]
fn reload_of_apache_during_a_rolling_restart_loses_no_request() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let pings = site.steady_load();
    for (release, next) in [(1, 2), (2, 1)] {
        let request = site.hold();
        site.switch(format!("release{next}"));
        let mut manager = site.spawn(&["restart", "--strategy", "rolling", "--json"]);
        manager.await_event("that it waits for the request", |event| {
            let replica = format!("www{}", event["replica"]);
            event["event"] == "progress" && replica == request.by && event["accepted"] == 1
        });
        // The manager has drained that replica, but the reloaded Apache does not know it.
        site.reload_apache();
        // An old process of Apache may still answer for a moment.
        wait_for("a new Apache", || (site.members() == ["Init Ok", "Init Ok"]).then_some(()));
        request.end(release);
        manager.finish().succeeds();
        site.is_in_order_on(&format!("release{next}"));
    }
    pings.finish();
    site.apache_saw_no_error();
}

fn cookie(replica: u64) -> String {
    format!("Cookie: ROUTEID=visitor.{replica}\r\n")
}

#[test]
fn password_of_balancer_manager_is_not_printed() {
    let site = Site::new();
    let settings = "etc/php/fpm/redundant-pools/www/pools-manager.toml";
    let text = site.read(settings).replace("http://localhost", "http://ann:secret@localhost");
    assert_eq!(text.matches("secret").count(), 2, "manager_url and monitor_url");
    site.write(settings, &text);
    let shown = |args: &[&str]| {
        let ran = site.run(args);
        let text = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!text.contains("secret") && !text.contains("ann"), "{ran}");
        text
    };
    let url = format!("http://***@localhost:{}/balancer-manager", site.port());
    assert!(shown(&["list"]).contains(&format!("manager_url=\"{url}\"")));
    assert!(shown(&["list", "--json"]).contains(&format!("\"manager_url\":\"{url}\"")));
    // The password is sent with each request; Apache does not require it here.
    site.run(&["start"]).succeeds();
    assert!(shown(&["check"]).contains("http://***@localhost:"));
    for args in [&["restart", "--json"][..], &["status"], &["check", "--json"], &["history"]] {
        shown(args);
    }
    site.write(settings, &text.replace("/balancer-manager", "/no-manager"));
    for args in [&["restart"][..], &["status", "--json"], &["check"]] {
        assert!(shown(args).contains("/no-manager answers 404"));
    }
    site.write(settings, &text.replace("/ping-php-fpm", "/no-page"));
    assert!(shown(&["restart"]).contains("/no-page answers 404"));
    for wrong in ["http://ann:se/cret@localhost", "ann:secret@localhost", "ftp://ann:secret@h"] {
        site.write(settings, &text.replace("http://ann:secret@localhost", wrong));
        for args in [&["list"][..], &["check"]] {
            assert!(!shown(args).contains("cret"));
        }
    }
}
