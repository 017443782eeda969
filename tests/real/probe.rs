//! Without `warm_up`, a new generation must serve its front page before it is published.

use std::fs;

use harness::{Ran, Site};

const BROKEN: &str = "<?php this is no PHP;";

/// The content of the front page of release 2, and the error.
const MISTAKES: [(&str, &str); 5] = [
    (BROKEN, "status 500\n    PHP message: PHP Parse error: "),
    ("<?php http_response_code(503);", "status 503\n"),
    // Its status is 200, since something has been sent by then.
    (
        "<?php ini_set('display_errors', '1'); echo 'begun'; flush(); no_such_function();",
        "status 200, and a fatal error:\n",
    ),
    ("<?php posix_kill(getmypid(), 9); sleep(60);", "closed the connection before"),
    ("<?php set_time_limit(0); sleep(60);", "no answer from "),
];

fn running() -> Site {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    site
}

fn says(ran: &Ran, what: &str) {
    assert!(ran.stdout.contains(what), "no {what:?}\n{ran}");
}

#[test]
fn rolling_restart_with_a_failing_front_page_is_rolled_back() {
    bounces("rolling");
}

#[test]
#[ignore = "takes long: bin/test --all"]
fn failing_front_page_rolls_a_swap_back() {
    bounces("swap");
}

fn bounces(strategy: &str) {
    let site = running();
    site.add_rollout("ready_timeout = \"5s\"");
    let load = site.steady_load();
    for (page, said) in MISTAKES {
        site.write("www/release2/index.php", page);
        let ran = site.run(&["switch", "www", "release2", "--strategy", strategy]);
        says(&ran, "  Starting replica 1  [FAILED]\n    the front page of generation ");
        says(&ran, &format!(" of replica 1 on {}: ", site.path("www/release2").display()));
        says(&ran, said);
        says(&ran, " answers it well\n");
        ran.status(1);
        site.serves("release1");
    }
    fs::copy(site.path("www/release1/index.php"), site.path("www/release2/index.php")).unwrap();
    site.run(&["switch", "www", "release2", "--strategy", strategy]).succeeds();
    site.is_in_order_on("release2");
    load.finish();
}

#[test]
fn front_page_is_found_in_the_directories_of_frameworks() {
    let site = Site::new();
    for release in ["release1", "release2"] {
        fs::remove_file(site.path(&format!("www/{release}/index.php"))).unwrap();
    }
    site.add_page("public/index.php", "<?php echo $_SERVER['REQUEST_URI'];");
    site.run(&["start"]).succeeds();
    site.write("www/release2/public/index.php", BROKEN);
    let ran = site.run(&["switch", "www", "release2"]);
    says(&ran, "PHP message: PHP Parse error: ");
    ran.status(1);
    site.is_in_order_on("release1");
}

/// For example, the site is down for maintenance.
#[test]
fn front_page_that_also_failed_before_does_not_prevent_a_rollout() {
    let site = Site::new();
    site.add_page("index.php", "<?php http_response_code(503);");
    // There is nothing to compare with, and nothing else that would serve.
    let ran = site.run(&["start"]);
    says(&ran, "there is no other generation to compare it with\n");
    ran.status(0);
    for (strategy, release) in [("rolling", "release2"), ("swap", "release1")] {
        let ran = site.run(&["switch", "www", release, "--strategy", strategy]);
        says(&ran, ": status 503\ngeneration ");
        says(&ran, " does not answer it well either\n");
        ran.succeeds();
        site.is_in_order_on(release);
    }
}

#[test]
fn release_without_a_front_page_gets_no_probe() {
    let site = running();
    fs::remove_file(site.path("www/release2/index.php")).unwrap();
    for release in ["release2", "release1"] {
        let ran = site.run(&["switch", "www", release]);
        assert!(!ran.succeeds().stdout.contains("Warning"), "{ran}");
        site.is_in_order_on(release);
    }
}

#[test]
fn empty_warm_up_disables_the_probe() {
    let site = running();
    site.add_rollout("warm_up = []");
    site.write("www/release2/index.php", BROKEN);
    site.run(&["switch", "www", "release2"]).succeeds();
    site.is_in_order_on("release2");
    assert_eq!(site.get("/index.php").status, 500);
}

#[test]
fn each_new_generation_gets_one_probe() {
    let site = Site::new();
    let asked = site.scratch().join("asked");
    site.add_page(
        "index.php",
        &format!(
            "<?php file_put_contents('{}', \"$_SERVER[REQUEST_METHOD] $_SERVER[REQUEST_URI] \
             $_SERVER[SCRIPT_NAME] $_SERVER[HTTP_HOST]\\n\", FILE_APPEND);",
            asked.display()
        ),
    );
    // The host of monitor_url.
    let line = format!("GET / /index.php localhost:{}\n", site.port());
    site.run(&["start"]).succeeds();
    assert_eq!(fs::read_to_string(&asked).unwrap(), line.repeat(2));
    site.run(&["restart"]).succeeds();
    assert_eq!(fs::read_to_string(&asked).unwrap(), line.repeat(4));
}
