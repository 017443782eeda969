//! Mistakes on the command line and in the environment.

use super::{error, running};

#[test]
fn unknown_pool_or_replica_is_an_error() {
    let site = running();
    let no_pool = |name: &str| error(&format!("there is no pool \"{name}\""), "the pools are: www");
    let no_replica = |replica: &str| {
        error(&format!("the pool \"www\" has no replica {replica}"), "its replicas are 1 to 2")
    };
    // A name with a slash would name files elsewhere.
    for name in ["nope", "", "www/", "../redundant-pools/www", "WWW"] {
        site.refuses(&["restart", "single", name], &no_pool(name));
        site.refuses(&["status", "single", name], &no_pool(name));
    }
    for replica in ["0", "9"] {
        site.refuses(&["restart", "single", "www", replica], &no_replica(replica));
        site.refuses(&["status", "single", "www", replica], &no_replica(replica));
    }
}

/// The words are clap's; what they say first is what is wrong.
#[test]
fn invalid_command_line_is_an_error() {
    let site = running();
    let mistakes = [
        ("restrat", "unrecognized subcommand 'restrat'"),
        ("restart www", "unrecognized subcommand 'www'"),
        ("restart --tiemout 3", "unexpected argument '--tiemout' found"),
        (
            "restart --timeout",
            "a value is required for '--timeout <SECONDS>' but none was supplied",
        ),
        (
            "restart --timeout x",
            "invalid value 'x' for '--timeout <SECONDS>': invalid digit found in string",
        ),
        (
            "restart --timeout 99999999999",
            "invalid value '99999999999' for '--timeout <SECONDS>': 99999999999 is not in 0..=31536000",
        ),
        (
            "restart --canary 30",
            "invalid value '30' for '--canary <TIME>': it has to be a time like 30s or 5m, more than 0 and of a year at most",
        ),
        (
            "switch www release2 --canary soon",
            "invalid value 'soon' for '--canary <TIME>': it has to be a time like 30s or 5m, more than 0 and of a year at most",
        ),
        (
            "rollback --canary 0s",
            "invalid value '0s' for '--canary <TIME>': it has to be a time like 30s or 5m, more than 0 and of a year at most",
        ),
        ("start --canary 30s", "unexpected argument '--canary' found"),
        ("restart --strategy canary", "invalid value 'canary' for '--strategy <STRATEGY>'"),
        (
            "restart single www one",
            "invalid value 'one' for '[REPLICA]': invalid digit found in string",
        ),
        ("restart single www 1 2", "unexpected argument '2' found"),
        ("restart single", "the following required arguments were not provided:"),
        ("start --timeout 3", "unexpected argument '--timeout' found"),
    ];
    for (line, what) in mistakes {
        let args: Vec<&str> = line.split(' ').collect();
        let ran = site.unchanged_by(|| site.run(&args));
        assert_eq!(ran.stderr.lines().next(), Some(format!("error: {what}").as_str()), "{ran}");
        assert!(ran.stderr.ends_with("\nFor more information, try '--help'.\n"), "{ran}");
        ran.status(2).stdout("");
    }
    // Which command that is not all: the line that shows its usage says what may stand there.
    let ran = site.run(&["restart", "www"]);
    let usage = "Usage: pools-manager restart [OPTIONS] [all | single POOL [N]]";
    assert!(ran.stderr.contains(usage), "{ran}");
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
