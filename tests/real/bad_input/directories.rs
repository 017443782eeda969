//! Directories of sockets and pid files that are missing, no directories, or of another user.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use nix::unistd::User;
use serde_json::Value;

use super::{POOL, POOL_CONF, error, running};
use harness::{Program, Site, needs_root};

const LOCK_HELP: &str =
    "the directory pid/ in the root has to be there, and it and the file writable for you";

#[test]
fn missing_pid_directory_is_an_error() {
    let site = running();
    site.while_moved_away("pid", || {
        let cannot = |why: &str| error(&format!("cannot lock ROOT/pid/www.lock: {why}"), LOCK_HELP);
        for command in [&["start"][..], &["restart"], &["stop"]] {
            site.refuses(command, &cannot("No such file or directory (os error 2)"));
        }
        fs::write(site.path("pid"), "").unwrap();
        site.refuses(&["restart"], &cannot("Not a directory (os error 20)"));
        let what = "cannot read ROOT/pid: Not a directory (os error 20)";
        let help = "it has to be a directory that you may read";
        site.refuses(&["status"], &error(what, help));
        fs::remove_file(site.path("pid")).unwrap();
        let what = "cannot read ROOT/pid: No such file or directory (os error 2)";
        site.refuses(&["status"], &error(what, "mkdir ROOT/pid"));
    });
    site.run(&["restart"]).succeeds();
    site.is_in_order_on("release1");
}

#[test]
fn missing_directory_of_sockets_or_pid_files_is_an_error() {
    let site = running();
    let conf = format!("{POOL}/1.conf");
    let cannot = |dir: &str, why: &str, what_for: &str| {
        error(
            &format!("ROOT/{conf}: cannot create files in ROOT/{dir}: {why}"),
            &format!("{what_for} there: the directory has to be there, and writable for you"),
        )
    };
    let why = |dir| match dir {
        "absent" => "No such file or directory (os error 2)",
        _ => "Not a directory (os error 20)",
    };
    for dir in ["absent", "www/release1/ping.php"] {
        let commands = [&["restart"][..], &["restart", "--strategy", "swap"]];
        site.while_changed(POOL_CONF, "listen = sockets", &format!("listen = {dir}"), || {
            let stderr = cannot(dir, why(dir), "`listen` puts the socket");
            for command in commands {
                site.refuses(command, &stderr);
            }
        });
        site.while_changed(&conf, "pid = pid", &format!("pid = {dir}"), || {
            let stderr = cannot(dir, why(dir), "`pid` puts the pid file");
            for command in commands {
                site.refuses(command, &stderr);
            }
        });
    }
}

/// To root all directories are writable.
#[test]
fn unwritable_directory_is_an_error() {
    let site = Site::prepared().owned_by_ordinary_user().serve();
    site.run(&["start"]).succeeds();
    let denied = "Permission denied (os error 13)";
    let writable = "the directory has to be there, and writable for you";
    while_read_only(&site.path("sockets"), || {
        let what = format!("ROOT/{POOL}/1.conf: cannot create files in ROOT/sockets: {denied}");
        let help = format!("`listen` puts the socket there: {writable}");
        site.refuses(&["restart"], &error(&what, &help));
    });
    while_read_only(&site.path("pid"), || {
        let what = format!("cannot create files in ROOT/pid: {denied}");
        let help = format!("what runs is recorded there: {writable}");
        site.refuses(&["restart"], &error(&what, &help));
    });
    // The lock of a pool that was never started does not exist.
    fs::rename(site.path("pid/www.lock"), site.path("lock")).unwrap();
    while_read_only(&site.path("pid"), || {
        let what = format!("cannot lock ROOT/pid/www.lock: {denied}");
        site.refuses(&["restart"], &error(&what, LOCK_HELP));
    });
    site.run(&["restart"]).succeeds();
    site.is_in_order_on("release1");
}

/// Another user can neither see nor change the processes of the site.
#[test]
fn other_user_cannot_change_a_site() {
    needs_root!();
    let site = running();
    let program = site.copy_of_program();
    let nobody = User::from_name("nobody").unwrap().unwrap();
    let as_nobody = |args: &[&str]| {
        let mut command = site.command(&program);
        command.args(args).uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw());
        Program::start(&mut command).finish()
    };
    let denied = "Permission denied (os error 13)";
    for command in ["start", "restart", "stop"] {
        let ran = site.unchanged_by(|| as_nobody(&[command]));
        let what = format!("cannot lock ROOT/pid/www.lock: {denied}");
        assert_eq!(site.shown(&ran.stderr), error(&what, LOCK_HELP));
        ran.status(2);
    }
}

/// The other user sees the records, the sockets and the balancer.
#[test]
fn status_for_another_user_shows_what_it_may_see() {
    needs_root!();
    let site = running();
    let program = site.copy_of_program();
    let nobody = User::from_name("nobody").unwrap().unwrap();
    let status = |args: &[&str]| {
        let mut command = site.command(&program);
        command.arg("status").args(args).uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw());
        Program::start(&mut command).finish()
    };
    let ran = site.unchanged_by(|| status(&["--json"]));
    let document: Value = serde_json::from_str(&ran.succeeds().stdout).unwrap();
    let pool = &document["pools"][0];
    for (replica, number) in pool["replicas"].as_array().unwrap().iter().zip(1..) {
        assert_eq!((&replica["replica"], &replica["ok"]), (&number.into(), &true.into()), "{ran}");
        assert_eq!(replica["ping_php"], "pong");
        assert_eq!(site.shown(replica["current"].as_str().unwrap()), "ROOT/www/release1");
        assert!(replica["pid"].as_i64().is_some_and(|pid| pid > 1), "{ran}");
    }
    let unseen = "whether the processes are halted, and what they see mounted";
    assert_eq!(pool["unseen"], serde_json::json!([unseen]));
    let shown = status(&[]);
    let line = format!("  Not visible to this account: {unseen}\n");
    assert!(shown.succeeds().stdout.contains(&line), "{shown}");

    // Only their owner may use these sockets, so PHP gets no ping.
    for replica in 1..=2 {
        let socket = site.path(&format!("sockets/php-fpm-www{replica}.g1.sock"));
        fs::set_permissions(socket, Permissions::from_mode(0o600)).unwrap();
    }
    let ran = status(&["--json"]);
    let document: Value = serde_json::from_str(&ran.succeeds().stdout).unwrap();
    assert_eq!(document["pools"][0]["replicas"][0]["ping_php"], "unknown");
    assert_eq!(document["pools"][0]["unseen"][1], "whether PHP answers (listen.mode)");

    // The lock on this file keeps a canary in force, so no other account may open it.
    site.write("pid/www.canary.json", "{}");
    let canary = "whether a canary gets a share of the visitors";
    assert!(status(&[]).succeeds().stdout.contains(canary));

    // What the user can see decides about the exit status.
    site.run(&["stop", "single", "www", "2"]).succeeds();
    assert!(status(&[]).succeeds().stdout.contains("replica 2 [Stopped]"));
    site.kill_replica(1);
    let ran = status(&[]);
    let error = "error: pool \"www\": not well: replica 1\n";
    assert_eq!(ran.status(1).stderr, error);
}

fn while_read_only(dir: &Path, then: impl FnOnce()) {
    fs::set_permissions(dir, Permissions::from_mode(0o555)).unwrap();
    then();
    fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap();
}
