//! Requests of hostile clients.

use std::os::unix::fs::symlink;

use harness::served::Served;

/// Sends a request, and after it another one that a proxy could have taken for a part of it. Returns the
/// statuses of all responses until the connection is closed.
fn statuses(served: &Served, request: &str) -> Vec<u16> {
    let mut connection = served.connect();
    connection.send(request);
    let mut statuses = Vec::new();
    while let Ok(answer) = connection.answer() {
        statuses.push(answer.status);
    }
    statuses
}

const SMUGGLED: &str = "GET /ping.php HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[test]
fn request_smuggling_is_refused() {
    let served = Served::new();
    served.page("echo.php", "<?php echo strlen(file_get_contents('php://input'));");
    let post = "POST /echo.php HTTP/1.1\r\nHost: a\r\n";
    let check = |headers: &str, body: &str, expected: &[u16]| {
        let found = statuses(&served, &format!("{post}{headers}\r\n{body}{SMUGGLED}"));
        assert_eq!(found, expected, "{headers:?} {body:?}");
    };
    // A well-formed request: the next one is answered.
    check("Content-Length: 5\r\n", "hello", &[200, 200]);
    check("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", &[200, 200]);
    // Both lengths: the chunks count, and nothing after them is read.
    check("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", &[200]);
    check("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n", &[200]);
    for headers in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Content-Length : 5\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "X: a\r\n folded: b\r\n",
        "X: a\r\n\tfolded\r\n",
        "X: a\0b\r\n",
        "X: a\rb\r\n",
        " X: a\r\n",
        "X\r\n",
        ": a\r\n",
    ] {
        check(headers, "hello", &[400]);
    }
    // PHP would get an encoded body.
    for (headers, status) in [
        ("Transfer-Encoding: gzip, chunked\r\n", 501),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", 501),
        ("Transfer-Encoding: x;q=chunked, chunked\r\n", 501),
        ("Transfer-Encoding: chunked, chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: ,chunked\r\n", 400),
    ] {
        check(headers, "5\r\nhello\r\n0\r\n\r\n", &[status]);
    }
    check("Transfer-Encoding: chunked\r\n", "5;x=y\r\nhello\r\n0\r\nX: t\r\n\r\n", &[200, 200]);
    for chunks in [
        "5;x=\ny\r\nhello\r\n0\r\n\r\n",
        "-1\r\n\r\n",
        "ffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhel",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
    ] {
        let found = statuses(
            &served,
            &format!("{post}Transfer-Encoding: chunked\r\n\r\n{chunks}{SMUGGLED}"),
        );
        assert!(found.is_empty() || found == [400], "{chunks:?}: {found:?}");
    }
    let old =
        format!("POST /echo.php HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}");
    assert_eq!(statuses(&served, &old), [400]);
    assert_eq!(served.get("/ping.php").status, 200);
}

/// RFC 9112 allows a server to accept a bare LF as the end of a line. Then it must end every line.
#[test]
fn bare_line_feed_ends_every_line() {
    let served = Served::new();
    served.page(
        "echo.php",
        "<?php echo strlen(file_get_contents('php://input')), $_SERVER['HTTP_X'] ?? '';",
    );
    let answer =
        served.raw(b"POST /echo.php HTTP/1.1\nHost: a\nX: b\nContent-Length: 2\n\nhi").unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "2b"));
}

#[test]
fn request_head_has_limits() {
    let served = Served::with("", "max_header = \"16KiB\"");
    let request = |extra: &str| {
        format!("GET /ping.php HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{extra}\r\n")
    };
    assert_eq!(statuses(&served, &request(&format!("X: {}\r\n", "x".repeat(10_000)))), [200]);
    assert_eq!(statuses(&served, &request(&format!("X: {}\r\n", "x".repeat(20_000)))), [431]);
    // Each request has two more headers.
    assert_eq!(statuses(&served, &request(&"X: y\r\n".repeat(98))), [200]);
    assert_eq!(statuses(&served, &request(&"X: y\r\n".repeat(99))), [431]);
    let path = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(20_000));
    assert!(matches!(statuses(&served, &path)[..], [414 | 431]));
    // A header without an end.
    let mut connection = served.connect();
    connection.send("GET /ping.php HTTP/1.1\r\nHost: a\r\nX: ");
    connection.send(&"x".repeat(200_000));
    assert_eq!(connection.answer().unwrap().status, 431);
}

