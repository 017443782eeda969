//! Requests to a server that speaks HTTP: bodies, headers, failures.

use std::fs;

use harness::{needs_root, wait_for};
use rustix::process::{Signal, kill_process};
use serde_json::Value;

use super::site::{CommandSite, PYTHON_FD, PYTHON_SOCKET, ServedSite};

fn echo(served: &ServedSite, request: &str) -> Value {
    let answer = served.raw(request.as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-kept"), Some("1"));
    assert_eq!(answer.header("x-private"), None, "named by Connection");
    serde_json::from_slice(&answer.body).unwrap()
}

fn headers<'v>(echoed: &'v Value, name: &str) -> Vec<&'v str> {
    let all = echoed["headers"].as_array().unwrap().iter();
    all.filter(|it| it[0] == name).map(|it| it[1].as_str().unwrap()).collect()
}

#[test]
fn server_gets_verified_headers_and_whole_bodies() {
    needs_root!();
    let served = CommandSite::new(PYTHON_FD).serve();
    let echoed = echo(
        &served,
        "POST /echo?a=%20b HTTP/1.1\r\nHost: example.com\r\nX-Forwarded-For: 6.6.6.6\r\n\
         X-Forwarded-Proto: https\r\nX-Real-IP: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nProxy: x\r\n\
         Connection: close, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\nUpgrade: websocket\r\n\
         X-Request-Id: mine\r\nX-Own: 1\r\nX-Own: 2\r\nCookie: a=b\r\n\
         Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n",
    );
    assert_eq!((&echoed["method"], &echoed["path"]), (&"POST".into(), &"/echo?a=%20b".into()));
    assert_eq!(echoed["length"], 7);
    let expected: [(&str, &[&str]); 16] = [
        ("host", &["example.com"]),
        ("x-forwarded-for", &["127.0.0.1"]),
        ("x-forwarded-proto", &["http"]),
        ("x-forwarded-host", &["example.com"]),
        ("connection", &["close"]),
        ("content-length", &["7"]),
        ("transfer-encoding", &[]),
        ("x-own", &["1", "2"]),
        ("cookie", &["a=b"]),
        ("x-real-ip", &[]),
        ("x_forwarded_for", &[]),
        ("proxy", &[]),
        ("x-hop", &[]),
        ("te", &[]),
        ("upgrade", &[]),
        ("expect", &[]),
    ];
    for (name, values) in expected {
        assert_eq!(headers(&echoed, name), values, "{name}");
    }
    assert_eq!(headers(&echoed, "x-request-id").len(), 1);
    assert_ne!(headers(&echoed, "x-request-id"), ["mine"]);
}

#[test]
fn long_body_reaches_the_server_unchanged() {
    needs_root!();
    let served = CommandSite::new(PYTHON_SOCKET).serve();
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let head = format!(
        "PUT /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut connection = served.connect();
    connection.send(&head);
    assert!(connection.head().unwrap().starts_with("HTTP/1.1 100 "));
    connection.send_bytes(&body);
    let answer = connection.answer().unwrap();
    let echoed: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(echoed["length"], body.len());
    // Of the same bytes, by Python's hashlib.
    let sum = std::process::Command::new("/usr/bin/python3")
        .args(["-c", "import hashlib; print(hashlib.sha256(bytes(n % 251 for n in range(3000000))).hexdigest())"])
        .output()
        .unwrap();
    assert_eq!(echoed["sha256"], String::from_utf8(sum.stdout).unwrap().trim());
}

#[test]
fn response_is_passed_on_as_it_arrives() {
    needs_root!();
    let served = CommandSite::new(PYTHON_FD).serve();
    let mark = served.site.scratch().join("mark");
    let mut connection = served.connect();
    connection.send(&format!("GET /stream?mark={} HTTP/1.1\r\nHost: a\r\n\r\n", mark.display()));
    assert!(connection.head().unwrap().starts_with("HTTP/1.1 200 "));
    assert_eq!(connection.chunk().unwrap(), 6, "the first part, before the end is written");
    fs::write(&mark, "").unwrap();
    assert_eq!(connection.chunk().unwrap(), 6);
    assert_eq!(connection.chunk().unwrap(), 0);
}

#[test]
fn head_has_a_length_and_no_body() {
    needs_root!();
    let served = CommandSite::new(PYTHON_FD).serve();
    let mut connection = served.connect();
    connection.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = connection.answer_to("HEAD").unwrap();
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("1")));
    assert_eq!(connection.get("/").unwrap().text(), "1");
}

