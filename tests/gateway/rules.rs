//! Configured headers, redirects, denied paths, and `SERVER_SOFTWARE`.

use harness::served::Served;

const SETTINGS: &str = "etc/php/fpm/redundant-pools/www/pools-manager.toml";

#[test]
fn all_responses_of_a_pool_have_its_headers() {
    let pool = r#"
        deny = ["/private"]
        [gateway.headers]
        X-Frame-Options = "DENY"
        X-Powered-By = ""
        Vary = "Origin"
        [gateway.redirects]
        "/old" = "/new"
    "#;
    let served = Served::with(pool, "");
    served.page("own.php", "<?php header('X-Frame-Options: SAMEORIGIN');");
    served.page("broken.php", "<?php header('X-Accel-Redirect: /none');");
    let etag = served.get("/release.txt").header("etag").unwrap().to_owned();
    let answers = [
        (200, served.get("/release.txt")),
        (304, served.get_with("/release.txt", &format!("If-None-Match: {etag}\r\n"))),
        (416, served.get_with("/release.txt", "Range: bytes=99-\r\n")),
        (200, served.get("/ping.php")),
        (302, served.get("/old")),
        (403, served.get("/private/x")),
        (404, served.get("/.env")),
        (400, served.get("/%00")),
        (502, served.get("/broken.php")),
    ];
    for (status, answer) in &answers {
        assert_eq!(answer.status, *status);
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{status}");
        assert_eq!(answer.header("x-powered-by"), None, "{status}");
        assert!(answer.headers.contains(&("vary".to_owned(), "Origin".to_owned())), "{status}");
    }
    // A header of the script stays, and comes once.
    let own = served.get("/own.php");
    let all: Vec<_> = own.headers.iter().filter(|(name, _)| name == "x-frame-options").collect();
    assert_eq!(all.len(), 1);
    assert_eq!(own.header("x-frame-options"), Some("SAMEORIGIN"));
    let both = served.get("/release.txt");
    assert_eq!(both.headers.iter().filter(|(name, _)| name == "vary").count(), 2);
}

#[test]
fn configured_paths_are_redirected() {
    let pool = r#"
        deny = ["/go/secret"]
        [gateway.redirects]
        "/release.txt" = "/2.txt"
        "/go/*" = "/*"
        "/moved/*" = { to = "https://example.com/docs/*", status = 308 }
    "#;
    let served = Served::with(pool, "");
    let at = |target: &str| {
        let answer = served.get(target);
        (answer.status, answer.header("location").unwrap_or_default().to_owned())
    };
    let is = |status: u16, location: &str| (status, location.to_owned());
    // A redirect takes precedence over a file.
    assert_eq!(at("/release.txt"), is(302, "/2.txt"));
    assert_eq!(at("/moved/a%20b/?c=d"), is(308, "https://example.com/docs/a%20b/?c=d"));
    assert_eq!(at("/go/%2F/evil.example"), is(302, "/evil.example"));
    assert_eq!(at("/go/%5cevil.example"), is(302, "/%5Cevil.example"));
    assert_eq!(at("/go/secret/x"), is(403, ""));
    let posted = served.raw(b"POST /moved/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab");
    assert_eq!(posted.unwrap().status, 308);
    // A redirect needs no replica.
    served.site.run(&["stop"]).succeeds();
    assert_eq!(at("/release.txt"), is(302, "/2.txt"));
}

#[test]
fn denied_path_gets_403_whether_it_exists_or_not() {
    let served = Served::with("deny = [\"/private\", \"*.sql\", \"/ping.php\"]", "");
    served.page("private/a.txt", "secret");
    served.page("private/index.php", "<?php echo 'secret';");
    served.page("dump.SQL", "secret");
    served.page("public.txt", "public");
    served.page("send.php", "<?php header('X-Accel-Redirect: /private/a.txt');");
    for path in [
        "/private",
        "/private/",
        "/private/a.txt",
        "/private/none",
        "/%70rivate/a.txt",
        "/private%2fa.txt",
        "/dump.SQL",
        "/none.sql",
        "/ping.php",
        "/ping.php/x",
        "/ping.php?x",
    ] {
        let answer = served.get(path);
        assert_eq!((answer.status, answer.text().as_str()), (403, "403 Forbidden\n"), "{path}");
    }
    for path in ["//private/a.txt", "/./private/a.txt", "/x/../private/a.txt", "/private/./a.txt"] {
        assert!(!served.get(path).text().contains("secret"), "{path}");
    }
    assert_eq!(served.get("/public.txt").text(), "public");
    // A script may still send the file.
    assert_eq!(served.get("/send.php").text(), "secret");
}

