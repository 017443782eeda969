//! Mistakes on the command line and in the environment.

use super::{POOL, SETTINGS, error, running};
use harness::Site;

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
        ("check single www 2", "unexpected argument '2' found", ""),
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
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let masters = site.masters();
    for name in ["all", "single"] {
        let pool = format!("etc/php/fpm/redundant-pools/{name}");
        let settings = {
            let text = site.read(SETTINGS);
            text.split_once("[apache]").unwrap().0.to_owned()
        };
        site.write(&format!("{pool}/pools-manager.toml"), &settings);
        let conf = site.read(&format!("{POOL}/1.conf"));
        let conf = conf.replace("www1", &format!("{name}1"));
        site.write(&format!("{pool}/1.conf"), &conf);
        let title = format!("Redundant pool \"{name}\"...\n");
        let does = |what: &str| format!("{title}  {what} replica 1  [OK]\n");
        site.run(&["start", "single", name, "1"]).prints(&does("Starting"));
        site.run(&["check", "single", name, "-q"]).succeeds();
        let status = site.run(&["status", "-q", "single", name]);
        status.prints(&format!("{title}  Status for replica 1 [OK]\n"));
        site.run(&["stop", "single", name]).prints(&does("Stopping"));
        assert_eq!(site.run(&["list", "-q"]).stdout.lines().count(), 2);
        let all = site.run(&["status", "-q", "all"]);
        assert!(all.succeeds().stdout.contains("Redundant pool \"www\""), "{all}");
        assert_eq!(site.run(&["stop", "single"]).status(2).stdout, "");
        std::fs::remove_dir_all(site.path(&pool)).unwrap();
    }
    assert_eq!(site.masters(), masters);
}

/// clap words these errors. Their first sentence says what is wrong.
#[test]
fn invalid_command_line_is_an_error() {
    let site = running();
    let mistakes = [
        ("restrat", "unrecognized subcommand 'restrat'"),
        ("www", "unrecognized subcommand 'www'"),
        ("restart --tiemout 3", "unexpected argument '--tiemout' found"),
        ("restart --timeout", "a value is required for '--timeout <TIME>' but none was supplied"),
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
            "invalid value '30x' for '--canary <TIME|SHARE>': expected a share like 10%, or a time like 5s, 2m, 1h or 500ms, of a year at most; a number alone means seconds",
        ),
        (
            "switch www release2 --canary soon",
            "invalid value 'soon' for '--canary <TIME|SHARE>': expected a share like 10%, or a time like 5s, 2m, 1h or 500ms, of a year at most; a number alone means seconds",
        ),
        (
            "rollback --canary 0s",
            "invalid value '0s' for '--canary <TIME|SHARE>': it must be more than 0",
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
        for command in ["start", "stop", "restart", "switch", "rollback", "repair", "serve"] {
            let is_named = ran.status(2).stderr.contains(&format!("'{command}'"));
            assert!(!is_named, "{ran}");
        }
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
        let root = site.root().display().to_string();
        let (name, help) = (["--root", &root], "the root is ROOT: run the command in the directory that holds etc/, or name it with --root or POOLS_MANAGER_ROOT");
        site.refuses(
            &["restart", name[0], name[1]],
            &error(
                "cannot read ROOT/etc/php/fpm/redundant-pools: No such file or directory (os error 2)",
                help,
            ),
        );
        site.refuses(
            &["restart"],
            &error(
                "there is no root: ROOT has no etc/php/fpm/redundant-pools, nor has a directory above it, nor has /var/lib/pools-manager",
                "run the command in the root, or name it with --root or POOLS_MANAGER_ROOT",
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
