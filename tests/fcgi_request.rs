//! The program `fcgi-request` and the FastCGI client, against a real PHP-FPM.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use harness::wire::{Fpm, Ran, root};
use pools_manager::fastcgi::{FastCgiError, Request, ping, send, status};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(10);

/// A root with some scripts, and a php-fpm.
fn site() -> (TempDir, Fpm) {
    let root = root();
    let scripts = [
        ("bytes.php", "header('X-Test: 1'); for ($i = 0; $i < 256; $i++) echo chr($i);"),
        ("body.php", "$b = file_get_contents('php://input'); echo strlen($b), ' ', md5($b);"),
        ("server.php", "echo $_SERVER[$_GET['of']] ?? 'none';"),
        ("wrong.php", "error_log('it went wrong'); http_response_code(500); echo 'sorry';"),
        ("slow.php", "sleep(60);"),
        ("later.php", "echo 'bye'; fastcgi_finish_request(); sleep(60);"),
    ];
    for (name, code) in scripts {
        fs::write(root.path().join(name), format!("<?php {code}")).unwrap();
    }
    let fpm = Fpm::start(root.path(), "fpm.sock");
    (root, fpm)
}

/// Runs the program in the root, which is also the document root.
fn run(root: &Path, args: &[&str], stdin: &[u8]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fcgi-request"));
    command.current_dir(root).args(["--document-root", "."]).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // The program need not read its standard input.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap().into()
}

