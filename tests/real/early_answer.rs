//! A script that works on after its response (`fastcgi_finish_request`). Its connection is closed,
//! but no command may end it.

use std::fs;

use harness::Site;

#[test]
fn rolling_restart_waits_for_a_script_after_its_response() {
    works_on_during(&["restart", "--strategy", "rolling"]);
}

#[test]
fn swap_waits_for_a_script_after_its_response() {
    works_on_during(&["restart", "--strategy", "swap"]);
}

#[test]
fn stop_waits_for_a_script_after_its_response() {
    works_on_during(&["stop"]);
}

fn works_on_during(command: &[&str]) {
    let site = Site::new();
    site.add_page("early.php", include_str!("pages/early.php"));
    site.run(&["start"]).succeeds();
    let files = ["one", "two"].map(|name| site.scratch().join(name));
    for file in &files {
        let answer = site.get(&format!("/early.php?file={}", file.display()));
        assert_eq!((answer.status, answer.body.as_str()), (200, "early\n"));
    }
    site.run(command).succeeds();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        assert_eq!(text, "slept for a second\n");
    }
}