#[test]
fn incomplete_response_is_not_completed() {
    needs_root!();
    let served = CommandSite::new(PYTHON_FD).serve();
    assert!(served.connect().get("/cut").is_err());
    assert_eq!(served.get("/").status, 200);
    // A server that dies with the request: it may have begun the request, which is not repeated.
    assert_eq!(served.get("/die").status, 502);
    assert_eq!(served.get("/").status, 200);
}

#[test]
fn slow_client_does_not_hold_the_server() {
    needs_root!();
    let served = CommandSite::new(PYTHON_FD).serve();
    let mut slow = served.connect();
    let size = 20 << 20;
    slow.send(&format!("GET /large?size={size} HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert!(slow.head().unwrap().contains("200 OK"));
    // The generation is idle, though its client has read nothing of the body.
    served.deploy(2, "swap");
    let body = slow.take(size).unwrap();
    assert!(body.iter().all(|byte| *byte == b'x'));
}

#[test]
fn static_files_are_served_only_with_a_document_root() {
    needs_root!();
    let without = CommandSite::new(PYTHON_FD).serve();
    assert_eq!(without.get("/release.txt").text(), "1", "by the server, for any path");
    let site =
        CommandSite::with(PYTHON_FD, "document_root = \"public\"\ndeny = [\"/secret/\"]", "");
    site.site.write("www/r1/public/a.txt", "a file");
    site.site.write("www/r1/public/x.php", "<?php");
    let with = site.serve();
    assert_eq!(with.get("/a.txt").text(), "a file");
    assert!(with.get("/a.txt").header("etag").is_some());
    for other in ["/", "/b.txt", "/x.php", "/release.txt", "/../server.py"] {
        let answer = with.get(other);
        assert!(answer.text() == "1" || answer.status == 400, "{other}: {}", answer.text());
    }
    assert_eq!(with.get("/secret/a").status, 403);
    let post = b"POST /%73ecret/a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(with.raw(post).unwrap().status, 403);
}

#[test]
fn request_in_flight_ends_on_its_release() {
    needs_root!();
    for run in [PYTHON_FD, PYTHON_SOCKET] {
        let served = CommandSite::new(run).serve();
        let mark = served.site.scratch().join("mark");
        // The account of the server has to write there.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(served.site.scratch(), open).unwrap();
        let mut held = served.connect();
        held.send(&format!("GET /hold?mark={} HTTP/1.1\r\nHost: a\r\n\r\n", mark.display()));
        wait_for("the request", || fs::read(mark.with_extension("begun")).ok());
        super::site::add_release(&served.site, 2);
        served.site.switch("r2");
        let mut manager = served.site.spawn(&["restart", "--strategy", "swap", "--json"]);
        manager.await_event("that it waits", |event| event["event"] == "progress");
        assert_eq!(served.get("/").text(), "2");
        fs::write(mark.with_extension("end"), "").unwrap();
        assert_eq!(held.answer().unwrap().text(), "1");
        manager.finish().succeeds();
        served.is_in_order(2);
    }
}

/// A halted server: its requests wait, and new requests go to the other replica.
#[test]
fn frozen_replica_is_ejected() {
    needs_root!();
    let served = CommandSite::new(PYTHON_FD).serve();
    let frozen = served.workers()[0].pid;
    kill_process(frozen, Signal::STOP).unwrap();
    let asked: Vec<_> = (0..6)
        .map(|_| {
            let mut connection = served.connect();
            connection.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            connection
        })
        .collect();
    served.await_log("does not respond: it is ejected");
    for _ in 0..20 {
        assert_eq!(served.get("/").text(), "1");
    }
    kill_process(frozen, Signal::CONT).unwrap();
    for mut connection in asked {
        assert_eq!(connection.answer().unwrap().text(), "1");
    }
}
