//! `check`: each fault that can be made is found, told with its remedy, and changed by nobody.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use serde_json::{Value, json};

use super::site::{Site, php_fpm};

const POOL: &str = "etc/php/fpm/redundant-pools/www";
const APACHE: &str = "etc/apache2/sites-enabled/82-php-fpm.conf";
const START: &str = "\n  help: run pools-manager start";
const RESTART: &str = "\n  help: run pools-manager restart";

#[test]
fn a_healthy_sample_has_no_finding() {
    healthy(&Site::new());
}

#[test]
fn a_healthy_sample_of_an_ordinary_user_has_none_either() {
    healthy(&Site::prepared().owned_by_ordinary_user().serve());
}

fn healthy(site: &Site) {
    let monitor = format!("http://localhost:{}/ping-php-fpm", site.port());
    let not_asked = format!("{monitor} is not asked: no replica runs");
    site.run(&["check"]).prints(&all_ok(site, &not_asked, "none runs"));
    site.run(&["start"]).succeeds();
    site.run(&["check", "all"]).prints(&all_ok(site, &monitor, "2 of 2 run"));
    site.run(&["check", "single", "www"]).prints(&all_ok(site, &monitor, "2 of 2 run"));
    site.run(&["check", "-q"]).prints("");
    let ran = site.run(&["check", "-q", "--json"]);
    let found: Value = serde_json::from_str(&ran.succeeds().stdout).unwrap();
    let pools = json!([{"pool": "www", "ok": true, "topics": []}]);
    let expected = json!({"ok": true, "root": site.root(), "topics": [], "pools": pools});
    assert_eq!(found, expected);
}

fn all_ok(site: &Site, monitor: &str, replicas: &str) -> String {
    let root = site.root().display();
    let program = newest_php_fpm(site);
    format!(
        "Root \"{root}\"...\n  \
         Directory pid  [OK]  ({root}/pid)\n\
         Redundant pool \"www\"...\n  \
         Configuration  [OK]  (2 replicas)\n  \
         PHP-FPM  [OK]  ({program})\n  \
         Release  [OK]  ({root}/www/release1)\n  \
         Sockets  [OK]  ({root}/sockets)\n  \
         Balancer  [OK]  (apache)\n  \
         Monitor  [OK]  ({monitor})\n  \
         Replicas  [OK]  ({replicas})\n"
    )
}

/// Its version and its path, as this machine happens to have it.
fn newest_php_fpm(site: &Site) -> String {
    let found = document(site);
    let notes = topic(&found["pools"][0], "php_fpm")["notes"].clone();
    let notes: Vec<String> = serde_json::from_value(notes).unwrap();
    let printed = Command::new(&notes[1]).arg("-v").output().unwrap().stdout;
    assert!(String::from_utf8(printed).unwrap().starts_with(&format!("PHP {} (fpm", notes[0])));
    notes.join(", ")
}

#[test]
fn findings_are_lines_with_what_to_do() {
    let site = Site::prepared();
    site.replace(APACHE, "fcgi://pool-1\" retry=0", "fcgi://pool-1\" retry=7");
    let site = site.serve();
    site.switch("nowhere");
    let root = site.root().display();
    site.run(&["check", "-q"])
        .stdout(&format!(
            "Redundant pool \"www\"...\n  \
             Release  [Error]\n    \
             {root}/www/current.release points at nowhere: No such file or directory (os error 2)\n    \
             help: point it at a release: ln -sfn RELEASE {root}/www/current.release\n  \
             Balancer  [Warning]\n    \
             member fcgi://pool-1 has retry=7: after one failure Apache leaves it out for 7 seconds, and cannot be told otherwise\n    \
             help: add retry=0 to its BalancerMember in Apache's configuration\n"
        ))
        .stderr("error: pool \"www\" is not in order: Release\n")
        .status(2);
    // Warnings alone are no failure.
    site.switch("release1");
    assert_eq!(site.run(&["check", "-q"]).succeeds().stdout.lines().count(), 4);
}

#[test]
fn a_broken_pool_does_not_keep_the_others_from_being_checked() {
    let site = Site::new();
    site.write("etc/php/fpm/redundant-pools/api/pools-manager.toml", "[php]\nmonitor = \"\"\n");
    let root = site.root().display();
    site.run(&["check", "-q"])
        .stdout(&format!(
            "Redundant pool \"api\"...\n  \
             Configuration  [Error]\n    \
             {root}/etc/php/fpm/redundant-pools/api/pools-manager.toml:2: unknown field `monitor`\n    \
             help: did you mean `monitor_url`?\n"
        ))
        .stderr("error: pool \"api\" is not in order: Configuration\n")
        .status(2);
    site.run(&["check", "-q", "single", "www"]).prints("");
    site.write(&format!("{POOL}/4.conf"), "");
    let gap = "warning: 4.conf is no replica, because there is no 3.conf\n  \
               help: replicas are counted up to the first gap: rename it to 3.conf";
    assert_eq!(found(&site, "configuration"), [gap]);
}

