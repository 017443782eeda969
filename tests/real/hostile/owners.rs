//! Others can write to files that root relies on: every command that changes something refuses, and
//! `check` reports the same.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use nix::unistd::{Group, User};

use harness::{Site, copy_program, needs_root, write_script};

const POOL: &str = "etc/php/fpm/redundant-pools/www";

const COMMANDS: [&[&str]; 6] = [
    &["start"],
    &["restart"],
    &["restart", "--dry-run"],
    &["switch", "www", "release2"],
    &["repair"],
    &["stop"],
];

const END: &str = ": others can decide what root starts, stops and deletes";

/// A restart is refused, and `check` has the same words for the same path.
fn is_refused(site: &Site, what: &str, help: &str) {
    site.refuses(&["restart"], &format!("error: {what}{END}\n  help: {help}\n"));
    let ran = site.unchanged_by(|| site.run(&["check", "-q"]));
    let told = format!("    {what}{END}\n    help: {help}\n");
    assert!(site.shown(&ran.status(2).stdout).contains(&told), "{ran}");
}

fn while_chowned(path: &Path, uid: Option<u32>, gid: Option<u32>, then: impl FnOnce()) {
    let before = fs::metadata(path).unwrap();
    chown(path, uid, gid).unwrap();
    then();
    chown(path, Some(before.uid()), Some(before.gid())).unwrap();
}

/// Gives a path another mode meanwhile.
pub(crate) fn while_mode(path: &Path, mode: u32, then: impl FnOnce()) {
    let before = fs::metadata(path).unwrap().permissions();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    then();
    fs::set_permissions(path, before).unwrap();
}

#[test]
fn every_changing_command_refuses_a_world_writable_directory() {
    needs_root!();
    let site = Site::new();
    site.run(&["start"]).succeeds();
    while_mode(&site.path("pid"), 0o777, || {
        let what = "ROOT/pid can be written by every user (mode 0777)";
        let stderr = format!("error: {what}{END}\n  help: chmod o-w ROOT/pid\n");
        for command in COMMANDS {
            site.refuses(command, &stderr);
        }
        for command in [&["status", "-q"][..], &["history"], &["list"], &["releases", "www"]] {
            site.run(command).succeeds();
        }
    });
}

#[test]
fn root_refuses_files_of_another_user() {
    needs_root!();
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let www_data = User::from_name("www-data").unwrap().unwrap().uid;
    let files = ["1.conf", "2.conf", "pool.conf", "pools-manager.toml"];
    let below = ["pid", "sockets", "etc", "etc/php/fpm/redundant-pools", POOL].map(str::to_owned);
    let below = below.into_iter().chain(files.map(|file| format!("{POOL}/{file}")));
    // The pool's php-fpm.conf is a link to this one.
    for below in below.chain(["etc/php/fpm/redundant-pools/php-fpm.conf".to_owned()]) {
        while_chowned(&site.path(&below), Some(www_data.as_raw()), None, || {
            let what = format!("ROOT/{below} belongs to www-data (uid {www_data})");
            is_refused(&site, &what, &format!("chown root ROOT/{below}"));
        });
    }
    while_chowned(site.root(), Some(www_data.as_raw()), None, || {
        let what = format!("ROOT belongs to www-data (uid {www_data})");
        is_refused(&site, &what, "chown root ROOT");
    });
    site.run(&["restart"]).succeeds();
    site.is_in_order_on("release1");
}