#[test]
fn malformed_request_is_refused() {
    // Some of these are incomplete.
    let served = Served::with("", "header_timeout = \"1s\"");
    for request in [
        "GET /ping.php HTTP/1.1\r\n\r\n",
        "GET /ping.php HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /ping.php HTTP/1.1\r\nHost: \r\n\r\n",
        "GET http://a/ping.php HTTP/1.1\r\nHost: \r\n\r\n",
        "GET http://a/ping.php HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET /ping.php HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET /ping.php HTTP/1.1\r\nHost: a/../b\r\n\r\n",
        "GET /ping.php HTTP/1.1\r\nHost: a@b\r\n\r\n",
        "GET /ping.php HTTP/1.1\r\nHost: a:99999\r\n\r\n",
        "GET ping.php HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /ping.php\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /ping.php HTTP/9.9\r\nHost: a\r\n\r\n",
        "GET  /ping.php HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /ping php HTTP/1.1\r\nHost: a\r\n\r\n",
        "G\0T /ping.php HTTP/1.1\r\nHost: a\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\x16\x03\x01\x02\r\n\r\n",
    ] {
        let request = request.replace("Host: a\r\n", "Host: a\r\nConnection: close\r\n");
        let found = statuses(&served, &request);
        assert!(found.is_empty() || found == [400], "{request:?}: {found:?}");
    }
    for method in ["TRACE", "CONNECT"] {
        let request =
            format!("{method} /ping.php HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert!(matches!(statuses(&served, &request)[..], [400 | 405]), "{method}");
    }
    assert_eq!(served.raw(b"GET /ping.php HTTP/1.0\r\n\r\n").unwrap().text(), "pong1\n");
    assert_eq!(served.get("/ping.php").status, 200);
}

#[test]
fn unknown_host_gets_421() {
    let served = Served::with("hosts = [\"example.com\", \"*.example.org\"]", "");
    let status = |host: &str| {
        let request = format!("GET /release.txt HTTP/1.1\r\nHost: {host}\r\n\r\n");
        served.raw(request.as_bytes()).unwrap().status
    };
    for host in
        ["example.com", "EXAMPLE.com.", "example.com:8080", "a.example.org", "a.b.example.org"]
    {
        assert_eq!(status(host), 200, "{host}");
    }
    for host in ["example.org", "evil.com", "evilexample.org", "127.0.0.1", "xexample.com"] {
        assert_eq!(status(host), 421, "{host}");
    }
    assert_eq!(status(""), 400);
}

/// In all spellings of the path.
#[test]
fn path_reaches_neither_outside_nor_hidden_files_nor_code() {
    let site = Served::site("document_root = \"public\"\nfront_controller = \"\"", "");
    for (file, text) in [
        ("secret.txt", "secret"),
        ("public/a.txt", "a"),
        ("public/sub/b.txt", "b"),
        ("public/.env", "secret"),
        ("public/.git/config", "secret"),
        ("public/code.php", "<?php echo 'run'; // secret"),
        ("public/code.php.bak", "secret"),
        ("public/CODE2.PHP", "secret"),
        ("public/x.phtml", "secret"),
        ("public/x.jpg", "<?php echo 'run'; // picture"),
        ("public/.well-known/acme", "known"),
    ] {
        site.add_page(file, text);
    }
    let public = site.path("www/release1/public");
    symlink("../secret.txt", public.join("out.txt")).unwrap();
    symlink("/etc/passwd", public.join("passwd.txt")).unwrap();
    symlink("..", public.join("up")).unwrap();
    symlink("a.txt", public.join("in.txt")).unwrap();
    site.run(&["start"]).succeeds();
    let served = Served::serve(site);
    let text = |page: &str| served.get(page).text();
    assert_eq!(
        (text("/a.txt"), text("/in.txt"), text("/sub/b.txt")),
        ("a".into(), "a".into(), "b".into())
    );
    assert_eq!((text("/code.php"), text("/.well-known/acme")), ("run".into(), "known".into()));
    for page in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/sub/../../secret.txt",
        "/sub/..%2f..%2fsecret.txt",
        "/sub%2f..%2f../secret.txt",
        "/..;/secret.txt",
        "/%252e%252e/secret.txt",
        "/%c0%ae%c0%ae/secret.txt",
        "/..%5csecret.txt",
        "//../secret.txt",
        "/./../secret.txt",
        "/a.txt%00",
        "/code.php%00.txt",
        "/code.php%00",
        "/code.php.bak",
        "/code.PHP",
        "/CODE2.PHP",
        "/x.phtml",
        "/code.php%20",
        "/code.php.",
        "/code.php::$DATA",
        "/.env",
        "/%2eenv",
        "/.git/config",
        "/sub/../.env",
        "/.well-known/../.env",
        "/out.txt",
        "/passwd.txt",
        "/up/secret.txt",
        "/secret.txt",
        "/public/a.txt/../../secret.txt",
        "/etc/passwd",
        "//etc/passwd",
        "/%2fetc/passwd",
        "/proc/self/environ",
    ] {
        let answer = served.get(page);
        assert!(matches!(answer.status, 400 | 404), "{page}: {}", answer.status);
        assert!(!answer.text().contains("secret") && !answer.text().contains("root:"), "{page}");
    }
    // A picture is not run, whatever follows it in the path.
    let picture = served.get("/x.jpg/y.php");
    assert_eq!(picture.status, 404);
    assert_eq!(served.get("/x.jpg").header("content-type"), Some("image/jpeg"));
}