#[test]
fn php_fpm_is_asked_what_it_makes_of_the_files() {
    let site = Site::new();
    let pool = &format!("{POOL}/pool.conf");
    site.replace(&format!("{POOL}/php-fpm.conf"), "process_control_timeout = 60s", "");
    site.replace(pool, "ping.path = ", ";ping.path = ");
    let stop = "warning: replica 1, 2: process_control_timeout is 0: a php-fpm that is started by \
                other means cuts its requests when it is stopped\n  \
                help: set process_control_timeout = 60s in [global]; generations get the drain \
                timeout for now";
    assert_eq!(found(&site, "php_fpm"), [stop]);
    let document = document(&site);
    let notes = &topic(&document["pools"][0], "php_fpm")["notes"];
    assert_eq!(notes[2], "ping.path is not set: one of our own is used");

    site.replace(pool, "listen = sockets/php-fpm-$pool.sock", "listen = 127.0.0.1:9000");
    let listens = |n| {
        format!(
            "error: ROOT/{POOL}/{n}.conf: [www{n}] listen = 127.0.0.1:9000\n  \
             help: a replica listens on a unix socket: listen = sockets/php-fpm-$pool.sock"
        )
    };
    assert_eq!(found(&site, "php_fpm"), [listens(1), listens(2)]);
    site.replace(&format!("{POOL}/2.conf"), "[www2]", "[www2]\nnonsense = 1");
    let told = found(&site, "php_fpm");
    assert!(told[1].contains("unknown entry 'nonsense'"), "{told:?}");

    let settings = &format!("{POOL}/pools-manager.toml");
    site.replace(settings, "[php]", "[php]\nphp_fpm_cmd = [\"/no/php-fpm\"]");
    let missing = "error: cannot run /no/php-fpm: No such file or directory (os error 2)\n  \
                   help: install php-fpm, or name the right program in php_fpm_cmd in \
                   pools-manager.toml";
    assert_eq!(found(&site, "php_fpm"), [missing]);
}

#[test]
fn a_cache_that_releases_share_is_found() {
    let site = Site::new();
    let pool = &format!("{POOL}/pool.conf");
    let line = |cache: &str| format!("pm = dynamic\nphp_admin_value[opcache.file_cache] = {cache}");
    site.replace(pool, "pm = dynamic", &line("/var/cache/php"));
    let shared = |who: &str, cache: &str| {
        format!(
            "warning: {who}opcache.file_cache is {cache}: all releases share it, so a new one may \
             run the old one's code\n  \
             help: leave it unset, or put it into the release: ROOT/www/current/..."
        )
    };
    assert_eq!(found(&site, "php_fpm"), [shared("replica 1, 2: ", "/var/cache/php")]);
    let own = site.path("www/current/cache");
    site.replace(pool, "/var/cache/php", &own.display().to_string());
    assert!(found(&site, "php_fpm").is_empty());

    let command = format!(
        "[php]\nphp_fpm_cmd = [\"{}\", \"-p\", \"%CURRENT_DIR%\", \"-d\", \"opcache.file_cache=/tmp\"]",
        php_fpm().display()
    );
    site.replace(&format!("{POOL}/pools-manager.toml"), "[php]", &command);
    assert_eq!(found(&site, "php_fpm"), [shared("", "/tmp")]);
}

#[test]
fn the_release_has_to_be_there_and_to_be_reached() {
    let site = Site::new();
    site.write("www/current/left.txt", "");
    let full = "error: current_dir ROOT/www/current is not empty\n  \
                help: it holds left.txt; the release is mounted over it, so it must have no \
                content of its own";
    assert_eq!(found(&site, "release"), [full]);
    fs::remove_dir_all(site.path("www/current")).unwrap();
    let missing = "error: current_dir ROOT/www/current: No such file or directory (os error 2)\n  \
                   help: it is the empty directory on which the release is mounted: mkdir \
                   ROOT/www/current";
    assert_eq!(found(&site, "release"), [missing]);
    fs::create_dir(site.path("www/current")).unwrap();
    // A directory is no link, though it may be as good a release.
    fs::remove_file(site.path("www/current.release")).unwrap();
    fs::create_dir(site.path("www/current.release")).unwrap();
    let no_link = "error: ROOT/www/current.release is not a symlink\n  \
                   help: current_release_symlink is a symlink to the directory of a release";
    assert_eq!(found(&site, "release"), [no_link]);
}

