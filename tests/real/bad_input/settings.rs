//! Mistakes in `pools-manager.toml`: the error names the file and the line.

use std::fs;

use super::{POOL, SETTINGS, error, running};
use harness::Site;

/// A change of the sample, and what comes of it.
struct Mistake {
    /// What is replaced.
    from: &'static str,
    by: &'static str,
    /// A part of the line that the error names.
    at: &'static str,
    what: &'static str,
    help: &'static str,
}

#[test]
fn unknown_missing_or_duplicate_key_is_an_error() {
    refuses_all(&[
        Mistake {
            from: "member_urls =",
            by: "menber_urls =",
            at: "menber_urls",
            what: "unknown key `menber_urls`",
            help: "did you mean `member_urls`?",
        },
        Mistake {
            from: "[apache]",
            by: "[apachee]",
            at: "[apachee]",
            what: "unknown key `apachee`",
            help: "did you mean `apache`?",
        },
        Mistake {
            from: "balancer_name =",
            by: "frobnicate =",
            at: "frobnicate",
            what: "unknown key `frobnicate`",
            help: "what can stand here: `manager_url`, `balancer_name`, `member_urls`",
        },
        Mistake {
            from: "[php]\n",
            by: "",
            at: "current_dir =",
            what: "unknown key `current_dir`",
            help: "what can stand here: `php`, `command`, `apache`, `haproxy`, `gateway`, `rollout`, `hooks`, `watch`, `limits`, `systemd`",
        },
        Mistake {
            from: "balancer_name = \"phpfpmlb\"\n",
            by: "",
            at: "[apache]",
            what: "missing key `balancer_name`",
            help: "add it below this line: [apache]",
        },
        Mistake {
            from: "balancer_name = \"phpfpmlb\"",
            by: "manager_url = \"http://localhost/\"",
            at: "manager_url = \"http://localhost/\"",
            what: "duplicate key",
            help: "correct this line: manager_url = \"http://localhost/\"",
        },
        Mistake {
            from: "current_dir = \"www/current\"\n",
            by: "",
            at: "[php]",
            what: "[php] has current_release_symlink but no current_dir",
            help: "current_dir names the empty directory on which the release is mounted",
        },
        Mistake {
            from: "current_release_symlink = \"www/current.release\"\n",
            by: "isolate = true\n",
            at: "isolate = true",
            what: "isolate has no effect: releases are not pinned",
            help: "set current_release_symlink and current_dir too, or leave it out",
        },
        Mistake {
            from: "current_release_symlink = \"www/current.release\"\n",
            by: "isolate = \"yes\"\n",
            at: "isolate = \"yes\"",
            what: "invalid type: string \"yes\", expected a boolean",
            help: "correct this line: isolate = \"yes\"",
        },
    ]);
}

#[test]
fn wrong_type_or_invalid_toml_is_an_error() {
    let name =
        |by, what, help| Mistake { from: "balancer_name = \"phpfpmlb\"", by, at: by, what, help };
    refuses_all(&[
        name(
            "balancer_name = 3",
            "invalid type: integer `3`, expected a string",
            "correct this line: balancer_name = 3",
        ),
        name(
            "balancer_name = phpfpmlb",
            "string values must be quoted, expected literal string",
            "correct this line: balancer_name = phpfpmlb",
        ),
        name(
            "balancer_name = \"phpfpmlb",
            "invalid basic string, expected `\"`",
            "correct this line: balancer_name = \"phpfpmlb",
        ),
        name(
            "balancer_name: \"phpfpmlb\"",
            "key with no value, expected `=`",
            "correct this line: balancer_name: \"phpfpmlb\"",
        ),
        name("balancer_name = \"\"", "it is empty", "correct this line: balancer_name = \"\""),
        Mistake {
            from: "[apache]",
            by: "[apache",
            at: "[apache",
            what: "unclosed table, expected `]`",
            help: "correct this line: [apache",
        },
    ]);
}

