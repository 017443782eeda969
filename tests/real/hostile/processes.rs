//! Unrelated processes that a pid file names, or that listen on the socket of a generation. They get
//! no signal.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;

use harness::{Site, Victim};

const STRATEGIES: [&str; 2] = ["rolling", "swap"];

#[test]
fn process_named_by_a_false_pid_file_gets_no_signal() {
    false_pid_files(&["1"]);
}

/// init, this test, numbers that are none or too large, and one that takes long to read.
#[test]
#[ignore = "a sweep: bin/test --all"]
fn each_kind_of_false_pid_file_is_ignored() {
    let (own, long) = (std::process::id().to_string(), "7".repeat(1 << 20));
    let odd = ["1", "0", "-1", "2147483648", "4294967297", "garbage", "", &own, &long];
    false_pid_files(&odd);
}

/// Restarts with these texts, and the pids of other programs, in the pid files.
fn false_pid_files(odd: &[&str]) {
    let mut victims = [Victim::new(), Victim::of_another_user()];
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let load = site.steady_load();
    let mut lies: Vec<String> = victims.iter().map(|it| it.pid().to_string()).collect();
    lies.extend(odd.iter().map(|it| (*it).to_owned()));
    for (lie, generation) in lies.iter().zip(1..) {
        for replica in [1, 2] {
            site.write(&format!("pid/www.{replica}.g{generation}.pid"), lie);
            // The public name is a link to the pid file, and may also have any content.
            let public = site.path(&format!("pid/php-fpm-www{replica}.pid"));
            fs::remove_file(&public).unwrap();
            fs::write(public, lie).unwrap();
        }
        site.run(&["status", "-q"]).succeeds();
        let strategy = STRATEGIES[generation % 2];
        site.run(&["restart", "--strategy", strategy]).succeeds();
        site.is_in_order_on("release1");
    }
    let last = lies.len() + 1;
    for replica in [1, 2] {
        site.write(&format!("pid/www.{replica}.g{last}.pid"), &lies[replica - 1]);
    }
    load.finish();
    site.run(&["stop"]).succeeds();
    assert!(site.php_fpm().is_empty());
    victims.iter_mut().for_each(Victim::is_unharmed);
}

/// This test plays a program that has bound a generation's name. A manager that takes it for a php-fpm
/// without a master would end it.
#[test]
fn program_on_the_socket_of_the_next_generation_is_not_ended() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let load = site.steady_load();
    let name = site.path("sockets/php-fpm-www1.g2.sock");
    let stranger = UnixListener::bind(&name).unwrap();
    let stderr = "error: ROOT/sockets/php-fpm-www1.g2.sock is a socket on which another process listens\n  \
                  help: generation 2 of replica 1 needs that name: move it away\n";
    for strategy in STRATEGIES {
        site.refuses(&["restart", "--strategy", strategy], stderr);
    }
    listens(&name);
    drop(stranger);
    // php-fpm replaces a socket without a listener.
    site.run(&["restart"]).succeeds();
    site.is_in_order_on("release1");
    load.finish();
}

/// The program comes when the rollout has begun: php-fpm finds the socket in use, and the release bounces.
#[test]
fn program_that_takes_the_socket_of_a_generation_is_not_ended() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let warm_up = site.hold_warm_up();
    let load = site.steady_load();
    let before = (site.masters(), site.members());
    site.switch("release2");
    let manager = site.spawn(&["restart", "--strategy", "swap"]);
    warm_up.reached();
    let name = site.path("sockets/php-fpm-www2.g2.sock");
    let stranger = UnixListener::bind(&name).unwrap();
    warm_up.open();
    let ran = manager.finish();
    assert!(ran.stdout.contains("  Starting replica 2  [FAILED]\n"), "{ran}");
    assert!(ran.stdout.contains("Another FPM instance seems to already listen on "), "{ran}");
    ran.status(1);
    assert_eq!((site.masters(), site.members()), before);
    site.run(&["restart"]).succeeds();
    site.is_in_order_on("release2");
    drop(stranger);
    load.finish();
}

/// The socket of a generation that has ended and still has a record: the generation does not count as running.
#[test]
fn program_on_the_socket_of_an_old_generation_is_not_ended() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    site.run(&["stop"]).succeeds();
    let name = site.path("sockets/php-fpm-www1.g1.sock");
    let stranger = UnixListener::bind(&name).unwrap();
    assert_eq!(site.status()["pools"][0]["replicas"][0]["running"], 0);
    let ran = site.run(&["stop"]);
    assert!(ran.succeeds().stdout.contains("  Replica 1 is not running\n"), "{ran}");
    site.run(&["start"]).succeeds();
    assert_eq!(site.generations(), [2, 2]);
    site.is_in_order_on("release1");
    drop(stranger);
}

/// Checks that nothing has removed or replaced the socket.
fn listens(name: &Path) {
    assert!(std::os::unix::net::UnixStream::connect(name).is_ok());
}
