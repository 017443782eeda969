//! Requests that wait while the operator holds the pool.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::served::{Connection, Served};
use harness::wait_for;
use serde_json::Value;

pub(crate) const SETTINGS: &str = "etc/php/fpm/redundant-pools/www/pools-manager.toml";

/// How many requests the gateway holds, by the control socket.
pub(crate) fn held(served: &Served) -> u64 {
    let socket = served.site.path("sockets/pools-manager.sock");
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(b"{\"show\":\"www\"}\n").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    let shown: Value = serde_json::from_str(&line).unwrap();
    shown["shown"]["held"].as_u64().unwrap()
}

pub(crate) fn await_held(served: &Served, count: u64) {
    wait_for(&format!("{count} held requests"), || (held(served) == count).then_some(()));
}

fn hold(served: &Served, time: &str) {
    served.site.run(&["hold", "www", "--for", time]).succeeds();
}

fn resume(served: &Served) {
    served.site.run(&["resume", "www"]).succeeds();
}

pub(crate) fn ask(served: &Served, page: &str) -> Connection {
    let mut connection = served.connect();
    connection.send(&format!("GET {page} HTTP/1.1\r\nHost: a\r\n\r\n"));
    connection
}

/// The state of the pool, by `status --json`.
fn status(served: &Served) -> Value {
    let ran = served.site.run(&["status", "--json"]);
    serde_json::from_str::<Value>(&ran.stdout).unwrap()["pools"][0].clone()
}

#[test]
fn held_scripts_and_files_wait_and_go_on_at_resume() {
    let served = Served::new();
    hold(&served, "60s");
    let mut waiting =
        [ask(&served, "/ping.php"), ask(&served, "/release.txt"), ask(&served, "/no")];
    await_held(&served, 3);
    // Nothing reaches PHP, and the health of the gateway is not that of the application.
    served.await_in_flight(0);
    assert_eq!(served.get("/.pools-manager/health").status, 200);
    let shown = status(&served);
    assert_eq!((&shown["ok"], &shown["hold"]["waiting"]), (&true.into(), &3.into()), "{shown}");
    let text = served.site.run(&["status"]).stdout;
    assert!(
        text.contains("  Requests are held until 20") && text.contains("; 3 wait now\n"),
        "{text}"
    );
    let ran = served.site.run(&["list", "--json"]).stdout;
    assert!(serde_json::from_str::<Value>(&ran).unwrap()["pools"][0]["hold"]["until"].is_string());
    resume(&served);
    let answers = waiting.each_mut().map(|it| it.answer().unwrap());
    assert_eq!(answers[0].text(), "pong1\n");
    assert_eq!(answers[1].text(), "1\n");
    assert_eq!(served.get("/ping.php").text(), "pong1\n");
    assert!(status(&served).get("hold").is_none());
}

#[test]
fn hold_ends_by_itself() {
    let served = Served::new();
    let began = Instant::now();
    hold(&served, "500ms");
    assert_eq!(served.get("/ping.php").text(), "pong1\n");
    assert!(began.elapsed() >= Duration::from_millis(500));
    assert!(status(&served).get("hold").is_none());
}

#[test]
fn held_requests_get_the_release_that_was_switched_to_meanwhile() {
    for strategy in ["swap", "rolling"] {
        let served = Served::new();
        hold(&served, "60s");
        let mut waiting = [ask(&served, "/ping.php"), ask(&served, "/release.txt")];
        await_held(&served, 2);
        served.site.run(&["switch", "www", "release2", "--strategy", strategy]).succeeds();
        assert_eq!(held(&served), 2);
        resume(&served);
        let answers = waiting.each_mut().map(|it| it.answer().unwrap().text());
        assert_eq!(answers, ["pong2\n", "2\n"]);
    }
}