/// A root below /root is the most common failure of all.
#[test]
fn the_account_that_runs_php_has_to_get_in() {
    let site = Site::new();
    if site.uid() != 0 {
        return; // whoever runs php-fpm has got here
    }
    let denied = |what: &str, right: &str| {
        format!(
            "warning: www-data, who runs PHP, cannot {what}: requests are denied\n  \
             help: allow it (chmod o+{right} {}), or choose another place",
            what.rsplit(' ').next().unwrap()
        )
    };
    set_mode(&site, "", 0o700);
    assert_eq!(found(&site, "release"), [denied("enter ROOT", "x")]);
    set_mode(&site, "", 0o755);
    set_mode(&site, "www/release1/index.php", 0o600);
    assert_eq!(found(&site, "release"), [denied("read ROOT/www/release1/index.php", "r")]);
    // What is above the release itself is not on the way: it is mounted.
    set_mode(&site, "www/release1/index.php", 0o644);
    fs::create_dir(site.path("hidden")).unwrap();
    fs::rename(site.path("www/release2"), site.path("hidden/release2")).unwrap();
    set_mode(&site, "hidden", 0o700);
    site.switch("../hidden/release2");
    assert!(found(&site, "release").is_empty());
    site.run(&["start"]).succeeds();
    assert_eq!(site.get("/ping.php").body, "pong2\n");
}

fn set_mode(site: &Site, below: &str, mode: u32) {
    fs::set_permissions(site.path(below), Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_names_of_the_sockets_have_to_be_free_short_and_different() {
    let site = Site::new();
    fs::create_dir(site.path("sockets/php-fpm-www1.sock")).unwrap();
    let stranger = "error: ROOT/sockets/php-fpm-www1.sock is neither a socket nor a symlink\n  \
                    help: it is where a replica's public socket belongs: move it away";
    assert_eq!(found(&site, "sockets"), [stranger]);
    listen(&site, "none/$pool.sock");
    let nowhere = "error: cannot write to ROOT/none: No such file or directory (os error 2)\n  \
                   help: it has to be there (mkdir), and to be writable for you (chown)";
    assert_eq!(found(&site, "sockets"), [nowhere]);
    listen(&site, "sockets/same.sock");
    let same = "error: replica 1 and replica 2 have the same socket: ROOT/sockets/same.sock\n  \
                help: each replica listens on a name of its own: listen = \
                sockets/php-fpm-$pool.sock";
    assert_eq!(found(&site, "sockets"), [same]);

    // With two digits of a number, `.g99`, the path has 107 bytes.
    let name = "x".repeat(107 - 4 - site.path("sockets/www1.sock").as_os_str().len());
    listen(&site, &format!("sockets/{name}$pool.sock"));
    let told = |n| {
        format!(
            "warning: replica {n}: ROOT/sockets/{name}www{n}.sock is so long that generation 99 is \
             the last one that can be started\n  \
             help: shorten `listen` in the php-fpm configuration, or move the root to a shorter path"
        )
    };
    assert_eq!(found(&site, "sockets"), [told(1), told(2)]);
}

fn listen(site: &Site, path: &str) {
    let file = &format!("{POOL}/pool.conf");
    let text = site.read(file);
    let line = text.lines().find(|line| line.starts_with("listen = ")).unwrap();
    site.replace(file, line, &format!("listen = {path}"));
}

#[test]
fn the_directory_of_the_pid_files_belongs_to_the_root() {
    let site = Site::prepared();
    fs::remove_dir(site.path("pid")).unwrap();
    let ran = site.run(&["check", "-q", "single", "www"]);
    let root = site.root().display();
    ran.status(2);
    assert!(ran.stderr.starts_with("error: the root is not in order: Directory pid\n"), "{ran}");
    let told = format!(
        "Root \"{root}\"...\n  \
         Directory pid  [Error]\n    \
         cannot write to {root}/pid: No such file or directory (os error 2)\n    \
         help: it has to be there (mkdir), and to be writable for you (chown)\n"
    );
    assert!(ran.stdout.starts_with(&told), "{ran}");
}

#[test]
fn monitor_url_has_to_answer() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let settings = &format!("{POOL}/pools-manager.toml");
    site.replace(settings, "/ping-php-fpm\"", "/none\"");
    let url = format!("http://localhost:{}/none", site.port());
    let told = format!(
        "warning: {url} answers 404 Not Found\n  \
         help: a restart would end as failed: look at the web server, or correct monitor_url"
    );
    assert_eq!(found(&site, "monitor"), [told]);
    site.replace(settings, &url, "localhost/ping");
    let told = "error: monitor_url: \"localhost/ping\" is not the URL of a page: relative URL \
                without a base\n  \
                help: write it out in full, like http://localhost/page";
    assert_eq!(found(&site, "monitor"), [told]);
}

#[test]
fn what_a_crash_has_left_is_found() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let public = "sockets/php-fpm-www1.sock";
    site.point(public, "php-fpm-www2.g1.sock");
    let lent = "warning: replica 1 runs, but its public socket name is lent to replica 2";
    assert_eq!(found(&site, "replicas"), [format!("{lent}{START}")]);
    site.point(public, "nowhere.sock");
    let astray = "error: replica 1 runs, but its public socket name does not lead to it";
    assert_eq!(found(&site, "replicas"), [format!("{astray}{START}")]);
    site.run(&["start"]).succeeds();
    site.kill_replica(2);
    let died = "warning: replica 2 does not run, though its public socket name leads to \
                php-fpm-www2.g1.sock";
    assert_eq!(found(&site, "replicas"), [format!("{died}{START}")]);
    site.run(&["stop"]).succeeds();
    site.run(&["start", "single", "www", "1"]).succeeds();
    let stopped = "warning: replica 2 does not run";
    assert_eq!(found(&site, "replicas"), [format!("{stopped}{START}")]);
    site.run(&["start"]).succeeds();
    site.run(&["check", "-q"]).prints("");
}

