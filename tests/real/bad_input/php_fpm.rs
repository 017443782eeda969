//! Mistakes in the command and the configuration of php-fpm. They are found before any drain.

use nix::unistd::{Uid, User};

use super::{POOL, POOL_CONF, SETTINGS, error, running};
use harness::{Site, php_fpm};

#[test]
fn command_that_does_not_start_php_fpm_is_an_error() {
    let site = running();
    let correct = format!(
        "correct php_fpm_cmd in ROOT/{SETTINGS}: php-fpm, and each argument as a string of its own"
    );
    let cannot =
        |program: &str, why: &str| error(&format!("cannot run \"{program}\": {why}"), &correct);
    let no_php_fpm = |program: &str, said: &str| {
        error(
            &format!("{program} -tt does not show its configuration, as php-fpm does: {said}"),
            &correct,
        )
    };
    let in_file = |what: &str, help: &str| error(&format!("ROOT/{SETTINGS}: {what}"), help);
    let php_fpm = php_fpm().display().to_string();
    let no_file = "No such file or directory (os error 2)";
    let no_program =
        "name php-fpm there, or leave php_fpm_cmd out: the newest php-fpm is taken then";
    let mistakes = [
        (vec!["/absent/php-fpm"], cannot("/absent/php-fpm", no_file)),
        // All in one string, as for a shell.
        (vec!["php-fpm -p %CURRENT_DIR%"], cannot("php-fpm -p ROOT", no_file)),
        (vec!["/etc"], cannot("/etc", "Permission denied (os error 13)")),
        (vec!["/bin/true"], no_php_fpm("/bin/true", "exit status: 0")),
        (vec![&php_fpm, "--absent"], no_php_fpm(&php_fpm, "exit status: 64")),
        (vec![""], in_file("php_fpm_cmd names no program", no_program)),
        (vec!["sudo"], in_file("php_fpm_cmd names no program", no_program)),
    ];
    for (command, stderr) in mistakes {
        with_command(&site, &command, || site.refuses(&["restart"], &stderr));
    }
}

#[test]
fn php_fpm_in_the_foreground_or_of_another_user_is_an_error() {
    let site = running();
    let us = User::from_uid(Uid::from_raw(site.uid())).unwrap().unwrap().name;
    let php_fpm = php_fpm().display().to_string();
    for flag in ["-F", "--nodaemonize"] {
        with_command(&site, &[&php_fpm, "-p", "%CURRENT_DIR%", flag], || {
            site.refuses(
                &["restart"],
                &error(
                    &format!("ROOT/{SETTINGS}: php_fpm_cmd has {flag}"),
                    "leave it out: php-fpm reports that it is up by going to the background",
                ),
            );
        });
    }
    with_command(&site, &["sudo", "-u", "somebody", &php_fpm, "-p", "%CURRENT_DIR%"], || {
        site.refuses(
            &["restart"],
            &error(
                &format!("ROOT/{SETTINGS}: php_fpm_cmd runs sudo -u somebody, but you are {us}"),
                "leave sudo out and run pools-manager as somebody, or as root with `user = somebody` in the pool's php-fpm configuration",
            ),
        );
    });
    // This placeholder of the original means the user who runs the command.
    with_command(&site, &["sudo", "-u", "%CURRENT_USER%", &php_fpm, "-p", "%CURRENT_DIR%"], || {
        site.run(&["restart"]).succeeds();
    });
}

/// Writes `php_fpm_cmd` into the settings while `then` runs.
fn with_command(site: &Site, words: &[&str], then: impl FnOnce()) {
    let key = "current_dir =";
    site.while_changed(SETTINGS, key, &format!("php_fpm_cmd = {words:?}\n{key}"), then);
}

/// php-fpm's own message is shown. An error of both replicas is reported only for the first.
#[test]
fn configuration_that_php_fpm_rejects_is_an_error() {
    let site = running();
    let pool_conf = site.read(POOL_CONF);
    let pm = pool_conf.lines().position(|line| line == "pm = dynamic").unwrap() + 1;
    let included_from = |replica: u32| {
        // php-fpm names the line of the included file.
        format!(
            "    ERROR: Unable to include ROOT/{POOL_CONF} from ROOT/{POOL}/{replica}.conf at line {pm}\n"
        )
    };
    let mistakes = [
        (
            "pm = dynamic",
            "pmm = dynamic",
            format!("    ERROR: [ROOT/{POOL_CONF}:{pm}] unknown entry 'pmm'\n{}", included_from(1)),
        ),
        (
            "pm.max_children = 5",
            "pm.max_children = 0",
            "    ALERT: [pool www1] pm.max_children must be a positive value\n".to_owned(),
        ),
        (
            "\nlisten = ",
            "\n; listen = ",
            "    ALERT: [pool www1] no listen address have been defined!\n".to_owned(),
        ),
    ];
    for (from, to, said) in mistakes {
        site.while_changed(POOL_CONF, from, to, || {
            for strategy in ["rolling", "swap"] {
                site.refuses(&["restart", "--strategy", strategy], &not_accepted(1, &said));
            }
        });
    }
    let conf = format!("{POOL}/1.conf");
    site.write(&conf, "[www1]\nuser = nobody\ninclude=etc/pol.conf\n");
    let said = format!(
        "    WARNING: Nothing matches the include pattern 'ROOT/etc/pol.conf' from ROOT/{conf} at line 3.\n    \
         ALERT: [pool www1] no listen address have been defined!\n"
    );
    site.refuses(&["restart"], &not_accepted(1, &said));
}

