//! What `check` finds in the configuration of PHP, and what a start would refuse of it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::{POOL, found};
use harness::{Site, needs_root, php_fpm};

/// Adds lines to the section, or to `[global]`.
fn with_line(site: &Site, file: &str, before: &str, line: &str, then: impl FnOnce()) {
    site.while_changed(&format!("{POOL}/{file}"), before, &format!("{line}\n{before}"), then);
}

/// php-fpm itself would end with such a log: at a restart, after the old generation is drained.
#[test]
fn log_that_php_fpm_cannot_open_is_refused() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let refused = |key: &str, path: &str, why: &str, help: &str| {
        let stderr = format!(
            "error: ROOT/{POOL}/1.conf: php-fpm cannot write {key} ROOT/{path}: {why}\n  help: {help}\n"
        );
        for command in [&["restart"][..], &["restart", "--strategy", "swap"]] {
            site.refuses(command, &stderr);
        }
    };
    let no_file = "No such file or directory (os error 2)";
    let help = |key: &str| {
        format!("php-fpm makes the file, and not its directory: mkdir -p ROOT/none; or set {key}")
    };
    let logs = [
        ("access.log", "access.log = ROOT/none/log"),
        ("slowlog", "slowlog = ROOT/none/log\nrequest_slowlog_timeout = 5s"),
    ];
    for (key, lines) in logs {
        let lines = lines.replace("ROOT", site.root().to_str().unwrap());
        with_line(&site, "pool.conf", "pm = dynamic", &lines, || {
            refused(key, "none/log", no_file, &help(key));
        });
    }
    let conf = format!("{POOL}/1.conf");
    let text = site.read(&conf);
    let line = text.lines().find(|line| line.trim_start().starts_with("error_log")).unwrap();
    let log = |path: &str| format!("error_log = {}", site.path(path).display());
    site.while_changed(&conf, line, &log("none/log"), || {
        refused("error_log", "none/log", no_file, &help("error_log"));
    });
    site.while_changed(&conf, line, &log("www"), || {
        refused("error_log", "www", "Is a directory (os error 21)", "correct error_log");
    });
    // A log below `current_dir` is a file of the release that would be mounted.
    site.while_changed(&conf, line, &log("www/current/php.log"), || {
        site.run(&["restart", "--dry-run"]).succeeds();
    });
    site.while_changed(&conf, line, "error_log = syslog", || {
        site.run(&["restart", "--dry-run"]).succeeds();
    });
    site.is_in_order_on("release1");
}

#[test]
fn check_writes_no_log_and_makes_none() {
    let site = Site::new();
    let lines = format!(
        "access.log = {0}/access.log\nslowlog = {0}/slow.log\nrequest_slowlog_timeout = 5s",
        site.path("pid").display()
    );
    with_line(&site, "pool.conf", "pm = dynamic", &lines, || {
        let before = site.files();
        site.run(&["check"]).succeeds();
        assert_eq!(site.files(), before);
        assert!(!site.path("pid/access.log").exists() && !site.path("pid/slow.log").exists());
        site.run(&["start"]).succeeds();
        assert!(site.path("pid/access.log").exists() && site.path("pid/slow.log").exists());
    });
}

/// php-fpm's default is `log/php-fpm.log`, below the prefix: the root.
#[test]
fn default_log_and_log_of_root_are_refused() {
    needs_root!();
    let site = Site::prepared().owned_by_ordinary_user().serve();
    site.run(&["start"]).succeeds();
    let conf = format!("{POOL}/1.conf");
    let text = site.read(&conf);
    let line = text.lines().find(|line| line.trim_start().starts_with("error_log")).unwrap();
    let cannot = |path: &str, why: &str, help: &str| {
        let what = format!("ROOT/{conf}: php-fpm cannot write error_log {path}: {why}");
        site.refuses(&["restart"], &format!("error: {what}\n  help: {help}\n"));
    };
    site.while_changed(&conf, line, "", || {
        cannot(
            "ROOT/log/php-fpm.log",
            "No such file or directory (os error 2)",
            "php-fpm makes the file, and not its directory: mkdir -p ROOT/log; or set error_log",
        );
    });
    site.while_changed(&conf, line, "error_log = /var/log/php-fpm-of-nobody.log", || {
        cannot(
            "/var/log/php-fpm-of-nobody.log",
            "Permission denied (os error 13)",
            "set error_log to a file that you may write, or give this one to you: chown",
        );
    });
}