#[test]
fn what_the_replicas_run_is_compared() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    site.switch("release2");
    let ran = site.run(&["check"]);
    let note = "  Replicas  [OK]  (2 of 2 run, not all on the release that the symlink names: \
                restart takes them there)\n";
    assert!(ran.succeeds().stdout.ends_with(note), "{ran}");
    site.run(&["restart", "single", "www", "2"]).succeeds();
    let different = "warning: the replicas run different releases: replica 1 ROOT/www/release1, \
                     replica 2 ROOT/www/release2";
    assert_eq!(found(&site, "replicas"), [format!("{different}{RESTART}")]);
    fs::remove_dir_all(site.path("www/release1")).unwrap();
    let deleted = "error: replica 1 runs a release that has been deleted: ROOT/www/release1";
    assert_eq!(found(&site, "replicas"), [format!("{deleted}{RESTART}")]);
    site.run(&["restart"]).succeeds();
    site.run(&["check", "-q"]).prints("");
}

#[test]
fn it_changes_nothing_and_waits_for_nobody() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let before = state(&site);
    site.run(&["check"]).succeeds();
    assert_eq!(state(&site), before);

    let request = site.hold();
    site.switch("release2");
    let mut manager = site.spawn(&["restart", "--json"]);
    manager.await_event("that it waits", |event| event["event"] == "progress");
    let before = state(&site);
    let ran = site.run(&["check"]);
    let holder = format!("a command is at work: pid {}, ", manager.pid().as_raw_nonzero());
    assert!(ran.succeeds().stdout.contains(&holder), "{ran}");
    site.run(&["check", "-q"]).prints("");
    assert_eq!(state(&site), before);
    request.end(1);
    manager.finish().succeeds();
    site.is_in_order_on("release2");
}

/// All that a command could change: files, locks, members, generations, processes.
fn state(site: &Site) -> (impl PartialEq + std::fmt::Debug, String, Value, usize) {
    let php_fpm = site.php_fpm().len();
    (site.files(), site.read("pid/www.lock"), site.status(), php_fpm)
}

#[test]
fn a_socket_of_its_own_for_each_spelling() {
    let site = Site::prepared();
    symlink("sockets", site.path("run")).unwrap();
    site.replace(APACHE, "/sockets/php-fpm-www1.sock", "/run/php-fpm-www1.sock");
    site.replace(APACHE, "/sockets/php-fpm-www2.sock", "/elsewhere/www2.sock");
    let site = site.serve();
    let told = "warning: member fcgi://pool-2 connects to ROOT/elsewhere/www2.sock, whose \
                directory is not here\n  \
                help: the socket of replica 2 is ROOT/sockets/php-fpm-www2.sock: correct the \
                BalancerMember, unless Apache runs where that has another path";
    assert_eq!(found(&site, "balancer"), [told]);
}

/// The document of `check --json`, whatever the exit status.
pub(super) fn document(site: &Site) -> Value {
    serde_json::from_str(&site.run(&["check", "--json"]).stdout).unwrap()
}

fn topic<'a>(pool: &'a Value, name: &str) -> &'a Value {
    pool["topics"].as_array().unwrap().iter().find(|it| it["topic"] == name).unwrap()
}

/// What is found of one topic, with ROOT in place of the root's path.
pub(super) fn found(site: &Site, name: &str) -> Vec<String> {
    let document = document(site);
    let findings = topic(&document["pools"][0], name)["findings"].as_array().unwrap().clone();
    let text =
        |value: &Value| value.as_str().unwrap().replace(site.root().to_str().unwrap(), "ROOT");
    let told = |it: &Value| {
        let (level, message, help) = (&it["level"], &it["message"], &it["help"]);
        format!("{}: {}\n  help: {}", text(level), text(message), text(help))
    };
    findings.iter().map(told).collect()
}
