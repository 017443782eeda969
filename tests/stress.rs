//! `ping-stress` and `sleep-stress` against a fake site.
//!
//! The site is a fake because these tests need responses that a real site gives only when it is
//! broken: a body that is cut, a connection that is closed at once, an old release after a new one.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pools_manager::stress::{Options, Page, Stop, Summary, run};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::process::Command;
use tokio::select;
use tokio::sync::{Notify, watch};
use tokio::time::{interval, timeout};

const PING: &str = env!("CARGO_BIN_EXE_ping-stress");
const SLEEP: &str = env!("CARGO_BIN_EXE_sleep-stress");

/// Far longer than any test takes, so that a hang fails.
const DEADLINE: Duration = Duration::from_secs(60);

const SLEPT: &str = "ver1: Success. Slept for 5 seconds. CWD: /srv/www/current\n";

/// What the fake site does with one connection.
#[derive(Clone)]
enum Reply {
    Body(&'static str),
    Status(&'static str),
    CutLength,
    CutChunk,
    NotHttp,
    CloseAtOnce,
    Never,
    Held(Arc<Gate>),
}

/// Holds a request at the fake site until the test opens the gate.
#[derive(Default)]
struct Gate {
    arrived: Notify,
    open: Notify,
}

struct FakeSite {
    url: String,
    connections: Arc<AtomicUsize>,
}

impl FakeSite {
    /// Uses one reply for each connection, in order. The last reply repeats.
    async fn new(replies: impl Into<Vec<Reply>>) -> Self {
        let replies = replies.into();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/page.php", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                let n = counter.fetch_add(1, Ordering::Relaxed);
                let reply = replies[n.min(replies.len() - 1)].clone();
                // A client may close the connection in the middle of the response.
                tokio::spawn(async move { respond(connection, reply).await.ok() });
            }
        });
        Self { url, connections }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    async fn run(&self, program: &str, flags: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(["--url", &self.url]).args(flags).kill_on_drop(true);
        timeout(DEADLINE, command.output()).await.unwrap().unwrap()
    }
}

async fn respond(mut connection: TcpStream, reply: Reply) -> io::Result<()> {
    if matches!(reply, Reply::CloseAtOnce) {
        return Ok(());
    }
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if connection.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let ok =
        |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let text = match reply {
        Reply::Body(body) => ok(body),
        Reply::Status(line) => format!("HTTP/1.1 {line}\r\nContent-Length: 4\r\n\r\nOops"),
        Reply::CutLength => "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npong1".to_owned(),
        Reply::CutChunk => {
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\npong1\r\n".to_owned()
        }
        Reply::NotHttp => "pong1, and no HTTP\r\n\r\n".to_owned(),
        Reply::CloseAtOnce | Reply::Never => return pending().await,
        Reply::Held(gate) => {
            gate.arrived.notify_one();
            gate.open.notified().await;
            ok("pong1")
        }
    };
    connection.write_all(text.as_bytes()).await?;
    connection.shutdown().await
}

fn stdout(output: &Output) -> &str {
    str::from_utf8(&output.stdout).unwrap()
}

