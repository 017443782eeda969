//! Responses of scripts and files to plain requests.

use harness::served::Served;

#[test]
fn paths_lead_to_scripts_files_and_errors() {
    let served = Served::new();
    served.page("info.php", "<?php echo $_SERVER['PATH_INFO'] ?? 'none';");
    served.page("docs/index.html", "docs");
    let is = |page: &str, status: u16, text: &str| {
        let answer = served.get(page);
        assert_eq!((answer.status, answer.text().as_str()), (status, text), "{page}");
        answer
    };
    is("/ping.php", 200, "pong1\n");
    is("/info.php", 200, "none");
    is("/info.php/a/b%20c?d", 200, "/a/b c");
    let file = is("/release.txt", 200, "1\n");
    assert_eq!(file.header("content-type"), Some("text/plain; charset=utf-8"));
    is("/docs/", 200, "docs");
    assert_eq!(is("/docs?x=1", 301, "").header("location"), Some("/docs/?x=1"));
    // Paths without a file go to the front controller.
    assert!(served.get("/a/pretty/url").text().contains("<h1>Release 1</h1>"));
    assert_eq!(
        served
            .raw(b"POST /release.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            .unwrap()
            .status,
        405
    );
}

#[test]
fn status_headers_and_body_of_a_script_are_passed_on() {
    let served = Served::new();
    served.page(
        "made.php",
        "<?php http_response_code(418); header('X-A: 1'); header('X-A: 2', false);
        setcookie('a', '1'); setcookie('b', '2'); echo 'tea';",
    );
    let answer = served.get("/made.php");
    assert_eq!((answer.status, answer.text().as_str()), (418, "tea"));
    let all = |name: &str| {
        answer
            .headers
            .iter()
            .filter(|(it, _)| it == name)
            .map(|(_, v)| v.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(all("x-a"), ["1", "2"]);
    assert_eq!(all("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(answer.header("content-length"), Some("3"));
    served.page("go.php", "<?php header('Location: /elsewhere');");
    let answer = served.get("/go.php");
    assert_eq!((answer.status, answer.header("location")), (302, Some("/elsewhere")));
    served.page("none.php", "<?php http_response_code(204);");
    assert_eq!(served.get("/none.php").status, 204);
}

#[test]
fn head_response_has_the_headers_and_no_body() {
    let served = Served::new();
    let mut connection = served.connect();
    for page in ["/ping.php", "/release.txt", "/missing.txt/", "/index.php"] {
        connection.send(&format!("HEAD {page} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(connection.answer_to("HEAD").unwrap().status, 200, "{page}");
    }
    assert_eq!(connection.get("/ping.php").unwrap().text(), "pong1\n");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let served = Served::new();
    let mut connection = served.connect();
    let one = |page: &str| format!("GET {page} HTTP/1.1\r\nHost: a\r\n\r\n");
    connection.send(&[one("/ping.php"), one("/release.txt"), one("/ping.php")].concat());
    for text in ["pong1\n", "1\n", "pong1\n"] {
        assert_eq!(connection.answer().unwrap().text(), text);
    }
}

/// With `Content-Length` and in chunks, short and long.
#[test]
fn request_body_reaches_the_script_complete() {
    let served = Served::new();
    served.page("md5.php", "<?php echo md5(file_get_contents('php://input')), ' ', $_SERVER['CONTENT_LENGTH'] ?? 'none';");
    let mut connection = served.connect();
    for size in [0, 1, 40_000, 65_528, 65_529, 100_000, 3_000_000] {
        let body: Vec<u8> = (0..size).map(|n: u32| (n % 253) as u8).collect();
        let head = format!("POST /md5.php HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
        connection.send(&head);
        connection.send_bytes(&body);
        let expected = connection.answer().unwrap().text();
        assert!(expected.ends_with(&format!(" {size}")), "{expected}");
        let mut chunked = connection_for_chunks(&served, &body);
        if size > 0 {
            assert_eq!(chunked.answer().unwrap().text(), expected);
        }
    }
    assert_eq!(served.get("/md5.php").text(), "d41d8cd98f00b204e9800998ecf8427e none");
}

fn connection_for_chunks(served: &Served, body: &[u8]) -> harness::served::Connection {
    let mut connection = served.connect();
    connection.send("POST /md5.php HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for chunk in body.chunks(7_777) {
        connection.send(&format!("{:x}\r\n", chunk.len()));
        connection.send_bytes(chunk);
        connection.send("\r\n");
    }
    connection.send("0\r\n\r\n");
    connection
}

#[test]
fn client_that_expects_100_continue_gets_it() {
    let served = Served::with("", "max_body = \"10\"");
    served.page("echo.php", "<?php echo file_get_contents('php://input');");
    let ask = |length: usize| {
        let mut connection = served.connect();
        connection.send(&format!("POST /echo.php HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"));
        connection
    };
    let mut connection = ask(5);
    assert_eq!(connection.answer().unwrap().status, 100);
    connection.send("hello");
    assert_eq!(connection.answer().unwrap().text(), "hello");
    // A too large body is refused before the client sends it.
    assert_eq!(ask(11).answer().unwrap().status, 413);
}

#[test]
fn script_makes_the_gateway_send_a_file() {
    let served = Served::new();
    served.page("private/report.txt", "the report");
    served.page(".secret", "the secret");
    served.page("accel.php", "<?php header('X-Accel-Redirect: ' . $_GET['file']); header('Content-Type: x/y'); header('Content-Disposition: attachment'); echo 'not this';");
    served.page("sendfile.php", "<?php header('X-Sendfile: ' . __DIR__ . '/' . $_GET['file']);");
    let answer = served.get("/accel.php?file=/private/report.txt");
    assert_eq!((answer.status, answer.text().as_str()), (200, "the report"));
    assert_eq!(answer.header("content-type"), Some("x/y"));
    assert_eq!(answer.header("content-disposition"), Some("attachment"));
    assert_eq!(answer.header("x-accel-redirect"), None);
    assert_eq!(served.get("/sendfile.php?file=private/report.txt").text(), "the report");
    let part = served.get_with("/accel.php?file=/private/report.txt", "Range: bytes=4-5\r\n");
    assert_eq!((part.status, part.text().as_str()), (206, "re"));
    for outside in ["/../x", "/.secret", "/index.php", "/nothing", "/private", "/%2e%2e/etc/passwd"]
    {
        let answer = served.get(&format!("/accel.php?file={}", outside.replace('%', "%25")));
        assert_eq!(answer.status, 502, "{outside}");
        assert!(!answer.text().contains("not this"));
    }
    for outside in ["../release1/private/report.txt", "../../etc/passwd", "index.php"] {
        assert_eq!(served.get(&format!("/sendfile.php?file={outside}")).status, 502, "{outside}");
    }
}
