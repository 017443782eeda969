//! Requests as they are encoded, answers as they are understood, and servers that misbehave.

use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::{FastCgiError, Request, Response, ping, send, status};

const LIMIT: Duration = Duration::from_secs(10);
const OK: &[u8] = b"Content-Type: text/plain\r\n\r\npong";

/// A record of request 1, padded as php-fpm pads it.
fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    let padding = (8 - length % 8) % 8;
    let mut bytes = vec![1, kind, 0, 1];
    bytes.extend(length.to_be_bytes());
    bytes.extend([u8::try_from(padding).unwrap(), 0]);
    bytes.extend(content);
    bytes.resize(bytes.len() + usize::from(padding), 0);
    bytes
}

fn whole(stdout: &[u8]) -> Vec<u8> {
    [record(6, stdout), record(6, b""), record(3, &[0; 8])].concat()
}

/// A server for one connection, which answers the end of the request with these bytes.
fn server(answer: Vec<u8>) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(&[1, 5, 0, 1, 0, 0, 0, 0]) {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
        }
        let _ = stream.write_all(&answer).await;
    });
    (dir, path)
}

async fn answer_to(bytes: Vec<u8>) -> Result<Response, FastCgiError> {
    let (_dir, path) = server(bytes);
    send(&path, &Request::get("/x"), LIMIT).await
}

#[tokio::test]
async fn whole_answer_is_parsed() {
    let bytes =
        [record(7, b"oops"), whole(b"Status: 404 Not Found\nX: a:b\n\n\0\xff\n\n")].concat();
    let response = answer_to(bytes).await.unwrap();
    assert_eq!((response.status, response.header("x")), (404, Some("a:b")));
    assert_eq!((&response.body[..], &response.stderr[..]), (&b"\0\xff\n\n"[..], &b"oops"[..]));
}

#[tokio::test]
async fn truncated_answer_is_an_error() {
    let bytes = whole(OK);
    for end in 0..bytes.len() {
        let result = answer_to(bytes[..end].to_vec()).await;
        assert!(matches!(result, Err(FastCgiError::Closed { .. })), "cut at {end}: {result:?}");
    }
}

#[tokio::test]
async fn malformed_answer_is_an_error() {
    let answers = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        [record(6, OK), record(3, &[0; 4])].concat(),
        [record(6, OK), record(3, &[0, 0, 0, 0, 2, 0, 0, 0])].concat(),
        record(9, b""),
        vec![1, 6, 0, 9, 0, 0, 0, 0],
        whole(b""),
        whole(b"no header at all\r\n\r\n"),
        whole(b"Content-Type: text/plain\r\n"),
        whole(b"Status: fine\r\n\r\n"),
    ];
    for answer in answers {
        let result = answer_to(answer.clone()).await;
        assert!(matches!(result, Err(FastCgiError::Malformed { .. })), "{answer:?}: {result:?}");
    }
}

#[tokio::test]
async fn silent_server_is_a_timeout() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sock");
    let listener = UnixListener::bind(&path).unwrap();
    let limit = Duration::from_millis(50);
    let result = send(&path, &Request::get("/x"), limit).await;
    let message = result.unwrap_err().to_string();
    assert_eq!(message, format!("no answer from {} within 50ms", path.display()));

    drop(listener);
    let refused = send(&path, &Request::get("/x"), LIMIT).await;
    assert!(matches!(refused, Err(FastCgiError::Refused { .. })));
    std::fs::remove_file(&path).unwrap();
    let missing = send(&path, &Request::get("/x"), LIMIT).await;
    assert!(matches!(missing, Err(FastCgiError::NotFound { .. })));
}

#[tokio::test]
async fn full_backlog_is_retried() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sock");
    let socket = tokio::net::UnixSocket::new_stream().unwrap();
    socket.bind(&path).unwrap();
    let listener = socket.listen(0).unwrap();
    let first = tokio::net::UnixStream::connect(&path).await.unwrap();
    let request = Request::get("/x");
    let second = send(&path, &request, LIMIT);
    let accept = async {
        drop(listener.accept().await.unwrap());
        drop(first);
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(&whole(OK)).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    };
    let (answer, ()) = tokio::join!(second, accept);
    assert_eq!(answer.unwrap().body, b"pong");
}