#[test]
fn wrong_number_of_member_urls_is_an_error() {
    let each = "name one balancer member for each replica, the first for 1.conf";
    let urls = |by, what, help| Mistake {
        from: "[\"fcgi://pool-1\", \"fcgi://pool-2\"]",
        by,
        at: "member_urls =",
        what,
        help,
    };
    refuses_all(&[
        urls("[]", "member_urls is empty", each),
        urls("[\"fcgi://a\", \"fcgi://a\"]", "member_urls names fcgi://a twice", each),
        urls(
            "[\"fcgi://a\"]",
            "member_urls names 1, but there are 2 replicas: 1.conf to 2.conf, and no 3.conf",
            each,
        ),
        urls(
            "\"fcgi://a\"",
            "invalid type: string \"fcgi://a\", expected a list, in brackets",
            "correct this line: member_urls = \"fcgi://a\"",
        ),
    ]);
}

#[test]
fn invalid_url_is_an_error() {
    let manager = |by, what, help| Mistake {
        from: "http://localhost:82/balancer-manager",
        by,
        at: "manager_url =",
        what,
        help,
    };
    refuses_all(&[
        manager(
            "localhost/balancer-manager",
            "\"localhost/balancer-manager\" is not the URL of a page: relative URL without a base",
            "correct this line: manager_url = \"localhost/balancer-manager\"",
        ),
        manager(
            "",
            "\"\" is not the URL of a page: relative URL without a base",
            "correct this line: manager_url = \"\"",
        ),
        Mistake {
            from: "http://localhost:82/ping-php-fpm",
            by: "ftp://localhost/",
            at: "monitor_url =",
            what: "\"ftp://localhost/\" is not the URL of a page: it does not begin with http:// or https://",
            help: "correct this line: monitor_url = \"ftp://localhost/\"",
        },
    ]);
}

#[test]
fn invalid_time_is_an_error() {
    const EXPECTED: &str =
        "expected a time like 5s, 2m, 1h or 500ms, of a year at most; a number alone means seconds";
    let site = running();
    for given in ["60x", "soon", "", "-1s", "2 years", "31536001"] {
        let line = format!("drain_timeout = \"{given}\"");
        let what = format!("invalid value: string \"{given}\", {EXPECTED}");
        refuses_in_rollout(&site, &line, &what, &format!("correct this line: {line}"));
    }
    for (given, kind) in [
        ("-1", "invalid value: integer"),
        ("31536001", "invalid value: integer"),
        ("1.5", "invalid type: floating point"),
        ("true", "invalid type: boolean"),
    ] {
        let line = format!("drain_timeout = {given}");
        let what = format!("{kind} `{given}`, {EXPECTED}");
        refuses_in_rollout(&site, &line, &what, &format!("correct this line: {line}"));
    }
    let line = "ready_timeout = \"0s\"";
    let what = "it must be more than 0";
    refuses_in_rollout(&site, line, what, &format!("correct this line: {line}"));
}

#[test]
fn invalid_rollout_setting_is_an_error() {
    let site = running();
    let mistakes = [
        ("strategy = \"roling\"", "unknown value `roling`", "did you mean `rolling`?"),
        (
            "strategy = \"canary\"",
            "unknown value `canary`",
            "what can stand here: `rolling`, `swap`",
        ),
        (
            "on_failure = \"ignore\"",
            "unknown value `ignore`",
            "what can stand here: `rollback`, `stop`",
        ),
        (
            "warm_up = [\"login\"]",
            "the warm-up path \"login\" does not begin with /",
            "write what follows the host in the page's URL, like /index.php",
        ),
        ("drain_timeuot = \"1s\"", "unknown key `drain_timeuot`", "did you mean `drain_timeout`?"),
    ];
    for (line, what, help) in mistakes {
        refuses_in_rollout(&site, line, what, help);
    }
}

#[test]
fn invalid_hook_is_an_error() {
    let site = running();
    let correct = |line: &str| format!("correct this line: {line}");
    let mistakes = [
        ("before_rolout = [\"true\"]", "unknown key `before_rolout`"),
        ("after_rollout = []", "it names no program"),
        ("after_rollout = [\"\"]", "it names no program"),
        (
            "on_failure = \"mail root\"",
            "invalid type: string \"mail root\", expected a list, in brackets",
        ),
        ("on_failure = [\"nice\", 3]", "invalid type: integer `3`, expected a string"),
        ("timeout = \"0s\"", "it must be more than 0"),
        (
            "timeout = []",
            "invalid type: sequence, expected a time like 5s, 2m, 1h or 500ms, of a year at most; a number alone means seconds",
        ),
    ];
    for (line, what) in mistakes {
        let unknown = line.starts_with("before_rolout");
        let help =
            if unknown { "did you mean `before_rollout`?".to_owned() } else { correct(line) };
        refuses_in(&site, "[hooks]", line, what, &help);
    }
}

