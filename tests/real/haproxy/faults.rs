//! An HAProxy that cannot be reached or does not fit the settings, servers in maintenance, and
//! peers that are no HAProxy. Each is an error before anything is changed.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::thread;

use harness::{HAPROXY, Site};

use super::{SETTINGS, running};

const HINT: &str = "start HAProxy with `stats socket PATH mode 600 level admin` in its section global, or correct `socket` in pools-manager.toml";

fn error(what: &str, help: &str) -> String {
    format!("error: {what}\n  help: {help}\n")
}

#[test]
fn unreachable_socket_is_an_error() {
    let site = running();
    site.while_moved_away("sockets/haproxy.sock", || {
        let what = "cannot connect to HAProxy at ROOT/sockets/haproxy.sock: \
                    No such file or directory (os error 2)";
        for command in
            [&["restart"][..], &["restart", "--strategy", "swap"], &["stop", "single", "www", "1"]]
        {
            site.refuses(command, &error(what, HINT));
        }
        assert!(site.run(&["check"]).status(2).stdout.contains(&site_path(&site, what)));
        let ran = site.run(&["status", "-q"]);
        assert!(ran.status(1).stderr.contains("not well: replica 1, 2; cannot connect"), "{ran}");
    });
    // A socket on which nobody listens, and a file.
    for (name, what) in [
        ("dead.sock", "Connection refused (os error 111)"),
        ("file", "Connection refused (os error 111)"),
    ] {
        let path = site.path(&format!("sockets/{name}"));
        if name == "file" {
            site.write("sockets/file", "");
        } else {
            drop(UnixListener::bind(&path).unwrap());
        }
        site.while_changed(SETTINGS, "haproxy.sock", name, || {
            let what = format!("cannot connect to HAProxy at ROOT/sockets/{name}: {what}");
            site.refuses(&["restart"], &error(&what, HINT));
        });
        std::fs::remove_file(path).unwrap();
    }
    site.run(&["restart"]).succeeds();
    site.is_in_order_on("release1");
}

fn site_path(site: &Site, text: &str) -> String {
    text.replace("ROOT", &site.root().display().to_string())
}

/// As when the machine boots or goes down.
#[test]
fn start_and_stop_work_without_haproxy() {
    let mut site = Site::with_haproxy();
    site.stop_web_server();
    harness::wait_for("the end of HAProxy", || {
        let ran = site.run(&["start"]);
        assert!(
            ran.status(0).stdout.contains("Starting replica 2  [OK]")
                || ran.stdout.lines().count() < 4,
            "{ran}"
        );
        ran.stdout.contains("so no member is drained or enabled").then_some(())
    });
    let ran = site.run(&["stop"]);
    assert!(ran.succeeds().stdout.contains("so no member is drained or enabled"), "{ran}");
    assert!(site.php_fpm().is_empty());
}

#[test]
fn unknown_backend_or_server_is_an_error() {
    let site = running();
    site.while_changed(SETTINGS, "backend = \"www\"", "backend = \"shop\"", || {
        site.refuses(
            &["restart"],
            &error(
                "HAProxy at ROOT/sockets/haproxy.sock has no backend \"shop\"",
                "the backends there are: www",
            ),
        );
    });
    site.while_changed(SETTINGS, "\"www1\", \"www2\"]", "\"www1\", \"www9\"]", || {
        site.refuses(
            &["restart"],
            &error(
                "backend \"www\" of HAProxy has no server \"www9\"",
                "the servers there are: www1, www2",
            ),
        );
    });
}

#[test]
fn socket_without_the_level_admin_is_an_error() {
    let site = Site::prepared();
    site.replace("etc/haproxy/haproxy.cfg", "level admin ", "level operator ");
    site.set_backend(HAPROXY);
    let site = site.serve_sample("haproxy");
    // The first start has nothing to change in HAProxy but servers that a check found down.
    let told = error(
        "HAProxy at ROOT/sockets/haproxy.sock answers \"Permission denied\"",
        "add `level admin` to its `stats socket` line: pools-manager drains and enables servers",
    );
    site.refuses(&["start"], &told);
    for (lines, status) in [("", 2), ("strategy = \"swap\"", 0)] {
        site.add_rollout(lines);
        let ran = site.run(&["check"]);
        let told = "add `level admin` to its `stats socket` line";
        assert!(ran.status(status).stdout.contains(told), "{ran}");
    }
}

#[test]
fn server_in_maintenance_is_left_there() {
    let site = running();
    let load = site.steady_load();
    assert_eq!(site.tell_haproxy("set server www/www2 state maint"), "\n");
    let told = "  Warning: replica 2 stays out of the balancer, where its status is \"MAINT\": \
                pools-manager has not taken it out\n";
    for strategy in ["rolling", "swap"] {
        let ran = site.run(&["restart", "--strategy", strategy]);
        assert!(ran.succeeds().stdout.contains(told), "{ran}");
        assert_eq!(site.members(), ["UP", "MAINT"]);
    }
    let ran = site.run(&["check"]);
    assert!(ran.succeeds().stdout.contains("server www2 is in maintenance: MAINT"), "{ran}");
    site.run(&["status", "-q"]).status(1);
    // The other replica is the last one that serves now, and no command drains it.
    site.run(&["start"]).status(0);
    site.run(&["stop", "single", "www", "2"]).status(0);
    site.run(&["start", "single", "www", "2"]).status(0);
    assert_eq!(site.members(), ["UP", "MAINT"]);
    assert_eq!(site.tell_haproxy("set server www/www2 state ready"), "\n");
    site.is_in_order_on("release1");
    load.finish();
}

