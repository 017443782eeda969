//! What `check` finds in the operator's files and directories.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::{POOL, document, found, topic};
use harness::{Site, needs_root, php_fpm};

#[test]
fn check_finds_a_gap_in_replica_numbers() {
    let site = Site::new();
    site.write(&format!("{POOL}/4.conf"), "");
    let gap = "warning: 4.conf is no replica, because there is no 3.conf\n  \
               help: replicas are counted up to the first gap: rename it to 3.conf";
    assert_eq!(found(&site, "configuration"), [gap]);
}

#[test]
fn check_runs_the_configuration_test_of_php_fpm() {
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
    assert_eq!(notes[2], "ping.path is not set: pools-manager sets one");

    site.replace(pool, "listen = sockets/php-fpm-$pool.sock", "listen = 127.0.0.1:9000");
    let listens = |n| {
        format!(
            "error: ROOT/{POOL}/{n}.conf: [www{n}] listens on 127.0.0.1:9000, no unix \
             socket\n  \
             help: give it a path, like the sample: listen = sockets/php-fpm-$pool.sock"
        )
    };
    assert_eq!(found(&site, "php_fpm"), [listens(1), listens(2)]);
    site.replace(&format!("{POOL}/2.conf"), "[www2]", "[www2]\nnonsense = 1");
    let told = found(&site, "php_fpm");
    assert!(told[1].contains("unknown entry 'nonsense'"), "{told:?}");

    let settings = &format!("{POOL}/pools-manager.toml");
    site.replace(settings, "[php]", "[php]\nphp_fpm_cmd = [\"/no/php-fpm\"]");
    let missing = format!(
        "error: cannot run \"/no/php-fpm\": No such file or directory (os error 2)\n  \
         help: correct php_fpm_cmd in ROOT/{settings}: php-fpm, and each argument as a string of \
         its own"
    );
    assert_eq!(found(&site, "php_fpm"), [missing]);
}

#[test]
fn check_finds_hooks_that_are_not_executable() {
    let site = Site::new();
    let settings = &format!("{POOL}/pools-manager.toml");
    let hooks = "[hooks]\nbefore_rollout = [\"/bin/true\"]\nafter_rollout = [\"env\", \"-u\"]\n";
    site.write(settings, &format!("{}\n{hooks}", site.read(settings)));
    assert!(found(&site, "hooks").is_empty());
    let ran = site.run(&["check"]);
    let line = "  Hooks  [OK]  (before_rollout, after_rollout)\n";
    assert!(ran.succeeds().stdout.contains(line), "{ran}");

    let error = |what: &str| {
        format!(
            "error: {what}\n  \
             help: correct it in ROOT/{settings}, or make the file executable (chmod +x)"
        )
    };
    site.replace(settings, "/bin/true", "etc/apache2/apache2.conf");
    site.replace(settings, "\"env\"", "\"no-such-program\"");
    let denied = "before_rollout: ROOT/etc/apache2/apache2.conf: Permission denied (os error 13)";
    let absent = "after_rollout: no-such-program: there is no such program in PATH";
    assert_eq!(found(&site, "hooks"), [error(denied), error(absent)]);
    site.replace(settings, "no-such-program", "%CURRENT_DIR%/www");
    assert_eq!(found(&site, "hooks")[1], error("after_rollout: ROOT/www: it is a directory"));
    site.run(&["check"]).status(2);
}