/// Adds the section `[rollout]`, which the sample has only in comments.
fn refuses_in_rollout(site: &Site, line: &str, what: &str, help: &str) {
    refuses_in(site, "[rollout]", line, what, help);
}

fn refuses_in(site: &Site, section: &str, line: &str, what: &str, help: &str) {
    let sample = site.read(SETTINGS);
    site.write(SETTINGS, &format!("{sample}\n{section}\n{line}\n"));
    let number = sample.lines().count() + 3;
    site.refuses(&["restart"], &error(&format!("ROOT/{SETTINGS}:{number}: {what}"), help));
    site.write(SETTINGS, &sample);
}

#[test]
fn settings_file_without_the_php_table_is_an_error() {
    let site = running();
    let sample = site.read(SETTINGS);
    let refuses = |what: &str, help: &str| {
        site.refuses(
            &["restart"],
            &error(&what.replace("FILE", &format!("ROOT/{SETTINGS}")), help),
        );
    };
    let begin = "begin it with the line [php], and name current_release_symlink and current_dir below that; a pool of other servers has [command] instead";
    site.write(SETTINGS, "");
    refuses("FILE:1: there is no table [php]", begin);
    let (_, apache) = sample.split_once("[apache]").unwrap();
    site.write(SETTINGS, &format!("[apache]{apache}"));
    refuses("FILE:1: there is no table [php]", begin);

    fs::write(site.path(SETTINGS), b"[php]\n# caf\xe9\n").unwrap();
    refuses("FILE:2: this is not UTF-8", "save the file as plain UTF-8 text");
    fs::remove_file(site.path(SETTINGS)).unwrap();
    fs::create_dir(site.path(SETTINGS)).unwrap();
    refuses(
        "cannot read FILE: Is a directory (os error 21)",
        "it must be a file that you may read",
    );
}

#[test]
fn replica_files_must_match_member_urls_and_start_at_one() {
    let site = running();
    let copy = site.read(&format!("{POOL}/2.conf")).replace("www2", "www3");
    site.write(&format!("{POOL}/3.conf"), &copy);
    let line = line_of(&site, "member_urls =");
    site.refuses(
        &["restart"],
        &error(
            &format!("ROOT/{SETTINGS}:{line}: member_urls names 2, but there are 3 replicas: 1.conf to 3.conf, and no 4.conf"),
            "name one balancer member for each replica, the first for 1.conf",
        ),
    );
    site.while_moved_away(&format!("{POOL}/1.conf"), || {
        site.refuses(
            &["restart"],
            &error(
                &format!("ROOT/{POOL} has no 1.conf"),
                "each replica has a php-fpm configuration of its own there: 1.conf, 2.conf, ...",
            ),
        );
    });
}

#[test]
fn every_command_reports_a_settings_error() {
    let site = running();
    let line = line_of(&site, "member_urls =");
    let what = format!("ROOT/{SETTINGS}:{line}: unknown key `menber_urls`");
    site.while_changed(SETTINGS, "member_urls =", "menber_urls =", || {
        for command in ["start", "stop", "restart", "restart --dry-run", "status", "list"] {
            let command: Vec<&str> = command.split(' ').collect();
            site.refuses(&command, &error(&what, "did you mean `member_urls`?"));
        }
        site.run(&["list", "-q"]).prints("www\n");
    });
    site.run(&["status", "-q"]).succeeds();
}

fn refuses_all(mistakes: &[Mistake]) {
    let site = running();
    for mistake in mistakes {
        let Mistake { from, by, at, what, help } = mistake;
        let from = from.replace(":82/", &format!(":{}/", site.port()));
        site.while_changed(SETTINGS, &from, by, || {
            let line = line_of(&site, at);
            let what = format!("ROOT/{SETTINGS}:{line}: {what}");
            site.refuses(&["restart"], &error(&what, help));
        });
    }
}

/// The number of the first line with this text, in the settings as they are.
fn line_of(site: &Site, text: &str) -> usize {
    let settings = site.read(SETTINGS);
    settings.lines().position(|line| line.contains(text)).unwrap() + 1
}
