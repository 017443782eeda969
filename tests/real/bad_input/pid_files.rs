//! Wrong pid files: only the process that holds the socket gets a signal.

use std::process::{Child, Command};

use super::running;
use harness::Site;

#[test]
fn pid_file_of_a_generation_is_verified() {
    let site = running();
    let bystander = Bystander::new();
    let lies = bystander.lies();
    for (lie, generation) in lies.iter().zip(1..) {
        for replica in [1, 2] {
            site.write(&format!("pid/www.{replica}.g{generation}.pid"), lie);
        }
        site.run(&["status", "-q"]).succeeds();
        site.run(&["restart"]).succeeds();
        site.is_in_order_on("release1");
    }
    let generation = lies.len() + 1;
    site.write(&format!("pid/www.1.g{generation}.pid"), &bystander.pid());
    site.run(&["stop"]).succeeds();
    assert!(site.php_fpm().is_empty());
    bystander.lives();
}

#[test]
fn pid_file_of_an_adopted_master_is_verified() {
    let site = Site::new();
    let bystander = Bystander::new();
    let commands = [&["restart"][..], &["restart", "--strategy", "swap"], &["stop"]];
    for (lie, command) in bystander.lies().iter().zip(commands.into_iter().cycle()) {
        for replica in [1, 2] {
            site.start_by_hand(replica);
            site.write(&format!("pid/php-fpm-www{replica}.pid"), lie);
        }
        site.run(command).succeeds();
        if command != ["stop"] {
            site.is_in_order_on("release1");
            site.run(&["stop"]).succeeds();
        }
        assert!(site.php_fpm().is_empty());
    }
    bystander.lives();
}

/// An unrelated program.
struct Bystander(Child);

impl Bystander {
    fn new() -> Self {
        Self(Command::new("sleep").arg("600").spawn().unwrap())
    }

    fn pid(&self) -> String {
        format!("{}\n", self.0.id())
    }

    /// Wrong contents of a pid file.
    fn lies(&self) -> Vec<String> {
        let far = "99999999999999999999\n".to_owned();
        vec![
            "garbage".to_owned(),
            String::new(),
            "1\n".to_owned(),
            "-1".to_owned(),
            far,
            self.pid(),
        ]
    }

    fn lives(mut self) {
        assert_eq!(self.0.try_wait().unwrap(), None);
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
