//! A manager that has too few file descriptors for what it has to look at: what it cannot see, it does
//! not take for gone.

use std::collections::BTreeSet;

use crate::site::{Program, Ran, Site};

/// Opens all descriptors but this many, of those that a manager wants to have, and goes on as it.
const EXEC: &str = r#"
ulimit -n 64
for fd in $(seq 3 $((63 - $1))); do eval "exec $fd</dev/null"; done
shift
exec "$@"
"#;

/// Runs a command that has this many descriptors left.
fn run(site: &Site, free: u32, args: &[&str]) -> Ran {
    let manager = site.manager(&[]).get_program().to_owned();
    let mut command = site.command("bash");
    command.args(["-c", EXEC, "bash", &free.to_string()]).arg(manager).args(args);
    Program::start(&mut command).finish()
}

/// From those with which nothing can be looked at to those with which all can.
fn few() -> impl Iterator<Item = u32> {
    (5..45).step_by(4)
}

#[test]
fn too_few_descriptors_change_nothing_that_runs() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let (masters, files) = (site.masters(), site.files());
    let mut failed = BTreeSet::new();
    for free in few() {
        for args in [&["start"][..], &["status"], &["restart", "--dry-run"]] {
            let ran = run(&site, free, args);
            if ran.stderr.contains("Too many open files") {
                failed.insert(args[0]);
            }
            assert_eq!(site.all_masters().len(), 2, "{free}: {ran}");
            assert_eq!(site.files(), files, "{free}: {ran}");
        }
    }
    assert_eq!(failed, ["restart", "start", "status"].into());
    assert_eq!(site.masters(), masters);
}

/// Whatever becomes of a restart, and of a stop, the next command finds all that is left.
#[test]
fn too_few_descriptors_leave_no_process_behind() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    for free in few().step_by(2) {
        let ran = run(&site, free, &["restart", "--timeout", "2"]);
        if !ran.has_succeeded() {
            site.run(&["repair"]).succeeds();
        }
        assert_eq!(site.all_masters().len(), 2, "{free}: {ran}");
        let ran = run(&site, free, &["stop", "--timeout", "2"]);
        if !ran.has_succeeded() {
            site.run(&["stop"]).succeeds();
        }
        assert!(site.php_fpm().is_empty(), "{free}: {ran}");
        site.run(&["start"]).succeeds();
    }
}
