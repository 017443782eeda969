//! Mistakes on the command line and in the environment.

use super::{error, running};

#[test]
fn unknown_pool_or_replica_is_an_error() {
    let site = running();
    let no_pool = |name: &str| {
        // A similar name is named once more.
        let is_similar = ["www/", "WWW", "wwww"].contains(&name);
        let meant = if is_similar { "did you mean \"www\"? " } else { "" };
        error(&format!("there is no pool \"{name}\""), &format!("{meant}the pools are: www"))
    };
    let no_replica = |replica: &str| {
        error(&format!("the pool \"www\" has no replica {replica}"), "its replicas are 1 to 2")
    };
    // A name with a slash would name files elsewhere.
    for name in ["nope", "", "www/", "../redundant-pools/www", "WWW", "wwww"] {
        for command in ["restart", "status", "stop"] {
            site.refuses(&[command, name], &no_pool(name));
            site.refuses(&[command, "single", name], &no_pool(name));
        }
        site.refuses(&["check", name], &no_pool(name));
    }
    for replica in ["0", "9"] {
        site.refuses(&["restart", "single", "www", replica], &no_replica(replica));
        site.refuses(&["status", "single", "www", replica], &no_replica(replica));
        site.refuses(&["restart", "www", replica], &no_replica(replica));
    }
    let one_pool = "write one pool, and one of its replicas: POOL [N]";
    let mistakes = [
        ("restart www one", "\"one\" is not the number of a replica", one_pool),
        ("restart www 1 2", "unexpected word \"2\"", one_pool),
        (
            "stop all www",
            "unexpected word \"www\"",
            "`all` means all pools: for one pool, write only its name",
        ),
        ("stop single", "the name of a pool is missing after `single`", "write: single POOL [N]"),
        (
            "check single www 2",
            "unexpected argument '2' found",
            "",
        ),
        (
            "check www 2",
            "unexpected word \"2\"",
            "this command applies to whole pools: leave the number out",
        ),
    ];
    for (line, what, help) in mistakes {
        let args: Vec<&str> = line.split(' ').collect();
        if help.is_empty() {
            let ran = site.unchanged_by(|| site.run(&args));
            assert!(ran.status(2).stderr.starts_with(&format!("error: {what}")), "{ran}");
        } else {
            site.refuses(&args, &error(what, help));
        }
    }
}

/// `all` and `single` are words of the command line, also if a pool has that name.
#[test]
fn pool_with_the_name_of_a_word_needs_single() {
    let site = running();
    let rename = |from: &str, to: &str| {
        let dir = |name: &str| site.path("etc/php/fpm/redundant-pools").join(name);
        std::fs::rename(dir(from), dir(to)).unwrap();
    };
    site.run(&["stop"]).succeeds();
    for (before, name) in [("www", "all"), ("all", "single")] {
        rename(before, name);
        let title = format!("Redundant pool \"{name}\"...\n");
        let start = |replica: u32| format!("  Starting replica {replica}  [OK]\n");
        let stop = |replica: u32| format!("  Stopping replica {replica}  [OK]\n");
        site.run(&["start", "single", name, "2"]).prints(&format!("{title}{}", start(2)));
        site.run(&["stop", "single", name]).prints(&format!(
            "{title}  Replica 1 is not running\n{}",
            stop(2)
        ));
        site.run(&["start", "all"]).prints(&format!("{title}{}{}", start(1), start(2)));
        site.run(&["check", "single", name, "-q"]).prints("");
        site.run(&["stop", "single", name]).succeeds();
    }
    rename("single", "www");
}

/// The words are clap's; what they say first is what is wrong.
#[test]
fn invalid_command_line_is_an_error() {
    let site = running();
    let mistakes = [
        ("restrat", "unrecognized subcommand 'restrat'"),
        ("www", "unrecognized subcommand 'www'"),
        ("restart --tiemout 3", "unexpected argument '--tiemout' found"),
        (
            "restart --timeout",
            "a value is required for '--timeout <TIME>' but none was supplied",
        ),
        (
            "restart --timeout x",
            "invalid value 'x' for '--timeout <TIME>': expected a time like 5s, 2m, 1h or 500ms, of a year at most; a number alone means seconds",
        ),
        (
            "restart --timeout 99999999999",
            "invalid value '99999999999' for '--timeout <TIME>': expected a time like 5s, 2m, 1h or 500ms, of a year at most; a number alone means seconds",
        ),
        (
            "restart --canary 30x",
            "invalid value '30x' for '--canary <TIME>': expected a time like 5s, 2m, 1h or 500ms, of a year at most; a number alone means seconds",
        ),
        (
            "switch www release2 --canary soon",
            "invalid value 'soon' for '--canary <TIME>': expected a time like 5s, 2m, 1h or 500ms, of a year at most; a number alone means seconds",
        ),
        (
            "rollback --canary 0s",
            "invalid value '0s' for '--canary <TIME>': it must be more than 0",
        ),
        ("start --canary 30s", "unexpected argument '--canary' found"),
        ("restart --strategy canary", "invalid value 'canary' for '--strategy <STRATEGY>'"),
        ("restart single www 1 2", "unexpected argument '2' found"),
        ("switch www", "the following required arguments were not provided:"),
        ("start --timeout 3", "unexpected argument '--timeout' found"),
    ];
    for (line, what) in mistakes {
        let args: Vec<&str> = line.split(' ').collect();
        let ran = site.unchanged_by(|| site.run(&args));
        assert_eq!(ran.stderr.lines().next(), Some(format!("error: {what}").as_str()), "{ran}");
        assert!(ran.stderr.ends_with("\nFor more information, try '--help'.\n"), "{ran}");
        ran.status(2).stdout("");
    }
    // The usage of the command says what may stand there.
    let ran = site.run(&["restart", "--tiemout", "3"]);
    assert!(ran.stderr.contains("Usage: pools-manager restart "), "{ran}");
}

