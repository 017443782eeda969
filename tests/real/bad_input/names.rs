//! Public names of a pool that lead to something else.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use rustix::process::Pid;

use super::{POOL, POOL_CONF, SETTINGS, error, running};
use harness::Site;

const SOCKET: &str = "sockets/php-fpm-www1.sock";
const LOCK: &str = "pid/www.lock";

/// Replica 2 serves alone meanwhile.
#[test]
fn file_in_place_of_a_public_socket_is_an_error() {
    let site = running();
    let stderr = error(
        &format!("ROOT/{SOCKET} is neither a socket nor a symlink"),
        "it is where a replica's public socket belongs: move it away",
    );
    let name = site.path(SOCKET);
    let commands = [
        &["start"][..],
        &["restart"],
        &["restart", "--strategy", "swap"],
        &["restart", "single", "www", "2"],
        &["stop"],
        &["status"],
    ];
    fs::remove_file(&name).unwrap();
    fs::write(&name, "precious").unwrap();
    for command in commands {
        site.refuses(command, &stderr);
    }
    assert_eq!(fs::read_to_string(&name).unwrap(), "precious");
    fs::remove_file(&name).unwrap();
    fs::create_dir(&name).unwrap();
    for command in commands {
        site.refuses(command, &stderr);
    }
    fs::remove_dir(&name).unwrap();

    // A running generation gets its public name back.
    site.run(&["start"]).prints(
        "Redundant pool \"www\"...\n  \
         Replica 2 is already running\n  \
         Starting replica 1  [OK]\n",
    );
    assert_eq!(site.generations(), [1, 1]);
    site.is_in_order_on("release1");
}

/// This test listens like a database that `listen` names by mistake. A manager that takes the test for a
/// php-fpm without its master would end the test.
#[test]
fn public_socket_of_another_program_is_an_error() {
    let site = Site::new();
    let database = UnixListener::bind(site.path("sockets/database.sock")).unwrap();
    site.replace(POOL_CONF, "php-fpm-$pool.sock", "database.sock");
    let pid = std::process::id();
    let stderr = error(
        &format!(
            "ROOT/sockets/database.sock is listened on by a program that is not php-fpm: pid {pid}"
        ),
        "correct `listen` in the php-fpm configuration, or end that program",
    );
    for command in [&["start"][..], &["restart"], &["stop"], &["status"]] {
        site.refuses(command, &stderr);
    }
    drop(database);
}

/// A pool that was made by copying another one.
#[test]
fn public_socket_of_another_pool_is_an_error() {
    let site = running();
    let copy = "etc/php/fpm/redundant-pools/copy";
    let stderr = of_nobody(copy, site.masters()[0]);
    for file in ["1.conf", "2.conf"] {
        site.write(&format!("{copy}/{file}"), &site.read(&format!("{POOL}/{file}")));
    }
    let settings = site.read(SETTINGS);
    let (php, _balancer) = settings.split_once("[apache]").unwrap();
    site.write(&format!("{copy}/pools-manager.toml"), php);
    for command in [&["start", "single", "copy"][..], &["restart", "single", "copy"]] {
        site.refuses(command, &stderr);
    }
    site.run(&["stop", "single", "copy"]).succeeds();
    fs::remove_dir_all(site.path(copy)).unwrap();
    site.is_in_order_on("release1");
}

/// After a cleanup of `pid/`, running masters are adopted.
#[test]
fn removed_records_are_written_again() {
    let site = running();
    let masters = site.masters();
    let remove = || {
        for replica in [1, 2] {
            fs::remove_file(site.path(&format!("pid/www.{replica}.g1.conf"))).unwrap();
        }
    };
    remove();
    site.run(&["start"]).prints(
        "Redundant pool \"www\"...\n  Replica 1 runs; its record in pid/ is written again\n  \
         Replica 2 runs; its record in pid/ is written again\n",
    );
    assert_eq!(site.masters(), masters);
    remove();
    site.run(&["restart"]).succeeds();
    site.is_in_order_on("release1");
}

/// The message about replica 1, whose public name leads to a process that does not belong to the pool.
fn of_nobody(pool: &str, master: Pid) -> String {
    let pid = master.as_raw_nonzero();
    error(
        &format!(
            "ROOT/{pool}/1.conf: `listen` is ROOT/{SOCKET}, which leads to ROOT/sockets/php-fpm-www1.g1.sock of pid {pid}: this pool has no record of that process"
        ),
        &format!(
            "if the process is another pool's, give this pool other names; if its record in pid/ was removed, end it: kill -QUIT {pid}"
        ),
    )
}

#[test]
fn file_in_place_of_a_public_pid_file_is_an_error() {
    let site = running();
    let name = site.path("pid/php-fpm-www1.pid");
    fs::remove_file(&name).unwrap();
    fs::create_dir(&name).unwrap();
    site.refuses(
        &["restart"],
        &error(
            &format!(
                "ROOT/{POOL}/1.conf: `pid` is ROOT/pid/php-fpm-www1.pid, which is a directory"
            ),
            "a pid file belongs there: move it away",
        ),
    );
    fs::remove_dir(&name).unwrap();
    // A link to another file is replaced, and this file stays as it is.
    site.write("precious", "1\n");
    symlink("../precious", &name).unwrap();
    site.run(&["restart"]).succeeds();
    site.is_in_order_on("release1");
    fs::remove_file(&name).unwrap();
    symlink("../precious", &name).unwrap();
    site.run(&["stop"]).succeeds();
    assert_eq!(site.read("precious"), "1\n");
    site.run(&["start"]).succeeds();
    site.is_in_order_on("release1");
    assert_eq!(site.read("precious"), "1\n");
}

#[test]
fn symlink_in_place_of_the_lock_is_an_error() {
    let site = running();
    let stderr = error(
        &format!("ROOT/{LOCK} is not a regular file of its own, so it cannot be the lock"),
        "move it away: pools-manager writes this file itself",
    );
    let commands = [&["start"][..], &["restart"], &["stop"]];
    site.write("precious", "precious");
    let lock = site.path(LOCK);
    fs::remove_file(&lock).unwrap();
    for target in ["../precious", "absent"] {
        symlink(target, &lock).unwrap();
        for command in commands {
            site.refuses(command, &stderr);
        }
        fs::remove_file(&lock).unwrap();
    }
    assert_eq!(site.read("precious"), "precious");
    fs::create_dir(&lock).unwrap();
    for command in commands {
        site.refuses(command, &stderr);
    }
    fs::remove_dir(&lock).unwrap();
    site.run(&["restart"]).succeeds();
}