#[test]
fn files_writable_by_others_are_refused() {
    needs_root!();
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let www_data = Group::from_name("www-data").unwrap().unwrap().gid.as_raw();
    for (below, mode) in [("pid", 0o777), ("sockets", 0o1777), ("etc", 0o757), (POOL, 0o1777)] {
        while_mode(&site.path(below), mode, || {
            let what = format!("ROOT/{below} can be written by every user (mode {mode:04o})");
            is_refused(&site, &what, &format!("chmod o-w ROOT/{below}"));
        });
    }
    while_mode(&site.path("pid"), 0o775, || {
        while_chowned(&site.path("pid"), None, Some(www_data), || {
            let what = "ROOT/pid can be written by the group www-data (mode 0775)";
            is_refused(&site, what, "chmod g-w ROOT/pid");
        });
        // Only root is in root's own group.
        site.run(&["check", "-q"]).prints("");
    });
    // With more than one path, `check` shows the others.
    while_mode(&site.path("pid"), 0o777, || {
        while_mode(&site.path(&format!("{POOL}/1.conf")), 0o666, || {
            let ran = site.run(&["restart"]);
            let help = "chmod o-w ROOT/pid; `pools-manager check` shows 1 more of them\n";
            assert!(site.shown(&ran.status(2).stderr).ends_with(help), "{ran}");
        });
    });
    site.run(&["restart"]).succeeds();
    site.is_in_order_on("release1");
}

#[test]
fn programs_that_root_runs_must_belong_to_root() {
    needs_root!();
    let site = Site::new();
    let settings = &format!("{POOL}/pools-manager.toml");
    write_script(&site.path("bin/hook"), "#!/bin/sh\n");
    let hooks = "\n[hooks]\nbefore_rollout = [\"bin/hook\"]\n";
    site.write(settings, &format!("{}{hooks}", site.read(settings)));
    let nobody = User::from_name("nobody").unwrap().unwrap().uid;
    while_chowned(&site.path("bin/hook"), Some(nobody.as_raw()), None, || {
        let what = format!("ROOT/bin/hook belongs to nobody (uid {nobody})");
        is_refused(&site, &what, "chown root ROOT/bin/hook");
    });
    let php_fpm = site.path("bin/php-fpm");
    copy_program(&harness::php_fpm(), &php_fpm);
    let command =
        format!("[php]\nphp_fpm_cmd = [\"{}\", \"-p\", \"%CURRENT_DIR%\"]", php_fpm.display());
    site.replace(settings, "[php]", &command);
    while_mode(&php_fpm, 0o777, || {
        let what = "ROOT/bin/php-fpm can be written by every user (mode 0777)";
        is_refused(&site, what, "chmod o-w ROOT/bin/php-fpm");
    });
    site.run(&["start"]).succeeds();
}

/// The manager knows these names only from php-fpm.
#[test]
fn directories_in_php_fpm_configuration_are_checked() {
    needs_root!();
    let site = Site::new();
    let elsewhere = site.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    site.replace(&format!("{POOL}/pool.conf"), "sockets/php-fpm", "elsewhere/php-fpm");
    fs::set_permissions(&elsewhere, Permissions::from_mode(0o777)).unwrap();
    let what = "ROOT/elsewhere can be written by every user (mode 0777)";
    let help = "chmod o-w ROOT/elsewhere";
    let stderr = format!("error: {what}{END}\n  help: {help}\n");
    site.refuses(&["start"], &stderr);
    let ran = site.run(&["check", "-q"]);
    assert!(site.shown(&ran.status(2).stdout).contains(&format!("{what}{END}")), "{ran}");
    fs::set_permissions(&elsewhere, Permissions::from_mode(0o755)).unwrap();
    // Apache still connects to the old path, but that does not matter here.
    site.run(&["start", "--dry-run"]).succeeds();
}

/// A directory of one user contains the site of another user.
#[test]
fn ordinary_user_refuses_files_of_another_user() {
    needs_root!();
    let site = Site::prepared().owned_by_ordinary_user().serve();
    site.run(&["start"]).succeeds();
    let www_data = User::from_name("www-data").unwrap().unwrap().uid;
    while_chowned(&site.path("pid"), Some(www_data.as_raw()), None, || {
        let ran = site.run(&["restart"]);
        let what = format!(
            "error: ROOT/pid belongs to www-data (uid {www_data}): others can decide what nobody starts, stops and deletes\n  help: chown nobody ROOT/pid\n"
        );
        assert_eq!(site.shown(&ran.status(2).stderr), what, "{ran}");
    });
    // A directory of root is accepted.
    while_chowned(&site.path("etc"), Some(0), None, || site.run(&["check", "-q"]).prints(""));
    site.run(&["restart"]).succeeds();
}