#[test]
fn full_hold_queue_gets_503_with_the_time_of_the_hold() {
    let served = Served::with("hold_queue = 2", "");
    hold(&served, "60s");
    let mut waiting = [ask(&served, "/ping.php"), ask(&served, "/ping.php")];
    await_held(&served, 2);
    let answer = served.get("/ping.php");
    let retry: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert_eq!(answer.status, 503);
    assert!((30..=60).contains(&retry), "{retry}");
    // A client that goes away gives its place back.
    let [gone, left] = &mut waiting;
    drop(std::mem::replace(gone, served.connect()));
    await_held(&served, 1);
    let mut other = ask(&served, "/ping.php");
    await_held(&served, 2);
    resume(&served);
    assert_eq!(left.answer().unwrap().text(), "pong1\n");
    assert_eq!(other.answer().unwrap().text(), "pong1\n");
    served.await_log("1 were refused (hold_queue)");
}

/// The gateway reads nothing of the upload, so that the kernel stops the client.
#[test]
fn held_upload_is_not_read_and_arrives_whole_afterwards() {
    let served = Served::with("", "header_timeout = \"1s\"\nbody_timeout = \"1s\"");
    served.page("count.php", "<?php echo strlen(file_get_contents('php://input'));");
    hold(&served, "60s");
    let size = 30_000_000;
    let before = served.memory();
    let mut upload = served.connect();
    upload.send(&format!("POST /count.php HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"));
    let sent = std::sync::Arc::new(AtomicBool::new(false));
    let sender = {
        let sent = std::sync::Arc::clone(&sent);
        thread::spawn(move || {
            upload.send_bytes(&vec![b'x'; size]);
            sent.store(true, Ordering::Relaxed);
            upload.answer().unwrap().text()
        })
    };
    await_held(&served, 1);
    // Longer than the timeouts of a client that sends nothing.
    let began = Instant::now();
    wait_for("more than the timeouts", || (began.elapsed().as_millis() > 2500).then_some(()));
    assert!(!sent.load(Ordering::Relaxed));
    assert_eq!((held(&served), served.in_temporary_files()), (1, 0));
    let grown = served.memory().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown}");
    resume(&served);
    assert_eq!(sender.join().unwrap(), size.to_string());
}