#[test]
fn check_finds_a_cache_shared_by_releases() {
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
fn check_finds_a_missing_or_unreachable_release() {
    let site = Site::new();
    site.write("www/current/left.txt", "");
    let full = "error: current_dir ROOT/www/current is not empty\n  \
                help: it holds left.txt; the release is mounted over it, so it must have no \
                content of its own";
    assert_eq!(found(&site, "release"), [full]);
    fs::remove_dir_all(site.path("www/current")).unwrap();
    let missing = "error: current_dir ROOT/www/current: No such file or directory (os error 2)\n  \
                   help: it names the empty directory on which the release is mounted: mkdir \
                   ROOT/www/current";
    assert_eq!(found(&site, "release"), [missing]);
    fs::create_dir(site.path("www/current")).unwrap();
    // A directory is no link, though it may be as good a release.
    fs::remove_file(site.path("www/current.release")).unwrap();
    fs::create_dir(site.path("www/current.release")).unwrap();
    let no_link = "error: ROOT/www/current.release is not a symlink\n  \
                   help: move it away, and link to a release: ln -sfn RELEASE ROOT/www/current.release";
    assert_eq!(found(&site, "release"), [no_link]);
}

/// A root below /root is the most common mistake of all.
#[test]
fn check_finds_releases_that_php_cannot_read() {
    // An ordinary user also runs PHP, and has access.
    needs_root!();
    let site = Site::new();
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
    // Permissions of the directories above do not matter: the release is mounted.
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
fn check_finds_taken_long_or_duplicate_socket_names() {
    let site = Site::new();
    fs::create_dir(site.path("sockets/php-fpm-www1.sock")).unwrap();
    let stranger = "error: ROOT/sockets/php-fpm-www1.sock is neither a socket nor a symlink\n  \
                    help: it is where a replica's public socket belongs: move it away";
    assert_eq!(found(&site, "sockets"), [stranger]);
    listen(&site, "none/$pool.sock");
    let nowhere = |n| {
        format!(
            "error: ROOT/{POOL}/{n}.conf: cannot create files in ROOT/none: No such file or \
             directory (os error 2)\n  \
             help: `listen` puts the socket there: the directory has to be there, and writable for you"
        )
    };
    assert_eq!(found(&site, "sockets"), [nowhere(1), nowhere(2)]);
    listen(&site, "sockets/same.sock");
    let same = "error: replicas 1 and 2 both listen on ROOT/sockets/same.sock\n  \
                help: name each N.conf's section after itself, such as [www2] in 2.conf: the \
                sample's `listen` follows it";
    assert_eq!(found(&site, "sockets"), [same]);

    // Five digits of a number are some years of deploys: `.g99999` makes it 108 bytes.
    let name = "x".repeat(108 - 7 - site.path("sockets/www1.sock").as_os_str().len());
    listen(&site, &format!("sockets/{name}$pool.sock"));
    let told = |n| {
        format!(
            "error: ROOT/{POOL}/{n}.conf: the path of the socket ROOT/sockets/{name}www{n}.g99999.sock \
             would have 108 bytes, and the kernel takes 107 at most\n  \
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
fn missing_pid_directory_is_an_error_of_the_root() {
    let site = Site::prepared();
    fs::remove_dir(site.path("pid")).unwrap();
    let ran = site.run(&["check", "-q", "single", "www"]);
    let root = site.root().display();
    ran.status(2);
    assert!(ran.stderr.starts_with("error: the root is not in order: Directory pid\n"), "{ran}");
    let told = format!(
        "Root \"{root}\"...\n  \
         Directory pid  [Error]\n    \
         cannot lock {root}/pid/www.lock: No such file or directory (os error 2)\n    \
         help: the directory pid/ in the root has to be there, and it and the file writable for you\n"
    );
    assert!(ran.stdout.starts_with(&told), "{ran}");
}

#[test]
fn check_finds_files_left_by_root() {
    let site = Site::prepared().owned_by_ordinary_user().serve();
    site.write("pid/www.lock", "");
    set_mode(&site, "pid/www.lock", 0o400);
    set_mode(&site, "sockets", 0o555);
    let document = document(&site);
    let root = site.root().display();
    let lock = format!("cannot lock {root}/pid/www.lock: Permission denied (os error 13)");
    assert_eq!(topic(&document, "pid_directory")["findings"][0]["message"], lock);
    let shut = |n| {
        format!(
            "error: ROOT/{POOL}/{n}.conf: cannot create files in ROOT/sockets: Permission denied (os \
             error 13)\n  \
             help: `listen` puts the socket there: the directory has to be there, and writable for you"
        )
    };
    assert_eq!(found(&site, "sockets"), [shut(1), shut(2)]);
}

#[test]
fn check_finds_limits_that_no_supervisor_enforces() {
    let site = Site::new();
    let settings = &format!("{POOL}/pools-manager.toml");
    site.write(settings, &format!("{}\n[limits]\nmax_age = \"1h\"\n", site.read(settings)));
    site.write("etc/pools-manager.toml", "");
    assert!(found(&site, "configuration").is_empty());
    site.write("etc/pools-manager.toml", "[supervisor]\nenabled = false\n");
    let unused = "warning: [limits] has no effect: [supervisor] enabled is false in \
                  etc/pools-manager.toml\n  \
                  help: remove one of them, and send serve a HUP";
    assert_eq!(found(&site, "configuration"), [unused]);
}
