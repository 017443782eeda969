//! `check` finds each fault, prints a remedy, and changes nothing.

mod balancer;
mod configured;
mod php;
mod running;

use std::process::Command;

use serde_json::{Value, json};

use harness::{Files, Process, Site};

const POOL: &str = "etc/php/fpm/redundant-pools/www";
const APACHE: &str = "etc/apache2/sites-enabled/82-php-fpm.conf";

#[test]
fn check_finds_nothing_in_the_sample() {
    healthy(&Site::new());
}

#[test]
fn check_finds_nothing_in_the_sample_of_an_ordinary_user() {
    healthy(&Site::prepared().owned_by_ordinary_user().serve());
}

fn healthy(site: &Site) {
    let monitor = format!("http://localhost:{}/ping-php-fpm", site.port());
    let not_asked = format!("{monitor} is not requested: no replica runs");
    site.run(&["check"]).prints(&all_ok(site, &not_asked, "none runs"));
    site.run(&["start"]).succeeds();
    site.run(&["check", "all"]).prints(&all_ok(site, &monitor, "2 of 2 run"));
    site.run(&["check", "single", "www"]).prints(&all_ok(site, &monitor, "2 of 2 run"));
    site.run(&["check", "-q"]).prints("");
    let ran = site.run(&["check", "-q", "--json"]);
    let found: Value = serde_json::from_str(&ran.succeeds().stdout).unwrap();
    let pools = json!([{"pool": "www", "ok": true, "topics": []}]);
    let expected = json!({"ok": true, "root": site.root(), "topics": [], "pools": pools});
    assert_eq!(found, expected);
}

fn all_ok(site: &Site, monitor: &str, replicas: &str) -> String {
    let root = site.root().display();
    let program = newest_php_fpm(site);
    format!(
        "Root \"{root}\"...\n  \
         Directory pid  [OK]  ({root}/pid)\n  \
         Serve  [OK]  (does not run)\n\
         Redundant pool \"www\"...\n  \
         Configuration  [OK]  (2 replicas)\n  \
         PHP-FPM  [OK]  ({program})\n  \
         Release  [OK]  ({root}/www/release1)\n  \
         Sockets  [OK]  ({root}/sockets)\n  \
         Balancer  [OK]  (apache)\n  \
         Monitor  [OK]  ({monitor})\n  \
         Replicas  [OK]  ({replicas})\n"
    )
}

/// The version and the path of the newest php-fpm of this machine.
fn newest_php_fpm(site: &Site) -> String {
    let found = document(site);
    let notes = topic(&found["pools"][0], "php_fpm")["notes"].clone();
    let notes: Vec<String> = serde_json::from_value(notes).unwrap();
    let printed = Command::new(&notes[1]).arg("-v").output().unwrap().stdout;
    assert!(String::from_utf8(printed).unwrap().starts_with(&format!("PHP {} (fpm", notes[0])));
    notes.join(", ")
}

#[test]
fn findings_have_a_remedy() {
    let site = Site::prepared();
    site.replace(APACHE, "fcgi://pool-1\" retry=0", "fcgi://pool-1\" retry=7");
    let site = site.serve();
    site.switch("nowhere");
    let root = site.root().display();
    site.run(&["check", "-q"])
        .stdout(&format!(
            "Redundant pool \"www\"...\n  \
             Release  [Error]\n    \
             {root}/www/current.release points at nowhere: No such file or directory (os error 2)\n    \
             help: point it at a release: ln -sfn RELEASE {root}/www/current.release\n  \
             Balancer  [Warning]\n    \
             member fcgi://pool-1 has retry=7: after one failure Apache leaves it out for 7 seconds, and no command can change that\n    \
             help: add retry=0 to its BalancerMember in Apache's configuration\n"
        ))
        .stderr("error: pool \"www\" is not in order: Release\n")
        .status(2);
    // Warnings alone are no failure.
    site.switch("release1");
    assert_eq!(site.run(&["check", "-q"]).succeeds().stdout.lines().count(), 4);
}