/// A request that waits is read twice: PHP gets what the client sent.
#[test]
fn held_requests_keep_their_target_headers_and_order_on_a_connection() {
    let served = Served::new();
    served.page(
        "echo.php",
        "<?php echo $_SERVER['REQUEST_METHOD'], ' ', $_SERVER['REQUEST_URI'], ' ', $_SERVER['HTTP_COOKIE'] ?? '', ' ', $_SERVER['SERVER_PROTOCOL'];",
    );
    hold(&served, "60s");
    let mut connection = served.connect();
    // Three at once, with bytes that hyper refuses, and a body between them.
    connection.send("GET /echo.php?<\"> HTTP/1.1\r\nHost: a\r\nCookie: x=1; y=2\r\n\r\n");
    connection.send("POST /echo.php?2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    connection.send("GET http://a/echo.php?3 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut old = served.connect();
    old.send("GET /echo.php HTTP/1.0\r\n\r\n");
    let mut head = served.connect();
    head.send("HEAD /release.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    await_held(&served, 3);
    // Invalid requests do not wait.
    let mut bad = served.connect();
    bad.send("GET / HTTP/1.1\r\nHost: a b\r\n\r\n");
    assert_eq!(bad.answer().unwrap().status, 400);
    let mut trace = served.connect();
    trace.send("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(trace.answer().unwrap().status, 405);
    resume(&served);
    let mut next = || connection.answer().unwrap().text();
    assert_eq!(next(), "GET /echo.php?<\"> x=1; y=2 HTTP/1.1");
    assert_eq!(next(), "POST /echo.php?2  HTTP/1.1");
    assert_eq!(next(), "GET /echo.php?3  HTTP/1.1");
    assert_eq!(old.answer().unwrap().text(), "GET /echo.php  HTTP/1.0");
    let answer = head.answer_to("HEAD").unwrap();
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("2")));
    assert_eq!(connection.get("/ping.php").unwrap().text(), "pong1\n");
}

/// One child: PHP sees the requests in the order in which it works on them.
#[test]
fn held_requests_go_on_in_the_order_in_which_they_came() {
    let served = Served::with_children(1, "", "");
    served.site.run(&["stop", "www", "2"]).succeeds();
    let log = served.site.scratch().join("order");
    fs::write(&log, "").unwrap();
    fs::set_permissions(&log, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let page = format!(
        "<?php file_put_contents('{}', $_GET['n'] . \"\\n\", FILE_APPEND); echo $_GET['n'];",
        log.display()
    );
    served.page("order.php", &page);
    hold(&served, "60s");
    let mut waiting = Vec::new();
    for n in 0..200_u64 {
        waiting.push(ask(&served, &format!("/order.php?n={n}")));
        await_held(&served, n + 1);
    }
    resume(&served);
    // Requests that come meanwhile go behind these.
    waiting.extend((200..220).map(|n| ask(&served, &format!("/order.php?n={n}"))));
    for (n, connection) in waiting.iter_mut().enumerate() {
        assert_eq!(connection.answer().unwrap().text(), n.to_string());
    }
    let order = fs::read_to_string(log).unwrap();
    let order: Vec<u32> = order.lines().map(|it| it.parse().unwrap()).collect();
    assert_eq!(order.len(), 220);
    assert!(order[..200].is_sorted(), "{order:?}");
}

/// More requests than the queue in front of PHP takes.
#[test]
fn hold_under_load_loses_nothing() {
    under_load(Duration::from_secs(1), 500);
}

#[test]
#[ignore = "takes long: bin/test --all"]
fn hold_for_5_s_under_500_requests_a_second_loses_nothing() {
    under_load(Duration::from_secs(5), 500);
}

/// Each request has a connection of its own. As many requests come after the hold as during it.
fn under_load(time: Duration, rate: u32) {
    raise_limit();
    let served = Served::with_children(4, "queue = 16\nqueue_timeout = \"5s\"", "");
    let before = served.memory();
    let count = rate * u32::try_from(time.as_secs()).unwrap();
    let check = |connection: &mut Connection| {
        let answer = connection.answer().unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "pong1\n"));
    };
    hold(&served, "60s");
    let began = Instant::now();
    let request = |n: u32| {
        let due = began + Duration::from_secs(1) * n / rate;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        ask(&served, &format!("/ping.php?{n}"))
    };
    let mut waiting: Vec<_> = (0..count).map(request).collect();
    await_held(&served, count.into());
    let mut most = served.memory();
    resume(&served);
    // No more at a time than fit into the queue, however busy the machine is.
    let mut late = VecDeque::new();
    for n in count..2 * count {
        late.push_back(request(n));
        most = most.max(served.memory());
        if late.len() > 12 {
            check(&mut late.pop_front().unwrap());
        }
    }
    waiting.iter_mut().chain(&mut late).for_each(check);
    let grown = most.saturating_sub(before);
    println!("{count} requests held, {} KiB more", grown >> 10);
    assert!(grown < 40 << 20, "{grown}");
}

fn raise_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

#[test]
fn hold_outlives_a_killed_gateway() {
    let mut served = Served::new();
    hold(&served, "10m");
    let mut cut = ask(&served, "/ping.php");
    await_held(&served, 1);
    served.kill_gateway();
    assert!(cut.answer().is_err());
    served.start_gateway();
    let mut waiting = ask(&served, "/ping.php");
    await_held(&served, 1);
    served.await_in_flight(0);
    resume(&served);
    assert_eq!(waiting.answer().unwrap().text(), "pong1\n");
}

