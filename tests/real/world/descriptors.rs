//! A manager with too few file descriptors. It must not take what it cannot read for missing.

use std::collections::BTreeSet;

use harness::{Program, Ran, Site};

/// Runs a command with this many descriptors at most.
fn run(site: &Site, limit: u32, args: &[&str]) -> Ran {
    let manager = site.manager(&[]).get_program().to_owned();
    let mut command = site.command("prlimit");
    command.arg(format!("--nofile={limit}")).arg(manager).args(args);
    Program::start(&mut command).finish()
}

/// Ascending limits: from limits with which no command can begin to limits that are high enough.
fn limits() -> impl Iterator<Item = u32> {
    (4..32).step_by(2)
}

#[test]
fn too_few_descriptors_change_no_running_replica() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let (masters, files) = (site.masters(), site.files());
    let mut errors = BTreeSet::new();
    for limit in limits() {
        for args in [&["start"][..], &["status"], &["check"], &["restart", "--dry-run"]] {
            let ran = run(&site, limit, args);
            let is_told = ["Too many open files", " files open, and needs "]
                .iter()
                .any(|told| ran.stderr.contains(told));
            if is_told {
                errors.insert(args[0]);
            }
            assert_eq!(site.all_masters().len(), 2, "{limit}: {ran}");
            assert_eq!(site.files(), files, "{limit}: {ran}");
            let says_gone = ran.stdout.contains("not running") && ran.has_succeeded();
            assert!(!says_gone, "{limit}: {ran}");
        }
    }
    assert!(errors.contains("start") && errors.contains("status"), "{errors:?}");
    assert_eq!(site.masters(), masters);
}

/// However a restart or a stop ends, the next command finds all that is left.
#[test]
fn too_few_descriptors_leave_no_process_behind() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    for limit in limits().step_by(3) {
        let ran = run(&site, limit, &["restart", "--timeout", "2"]);
        if !ran.has_succeeded() {
            site.run(&["repair"]).succeeds();
        }
        assert_eq!(site.all_masters().len(), 2, "{limit}: {ran}");
        let ran = run(&site, limit, &["stop", "--timeout", "2"]);
        if ran.has_succeeded() {
            assert!(site.php_fpm().is_empty(), "{limit}: {ran}");
        } else {
            site.run(&["stop"]).succeeds();
            assert!(site.php_fpm().is_empty(), "{limit}: {ran}");
        }
        site.run(&["start"]).succeeds();
    }
}
