//! One of two pools is broken. Commands change the other one, and report the broken one.

use super::{POOL, SETTINGS, error};
use harness::Site;

const API: &str = "etc/php/fpm/redundant-pools/api";

/// A mistake in a file of one pool, and the message about it.
type Mistake = (&'static str, &'static str, &'static str, fn(&str) -> String);

/// One error in the settings, and one that php-fpm finds.
const MISTAKES: [Mistake; 2] = [
    ("pools-manager.toml", "[php]", "[phpp]", |pool| {
        let file = format!("ROOT/etc/php/fpm/redundant-pools/{pool}/pools-manager.toml");
        let line = if pool == "api" { 1 } else { 4 };
        error(&format!("{file}:{line}: unknown key `phpp`"), "did you mean `php`?")
    }),
    ("pool.conf", "pm.max_children = 5", "pm.max_children = 0", |pool| {
        let file = format!("ROOT/etc/php/fpm/redundant-pools/{pool}/1.conf");
        let said = format!("    ALERT: [pool {pool}1] pm.max_children must be a positive value");
        error(
            &format!("php-fpm does not accept {file}:\n{said}"),
            "nothing was changed; correct the file and run the command again",
        )
    }),
];

#[test]
fn broken_pool_does_not_prevent_commands_on_another_pool() {
    let site = two_pools();
    for (file, from, to, stderr) in MISTAKES {
        site.while_changed(&format!("{API}/{file}"), from, to, || {
            site.refuses(&["restart", "single", "api"], &stderr("api"));
            site.run(&["restart", "single", "www"]).succeeds();
            site.run(&["restart", "single", "www", "2"]).succeeds();
        });
    }
}

#[test]
fn broken_pool_does_not_prevent_changes_of_other_pools() {
    let site = two_pools();
    for (broken, sound, dir) in [("api", "www", API), ("www", "api", POOL)] {
        for (file, from, to, stderr) in MISTAKES {
            site.while_changed(&format!("{dir}/{file}"), from, to, || {
                for options in [&["--parallel", "1"][..], &["--strategy", "swap"]] {
                    let (before, stays) = (records(&site, sound), records(&site, broken));
                    let ran = site.run(&[&["restart"], options].concat());
                    assert_eq!(site.shown(&ran.stderr), stderr(broken), "{ran}");
                    ran.status(2);
                    assert!(records(&site, sound).iter().all(|it| !before.contains(it)), "{ran}");
                    assert_eq!(records(&site, broken), stays, "{ran}");
                    let blocks = ran.stdout.matches("Redundant pool ").count();
                    assert_eq!(blocks, 2, "{ran}");
                }
            });
        }
    }
    site.run(&["status"]).succeeds();
}

/// A pool that fails in the middle, and one whose release is gone, in one command.
#[test]
fn errors_of_all_pools_are_reported() {
    let site = two_pools();
    site.replace(SETTINGS, "www/current.release", "www/no.release");
    let ran = site.run(&["restart"]);
    let said = site.shown(&ran.status(2).stderr);
    assert!(said.starts_with("error: pool \"www\": ROOT/www/no.release is missing\n"), "{ran}");
    assert_eq!(records(&site, "api"), ["api.1.g2.conf", "api.2.g2.conf"]);

    site.replace(
        &format!("{API}/pools-manager.toml"),
        "[php]",
        "[rollout]\nwarm_up = [\"/bad.php\"]\n[php]",
    );
    site.add_page("bad.php", "<?php http_response_code(500);");
    let ran = site.run(&["restart"]);
    let said = site.shown(&ran.status(2).stderr);
    let undone = "error: the restart failed: pool \"api\" is on release1 as before. Visitors were not affected.\n";
    assert!(said.starts_with(undone), "{ran}");
    assert!(said.contains("\npool \"www\": ROOT/www/no.release is missing\n"), "{ran}");
}

#[test]
fn list_start_and_stop_skip_a_broken_pool() {
    let site = two_pools();
    let (file, from, to, stderr) = MISTAKES[0];
    site.while_changed(&format!("{API}/{file}"), from, to, || {
        let listed = site.run(&["list"]);
        assert!(listed.status(2).stdout.starts_with("www -> ("), "{listed}");
        for command in ["list", "stop", "start", "repair"] {
            let ran = site.run(&[command]);
            assert_eq!(site.shown(&ran.status(2).stderr), stderr("api"), "{ran}");
        }
        site.run(&["list", "-q"]).prints("api\nwww\n");
    });
    assert_eq!(records(&site, "www"), ["www.1.g2.conf", "www.2.g2.conf"]);
    assert_eq!(records(&site, "api"), ["api.1.g1.conf", "api.2.g1.conf"]);
    site.run(&["status"]).succeeds();
}

/// The records of a pool's generations.
fn records(site: &Site, pool: &str) -> Vec<String> {
    let prefix = format!("pid/{pool}.");
    let mut names = site.file_names();
    names.retain(|name| name.starts_with(&prefix) && name.strip_suffix(".conf").is_some());
    names.iter().map(|name| name.replace("pid/", "")).collect()
}

#[test]
fn status_shows_the_good_pool_and_the_error_of_the_other() {
    let site = two_pools();
    let (file, from, to, stderr) = MISTAKES[0];
    let shown = |pool: &str| {
        format!(
            "Redundant pool \"{pool}\"...\n  \
             Status for replica 1 [OK]\n  \
             Status for replica 2 [OK]\n"
        )
    };
    site.while_changed(&format!("{API}/{file}"), from, to, || {
        let ran = site.unchanged_by(|| site.run(&["status", "-q"]));
        ran.stdout(&format!("Redundant pool \"api\"...\n{}", shown("www"))).status(2);
        assert_eq!(site.shown(&ran.stderr), stderr("api"));
    });
    site.while_changed(SETTINGS, from, to, || {
        site.run(&["stop", "single", "api", "1"]).succeeds();
        let ran = site.unchanged_by(|| site.run(&["status", "-q"]));
        // What the operator has stopped is no error.
        let api = shown("api").replacen("[OK]", "[Stopped]", 1);
        ran.stdout(&format!("{api}Redundant pool \"www\"...\n")).status(2);
        assert_eq!(site.shown(&ran.stderr), stderr("www"));
        site.run(&["start", "api"]).succeeds();
        site.run(&["status", "-q", "api"]).prints(&shown("api"));
    });
}

/// The sample, and a pool "api" beside it that no balancer knows.
fn two_pools() -> Site {
    let site = Site::new();
    for file in ["1.conf", "2.conf", "php-fpm.conf", "pool.conf"] {
        let text = site.read(&format!("{POOL}/{file}")).replace("www/", "api/");
        site.write(&format!("{API}/{file}"), &text.replace("[www", "[api").replace("-www", "-api"));
    }
    let settings =
        "[php]\ncurrent_release_symlink = \"www/current.release\"\ncurrent_dir = \"www/current\"\n";
    site.write(&format!("{API}/pools-manager.toml"), settings);
    site.run(&["start"]).succeeds();
    site
}
