//! The root is found from the working directory upwards.

use harness::{Ran, Site, program_path};

use super::hostile::owners::while_mode;

/// Runs a command in a directory below the root.
fn run_in(site: &Site, dir: &str, args: &[&str]) -> Ran {
    site.run_with(args, |command| {
        command.current_dir(site.path(dir));
    })
}

#[test]
fn command_below_the_root_finds_it() {
    let site = Site::new();
    run_in(&site, "www/release1", &["start"]).succeeds();
    site.is_in_order_on("release1");
    let status = |dir: &str| run_in(&site, dir, &["status", "--json"]).succeeds().stdout.clone();
    let replicas = |text: &str| text.matches("release1").count();
    assert!(replicas(&status(".")) > 0);
    for dir in ["www/release1", "pid", "etc/php/fpm/redundant-pools/www", "www"] {
        assert_eq!(replicas(&status(dir)), replicas(&status(".")), "{dir}");
    }
    // A path with a slash is still relative to the working directory.
    run_in(&site, "www", &["switch", "www", "./release2"]).succeeds();
    site.is_in_order_on("release2");
    let list =
        site.command(program_path("ps-list")).current_dir(site.path("www")).output().unwrap();
    let printed = String::from_utf8_lossy(&list.stdout).into_owned();
    assert!(list.status.success() && printed.contains("release2"), "{list:?}");
}

#[test]
fn root_above_that_others_can_change_needs_its_name() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let below = site.path("www/release1");
    for (place, mode) in [("", 0o777), ("etc", 0o757), ("etc/php/fpm/redundant-pools", 0o1777)] {
        let changed = site.path(place);
        while_mode(&changed, mode, || {
            for command in [&["status"][..], &["restart"], &["check", "-q"], &["list"]] {
                let ran = site.unchanged_by(|| run_in(&site, "www/release1", command));
                let start = format!(
                    "error: the root ROOT, found above {}, is not safe: {} can be written by every user (mode {mode:04o})",
                    site.shown(&below.display().to_string()),
                    site.shown(&changed.display().to_string()).trim_end_matches('/'),
                );
                let stderr = site.shown(&ran.stderr);
                assert!(stderr.starts_with(&start), "{stderr}");
                assert!(
                    stderr.ends_with("; or name the root that you mean: --root ROOT\n"),
                    "{stderr}"
                );
                ran.status(2).stdout("");
            }
            // If the root is named, commands that only read work, and commands that change something are refused.
            let root = site.root().display().to_string();
            run_in(&site, "www/release1", &["list", "--root", &root]).succeeds();
            run_in(&site, "www/release1", &["restart", "--root", &root]).status(2);
            site.run(&["list"]).succeeds();
        });
    }
    run_in(&site, "www/release1", &["restart"]).succeeds();
}