/// What is typed in haste must not lead to a change of the pools.
#[test]
fn typo_suggests_no_command_that_changes_something() {
    let site = running();
    let ran = site.unchanged_by(|| site.run(&["stat"]));
    assert!(ran.status(2).stderr.contains("a similar subcommand exists: 'status'"), "{ran}");
    for typo in ["sto", "strat", "restrat", "swich", "rolback", "repiar", "serv"] {
        let ran = site.unchanged_by(|| site.run(&[typo]));
        assert!(!ran.status(2).stderr.contains("similar"), "{ran}");
    }
}

#[test]
fn number_alone_is_seconds_in_options_and_settings() {
    let site = running();
    for time in ["5", "5s", "1m", "5000ms"] {
        site.run(&["restart", "www", "--timeout", time]).succeeds();
    }
    site.add_rollout("drain_timeout = 5\nready_timeout = \"30\"");
    site.run(&["restart", "www", "1", "--canary", "1"]).succeeds();
    site.run(&["status"]).succeeds();
}

#[test]
fn invalid_root_is_an_error() {
    let site = running();
    let the_root = "the root holds etc/, pid/ and sockets/: correct --root or POOLS_MANAGER_ROOT";
    let absent = error("the root ROOT/absent: No such file or directory (os error 2)", the_root);
    let other = |root: &str, why: &str| {
        error(
            &format!("cannot read {root}/etc/php/fpm/redundant-pools: {why}"),
            &format!(
                "the root is {root}: run the command in the directory that holds etc/, or name it with --root or POOLS_MANAGER_ROOT"
            ),
        )
    };
    let named = |name: &str| site.path(name).display().to_string();
    site.refuses(&["restart", "--root", &named("absent")], &absent);
    let no_directory = "No such file or directory (os error 2)";
    site.refuses(&["restart", "--root", &named("www")], &other("ROOT/www", no_directory));
    let file = "www/release1/ping.php";
    let not_a_directory = "Not a directory (os error 20)";
    site.refuses(
        &["restart", "--root", &named(file)],
        &other(&format!("ROOT/{file}"), not_a_directory),
    );
    for (root, stderr) in [("absent", absent), ("www", other("ROOT/www", no_directory))] {
        let ran = site.unchanged_by(|| {
            site.run_with(&["restart"], |command| {
                command.env("POOLS_MANAGER_ROOT", site.path(root));
            })
        });
        assert_eq!(site.shown(&ran.stderr), stderr);
        ran.status(2).stdout("");
    }
}

#[test]
fn root_without_pools_is_an_error() {
    let site = running();
    site.while_moved_away("etc", || {
        site.refuses(
            &["restart"],
            &error(
                "cannot read ROOT/etc/php/fpm/redundant-pools: No such file or directory (os error 2)",
                "the root is ROOT: run the command in the directory that holds etc/, or name it with --root or POOLS_MANAGER_ROOT",
            ),
        );
    });
    let none = error(
        "there is no pool below ROOT/etc/php/fpm/redundant-pools",
        "a pool is a directory there that holds a pools-manager.toml",
    );
    site.while_moved_away("etc/php/fpm/redundant-pools/www", || {
        for command in [&["restart"][..], &["list"], &["status", "single", "www"]] {
            site.refuses(command, &none);
        }
    });
}

#[test]
fn empty_environment_works() {
    let site = running();
    let bare = |args: &[&str]| {
        site.run_with(args, |command| {
            command.env_clear();
        })
    };
    bare(&["restart"]).succeeds();
    bare(&["status"]).succeeds();
    assert_eq!(site.generations(), [2, 2]);
}

#[test]
fn timeout_of_zero_cuts_requests_in_flight_at_once() {
    let site = running();
    // Without requests in flight, nothing is cut, and there is no warning.
    site.run(&["restart", "--timeout", "0"]).succeeds();
    for replica in ["1", "2"] {
        site.run(&["stop", "single", "www", replica, "--timeout", "0"])
            .prints(&format!("Redundant pool \"www\"...\n  Stopping replica {replica}  [OK]\n"));
    }
    site.run(&["start", "single", "www", "1"]).succeeds();
    let _request = site.hold();
    site.run(&["stop", "single", "www", "1", "--timeout", "0"]).prints(
        "Redundant pool \"www\"...\n  \
         Stopping replica 1  [OK]\n  \
         Warning: generation 3 of replica 1 is still busy after 0s: 1 request will be cut\n",
    );
}