/// A gateway that gets TERM waits for the requests that it holds, as for all other requests.
#[test]
fn gateway_that_ends_waits_for_held_requests() {
    let mut served = Served::new();
    hold(&served, "60s");
    let mut waiting = ask(&served, "/ping.php");
    await_held(&served, 1);
    served.gateway().signal(rustix::process::Signal::TERM);
    // The gateway has no control socket any more: it reads the stored file.
    let socket = served.site.path("sockets/pools-manager.sock");
    wait_for("that it ends", || (!socket.exists()).then_some(()));
    let ran = served.site.run(&["resume", "www"]);
    assert!(ran.status(0).stderr.contains("no gateway runs"), "{ran}");
    assert_eq!(waiting.answer().unwrap().text(), "pong1\n");
    served.finish_gateway().status(0);
}

#[test]
fn gateway_that_must_end_before_the_hold_answers_503() {
    let mut served = Served::with("", "shutdown_timeout = \"2s\"");
    hold(&served, "60s");
    let mut waiting = ask(&served, "/ping.php");
    await_held(&served, 1);
    served.gateway().signal(rustix::process::Signal::TERM);
    let answer = waiting.answer().unwrap();
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    served.finish_gateway().status(0);
    // The hold is still wanted.
    served.start_gateway();
    let mut waiting = ask(&served, "/ping.php");
    await_held(&served, 1);
    resume(&served);
    assert_eq!(waiting.answer().unwrap().text(), "pong1\n");
}

#[test]
fn hold_applies_at_the_start_and_after_a_reload() {
    let mut served = Served::new();
    served.stop_gateway().succeeds();
    let ran = served.site.run(&["hold", "www", "--for", "10m"]);
    let note = "no gateway runs: what you want is in force from its start on\n";
    assert_eq!(ran.status(0).stderr, note, "{ran}");
    served.start_gateway();
    let mut waiting = ask(&served, "/ping.php");
    await_held(&served, 1);
    served.site.replace(SETTINGS, "[gateway]\n", "[gateway]\nhold_queue = 1\n");
    served.reload();
    assert_eq!(held(&served), 1);
    assert_eq!(served.get("/ping.php").status, 503);
    resume(&served);
    assert_eq!(waiting.answer().unwrap().text(), "pong1\n");
}

#[test]
fn resume_does_not_wait_for_a_rollout() {
    let served = Served::new();
    served.page("hold.php", include_str!("../real/pages/hold.php"));
    let mark = served.site.scratch().join("mark");
    let mut busy = ask(&served, &format!("/hold.php?mark={}", mark.display()));
    wait_for("the script", || fs::read(mark.with_extension("begun")).ok());
    served.site.switch("release2");
    let mut manager = served.site.spawn(&["restart", "--json"]);
    manager.await_event("that it waits", |event| event["event"] == "progress");
    hold(&served, "60s");
    let mut waiting = ask(&served, "/ping.php");
    await_held(&served, 1);
    resume(&served);
    assert_eq!(waiting.answer().unwrap().text(), "pong2\n");
    fs::write(mark.with_extension("end"), "").unwrap();
    assert!(busy.answer().unwrap().text().ends_with("ended on release 1\n"));
    manager.finish().succeeds();
}

/// A damaged file does not block the gateway, and the next `hold` replaces the file.
#[test]
fn damaged_file_holds_nothing_and_is_replaced() {
    let mut served = Served::new();
    served.stop_gateway().succeeds();
    served.site.write("pid/www.traffic.json", "{\"version\":1,\"hold\":");
    served.start_gateway();
    served.await_log("hold and maintenance stay as they are: ");
    assert_eq!(served.get("/ping.php").text(), "pong1\n");
    let problem = status(&served)["problems"].to_string();
    assert!(problem.contains("www.traffic.json is no file of hold and maintenance: "), "{problem}");
    hold(&served, "60s");
    let mut waiting = ask(&served, "/ping.php");
    await_held(&served, 1);
    resume(&served);
    assert_eq!(waiting.answer().unwrap().text(), "pong1\n");
}