/// The other replica is not restarted either.
#[test]
fn configuration_error_of_one_replica_is_found() {
    let site = running();
    let conf = format!("{POOL}/2.conf");
    let sample = site.read(&conf);
    // The section stands before the includes, because php-fpm counts their lines too.
    site.write(&conf, &format!("[www2]\npm = elastic\n{sample}"));
    let said = format!(
        "    ERROR: [ROOT/{conf}:2] unable to parse value for entry 'pm': \
         invalid process manager (static, dynamic or ondemand)\n"
    );
    for strategy in ["rolling", "swap"] {
        site.refuses(&["restart", "--strategy", strategy], &not_accepted(2, &said));
    }
    site.write(&conf, &sample.replace("[www2]", "[www2"));
    let said =
        "    PHP:  syntax error, unexpected end of file, expecting ']' in Unknown on line 1\n";
    site.refuses(&["restart"], &not_accepted(2, said));
    // The other replica is not affected.
    site.run(&["restart", "single", "www", "1"]).succeeds();
    assert_eq!(site.generations(), [2, 1]);
}

fn not_accepted(replica: u32, said: &str) -> String {
    format!(
        "error: php-fpm does not accept ROOT/{POOL}/{replica}.conf:\n{said}  \
         help: nothing was changed; correct the file and run the command again\n"
    )
}

#[test]
fn configuration_without_a_replica_is_an_error() {
    let site = running();
    let conf = format!("{POOL}/2.conf");
    let sample = site.read(&conf);
    let two = sample.replace("[www2]", "[www9]")
        + "[www2]\ninclude=etc/php/fpm/redundant-pools/www/pool.conf\n";
    site.write(&conf, &two);
    site.refuses(
        &["restart"],
        &error(
            &format!("ROOT/{conf}: one pool section is expected, there are [www9] and [www2]"),
            "each replica is one php-fpm pool: put the others into files of their own",
        ),
    );
    // A copy in which nothing was changed.
    site.write(&conf, &site.read(&format!("{POOL}/1.conf")));
    site.refuses(
        &["restart"],
        &error(
            "replicas 1 and 2 both listen on ROOT/sockets/php-fpm-www1.sock",
            "name each N.conf's section after itself, such as [www2] in 2.conf: the sample's `listen` follows it",
        ),
    );
    site.write(&conf, &sample);
    let a_path = "give it a path, like the sample: listen = sockets/php-fpm-$pool.sock";
    for address in ["127.0.0.1:9000", "9000"] {
        site.while_changed(POOL_CONF, "sockets/php-fpm-$pool.sock", address, || {
            let what = format!("ROOT/{POOL}/1.conf: [www1] listens on {address}, no unix socket");
            site.refuses(&["restart"], &error(&what, a_path));
        });
    }
}

/// php-fpm accepts any number, and forks until no memory is left.
#[test]
fn more_children_than_memory_for_idle_ones_are_refused() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let conf = "etc/php/fpm/redundant-pools/www/pool.conf";
    let sample = site.read(conf);
    let many = sample.replace("pm.max_children = 5", "pm.max_children = 4000000");
    let fixed = many.replace("pm = dynamic", "pm = static");
    for text in [many, fixed] {
        site.write(conf, &text);
        for command in
            [&["restart"][..], &["restart", "--strategy", "swap"], &["switch", "www", "release2"]]
        {
            let ran = site.unchanged_by(|| site.run(command));
            let told = " children are allowed, and there is room for ";
            let at_once = " children would be started at once, and there is room for ";
            assert!(ran.stderr.contains(told) || ran.stderr.contains(at_once), "{ran}");
            assert!(ran.stderr.contains("\n  help: lower pm.max_children, "), "{ran}");
            ran.status(2);
        }
        let ran = site.run(&["check", "-q"]);
        let told = "    8000000 children are allowed, and there is room for ";
        assert!(ran.status(2).stdout.contains(told), "{ran}");
    }
    site.write(conf, &sample);
    site.run(&["restart"]).succeeds();
}

#[test]
fn more_children_than_memory_for_busy_ones_are_a_warning() {
    let site = Site::new();
    let conf = "etc/php/fpm/redundant-pools/www/pool.conf";
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap();
    let kib: u64 = total.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    // For two replicas, with 16 MiB for each child.
    let children = kib / 1024 / 16 / 2 + 10;
    site.replace(conf, "pm.max_children = 5", &format!("pm.max_children = {children}"));
    let told = format!("{} children are allowed, ", 2 * children);
    let ran = site.run(&["start"]);
    assert!(ran.succeeds().stdout.contains(&format!("  Warning: {told}")), "{ran}");
    let ran = site.run(&["check", "-q"]);
    assert!(ran.succeeds().stdout.contains(&format!("    {told}")), "{ran}");
}
