//! `warm_up`: the manager sends the first requests of a new generation.

use harness::Site;

/// Each request writes a line with the pid of its child.
const PAGE: &str = r#"<?php
$out = fopen(dirname(__DIR__, 2) . '/scratch/asked', 'a');
fwrite($out, getmypid() . " $_SERVER[REQUEST_URI] $_SERVER[SCRIPT_FILENAME]\n");
usleep(100_000);
"#;

#[test]
fn warm_up_requests_each_path_once_and_then_from_all_children() {
    let site = Site::new();
    site.scratch();
    site.add_page("index.php", PAGE);
    site.add_rollout(r#"warm_up = ["/index.php", "/login?from=deploy"]"#);
    let ran = site.run(&["start", "single", "www", "1"]);
    ran.status(0);
    let (line, rest) = ran.stdout.split_once("  Replica 1 has answered ").unwrap();
    assert_eq!(line, "Redundant pool \"www\"...\n  Starting replica 1  [OK]\n");
    assert!(rest.starts_with("6 warm-up requests in "), "{ran}");

    let asked = site.read("scratch/asked");
    let script = site.path("www/current/index.php");
    for uri in ["/index.php", "/login?from=deploy"] {
        let wanted = format!("{uri} {}", script.display());
        let lines = asked.lines().filter_map(|line| line.split_once(' '));
        let by: Vec<&str> = lines.filter(|line| line.1 == wanted).map(|line| line.0).collect();
        // The sample starts two children: each of them gets a request.
        assert_eq!(by.len(), 3, "{asked}");
        assert_ne!(by[1], by[2], "{asked}");
    }
}