#[test]
fn account_that_cannot_run_php_is_refused() {
    needs_root!();
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let pool = format!("{POOL}/pool.conf");
    let text = site.read(&pool);
    let user = text.lines().find(|line| line.starts_with("user")).unwrap();
    let refused = |line: &str, what: &str, help: &str| {
        site.while_changed(&pool, user, line, || {
            site.refuses(&["restart"], &format!("error: {what}\n  help: {help}\n"));
        });
    };
    let conf = format!("ROOT/{POOL}/1.conf");
    refused(
        "",
        &format!(
            "php-fpm does not accept {conf}:\n    ALERT: [pool www1] user has not been defined"
        ),
        "root does not run PHP: name the account that does, such as user = www-data, in the section",
    );
    refused(
        "user = no-such-user",
        &format!(
            "php-fpm does not accept {conf}:\n    ERROR: [pool www1] cannot get uid for user 'no-such-user'"
        ),
        "nothing was changed; correct the file and run the command again",
    );
    refused(
        "user = root",
        &format!("{conf}: [www1] runs PHP as root (user = root), which php-fpm refuses"),
        "name another account and group, such as user = www-data; or add -R to php_fpm_cmd",
    );
    let command =
        format!("php_fpm_cmd = [\"{}\", \"-p\", \"%CURRENT_DIR%\", \"-R\"]", php_fpm().display());
    let settings = format!("{POOL}/pools-manager.toml");
    site.replace(&settings, "[php]", &format!("[php]\n{command}"));
    site.replace(&pool, user, "user = root");
    site.run(&["restart", "--dry-run"]).succeeds();
}

#[test]
fn check_finds_a_log_that_php_cannot_write() {
    needs_root!();
    let site = Site::new();
    fs::create_dir(site.path("logs")).unwrap();
    let log = site.path("logs/php.log");
    let line = format!("php_admin_value[error_log] = {}", log.display());
    with_line(&site, "pool.conf", "pm = dynamic", &line, || {
        let denied = "warning: replica 1, 2: www-data, who runs PHP, cannot write PHP's error_log \
                      ROOT/logs/php.log: Permission denied (os error 13)\n  \
                      help: make its directory, and let www-data write there; or set \
                      php_admin_value[error_log]";
        assert_eq!(found(&site, "php_fpm"), [denied]);
        fs::set_permissions(site.path("logs"), Permissions::from_mode(0o777)).unwrap();
        assert!(found(&site, "php_fpm").is_empty());
    });
}

#[test]
fn check_compares_the_limits_of_uploads_with_the_gateway() {
    let site = Site::prepared();
    let settings = "[php]\ncurrent_release_symlink = \"www/current.release\"\ncurrent_dir = \"www/current\"\n[gateway]\n";
    site.write(&format!("{POOL}/pools-manager.toml"), settings);
    site.write(
        "etc/pools-manager.toml",
        "[gateway]\nlisten = [\"127.0.0.1:0\"]\nmax_body = \"10MiB\"\n",
    );
    let section = |upload: &str, post: &str| {
        format!(
            "php_admin_value[upload_max_filesize] = {upload}\nphp_value[post_max_size] = {post}"
        )
    };
    with_line(&site, "pool.conf", "pm = dynamic", &section("9M", "10M"), || {
        let lower = "warning: replica 1, 2: PHP accepts less than the gateway, which accepts bodies of \
                     10MiB (max_body in ROOT/etc/pools-manager.toml): upload_max_filesize is 9M \
                     (N.conf)\n  \
                     help: set the same in the section: php_admin_value[upload_max_filesize] = 10M; \
                     or lower max_body";
        assert_eq!(found(&site, "php_fpm"), [lower]);
    });
    with_line(&site, "pool.conf", "pm = dynamic", &section("10M", "0"), || {
        assert!(found(&site, "php_fpm").is_empty());
    });
    // From php.ini, wherever this machine has it.
    let told = found(&site, "php_fpm");
    let is_lower = told.is_empty() || told[0].contains("upload_max_filesize is ");
    assert!(is_lower && !told.concat().contains("(N.conf)"), "{told:?}");
}

#[test]
fn check_finds_a_release_without_a_page_to_ask() {
    let site = Site::new();
    fs::rename(site.path("www/release1/index.php"), site.path("www/release1/app.php")).unwrap();
    let none = "warning: the release ROOT/www/release1 has no front page, and warm_up is not set: no page \
                is requested before a replica is published\n  \
                help: name pages of the release in [rollout], such as warm_up = [\"/login\"]; or set \
                warm_up = [] if it has none";
    assert_eq!(found(&site, "release"), [none]);
    site.add_rollout("warm_up = [\"/app.php\"]");
    assert!(found(&site, "release").is_empty());
    let settings = format!("{POOL}/pools-manager.toml");
    site.replace(&settings, "/app.php", "/gone.php");
    site.refuses(
        &["start"],
        &format!(
            "error: ROOT/{settings}: warm_up has \"/gone.php\", and the release ROOT/www/release1 has \
             neither that nor an index.php\n  help: complete the release, or correct warm_up\n"
        ),
    );
}

#[test]
fn missing_document_root_is_refused() {
    let site = Site::prepared();
    let settings = "[php]\ncurrent_release_symlink = \"www/current.release\"\ncurrent_dir = \"www/current\"\n[gateway]\ndocument_root = \"public\"\n";
    site.write(&format!("{POOL}/pools-manager.toml"), settings);
    let missing = "error: the gateway cannot serve ROOT/www/release1/public: No such file or directory (os \
                   error 2)\n  \
                   help: document_root names a directory below the release, which the gateway may enter\n";
    site.refuses(&["start"], missing);
}
