//! Names that are ours, and lead to something that is not.

use std::fs;
use std::os::unix::fs::symlink;

use super::{POOL, error, running};

const SOCKET: &str = "sockets/php-fpm-www1.sock";
const LOCK: &str = "pid/www.lock";

/// Replica 2 serves alone meanwhile.
#[test]
fn something_else_on_the_public_name_of_a_socket() {
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
    commands.iter().for_each(|command| site.refuses(command, &stderr));
    assert_eq!(fs::read_to_string(&name).unwrap(), "precious");
    fs::remove_file(&name).unwrap();
    fs::create_dir(&name).unwrap();
    commands.iter().for_each(|command| site.refuses(command, &stderr));
    fs::remove_dir(&name).unwrap();

    // That what runs has lost its name is made good.
    site.run(&["start"]).prints(
        "Redundant pool \"www\"...\n  \
         Replica 2 is already running\n  \
         Starting replica 1  [OK]\n",
    );
    assert_eq!(site.generations(), [1, 1]);
    site.is_in_order_on("release1");
}

#[test]
fn something_else_on_the_public_name_of_a_pid_file() {
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
    // A link to somewhere else is replaced, and where it led to is left alone.
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
fn something_else_in_the_place_of_the_lock() {
    let site = running();
    let stderr = error(
        &format!("ROOT/{LOCK} is not a regular file, so it cannot be the lock"),
        "move it away: pools-manager writes this file itself",
    );
    let commands = [&["start"][..], &["restart"], &["stop"]];
    site.write("precious", "precious");
    let lock = site.path(LOCK);
    fs::remove_file(&lock).unwrap();
    for target in ["../precious", "absent"] {
        symlink(target, &lock).unwrap();
        commands.iter().for_each(|command| site.refuses(command, &stderr));
        fs::remove_file(&lock).unwrap();
    }
    assert_eq!(site.read("precious"), "precious");
    fs::create_dir(&lock).unwrap();
    commands.iter().for_each(|command| site.refuses(command, &stderr));
    fs::remove_dir(&lock).unwrap();
    site.run(&["restart"]).succeeds();
}
