//! Releases whose warm-up page fails, each with its own error.

use super::{WARM_UP, bounced};
use harness::Site;

/// The content of the page, and the error.
const MISTAKES: [(&str, &str); 6] = [
    ("<?php http_response_code(500);", "status 500\n"),
    (
        "<?php http_response_code(503); error_log('no database');",
        "status 503\n    PHP message: no database\n",
    ),
    ("<?php throw new Exception('no cache');", "Uncaught Exception: no cache in "),
    ("<?php str_repeat('x', 1 << 30);", "Allowed memory size of 134217728 bytes exhausted "),
    // The child ends in the middle of the page.
    (
        "<?php ob_start(); posix_kill(getmypid(), 9); sleep(60);",
        "closed the connection before its answer was whole\n",
    ),
    ("<?php set_time_limit(0); sleep(60);", "no answer from "),
];

#[test]
fn rolling_restart_with_a_failing_page_is_rolled_back() {
    bounces("rolling");
}

#[test]
#[ignore = "takes long: bin/test --all"]
fn failing_page_rolls_a_swap_back() {
    bounces("swap");
}

fn bounces(strategy: &str) {
    let site = Site::new();
    site.add_rollout(&format!("{WARM_UP}\nready_timeout = \"5s\""));
    site.add_page("warm.php", "<?php echo 'warm';");
    site.run(&["start"]).succeeds();
    site.switch("release2");
    let load = site.steady_load();
    let new = site.path("www/release2");
    for (page, said) in MISTAKES {
        site.write("www/release2/warm.php", page);
        let ran = site.run(&["restart", "--strategy", strategy]);
        let what = format!(" of replica 1 on {}: /warm.php: ", new.display());
        let (before, reason) = ran.stdout.split_once(&what).unwrap_or_else(|| panic!("{ran}"));
        let (_, warm_up) = before.split_once("  Starting replica 1  [FAILED]\n    ").unwrap();
        assert!(warm_up.starts_with("warm-up of generation "), "{ran}");
        assert!(reason.contains(said), "{page}: {ran}");
        ran.status(1).stderr(&bounced(&site));
        site.serves("release1");
    }
    site.write("www/release2/warm.php", "<?php echo 'warm';");
    site.run(&["restart", "--strategy", strategy]).succeeds();
    site.is_in_order_on("release2");
    load.finish();
}
