//! Mistakes in the release link and in the mount point of the release.

use std::fs;
use std::os::unix::fs::symlink;

use super::{SETTINGS, error, running};

const LINK: &str = "www/current.release";

#[test]
fn link_to_no_release_is_an_error() {
    let site = running();
    let link_to_one = format!("point it at a release: ln -sfn RELEASE ROOT/{LINK}");
    let points = |target: &str, why: &str| {
        error(&format!("ROOT/{LINK} points at {target}{why}"), &link_to_one)
    };
    let no_file = "No such file or directory (os error 2)";
    let mistakes = [
        ("release9", points("release9", &format!(": {no_file}"))),
        ("/absent/release", points("/absent/release", &format!(": {no_file}"))),
        (
            "current.release",
            points("current.release", ": Too many levels of symbolic links (os error 40)"),
        ),
        (
            "release1/ping.php",
            error(
                &format!("ROOT/{LINK}: ROOT/www/release1/ping.php is not a directory"),
                "a release is a directory: link to one",
            ),
        ),
        // Only one word differs from what the operator meant.
        ("current", points("ROOT/www/current", ", which is current_dir and empty")),
    ];
    for (target, stderr) in mistakes {
        site.switch(target);
        for command in [&["restart"][..], &["restart", "--strategy", "swap"], &["start"]] {
            site.refuses(command, &stderr);
        }
    }
    // Running replicas keep their release.
    site.run(&["status", "-q"]).succeeds();
    site.switch("release2");
    site.run(&["restart"]).succeeds();
    site.is_in_order_on("release2");
}

#[test]
fn file_in_place_of_the_release_link_is_an_error() {
    let site = running();
    let link = site.path(LINK);
    fs::remove_file(&link).unwrap();
    site.refuses(
        &["restart"],
        &error(
            &format!("ROOT/{LINK} is missing"),
            &format!("point it at a release: ln -sfn RELEASE ROOT/{LINK}"),
        ),
    );
    let no_link = error(
        &format!("ROOT/{LINK} is not a symlink"),
        &format!("move it away, and link to a release: ln -sfn RELEASE ROOT/{LINK}"),
    );
    fs::create_dir(&link).unwrap();
    site.refuses(&["restart"], &no_link);
    fs::remove_dir(&link).unwrap();
    fs::write(&link, "release1").unwrap();
    site.refuses(&["restart"], &no_link);
    fs::remove_file(&link).unwrap();
    // `stop` needs no release.
    site.run(&["stop"]).succeeds();
    symlink("release1", &link).unwrap();
    site.run(&["start"]).succeeds();
}

#[test]
fn unsuitable_mount_point_is_an_error() {
    let site = running();
    let names = "it names the empty directory on which the release is mounted";
    let not_empty = |holds: &str| {
        format!(
            "it holds {holds}; the release is mounted over it, so it must have no content of its own"
        )
    };
    let mistakes = [
        (
            "www/absent",
            "www/absent: No such file or directory (os error 2)",
            format!("{names}: mkdir ROOT/www/absent"),
        ),
        (
            "www/release1/ping.php",
            "www/release1/ping.php: Not a directory (os error 20)",
            format!("{names}: correct it in the pool's pools-manager.toml"),
        ),
        ("www/full", "www/full is not empty", not_empty("page.php")),
    ];
    site.write("www/full/page.php", "");
    for (dir, what, help) in mistakes {
        let (from, to) = ("\"www/current\"", format!("{dir:?}"));
        site.while_changed(SETTINGS, from, &to, || {
            site.refuses(&["restart"], &error(&format!("current_dir ROOT/{what}"), &help));
        });
    }
    // A release was copied to the mount point of the running replicas.
    site.write("www/current/ping.php", "<?php echo 'stray';");
    let stray = error("current_dir ROOT/www/current is not empty", &not_empty("ping.php"));
    site.refuses(&["restart"], &stray);
    site.refuses(&["start"], &stray);
}
