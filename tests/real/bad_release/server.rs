//! Releases on which php-fpm itself fails: it ends, hangs, dies, or ignores signals.

use rustix::process::{Signal, kill_process};

use super::bounced;
use harness::{Site, php_fpm};

const STRATEGIES: [&str; 2] = ["rolling", "swap"];

/// What runs in place of php-fpm on release 2, and the error.
const FAKES: [(&str, &[&str]); 6] = [
    (
        "echo 'ERROR: no license' >&2; exit 70",
        &["generation 2 of replica 1 did not start: php-fpm ended with exit status: 70\n        \
         ERROR: no license\n"],
    ),
    (
        "kill -SEGV $$",
        &["generation 2 of replica 1 did not start: php-fpm ended with signal: 11 (SIGSEGV)\n"],
    ),
    ("exit 0", &["no master listens on SOCKET\n"]),
    ("exec sleep 60", &["generation 2 of replica 1 did not start: php-fpm was not up after 5s\n"]),
    // A fake of a php-fpm that never answers: the real one, stopped before it can accept.
    (
        "\"$php\" \"$@\" || exit; pid=$(cat \"$pid_file\"); kill -STOP $pid; \
         until grep -q 'State:.T' /proc/$pid/status; do :; done; \
         kill -STOP $(cat /proc/$pid/task/$pid/children) || true",
        &["generation 2 of replica 1 was not ready after 5s: no answer from SOCKET within "],
    ),
    // A fake of a php-fpm that dies when it has said that it is up.
    (
        "\"$php\" \"$@\" || exit; pid=$(cat \"$pid_file\"); kill -STOP $pid; \
         until grep -q 'State:.T' /proc/$pid/status; do :; done; \
         kill -KILL $(cat /proc/$pid/task/$pid/children) $pid",
        &[
            "no master listens on SOCKET\n",
            "generation 2 of replica 1 has died before it was ready\n",
        ],
    ),
];

#[test]
fn rolling_restart_with_an_ending_php_fpm_is_rolled_back() {
    bounces("rolling", &FAKES[..3]);
}

#[test]
#[ignore = "takes long: bin/test --all"]
fn rolling_restart_with_a_broken_php_fpm_is_rolled_back() {
    bounces("rolling", &FAKES);
}

#[test]
#[ignore = "takes long: bin/test --all"]
fn broken_php_fpm_rolls_a_swap_back() {
    bounces("swap", &FAKES);
}

fn bounces(strategy: &str, fakes: &[(&str, &[&str])]) {
    for (fake, said) in fakes {
        let site = Site::new();
        site.wrap_php_fpm(fake);
        site.add_rollout("ready_timeout = \"5s\"");
        site.run(&["start"]).succeeds();
        site.switch("release2");
        let load = site.steady_load();
        let ran = site.run(&["restart", "--strategy", strategy]);
        let socket = site.path("sockets/php-fpm-www1.g2.sock").display().to_string();
        let is_told = |said: &&str| {
            let said = said.replace("SOCKET", &socket);
            ran.stdout.contains(&format!("  Starting replica 1  [FAILED]\n    {said}"))
        };
        assert!(said.iter().any(is_told), "{said:?}\n{ran}");
        ran.status(1).stderr(&bounced(&site));
        site.serves("release1");
        load.finish();
    }
}

/// php-fpm loads the preload script at each start, also for a test of its configuration.
#[test]
fn failing_preload_is_found_before_any_stop() {
    let site = Site::new();
    let preload = site.path("www/current/preload.php");
    let command = format!(
        "[php]\nphp_fpm_cmd = [{:?}, \"-p\", \"%CURRENT_DIR%\", \"-d\", \"opcache.preload={}\", \"-d\", \"opcache.preload_user=www-data\"]\n",
        php_fpm(),
        preload.display()
    );
    site.replace("etc/php/fpm/redundant-pools/www/pools-manager.toml", "[php]\n", &command);
    site.add_page("preload.php", "<?php");
    site.run(&["start"]).succeeds();
    let load = site.steady_load();
    site.write("www/release2/preload.php", "<?php throw new Exception('no such class');");
    site.switch("release2");
    for strategy in STRATEGIES {
        let ran = site.unchanged_by(|| site.run(&["restart", "--strategy", strategy]));
        assert!(ran.stderr.contains("Uncaught Exception: no such class"), "{ran}");
        ran.status(2);
    }
    load.finish();
}

#[test]
fn php_fpm_that_dies_during_warm_up_is_rolled_back() {
    for strategy in STRATEGIES {
        let site = Site::new();
        site.run(&["start"]).succeeds();
        let load = site.steady_load();
        let (manager, _warm_up) = site.restart_until_warm_up(strategy);
        site.kill_generation("www.1.g2");
        let ran = manager.finish();
        assert!(ran.stdout.contains("  Starting replica 1  [FAILED]\n    warm-up of "), "{ran}");
        ran.status(1).stderr(&bounced(&site));
        site.serves("release1");
        load.finish();
    }
}

/// The requests of the dead generation are lost. But the last replica that serves is not stopped too.
#[test]
fn death_of_a_generation_that_serves_for_another_replica_stops_the_rollout() {
    let site = Site::new();
    site.add_rollout("ready_timeout = \"5s\"");
    site.run(&["start"]).succeeds();
    let requests = site.hold_both();
    site.switch("release2");
    let mut manager = site.spawn(&["restart", "--strategy", "rolling", "--json"]);
    manager.await_event("that it waits", |event| event["event"] == "progress");
    let [first, second] = requests;
    first.end(1);
    manager.await_event("that it waits for replica 2", |event| {
        event["event"] == "progress" && event["replica"] == 2
    });
    // The generation to which the name of replica 2 is lent.
    site.kill_generation("www.1.g2");
    let ran = manager.finish();
    let said = "generation 2 of replica 1, which was to serve meanwhile, has died";
    assert!(ran.stdout.contains(said), "{ran}");
    ran.status(1);
    assert!(ran.stderr.contains("replica 2 runs"), "{ran}");
    assert_eq!(site.members()[1], "Init Ok");
    assert_eq!(site.get("/ping.php").body, "pong1\n");
    second.end(1);
    site.run(&["restart"]).succeeds();
    site.is_in_order_on("release2");
}

/// php-fpm has no request any more, so a kill at the timeout loses nothing.
#[test]
fn php_fpm_that_ignores_quit_is_killed_at_the_timeout() {
    for strategy in STRATEGIES {
        let site = Site::new();
        site.run(&["start"]).succeeds();
        let load = site.steady_load();
        // A fake of a master that hangs: while it is stopped, only KILL has an effect. Its children serve on.
        for master in site.masters() {
            kill_process(master, Signal::STOP).unwrap();
        }
        site.switch("release2");
        site.run(&["restart", "--strategy", strategy, "--timeout", "1"]).succeeds();
        site.is_in_order_on("release2");
        load.finish();
    }
}
