//! Roots with special characters, and with long paths.

use super::{POOL, SETTINGS, error};
use harness::Site;

/// Without a balancer: the refusal needs no server.
const NO_BALANCER: &str =
    "[php]\ncurrent_release_symlink = \"www/current.release\"\ncurrent_dir = \"www/current\"\n";

#[test]
fn root_with_a_space_works() {
    let site = Site::prepared_in("pm my site-").serve();
    site.add_page("my page.php", "<?php echo 'mine';");
    site.run(&["start"]).succeeds();
    assert_eq!(site.get("/ping.php").body, "pong1\n");
    assert_eq!(site.get("/my%20page.php").body, "mine");
    assert_eq!(site.get("/my%2520page.php").status, 404);
    site.switch("release2");
    for strategy in ["rolling", "swap"] {
        site.run(&["restart", "--strategy", strategy]).succeeds();
        site.is_in_order_on("release2");
        assert_eq!(site.get("/ping.php").body, "pong2\n");
    }
    site.run(&["status", "-q"]).succeeds();
    site.run(&["stop"]).succeeds();
}

/// All characters that neither end a value in php-fpm's format nor have a meaning there.
#[test]
fn root_with_special_characters_works() {
    let site = Site::prepared_in("pm a'b;c#d=e%f!g~h(i)j&k|l^m{n},o@p+é-");
    site.write(SETTINGS, NO_BALANCER);
    site.run(&["start"]).succeeds();
    site.run(&["restart"]).succeeds();
    site.is_in_order_on("release1");
    site.run(&["stop"]).succeeds();
}

#[test]
fn root_with_characters_that_php_fpm_cannot_read_is_refused() {
    for character in ["$", "\"", "\\", "*", "?", "[", "\n"] {
        let site = Site::prepared_in(&format!("pm-{character}-"));
        site.write(SETTINGS, NO_BALANCER);
        for command in [&["start"][..], &["restart"], &["stop"], &["status"]] {
            site.refuses(
                command,
                &error(
                    &format!("php-fpm's configuration cannot name the path ROOT/{POOL}/1.conf"),
                    "use paths without quotes, $, backslashes, line ends, *, ? and [",
                ),
            );
        }
        assert!(site.file_names().is_empty());
    }
}

/// php-fpm takes each value with a colon for the address of an internet socket.
#[test]
fn root_with_a_colon_is_refused() {
    let site = Site::prepared_in("pm:-");
    site.write(SETTINGS, NO_BALANCER);
    site.refuses(
        &["start"],
        &error(
            &format!("ROOT/{POOL}/1.conf: [www1] listens on ROOT/sockets/php-fpm-www1.sock, which php-fpm takes for an internet address"),
            "name a path without a colon, or move the root to one",
        ),
    );
}

/// The longest root: `/sockets/php-fpm-www1.g99999.sock` is added, and the kernel takes 107 bytes.
const LONGEST: usize = 107 - 33;

#[test]
fn longest_allowed_root_works() {
    let site = in_a_root_of(LONGEST);
    site.write(SETTINGS, NO_BALANCER); // Apache takes 95 bytes only for the public name
    site.run(&["start"]).succeeds();
    site.run(&["restart"]).succeeds();
    site.is_in_order_on("release1");
}

#[test]
fn too_long_root_is_refused() {
    let too_long = [
        LONGEST + 1,
        // With this root the name of the first generation fits, with the next one only the public name.
        107 - "/sockets/php-fpm-www1.g1.sock".len(),
        107 - "/sockets/php-fpm-www1.sock".len(),
        107,
    ];
    for length in too_long {
        let site = in_a_root_of(length);
        site.write(SETTINGS, NO_BALANCER);
        let socket = length + 33;
        for command in [&["start"][..], &["start", "--dry-run"], &["restart"]] {
            site.refuses(
                command,
                &error(
                    &format!("ROOT/{POOL}/1.conf: the path of the socket ROOT/sockets/php-fpm-www1.g99999.sock would have {socket} bytes, and the kernel takes 107 at most"),
                    "shorten `listen` in the php-fpm configuration, or move the root to a shorter path",
                ),
            );
        }
        assert!(site.file_names().is_empty());
    }
}

fn in_a_root_of(length: usize) -> Site {
    let before = "/tmp/".len();
    let random = 6; // what makes the name of a temporary directory unique
    let site = Site::prepared_in(&"x".repeat(length - before - random));
    assert_eq!(site.root().as_os_str().len(), length);
    site
}