#[tokio::test]
async fn ping_requires_the_exact_answer() {
    let (_dir, path) = server(whole(OK));
    ping(&path, "/ping", "pong", LIMIT).await.unwrap();
    let (_dir, path) = server(whole(b"Status: 404 Not Found\r\n\r\nFile not found.\n"));
    let error = ping(&path, "/ping", "pong", LIMIT).await.unwrap_err().to_string();
    assert!(
        error.ends_with("answered /ping with status 404 and \"File not found.\\n\""),
        "{error}"
    );
    let (_dir, path) = server(whole(b"A: b\r\n\r\npong\n"));
    assert!(ping(&path, "/ping", "pong", LIMIT).await.is_err());
    let (_dir, path) = server(whole(OK));
    assert!(status(&path, "/status", LIMIT).await.is_err());
}

fn variable(request: &Request, name: &str) -> Option<String> {
    request.variables().get(name).map(ToString::to_string)
}

#[test]
fn request_has_the_variables_of_a_web_server() {
    let request = Request::post("/a/b.php?x=1&y", b"k=v".to_vec())
        .script("/srv/www/a/b.php")
        .header("Host", "example.com:8080")
        .header("Cookie", "a=1")
        .header("cookie", "b=2")
        .header("X-Two", "1")
        .header("X-Two", "2")
        .header("Proxy", "http://evil/")
        .header("X_Forged", "1")
        .param("REMOTE_ADDR", "192.0.2.1");
    let expected = [
        ("REQUEST_METHOD", "POST"),
        ("REQUEST_URI", "/a/b.php?x=1&y"),
        ("QUERY_STRING", "x=1&y"),
        ("SCRIPT_NAME", "/a/b.php"),
        ("SCRIPT_FILENAME", "/srv/www/a/b.php"),
        ("DOCUMENT_URI", "/a/b.php"),
        ("DOCUMENT_ROOT", "/srv/www"),
        ("SERVER_NAME", "example.com"),
        ("SERVER_PORT", "8080"),
        ("CONTENT_LENGTH", "3"),
        ("CONTENT_TYPE", "application/x-www-form-urlencoded"),
        ("HTTP_COOKIE", "a=1; b=2"),
        ("HTTP_X_TWO", "1, 2"),
        ("REMOTE_ADDR", "192.0.2.1"),
    ];
    for (name, value) in expected {
        assert_eq!(variable(&request, name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(variable(&request, "HTTP_PROXY"), None);
    assert_eq!(variable(&request, "HTTP_X_FORGED"), None);
}

#[test]
fn get_has_no_body_variables() {
    let request = Request::get("/ping");
    assert_eq!(variable(&request, "REQUEST_URI").as_deref(), Some("/ping"));
    assert_eq!(variable(&request, "HTTP_HOST").as_deref(), Some("localhost"));
    assert_eq!(variable(&request, "SERVER_PORT").as_deref(), Some("80"));
    assert_eq!(variable(&request, "CONTENT_LENGTH"), None);
}

#[tokio::test]
async fn variables_that_php_fpm_would_drop_are_refused() {
    let request = Request::get("/x").param("BIG", "y".repeat(65_528));
    let error = send("/nowhere".as_ref(), &request, LIMIT).await.unwrap_err();
    assert!(matches!(error, FastCgiError::TooLarge { size } if size > 65_528), "{error}");
}

proptest! {
    #[test]
    fn arbitrary_answer_does_not_panic(stdout: Vec<u8>, head in "[a-zS:0-9 \r\n]{0,40}") {
        let _ = Response::parse(&stdout, Vec::new());
        let _ = Response::parse(&[head.as_bytes(), &stdout].concat(), Vec::new());
    }

    #[test]
    fn arbitrary_records_do_not_panic(bytes: Vec<u8>, kind in 0u8..12, length in 0u8..20) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let forged = [&[1, kind, 0, 1, 0, length, 0, 0][..], &bytes].concat();
        runtime.block_on(async {
            let _ = answer_to(bytes).await;
            let _ = answer_to(forged).await;
        });
    }
}