fn summary(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn good_responses_print_dots_and_a_summary() {
    let site = FakeSite::new([Reply::Body("pong1\n")]).await;
    let output = site.run(PING, &["--requests", "3"]).await;
    let lines: Vec<_> = stdout(&output).lines().collect();
    assert_eq!(lines.len(), 7, "{lines:#?}");
    assert_eq!(lines[0], "...");
    assert!(lines[1].starts_with("requests:             3 in "), "{lines:#?}");
    assert_eq!(lines[2..4], ["good:                 3", "failed:               0"]);
    assert!(lines[4].starts_with("latency:              p50 "), "{lines:#?}");
    assert!(lines[5].starts_with("release 1:            3, from "), "{lines:#?}");
    assert_eq!(lines[6], "time went back:       never");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(site.connections(), 3);
}

#[tokio::test]
async fn a_failed_ping_prints_its_own_line() {
    let good = || Reply::Body("pong1");
    let replies = [good(), Reply::Status("500 Internal Server Error"), Reply::CloseAtOnce, good()];
    let site = FakeSite::new(replies).await;
    let output = site.run(PING, &["--requests", "4"]).await;
    let expected = ".\nping-failed\nping-failed\n.\nrequests:             4 in ";
    assert!(stdout(&output).starts_with(expected), "{}", stdout(&output));
    assert_eq!(output.status.code(), Some(1));

    let site = FakeSite::new([good()]).await;
    let output = site.run(PING, &["--requests", "2", "--quiet"]).await;
    assert!(stdout(&output).starts_with("requests: "), "{}", stdout(&output));
}

#[tokio::test]
async fn a_failed_sleep_prints_the_reason() {
    let replies = [
        Reply::Body(SLEPT),
        Reply::Body("ver1: Failed: mixed: 1 and 2\n"),
        Reply::Body("<b>Fatal error</b>\n\n"),
        Reply::Body(""),
        Reply::Status("503 Service Unavailable"),
        Reply::Status("302 Found\r\nLocation: /page.php"),
        Reply::CutLength,
        Reply::CutChunk,
        Reply::NotHttp,
        Reply::Body(SLEPT),
    ];
    let site = FakeSite::new(replies).await;
    let output = site.run(SLEEP, &["--requests", "10"]).await;
    // The text after these kinds comes from the HTTP library.
    let lines: Vec<_> = stdout(&output)
        .lines()
        .map(|line| if line.contains("connection closed: ") { "closed" } else { line })
        .map(|line| if line.contains("invalid HTTP") { "no HTTP" } else { line })
        .collect();
    let expected = [
        ".",
        r"sleep-failed: mixed releases: ver1: Failed: mixed: 1 and 2\n",
        r"sleep-failed: unexpected answer: <b>Fatal error</b>\n\n",
        "sleep-failed: unexpected answer: (empty)",
        "sleep-failed: HTTP status 503: Oops",
        "sleep-failed: HTTP status 302: Oops",
        "closed",
        "closed",
        "no HTTP",
        ".",
    ];
    assert_eq!(lines[..10], expected, "{}", stdout(&output));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(site.connections(), 10, "nothing is retried, nothing is redirected");
}

#[tokio::test]
async fn failures_are_counted_by_kind() {
    let replies = [
        Reply::CloseAtOnce,
        Reply::CutLength,
        Reply::Status("500 Internal Server Error"),
        Reply::NotHttp,
        Reply::Body("pong1pong2"),
        Reply::Body("pong1"),
    ];
    let site = FakeSite::new(replies).await;
    let output = site.run(PING, &["--json", "--requests", "6"]).await;
    let summary = summary(&output);
    let mut kinds = summary["failures"].clone();
    for kind in kinds.as_array_mut().unwrap() {
        kind.as_object_mut().unwrap().remove("first");
    }
    let expected = json!([
        {"kind": "closed", "count": 2},
        {"kind": "http_status", "status": 500, "count": 1},
        {"kind": "unexpected", "count": 1},
        {"kind": "mixed", "count": 1},
    ]);
    assert_eq!(kinds, expected);
    assert_eq!((&summary["good"], &summary["failed"]), (&json!(1), &json!(5)));
    assert_eq!(summary["passed"], false);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(site.connections(), 6, "nothing is retried");
}

#[tokio::test]
async fn a_missing_response_is_a_timeout() {
    let site = FakeSite::new([Reply::Never]).await;
    let output = site.run(SLEEP, &["--requests", "1", "--timeout", "50ms"]).await;
    let expected = "sleep-failed: timeout: no complete response within 50ms\nrequests:";
    assert!(stdout(&output).starts_with(expected), "{}", stdout(&output));
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn a_refused_connection_is_a_failure() {
    // Bound but not listening: the port is in use and refuses connections.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let url = format!("http://{}/", socket.local_addr().unwrap());
    let site = FakeSite { url, connections: Arc::default() };
    let output = site.run(SLEEP, &["--requests", "2"]).await;
    let line = "sleep-failed: connect failed: Connection refused (os error 111)\n";
    assert!(stdout(&output).starts_with(&format!("{line}{line}requests:")), "{}", stdout(&output));
    assert!(stdout(&output).contains("\nlatency:              unknown\n"));
    assert_eq!(output.status.code(), Some(1));

    // The client never waits, and the duration still ends the run.
    let output = site.run(PING, &["--json", "--duration", "20ms"]).await;
    assert!(summary(&output)["failed"].as_u64() > Some(0));
}

#[tokio::test]
async fn a_step_back_fails_only_with_monotonic() {
    for (flags, status) in [(&[][..], 0), (&["--monotonic"][..], 1)] {
        let replies = [Reply::Body("pong1"), Reply::Body("pong2"), Reply::Body("pong1")];
        let site = FakeSite::new(replies).await;
        let output = site.run(PING, &[&["--requests", "3"], flags].concat()).await;
        assert!(stdout(&output).starts_with("...\n"));
        assert!(stdout(&output).ends_with("time went back:       1 answer\n"));
        assert_eq!(output.status.code(), Some(status));
    }
}

#[tokio::test]
async fn clients_share_the_number_of_requests() {
    let site = FakeSite::new([Reply::Body("pong1")]).await;
    let output = site.run(PING, &["--json", "--concurrency", "8", "--requests", "100"]).await;
    let summary = summary(&output);
    assert_eq!((&summary["good"], &summary["failed"]), (&json!(100), &json!(0)));
    assert_eq!(site.connections(), 100);
}

#[tokio::test]
async fn a_run_ends_after_its_duration() {
    let site = FakeSite::new([Reply::Body("pong1")]).await;
    let output = site.run(PING, &["--json", "--duration", "50ms"]).await;
    assert_eq!(summary(&output)["passed"], true);
    assert!(summary(&output)["seconds"].as_f64() >= Some(0.05));
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test]
async fn a_signal_ends_a_run_with_its_summary() {
    let site = FakeSite::new([Reply::Body("pong1")]).await;
    for signal in [Signal::INT, Signal::TERM] {
        let mut command = Command::new(PING);
        command.args(["--url", &site.url]).stdout(Stdio::piped()).kill_on_drop(true);
        let mut program = command.spawn().unwrap();
        let mut shown = program.stdout.take().unwrap();
        let mut text = vec![shown.read_u8().await.unwrap()];
        assert_eq!(text, b".");
        let pid = Pid::from_raw(program.id().unwrap().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
        timeout(DEADLINE, shown.read_to_end(&mut text)).await.unwrap().unwrap();
        assert!(text.ends_with(b"\ntime went back:       never\n"));
        assert_eq!(program.wait().await.unwrap().code(), Some(0));
    }
}

#[tokio::test]
async fn a_second_signal_cancels_requests_in_flight() {
    let gate = Arc::new(Gate::default());
    let site = FakeSite::new([Reply::Held(Arc::clone(&gate))]).await;
    let mut command = Command::new(SLEEP);
    command.args(["--url", &site.url]).stdout(Stdio::piped()).kill_on_drop(true);
    let mut program = command.spawn().unwrap();
    let pid = Pid::from_raw(program.id().unwrap().cast_signed()).unwrap();
    let mut shown = program.stdout.take().unwrap();
    gate.arrived.notified().await;
    // The kernel merges signals that are still pending, so the signal is repeated.
    let mut text = String::new();
    timeout(DEADLINE, async {
        let mut again = interval(Duration::from_millis(5));
        let mut end = pin!(shown.read_to_string(&mut text));
        loop {
            select! {
                end = &mut end => break end,
                _ = again.tick() => kill_process(pid, Signal::TERM).unwrap(),
            }
        }
    })
    .await
    .unwrap()
    .unwrap();
    assert!(text.contains("\nunfinished:           1\n"), "{text}");
    assert_eq!(program.wait().await.unwrap().code(), Some(1));
}

#[tokio::test]
async fn wrong_usage_exits_with_status_2() {
    let site = FakeSite { url: "localhost:82".to_owned(), connections: Arc::default() };
    let output = site.run(PING, &[]).await;
    let expected = r#"error: --url "localhost:82": the scheme "localhost" is not http or https
  help: write the whole URL, like http://localhost:82/ping.php
"#;
    assert_eq!(str::from_utf8(&output.stderr).unwrap(), expected);
    assert_eq!(output.status.code(), Some(2));
    for flags in [["--concurrency", "0"], ["--timeout", "0s"], ["--duration", "soon"]] {
        assert_eq!(site.run(SLEEP, &flags).await.status.code(), Some(2), "{flags:?}");
    }
}

/// Runs the library with one held request, and stops it as soon as the request has arrived.
async fn stopped_by(level: Stop) -> Summary {
    let gate = Arc::new(Gate::default());
    let site = FakeSite::new([Reply::Held(Arc::clone(&gate))]).await;
    let options = Options::new(Page::Ping, &site.url).unwrap();
    let (stop, stopped) = watch::channel(Stop::No);
    let load = tokio::spawn(async move { run(&options, stopped, |_| {}).await });
    gate.arrived.notified().await;
    stop.send_replace(level);
    if level == Stop::Finish {
        gate.open.notify_one();
    }
    timeout(DEADLINE, load).await.unwrap().unwrap().unwrap()
}

#[tokio::test]
async fn requests_in_flight_finish_or_are_cancelled() {
    let finished = stopped_by(Stop::Finish).await;
    assert_eq!((finished.good, finished.unfinished, finished.passed), (1, 0, true));
    let cancelled = stopped_by(Stop::Cancel).await;
    assert_eq!((cancelled.good, cancelled.unfinished, cancelled.passed), (0, 1, false));
}