/// The body of the printed response.
fn body(ran: Ran) -> String {
    ran.success().split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn the_response_is_printed_byte_for_byte() {
    let (root, _fpm) = site();
    let ran = run(root.path(), &["/bytes.php", "fpm.sock"], b"");
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let head = ran.stdout.strip_suffix(&all[..]).unwrap();
    let head = String::from_utf8_lossy(head).to_lowercase();
    assert_eq!(head, "x-test: 1\r\ncontent-type: text/html; charset=utf-8\r\n\r\n");
}

#[test]
fn cgi_variables_come_from_url_headers_and_options() {
    let (root, _fpm) = site();
    let socket = format!("unix:{}/fpm.sock", root.path().display());
    let of = |name: &str, args: &[&str]| {
        let url = format!("/server.php?of={name}");
        body(run(root.path(), &[&[&url, &*socket], args].concat(), b""))
    };
    assert_eq!(of("QUERY_STRING", &[]), "of=QUERY_STRING");
    assert_eq!(of("REQUEST_METHOD", &[]), "GET");
    assert_eq!(of("REQUEST_METHOD", &["--method", "PUT"]), "PUT");
    let script = root.path().join("server.php");
    assert_eq!(of("SCRIPT_FILENAME", &[]), script.to_str().unwrap());
    assert_eq!(of("HTTP_X_A", &["--header", "X-A:  1 2", "--header", "x-b: 3"]), "1 2");
    assert_eq!(of("SERVER_NAME", &["--header", "Host: example.com:81"]), "example.com");
    assert_eq!(of("HTTPS", &["--param", "HTTPS=on"]), "on");
    assert_eq!(of("REMOTE_ADDR", &["--param", "REMOTE_ADDR=a=b"]), "a=b");
    assert_eq!(of("HTTP_PROXY", &["--header", "Proxy: x"]), "none");
}

#[test]
fn a_body_of_any_size_is_sent() {
    let (root, _fpm) = site();
    for (size, sum) in [
        (0, "d41d8cd98f00b204e9800998ecf8427e"),
        (65_529, "676e81e0a5299a781ddefcd81f9a9c7c"),
        (3_000_000, "8e32e22642bddc89698e25a4e9bf528b"),
    ] {
        let ran = run(root.path(), &["--stdin", "/body.php", "fpm.sock"], &vec![b'x'; size]);
        assert_eq!(body(ran), format!("{size} {sum}"));
    }
}

#[test]
fn the_script_option_names_the_file() {
    let (root, _fpm) = site();
    let program = env!("CARGO_BIN_EXE_fcgi-request");
    let mut command = Command::new(program);
    command.current_dir(root.path()).args([
        "--script",
        "server.php",
        "/any?of=SCRIPT_NAME",
        "fpm.sock",
    ]);
    assert_eq!(body(command.output().unwrap().into()), "/any");
}

#[test]
fn a_status_of_400_or_above_exits_with_1() {
    let (root, _fpm) = site();
    let ran = run(root.path(), &["/wrong.php", "fpm.sock"], b"");
    assert!(ran.stdout.starts_with(b"Status: 500 ") && ran.stdout.ends_with(b"\r\n\r\nsorry"));
    assert_eq!(ran.failure(1), "PHP message: it went wrong\n");
    let ran = run(root.path(), &["/missing.php", "fpm.sock"], b"");
    assert!(ran.stdout.ends_with(b"\r\n\r\nFile not found.\n"));
    assert_eq!(ran.failure(1), "Primary script unknown\n");
}

#[test]
fn a_missing_response_exits_with_1_and_its_reason() {
    let (root, fpm) = site();
    let begin = Instant::now();
    let slow = run(root.path(), &["--timeout", "300ms", "/slow.php", "fpm.sock"], b"");
    assert_eq!(slow.failure(1), "fcgi-request: no answer from fpm.sock within 300ms\n");
    assert!(begin.elapsed() < LIMIT);
    let missing = run(root.path(), &["/x.php", "no.sock"], b"");
    assert_eq!(missing.failure(1), "fcgi-request: nothing is at no.sock\n");
    drop(fpm);
    let gone = run(root.path(), &["/x.php", "127.0.0.1:1"], b"");
    assert_eq!(gone.failure(1), "fcgi-request: no process listens on 127.0.0.1:1\n");
    run(root.path(), &["x.php", "fpm.sock"], b"").failure(2);
    run(root.path(), &["--header", "none", "/x.php", "fpm.sock"], b"").failure(2);
}

/// Polls the status page until `wanted` of the two children are busy.
async fn await_busy(fpm: &Fpm, wanted: u32) {
    let seen = async {
        loop {
            let now = status(&fpm.socket, "/status", LIMIT).await.unwrap();
            if (now.active_processes, now.idle_processes) == (wanted, 2 - wanted) {
                assert_eq!((now.pool.as_str(), now.total_processes), ("pool", 2));
                return;
            }
        }
    };
    tokio::time::timeout(LIMIT, seen).await.unwrap();
}

fn script(root: &TempDir, name: &str) -> Request {
    Request::get(&format!("/{name}")).script(root.path().join(name).to_str().unwrap())
}

#[tokio::test]
async fn ping_and_status_pages_are_read() {
    let (root, fpm) = site();
    ping(&fpm.socket, "/ping", "pong", LIMIT).await.unwrap();
    let missing = ping(&fpm.socket, "/pong", "pong", LIMIT).await;
    assert!(matches!(missing, Err(FastCgiError::Unexpected { status: 404, .. })));
    // The status page contains the last request URI of each child, which may have any bytes.
    for odd in ["/\u{1}\"\\'<&\u{7f}é\u{2028}", "/?\n\u{fffd}"] {
        let _ = send(&fpm.socket, &Request::get(odd), LIMIT).await.unwrap();
        await_busy(&fpm, 1).await;
    }
    // The response is complete and the script goes on.
    let answer = send(&fpm.socket, &script(&root, "later.php"), LIMIT).await.unwrap();
    assert_eq!(answer.body, b"bye");
    let now = status(&fpm.socket, "/status", LIMIT).await.unwrap();
    assert_eq!((now.active_processes, now.idle_processes), (2, 0));
}

#[tokio::test]
async fn a_killed_server_is_a_closed_connection() {
    let (root, fpm) = site();
    let (socket, slow) = (fpm.socket.clone(), script(&root, "slow.php"));
    let request = tokio::spawn(async move { send(&socket, &slow, LIMIT).await });
    await_busy(&fpm, 2).await;
    tokio::task::spawn_blocking(move || drop(fpm)).await.unwrap();
    let answer = request.await.unwrap();
    assert!(matches!(answer, Err(FastCgiError::Closed { .. })), "{answer:?}");
}
