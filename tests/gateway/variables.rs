//! The CGI variables that a script gets.

use serde_json::Value;

use harness::served::Served;

const PAGE: &str = "<?php header('Content-Type: application/json'); echo json_encode($_SERVER);";

fn server(served: &Served, request: &str) -> Value {
    let answer = served.raw(request.as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

#[test]
fn scripts_get_the_cgi_variables() {
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
fn proxy_headers_of_an_untrusted_client_are_dropped() {
    let served = Served::new();
    served.page("vars.php", PAGE);
    let vars = server(
        &served,
        "GET /vars.php HTTP/1.1\r\nHost: a\r\nProxy: http://evil\r\nX_Forged: 1\r\nX-Forwarded-For: 9.9.9.9\r\nX.Forwarded-For: 9.9.9.9\r\nX~Real~IP: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\nX-Real-IP: 9.9.9.9\r\nForwarded: for=1\r\nX-Request-Id: mine\r\n\r\n",
    );
    let vars = vars.as_object().unwrap();
    let forged: Vec<_> = vars
        .iter()
        .filter(|(name, value)| {
            let value = value.as_str().unwrap_or_default();
            ["FORWARDED", "PROXY", "FORGED", "REAL", "HTTPS"].iter().any(|it| name.contains(it))
                || ["9.9.9.9", "evil", "mine"].iter().any(|it| value.contains(it))
        })
        .collect();
    assert!(forged.is_empty(), "{forged:?}");
    assert_eq!(vars["SERVER_PORT"], served.port().to_string());
}

#[test]
fn headers_of_a_trusted_proxy_name_the_client() {
    let served = Served::with("", "trusted_proxies = [\"127.0.0.0/8\"]");
    served.page("vars.php", PAGE);
    let vars = server(
        &served,
        "GET /vars.php HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6, x, 9.9.9.9:1234\r\nX-Forwarded-For: 127.0.0.2\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\nX-Request-Id: mine\r\n\r\n",
    );
    for (name, value) in [
        ("REMOTE_ADDR", "9.9.9.9"),
        ("REMOTE_PORT", "1234"),
        ("HTTPS", "on"),
        ("REQUEST_SCHEME", "https"),
        ("SERVER_PORT", "443"),
        ("SERVER_NAME", "a"),
        ("HTTP_HOST", "a"),
        ("HTTP_X_REQUEST_ID", "mine"),
        ("HTTP_X_FORWARDED_FOR", "6.6.6.6, x, 9.9.9.9:1234, 127.0.0.2"),
        ("HTTP_X_FORWARDED_HOST", "b"),
    ] {
        assert_eq!(vars[name], value, "{name}");
    }
    let vars = server(
        &served,
        "GET /vars.php HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 8443\r\nX.Forwarded-For: 9.9.9.9\r\n\r\n",
    );
    assert_eq!((&vars["SERVER_PORT"], &vars["REMOTE_ADDR"]), (&"8443".into(), &"127.0.0.1".into()));
    assert!(vars.get("HTTP_X_FORWARDED_FOR").is_none());
}

/// On a dual-stack listener.
#[test]
fn ipv4_client_of_an_ipv6_listener_has_its_ipv4_address() {
    let site = Served::site("", "");
    site.write(
        "etc/pools-manager.toml",
        "[gateway]\nlisten = [\"[::]:0\"]\ntrusted_proxies = [\"127.0.0.1\"]\naccess_log = \"pid/access\"\n[supervisor]\nenabled = false\n",
    );
    site.run(&["start"]).succeeds();
    let mut served = Served::serve(site);
    served.page("vars.php", PAGE);
    let vars = server(&served, "GET /vars.php HTTP/1.1\r\nHost: a\r\n\r\n");
    for name in ["REMOTE_ADDR", "SERVER_ADDR"] {
        assert_eq!(vars[name], "127.0.0.1", "{name}");
    }
    let forwarded = "GET /vars.php HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: ::ffff:9.9.9.9\r\n\r\n";
    assert_eq!(server(&served, forwarded)["REMOTE_ADDR"], "9.9.9.9");
    served.stop_gateway().succeeds();
    let log = served.site.read("pid/access");
    let clients: Vec<_> = log.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(clients, ["127.0.0.1", "9.9.9.9"]);
}

#[test]
fn proxy_protocol_header_names_the_client() {
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
fn host_in_the_target_takes_precedence_over_the_host_header() {
    let served = Served::new();
    served.page("vars.php", PAGE);
    let vars = server(&served, "GET http://one.example:1/vars.php?x HTTP/1.1\r\nHost: two\r\n\r\n");
    assert_eq!(
        (&vars["HTTP_HOST"], &vars["SERVER_NAME"]),
        (&"one.example:1".into(), &"one.example".into())
    );
    assert_eq!(vars["REQUEST_URI"], "/vars.php?x");
}

/// On one connection, after requests of all kinds.
#[test]
fn request_uri_is_passed_unchanged() {
    let served = Served::new();
    served.page("vars.php", PAGE);
    let mut connection = served.connect();
    let mut ask = |method: &str, target: &str, rest: &str| {
        connection.send(&format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{rest}"));
        let answer = connection.answer().unwrap();
        assert_eq!(answer.status, 200, "{target}");
        let vars: Value = serde_json::from_slice(&answer.body).unwrap();
        let vars = ["REQUEST_URI", "QUERY_STRING", "PATH_INFO", "CONTENT_LENGTH"]
            .map(|name| vars[name].as_str().unwrap_or_default().to_owned());
        vars.join(" ")
    };
    assert_eq!(ask("GET", "/vars.php/<1>?\"", "\r\n"), "/vars.php/<1>?\" \" /<1> ");
    assert_eq!(ask("GET", "/vars.php/%3C2%3E", "\r\n"), "/vars.php/%3C2%3E  /<2> ");
    let body = "Content-Length: 24\r\n\r\nGET /<body> HTTP/1.1\r\n\r\n";
    assert_eq!(ask("POST", "/vars.php/`3", body), "/vars.php/`3  /`3 24");
    assert_eq!(ask("GET", "/vars.php/\u{e9}", "\r\n"), "/vars.php/\u{e9}  /\u{e9} ");
    assert_eq!(ask("GET", "/vars.php?a#b", "\r\n"), "/vars.php?a#b a  ");
    // After a chunked body, targets are not escaped.
    let chunked = "Transfer-Encoding: chunked\r\n\r\n5\r\n/<x> \r\n0\r\n\r\n";
    assert_eq!(ask("POST", "/vars.php/<4>", chunked), "/vars.php/<4>  /<4> 5");
    assert_eq!(ask("GET", "/vars.php/5", "\r\n"), "/vars.php/5  /5 ");
    connection.send("GET /<6> HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(connection.answer().unwrap().status, 400);
}