#[test]
fn symlinks_lead_out_only_with_follow_symlinks() {
    let site = Served::site("follow_symlinks = true", "");
    site.write("shared/upload.txt", "shared");
    symlink(site.path("shared"), site.path("www/release1/uploads")).unwrap();
    site.run(&["start"]).succeeds();
    let served = Served::serve(site);
    assert_eq!(served.get("/uploads/upload.txt").text(), "shared");
    assert_eq!(served.get("/uploads/../../x").status, 400);
}

#[test]
fn only_listed_scripts_run() {
    let served = Served::with("scripts = [\"index.php\", \"ping.php\"]", "");
    served.page("uploads/evil.php", "<?php echo 'evil';");
    assert_eq!(served.get("/ping.php").text(), "pong1\n");
    for page in ["/uploads/evil.php", "/uploads/evil.php/x.css", "/uploads/evil%2ephp"] {
        let answer = served.get(page);
        assert_eq!((answer.status, answer.text().contains("evil';")), (404, false), "{page}");
    }
}

#[test]
fn unknown_expectation_is_refused_before_the_body() {
    let served = Served::new();
    let expect = |value: &str| {
        let request = format!(
            "POST /ping.php HTTP/1.1\r\nHost: a\r\nExpect: {value}\r\nContent-Length: 5\r\n\r\n"
        );
        served.raw(request.as_bytes()).unwrap().status
    };
    assert_eq!((expect("nothing"), expect("100-continue, nothing")), (417, 417));
    assert_eq!((expect("100-continue"), expect("100-Continue")), (100, 100));
}

/// A request cannot add a header to the response, or a second response.
#[test]
fn redirect_stays_on_the_same_host() {
    let served = Served::new();
    served.page("docs/index.html", "docs");
    let location = |page: &str| served.get(page).header("location").map(str::to_owned);
    assert_eq!(location("/docs"), Some("/docs/".to_owned()));
    assert_eq!(location("/docs?a%0d%0aX:b"), Some("/docs/?a%0d%0aX:b".to_owned()));
    // A browser would read these as the host evil.example.
    assert_eq!(location("//evil.example/docs"), None);
    for page in ["//evil.example/../docs", "/\\evil.example/../docs", "/%5cevil.example/..%2fdocs"]
    {
        assert_eq!(location(page), Some("/docs/".to_owned()), "{page}");
    }
}
