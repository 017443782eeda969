//! A low limit of open files for the manager and its child processes.

use harness::{Program, Ran, Site};

fn run_with_fds(site: &Site, fds: u32, args: &[&str]) -> Ran {
    let manager = site.manager(args);
    let mut command = site.command("prlimit");
    command.arg(format!("--nofile={fds}:{fds}"));
    Program::start(command.arg(manager.get_program()).args(manager.get_args())).finish()
}

#[test]
fn limit_of_sixty_four_files_is_enough() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let load = site.sleepers(2, "0.005");
    for (strategy, release) in [("rolling", "release2"), ("swap", "release1")] {
        site.switch(release);
        run_with_fds(&site, 64, &["restart", "--strategy", strategy]).succeeds();
        site.is_in_order_on(release);
    }
    load.finish();
    site.apache_saw_no_error();
}

#[test]
fn too_low_limit_of_files_is_an_error_and_changes_nothing() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    for fds in [63, 16, 8, 6, 4] {
        let ran = site.unchanged_by(|| run_with_fds(&site, fds, &["restart"]));
        ran.status(2).stdout("").stderr(&format!(
            "error: this process may have {fds} files open, and needs 64\n  help: raise the limit, \
             which php-fpm inherits: ulimit -n 1024, or LimitNOFILE= of a systemd unit\n"
        ));
    }
}