#[test]
fn scripts_get_server_software() {
    let page = "<?php echo $_SERVER['SERVER_SOFTWARE'];";
    let served = Served::new();
    served.page("software.php", page);
    let software = served.get("/software.php").text();
    assert_eq!(software, format!("pools-manager/{} (nginx-compatible)", env!("CARGO_PKG_VERSION")));
    let served = Served::with("server_software = \"Apache/2.4 (no)\"", "");
    served.page("software.php", page);
    assert_eq!(served.get("/software.php").text(), "Apache/2.4 (no)");
}

/// With file, line, and reason.
#[test]
fn invalid_rules_are_refused() {
    let site = Served::site("", "");
    let file = site.path(SETTINGS).display().to_string();
    let before = site.read(SETTINGS);
    let refused = |lines: &str, line: usize, what: &str| {
        site.write(SETTINGS, &format!("{before}{lines}\n"));
        let line = line + before.lines().count();
        let ran = site.run(&["list"]);
        let error = format!("error: {file}:{line}: {what}");
        let all = ran.status(2).stderr.clone();
        let is_told = all.starts_with(&error) && all.contains("\n  help: ");
        assert!(is_told, "{lines}\n{error}\n{all}");
    };
    // For a list, the line in which it begins.
    refused("deny = [\n\"/a\",\n\"b\"]", 1, "the path \"b\" does not begin with /");
    refused(
        "deny = [\"/a/../b\"]",
        1,
        "the path \"/a/../b\" contains an empty segment, \".\" or \"..\"",
    );
    refused("deny = [\"*sql\"]", 1, "\"*sql\" is not a pattern for an extension, like \"*.sql\"");
    refused(
        "types = { md = \"markdown\" }",
        1,
        "\"markdown\" is not a media type, like text/markdown",
    );
    refused(
        "[gateway.types]\n\".md\" = \"a/b\"",
        2,
        "\".md\" is not a file extension: write it without a dot, like md",
    );
    refused(
        "[gateway.headers]\nX-A = \"b\"\nX-B = \"b\\r\\nSet-Cookie: c\"",
        3,
        "a header value must be one line of visible ASCII characters and spaces",
    );
    refused(
        "[gateway.headers]\nX-A = \"b\"\nContent-Length = \"1\"",
        3,
        "Content-Length cannot be configured: it depends on the response or the connection",
    );
    refused("[gateway.headers]\n\"X A\" = \"b\"", 2, "\"X A\" is not a header name");
    refused("[gateway.cache]\n\"/\" = \"a\\nb\"", 2, "a header value must be");
    refused("[gateway.redirects]\n\"/a\" = \"/b\"\n\"/c\" = \"/c\"", 3, "/c redirects to itself");
    refused(
        "[gateway.redirects]\n\"/a\" = \"b\"",
        2,
        "\"b\" is not a redirect target: write a path that",
    );
    refused(
        "[gateway.redirects]\n\"/a\" = { to = \"/b\", status = 200 }",
        2,
        "200 is not a redirect status: use 301, 302, 303, 307 or 308",
    );
    refused("[gateway.redirects]\n\"/a\" = { to = \"/b\", code = 301 }", 2, "unknown key `code`");
    refused(
        "server_software = \"a\\nb\"",
        1,
        "server_software must be one line of visible ASCII characters and spaces",
    );
}

#[test]
fn check_warns_of_symlinks_that_are_not_followed() {
    let served = Served::with("document_root = \"\"", "");
    std::os::unix::fs::symlink("/etc/passwd", served.site.path("www/release1/linked.txt")).unwrap();
    let ran = served.site.run(&["check"]);
    let told = &ran.stdout;
    assert!(told.contains("linked.txt leads out of the document root, to /etc/passwd"), "{told}");
    assert!(!served.get("/linked.txt").text().contains("root:"), "the gateway does not send it");
    served.site.replace(SETTINGS, "document_root = \"\"", "follow_symlinks = true");
    let told = served.site.run(&["check"]).stdout.clone();
    assert!(!told.contains("leads out"), "{told}");
}
