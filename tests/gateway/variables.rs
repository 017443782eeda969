//! The CGI variables that a script gets.

use serde_json::Value;

use crate::served::Served;

const PAGE: &str = "<?php header('Content-Type: application/json'); echo json_encode($_SERVER);";

fn server(served: &Served, request: &str) -> Value {
    let answer = served.raw(request.as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

#[test]
fn variables_are_what_cgi_says() {
    let served = Served::new();
    served.page("sub/vars.php", PAGE);
    let vars = server(
        &served,
        "GET /sub/vars.php/a%2Db/?q=%20x HTTP/1.1\r\nHost: Example.com:81\r\nCookie: a=1\r\nCookie: b=2\r\nX-Two: 1\r\nX-Two: 2\r\n\r\n",
    );
    let root = served.site.path("www/current").display().to_string();
    for (name, value) in [
        ("REQUEST_METHOD", "GET"),
        ("REQUEST_URI", "/sub/vars.php/a%2Db/?q=%20x"),
        ("QUERY_STRING", "q=%20x"),
        ("SCRIPT_NAME", "/sub/vars.php"),
        ("SCRIPT_FILENAME", &format!("{root}/sub/vars.php")),
        ("PATH_INFO", "/a-b/"),
        ("DOCUMENT_ROOT", &root),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("SERVER_NAME", "example.com"),
        ("HTTP_HOST", "Example.com:81"),
        ("SERVER_PORT", &served.port().to_string()),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("REQUEST_SCHEME", "http"),
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("REDIRECT_STATUS", "200"),
        ("HTTP_COOKIE", "a=1; b=2"),
        ("HTTP_X_TWO", "1, 2"),
    ] {
        assert_eq!(vars[name], value, "{name}");
    }
    assert!(vars.get("HTTPS").is_none() && vars.get("CONTENT_LENGTH").is_none());
}

#[test]
fn what_a_stranger_says_of_others_is_not_passed_on() {
    let served = Served::new();
    served.page("vars.php", PAGE);
    let vars = server(
        &served,
        "GET /vars.php HTTP/1.1\r\nHost: a\r\nProxy: http://evil\r\nX_Forged: 1\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nForwarded: for=1\r\nX-Request-Id: mine\r\n\r\n",
    );
    for name in [
        "HTTP_PROXY",
        "HTTP_X_FORGED",
        "HTTP_X_FORWARDED_FOR",
        "HTTP_X_FORWARDED_PROTO",
        "HTTP_FORWARDED",
        "HTTPS",
    ] {
        assert!(vars.get(name).is_none(), "{name} is {}", vars[name]);
    }
    assert_ne!(vars["HTTP_X_REQUEST_ID"], "mine");
}

#[test]
fn a_trusted_proxy_speaks_for_its_clients() {
    let served = Served::with("", "trusted_proxies = [\"127.0.0.0/8\"]");
    served.page("vars.php", PAGE);
    let vars = server(
        &served,
        "GET /vars.php HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6, 9.9.9.9\r\nX-Forwarded-Proto: https\r\nX-Request-Id: mine\r\n\r\n",
    );
    for (name, value) in [
        ("REMOTE_ADDR", "9.9.9.9"),
        ("HTTPS", "on"),
        ("REQUEST_SCHEME", "https"),
        ("SERVER_PORT", "443"),
        ("HTTP_X_REQUEST_ID", "mine"),
        ("HTTP_X_FORWARDED_FOR", "6.6.6.6, 9.9.9.9"),
    ] {
        assert_eq!(vars[name], value, "{name}");
    }
}

#[test]
fn a_proxy_header_says_who_connected() {
    let served = Served::with("", "proxy_protocol = true");
    served.page("vars.php", PAGE);
    let request = b"GET /vars.php HTTP/1.1\r\nHost: a\r\n\r\n";
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x09\x09\x09\x09\x01\x02\x03\x04\x10\0\0\x50";
    let answer = served.raw(&[&header[..], request].concat()).unwrap();
    let vars: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&vars["REMOTE_ADDR"], &vars["REMOTE_PORT"]), (&"9.9.9.9".into(), &"4096".into()));
    assert_eq!(vars["SERVER_PORT"], "80");
    served.raw(request).unwrap_err();
}

#[test]
fn the_target_goes_before_the_host_header() {
    let served = Served::new();
    served.page("vars.php", PAGE);
    let vars = server(&served, "GET http://one.example:1/vars.php?x HTTP/1.1\r\nHost: two\r\n\r\n");
    assert_eq!(
        (&vars["HTTP_HOST"], &vars["SERVER_NAME"]),
        (&"one.example:1".into(), &"one.example".into())
    );
    assert_eq!(vars["REQUEST_URI"], "/vars.php?x");
}