#[test]
fn server_that_its_health_check_finds_down_is_reported() {
    let site = Site::prepared();
    let server = "server www2 \"${POOLS_MANAGER_ROOT}/sockets/php-fpm-www2.sock\"";
    site.replace("etc/haproxy/haproxy.cfg", server, &server.replace("www2.sock", "none.sock"));
    site.set_backend(HAPROXY);
    let site = site.serve_sample("haproxy");
    // HAProxy takes a server for up until its first check.
    harness::wait_for("the checks", || (lb(&site) == ["DOWN", "DOWN"]).then_some(()));
    let ran = site.run(&["start"]);
    let told = "replica 2 answers, but the balancer keeps it out: its status is \"DOWN\"";
    assert!(ran.succeeds().stdout.contains(told), "{ran}");
    let ran = site.run(&["check"]);
    let told = "server www2 is DOWN in HAProxy, though replica 2 runs";
    assert!(ran.stdout.contains(told), "{ran}");
    assert!(ran.stdout.contains("No such file or directory"), "{ran}");
}

/// The servers' states; the replicas need not run.
fn lb(site: &Site) -> Vec<String> {
    let status = site.status();
    let replicas = status["pools"][0]["replicas"].as_array().unwrap();
    replicas.iter().map(|it| it["lb"].as_str().unwrap().to_owned()).collect()
}

/// A peer that says nothing, too much, half of an answer, or something else.
#[test]
fn hostile_peers_are_refused_in_bounded_time() {
    let site = running();
    let socket = site.path("sockets/peer.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let table = "1\n# be_name srv_name srv_op_state srv_admin_state srv_uweight\n";
    let answers: Vec<(Vec<u8>, bool, &str)> = vec![
        (vec![], false, "closed the connection before the answer was complete"),
        (vec![], true, "no answer from HAProxy at"),
        (
            b"1\n# be_name srv".to_vec(),
            false,
            "closed the connection before the answer was complete",
        ),
        (table.into(), true, "no answer from HAProxy at"),
        (vec![b'x'; 5 << 20], true, "is larger than 4 MiB"),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n\n\n".to_vec(),
            false,
            "answers \"HTTP/1.1 400 Bad Request\"",
        ),
        (b"1\n\xff\xfe\n\n".to_vec(), false, "gave a malformed answer: no heading"),
        (format!("{table}www www1 2 0\n\n").into(), false, "a server without its state"),
        (
            format!("{table}www www1 2 99999999999 1\n\n").into(),
            false,
            "a server without its state",
        ),
        (
            b"Unknown command, but maybe one of the following ones is a better match:\n\n".to_vec(),
            false,
            "not the socket of the master process",
        ),
    ];
    site.while_changed(SETTINGS, "haproxy.sock", "peer.sock", || {
        for (answer, stays, told) in answers {
            let peer = thread::spawn({
                let listener = listener.try_clone().unwrap();
                move || {
                    let (mut stream, _) = listener.accept().unwrap();
                    let mut command = [0; 64];
                    let _ = stream.read(&mut command);
                    let _ = stream.write_all(&answer);
                    // Until the manager gives up.
                    while stays && stream.read(&mut command).is_ok_and(|read| read > 0) {}
                }
            });
            let ran = site.unchanged_by(|| site.run(&["restart"]));
            assert!(ran.status(2).stderr.contains(told), "{told}\n{ran}");
            peer.join().unwrap();
        }
    });
}

/// The names become words of commands to HAProxy.
#[test]
fn names_that_would_be_commands_are_refused() {
    let site = Site::with_haproxy();
    let file = site.path(SETTINGS).display().to_string();
    let names = ["a b", "a;b", "a/b", "a\\nb", "", "é", "a\\tb", "\\u0000"];
    for name in names {
        for (from, to) in [
            ("backend = \"www\"", format!("backend = \"{name}\"")),
            ("\"www2\"]", format!("\"{name}\"]")),
        ] {
            site.while_changed(SETTINGS, from, &to, || {
                let ran = site.run(&["list"]);
                assert!(ran.status(2).stderr.contains("not a name of HAProxy"), "{ran}");
                assert!(ran.stderr.contains(&format!("{file}:")), "{ran}");
            });
        }
    }
    for (from, to, told) in [
        ("\"www2\"]", "\"www1\"]", "servers names www1 twice"),
        (", \"www2\"]", "]", "servers names 1, but there are 2 replicas"),
        ("[\"www1\", \"www2\"]", "[]", "servers is empty"),
        ("\"sockets/haproxy.sock\"", "\"ipv4@127.0.0.1:99\"", "is not the path of a unix socket"),
        ("\"sockets/haproxy.sock\"", "\"\"", "is not the path of a unix socket"),
        ("[haproxy]", "[gateway]\n[haproxy]", "there are both [haproxy] and [gateway]"),
    ] {
        site.while_changed(SETTINGS, from, to, || {
            let ran = site.run(&["list"]);
            assert!(ran.status(2).stderr.contains(told), "{told}\n{ran}");
        });
    }
}
