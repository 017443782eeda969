//! Names of releases and pools that are special to a shell, to php-fpm or to a terminal.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use harness::Site;

const POOLS: &str = "etc/php/fpm/redundant-pools";

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

#[test]
fn release_name_can_be_any_utf_8() {
    deploys(&["$(touch owned)`touch owned`;touch owned", "two\nlines", "-rf"]);
}

#[test]
#[ignore = "a sweep: bin/test --all"]
fn release_name_can_be_each_kind_of_utf_8() {
    let longest = "x".repeat(255);
    deploys(&[
        "it's \"new\"",
        "$(touch owned)`touch owned`;touch owned",
        "two\nlines",
        "back\\slash\\040",
        "*?[a]{b}~#%s",
        "-rf",
        "//deleted",
        "\u{1f600} \u{202e}",
        &longest,
    ]);
}

/// Deploys releases with these names, and rolls the last one back.
fn deploys(names: &[&str]) {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let load = site.steady_load();
    for (name, strategy) in names.iter().zip(["rolling", "swap"].into_iter().cycle()) {
        let name = name.trim_start_matches('/');
        let release = site.path("www").join(name);
        copy(&site.path("www/release2"), &release);
        site.run(&["switch", "--strategy", strategy, "www", "--", name]).succeeds();
        assert_eq!(site.releases(), [release.as_path(), &release]);
        assert_eq!(site.get("/ping.php").body, "pong2\n");
        site.is_in_order_on(name);
        site.run(&["check", "-q"]).prints("");
        site.run(&["history"]).succeeds();
    }
    site.run(&["rollback"]).succeeds();
    site.is_in_order_on(names[names.len() - 2]);
    assert!(!site.path("owned").exists());
    load.finish();
}

/// The path could neither be recorded nor printed.
#[test]
fn release_path_that_is_not_utf_8_is_refused() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let load = site.steady_load();
    let name = OsStr::from_bytes(b"caf\xe9");
    copy(&site.path("www/release2"), &site.path("www").join(name));
    let stderr = "error: the release ROOT/www/caf\u{fffd} has a path that is not UTF-8\n  \
                  help: rename it: it is recorded as text\n";
    let ran = site.unchanged_by(|| {
        site.run_with(&["switch", "www"], |command| {
            command.arg(name);
        })
    });
    assert_eq!(site.shown(&ran.stderr), stderr);
    ran.status(2);
    site.switch(name);
    for strategy in ["rolling", "swap"] {
        site.refuses(&["restart", "--strategy", strategy], stderr);
    }
    load.finish();
}

#[test]
fn name_of_no_release_is_refused() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let too_long = "x".repeat(256);
    let names = [
        ("$(ls)", "No such file or directory (os error 2)"),
        ("no\nsuch", "No such file or directory (os error 2)"),
        (&too_long, "File name too long (os error 36)"),
    ];
    for (name, why) in names {
        let help = "a bare name is a sibling of the present release, or of the symlink before the first deploy; write ./NAME for one in the working directory";
        let what = format!("the release ROOT/www/{name}: {why}");
        site.refuses(&["switch", "www", name], &format!("error: {what}\n  help: {help}\n"));
    }
    site.is_in_order_on("release1");
}

/// A second pool with its own sockets.
fn add_pool(site: &Site, name: &OsStr) {
    let dir = site.path(POOLS).join(name);
    fs::create_dir(&dir).unwrap();
    for replica in [1, 2] {
        let text = format!(
            "[global]\nerror_log = pid/odd{replica}.log\n[odd{replica}]\nlisten = sockets/odd{replica}.sock\nuser = www-data\npm = static\npm.max_children = 1\n"
        );
        fs::write(dir.join(format!("{replica}.conf")), text).unwrap();
    }
    let settings =
        "[php]\ncurrent_release_symlink = \"www/current.release\"\ncurrent_dir = \"www/current\"\n";
    fs::write(dir.join("pools-manager.toml"), settings).unwrap();
}

#[test]
#[ignore = "takes long: bin/test --all"]
fn pool_name_with_special_characters_works_or_is_refused() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    for name in
        ["quote'", "$(touch owned)", "say \"hi\"", "two\nlines", "a;b", "--help", "...", "www.1"]
    {
        add_pool(&site, name.as_ref());
        let ran = site.run(&["start", "single", "--", name]);
        if name.contains(['"', '$', '\n']) {
            // The configuration of php-fpm cannot express these paths.
            let conf = format!("ROOT/{POOLS}/{name}/1.conf");
            let what = format!("error: php-fpm's configuration cannot name the path {conf}\n");
            assert!(site.shown(&ran.stderr).starts_with(&what), "{ran}");
            ran.status(2);
        } else {
            ran.succeeds();
            site.run(&["restart", "single", "--", name]).succeeds();
            site.run(&["status", "-q", "single", "--", name]).succeeds();
            site.run(&["stop", "single", "--", name]).succeeds();
        }
        fs::remove_dir_all(site.path(POOLS).join(name)).unwrap();
    }
    assert!(!site.path("owned").exists());
    for name in [".", "..", "../..", "/", "www/../www", "*"] {
        let stderr = format!("error: there is no pool \"{name}\"\n  help: the pools are: www\n");
        site.refuses(&["restart", "single", name], &stderr);
    }
    site.run(&["status", "-q", "single", "www"]).succeeds();
}

#[test]
fn too_long_or_non_utf_8_pool_name_is_refused() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let name = "x".repeat(255);
    add_pool(&site, name.as_ref());
    let what =
        format!("error: the name of the pool \"{name}\" has 255 bytes, and 200 are the most\n");
    let stderr =
        format!("{what}  help: its files in pid/ are named after it: give it a shorter one\n");
    for command in ["start", "restart", "stop", "status"] {
        site.refuses(&[command, "single", &name], &stderr);
    }
    fs::remove_dir_all(site.path(POOLS).join(&name)).unwrap();
    let name = "x".repeat(200);
    add_pool(&site, name.as_ref());
    site.run(&["restart", "single", &name]).succeeds();
    site.write(&format!("pid/{name}.state.json"), "garbage");
    let ran = site.run(&["restart", "single", &name]);
    assert!(ran.succeeds().stdout.contains(": it is now "), "{ran}");
    site.run(&["stop", "single", &name]).succeeds();
    fs::remove_dir_all(site.path(POOLS).join(&name)).unwrap();

    let name = OsStr::from_bytes(b"caf\xe9");
    add_pool(&site, name);
    let stderr = "error: the name of the pool \"caf\u{fffd}\" is not UTF-8\n  \
                  help: rename its directory\n";
    for command in ["restart", "status", "list"] {
        let ran = site.run(&[command]);
        ran.status(2).stderr(stderr);
        assert!(ran.stdout.contains("www"), "{ran}");
    }
    site.run(&["check"]).status(2);
    site.run(&["stop"]).status(2).stderr(stderr);
    assert!(site.all_masters().is_empty());
}