#[test]
fn check_continues_after_a_broken_pool() {
    let site = Site::new();
    site.write("etc/php/fpm/redundant-pools/api/pools-manager.toml", "[php]\nmonitor = \"\"\n");
    // The pool may want the gateway, whose port another program may have.
    site.write("etc/pools-manager.toml", "");
    let root = site.root().display();
    site.run(&["check", "-q"])
        .stdout(&format!(
            "Redundant pool \"api\"...\n  \
             Configuration  [Error]\n    \
             {root}/etc/php/fpm/redundant-pools/api/pools-manager.toml:2: unknown key `monitor`\n    \
             help: did you mean `monitor_url`?\n"
        ))
        .stderr("error: pool \"api\" is not in order: Configuration\n")
        .status(2);
    site.run(&["check", "-q", "single", "www"]).prints("");
}

/// A pool that began as a copy of another one, with its sections as they were.
#[test]
fn check_finds_pools_that_share_a_socket() {
    let site = Site::new();
    for file in ["1.conf", "2.conf", "php-fpm.conf", "pool.conf", "pools-manager.toml"] {
        let text = site.read(&format!("{POOL}/{file}"));
        site.write(&format!("etc/php/fpm/redundant-pools/api/{file}"), &text);
    }
    let told = |replica| {
        format!(
            "error: replica {replica} has the same socket as replica {replica} of the pool \
             \"www\": ROOT/sockets/php-fpm-www{replica}.sock\n  \
             help: give its php-fpm section another name, like [api{replica}]"
        )
    };
    assert_eq!(found(&site, "sockets"), [told(1), told(2)]);
    site.run(&["check", "-q"])
        .stderr(
            "error: pool \"api\" is not in order: Sockets\n\
             pool \"www\" is not in order: Sockets\n",
        )
        .status(2);
    assert_eq!(site.run(&["check", "-q", "single", "www"]).succeeds().stdout, "");
}

#[test]
fn check_changes_nothing_and_does_not_wait() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let before = state(&site);
    site.run(&["check"]).succeeds();
    assert_eq!(state(&site), before);

    let request = site.hold();
    site.switch("release2");
    let mut manager = site.spawn(&["restart", "--json"]);
    manager.await_event("that it waits", |event| event["accepted"] == 1);
    let before = state(&site);
    let ran = site.run(&["check"]);
    let holder = format!("a command changes the pool: pid {}, ", manager.pid().as_raw_nonzero());
    assert!(ran.succeeds().stdout.contains(&holder), "{ran}");
    site.run(&["check", "-q"]).prints("");
    assert_eq!(state(&site), before);
    request.end(1);
    manager.finish().succeeds();
    site.is_in_order_on("release2");
}

/// All that a command could change: files, lock, members and generations, masters.
fn state(site: &Site) -> (Files, String, Value, usize) {
    let is_master = |process: &Process| process.title.contains("master process");
    let masters = site.php_fpm().iter().filter(|process| is_master(process)).count();
    (site.files(), site.read("pid/www.lock"), site.status(), masters)
}

/// The document of `check --json`, whatever the exit status.
fn document(site: &Site) -> Value {
    serde_json::from_str(&site.run(&["check", "--json"]).stdout).unwrap()
}

fn topic<'a>(pool: &'a Value, name: &str) -> &'a Value {
    pool["topics"].as_array().unwrap().iter().find(|it| it["topic"] == name).unwrap()
}

/// The findings of one topic, with ROOT in place of the root's path.
fn found(site: &Site, name: &str) -> Vec<String> {
    let document = document(site);
    let findings = topic(&document["pools"][0], name)["findings"].as_array().unwrap().clone();
    let text =
        |value: &Value| value.as_str().unwrap().replace(site.root().to_str().unwrap(), "ROOT");
    let told = |it: &Value| {
        let (level, message, help) = (&it["level"], &it["message"], &it["help"]);
        format!("{}: {}\n  help: {}", text(level), text(message), text(help))
    };
    findings.iter().map(told).collect()
}
