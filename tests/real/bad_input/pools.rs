//! One pool is broken, and the other one is not: that is no reason to do nothing for it, and none
//! to begin with what cannot be done for all.

use super::super::site::Site;
use super::{POOL, SETTINGS, error};

const API: &str = "etc/php/fpm/redundant-pools/api";

/// A mistake in a file of one of them, and what is said of it.
type Mistake = (&'static str, &'static str, &'static str, fn(&str) -> String);

/// Found when the settings are read, and found when php-fpm is asked.
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
fn a_broken_pool_is_no_reason_to_leave_the_other_one_alone() {
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
fn a_broken_pool_is_found_before_any_other_is_changed() {
    let site = two_pools();
    for (pool, dir) in [("api", API), ("www", POOL)] {
        for (file, from, to, stderr) in MISTAKES {
            site.while_changed(&format!("{dir}/{file}"), from, to, || {
                for command in [&["restart"][..], &["restart", "all", "--strategy", "swap"]] {
                    let ran = site.unchanged_by(|| site.run(command));
                    let said = site.shown(&ran.stderr);
                    // Ahead of all work, which pool it is has not been said yet.
                    let said = said.replace("error: pool \"www\": ", "error: ");
                    assert_eq!(said, stderr(pool), "{ran}");
                    ran.status(2);
                }
            });
        }
    }
}

#[test]
fn status_shows_the_good_one_and_says_what_is_wrong_with_the_other() {
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
        let api = shown("api").replacen("[OK]", "[Error]", 1);
        // The worse of the two is the exit status.
        ran.stdout(&format!("{api}Redundant pool \"www\"...\n")).status(2);
        let www = stderr("www").replacen("error: ", "", 1);
        let said = format!("error: pool \"api\": not well: replica 1\n{www}");
        assert_eq!(site.shown(&ran.stderr), said);
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
