//! Which clients may send requests: addresses, passwords, rates, sizes.

use std::process::Command;
use std::time::{Duration, Instant};

use harness::served::{Answer, Served};
use harness::wait_for;

const SETTINGS: &str = "etc/php/fpm/redundant-pools/www/pools-manager.toml";
/// The test is a trusted proxy, so it can choose the address of the client.
const PROXY: &str = "trusted_proxies = [\"127.0.0.1\"]";

fn from(served: &Served, address: &str, page: &str) -> u16 {
    served.get_with(page, &format!("X-Forwarded-For: {address}\r\n")).status
}

/// `user:password` in Base64, by the tool of the system.
fn basic(text: &str) -> String {
    let encoded =
        Command::new("sh").args(["-c", "printf %s \"$0\" | base64 -w0", text]).output().unwrap();
    format!("Authorization: Basic {}\r\n", String::from_utf8(encoded.stdout).unwrap())
}

/// A line of a file, by `htpasswd` itself.
fn bcrypt(user: &str, password: &str) -> String {
    let made = Command::new("htpasswd").args(["-nbB", "-C", "5", user, password]).output().unwrap();
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

#[test]
fn addresses_are_admitted_by_pool_and_path() {
    let pool = r#"
        [gateway.access]
        allow = ["10.0.0.0/8", "2001:db8::/32"]
        deny = ["10.9.0.0/16"]
        [gateway.access.paths."/admin"]
        allow = ["10.1.1.1"]
        [gateway.access.paths."/open"]
        allow = []
        [gateway.redirects]
        "/moved" = "/elsewhere"
    "#;
    let served = Served::with(pool, PROXY);
    served.page("open.txt", "open");
    served.page("open/a.txt", "open");
    served.page("ran.php", "<?php touch(__DIR__ . '/ran'); echo 'ran';");
    for page in ["/release.txt", "/ping.php"] {
        assert_eq!(from(&served, "10.2.3.4", page), 200);
        assert_eq!(from(&served, "2001:db8::7", page), 200);
        assert_eq!(from(&served, "::ffff:10.2.3.4", page), 200);
        for address in ["11.0.0.1", "10.9.1.1", "2001:db9::1"] {
            assert_eq!(from(&served, address, page), 403, "{address}");
        }
    }
    // Without the header, the client is the proxy itself.
    assert_eq!(served.get("/release.txt").status, 403);
    assert_eq!(from(&served, "11.0.0.1", "/moved"), 403);
    assert_eq!(from(&served, "11.0.0.1", "/ran.php"), 403);
    assert!(!served.site.path("www/release1/ran").exists(), "PHP got the request");
    for page in [
        "/admin",
        "/admin/",
        "/admin/x",
        "/%61dmin",
        "/x/../admin",
        "//admin",
        "/index.php/admin/x",
    ] {
        assert_eq!(from(&served, "10.2.3.4", page), 403, "{page}");
        assert_eq!(from(&served, "10.1.1.1", page), 200, "{page}");
    }
    assert_eq!(from(&served, "10.2.3.4", "/admin2"), 200);
    assert_eq!(from(&served, "11.0.0.1", "/open/a.txt"), 200);
    assert_eq!(from(&served, "10.9.1.1", "/open/a.txt"), 403, "deny takes precedence");
    // The rules of the resolved path apply.
    assert_eq!(from(&served, "11.0.0.1", "/open/../release.txt"), 403);
    assert_eq!(from(&served, "11.0.0.1", "/open/%2e%2e/release.txt"), 403);
    assert_eq!(from(&served, "11.0.0.1", "/open.txt"), 403);
    let health = served.get("/.pools-manager/health");
    assert_eq!(health.status, 200, "a monitor needs no permission");
}

fn login(served: &Served, page: &str, text: &str) -> Answer {
    served.get_with(page, &basic(text))
}

#[test]
fn password_is_needed_and_the_file_is_read_again() {
    let pool = r#"
        [gateway.access]
        auth_file = "etc/users"
        realm = "the staging site"
        [gateway.access.paths."/hook"]
        auth_file = ""
    "#;
    let site = Served::site(pool, "access_log = \"access.log\"");
    let users = site.path("etc/users");
    let lines = [bcrypt("anna", "secret one"), "# a comment".to_owned(), bcrypt("böb", "ä:ö")];
    std::fs::write(&users, lines.join("\n")).unwrap();
    site.run(&["start"]).succeeds();
    let served = Served::serve(site);
    let page = "<?php foreach (['REMOTE_USER', 'AUTH_TYPE', 'PHP_AUTH_USER', 'PHP_AUTH_PW'] as $it)
        echo $_SERVER[$it] ?? 'none', ' ';";
    served.page("who.php", page);
    served.page("hook/who.php", page);
    let refused = served.get("/who.php");
    assert_eq!(refused.status, 401);
    let challenge = "Basic realm=\"the staging site\", charset=\"UTF-8\"";
    assert_eq!(refused.header("www-authenticate"), Some(challenge));
    let is = |text: &str| login(&served, "/who.php", text);
    assert_eq!(is("anna:secret one").text(), "anna Basic anna secret one ");
    assert_eq!(is("böb:ä:ö").text(), "böb Basic böb ä:ö ");
    assert_eq!(login(&served, "/release.txt", "anna:secret one").text(), "1\n");
    for wrong in ["anna:secret", "anna:", "carl:secret one", ":", "anna", "böb:secret one"] {
        assert_eq!(is(wrong).status, 401, "{wrong}");
        assert_eq!(is(wrong).status, 401, "{wrong}, again");
    }
    for odd in ["Authorization: Bearer x\r\n", "Authorization: Basic !\r\n", "Authorization:\r\n"] {
        assert_eq!(served.get_with("/who.php", odd).status, 401, "{odd}");
    }
    let none = "none none none none ";
    assert_eq!(served.get("/hook/who.php").text(), none);
    assert_eq!(login(&served, "/hook/who.php", "eve:x").text(), "none none eve x ");
    wait_for("the user in the access log", || {
        let log = served.site.read("access.log");
        log.lines().any(|it| it.contains(" - anna [") && it.contains("release.txt")).then_some(())
    });

    // Another password, and another user.
    std::fs::write(&users, [bcrypt("anna", "new"), bcrypt("eve", "x")].join("\n")).unwrap();
    wait_for("the new password", || (is("anna:new").status == 200).then_some(()));
    assert_eq!(is("anna:secret one").status, 401);
    assert_eq!((is("eve:x").status, is("böb:ä:ö").status), (200, 401));
    // A file with an error is not used.
    std::fs::write(&users, format!("{}\nmallory:plain\n", bcrypt("anna", "newer"))).unwrap();
    let begun = Instant::now();
    wait_for("the next look at the file", || {
        assert_eq!(is("anna:new").status, 200);
        (begun.elapsed() > Duration::from_millis(1100)).then_some(())
    });
    let told = served.await_log("the previous users stay in use: ");
    assert!(told.contains("etc/users:2: the password is not hashed"), "{told}");
    std::fs::remove_file(&users).unwrap();
    assert_eq!(is("anna:new").status, 200);
}

#[test]
fn invalid_rules_and_password_files_are_refused_with_their_line() {
    let site = Served::site("", "");
    let file = site.path(SETTINGS).display().to_string();
    let before = site.read(SETTINGS);
    let line = before.lines().count() + 2;
    for (rule, what) in [
        ("allow = [\"x\"]", "invalid value: string \"x\""),
        ("rate_limit = \"10\"", "\"10\" is not a rate, like \"10/s\""),
        ("burst = 0", "with a burst of 0, no request would be admitted"),
        ("user = \"a\"", "unknown key `user`"),
    ] {
        site.write(SETTINGS, &format!("{before}[gateway.access]\n{rule}\n"));
        let told = site.run(&["list"]).status(2).stderr.clone();
        assert!(told.starts_with(&format!("error: {file}:{line}: {what}")), "{told}");
    }
    site.write(SETTINGS, &format!("{before}[gateway.access]\nauth_file = \"etc/users\"\n"));
    let users = site.path("etc/users").display().to_string();
    let told = site.run(&["check"]).stdout.clone();
    assert!(told.contains(&format!("cannot read the auth_file {users}")), "{told}");
    site.write("etc/users", &format!("{}\nb:{{SHA}}x\n", bcrypt("a", "b")));
    let what = format!("{users}:2: the password is not hashed with bcrypt or SHA-crypt");
    let told = site.run(&["check"]).stdout.clone();
    assert!(told.contains(&what), "{told}");
    site.run(&["start"]).succeeds();
    let told = site.run(&["serve"]).status(2).stderr.clone();
    assert!(told.contains(&what), "{told}");
}

#[test]
fn rate_of_each_address_is_limited() {
    let pool = r#"
        [gateway.access]
        rate_limit = "20/h"
        [gateway.access.paths."/login"]
        rate_limit = "2/h"
    "#;
    let served = Served::with(pool, PROXY);
    let count = |address: &str, page: &str, times: usize| {
        let all = (0..times).map(|_| from(&served, address, page));
        all.filter(|status| *status == 200).count()
    };
    assert_eq!(count("192.0.2.1", "/release.txt", 30), 20);
    assert_eq!(count("192.0.2.2", "/release.txt", 1), 1);
    assert_eq!(count("192.0.2.1", "/login", 5), 2, "a path has a limit of its own");
    let refused = served.get_with("/release.txt", "X-Forwarded-For: 192.0.2.1\r\n");
    assert_eq!(refused.status, 429);
    let after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=180).contains(&after), "{after}");
    // Addresses of one IPv6 network are one client.
    let network = (0..5).filter(|n| from(&served, &format!("2001:db8::{n:x}"), "/login") == 200);
    assert_eq!(network.count(), 2);
    assert_eq!(from(&served, "2001:db8:0:1::1", "/login"), 200);
}

#[test]
fn pool_has_its_own_limit_of_bodies() {
    let served = Served::with("max_body = \"1KiB\"", "max_body = \"100\"");
    served.page("length.php", "<?php echo strlen(file_get_contents('php://input'));");
    let post = |length: usize| {
        let mut connection = served.connect();
        connection.send(&format!(
            "POST /length.php HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
        ));
        connection.send_bytes(&vec![b'x'; length]);
        connection.answer().unwrap()
    };
    assert_eq!((post(1024).status, post(1024).text().as_str()), (200, "1024"));
    assert_eq!(post(1025).status, 413);
    // In chunks, without a length.
    let mut connection = served.connect();
    connection.send("POST /length.php HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    connection.send("400\r\n");
    connection.send_bytes(&[b'x'; 1024]);
    connection.send("\r\n1\r\nx\r\n");
    assert_eq!(connection.answer().unwrap().status, 413);
}

#[test]
fn errors_of_the_gateway_have_the_pages_of_the_operator() {
    let pool = r#"
        deny = ["/private"]
        queue_timeout = "300ms"
        [gateway.error_pages]
        403 = "errors/403.html"
        404 = "errors/missing.html"
        503 = "etc/errors/503.json"
    "#;
    let served = Served::with(pool, "");
    served.page("errors/403.html", "<h1>Not for you</h1>");
    served.page("own.php", "<?php http_response_code(403); echo 'own';");
    served.site.write("etc/errors/503.json", "{}");
    let answer = served.get("/private/x");
    assert_eq!((answer.status, answer.text().as_str()), (403, "<h1>Not for you</h1>"));
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!((answer.header("etag"), answer.header("content-length")), (None, Some("20")));
    let mut connection = served.connect();
    connection.send("HEAD /private/x HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = connection.answer_to("HEAD").unwrap();
    assert_eq!((head.status, head.header("content-length")), (403, Some("20")));
    assert_eq!(connection.get("/ping.php").unwrap().text(), "pong1\n");
    // The application's own page, and a page that is not there.
    assert_eq!(served.get("/own.php").text(), "own");
    assert_eq!(served.get("/.env").text(), "404 Not Found\n");
    let why =
        "the error page \"errors/missing.html\" of 404 is left out: it is not in the document root";
    served.await_log(why);
    let told = served.site.run(&["check"]).stdout.clone();
    assert!(told.contains(why) && !told.contains("errors/403.html"), "{told}");
    assert!(!told.contains("503.json"), "{told}");
    served.page("errors/missing.html", &"x".repeat((1 << 20) + 1));
    let told = served.site.run(&["check"]).stdout.clone();
    assert!(told.contains("of 404 is left out: it is larger than 1 MiB"), "{told}");
    served.page("errors/missing.html", "<h1>Gone</h1>");
    let told = served.site.run(&["check"]).stdout.clone();
    assert!(!told.contains("left out"), "{told}");
    assert_eq!(served.get("/.env").text(), "<h1>Gone</h1>");
    served.site.run(&["stop"]).succeeds();
    let answer = served.get("/ping.php");
    assert_eq!((answer.status, answer.text().as_str()), (503, "{}"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    let site = Served::site("[gateway.error_pages]\n404 = \"a.php\"", "");
    let told = site.run(&["list"]).status(2).stderr.clone();
    assert!(told.contains("the error page \"a.php\" is a script, and is not run"), "{told}");
}

/// Each check of a wrong password takes time. Many of them at the same time do not delay other requests.
#[test]
fn flood_of_wrong_passwords_does_not_stall_others() {
    let pool = "[gateway.access.paths.\"/private\"]\nauth_file = \"etc/users\"";
    let site = Served::site(pool, PROXY);
    let made = Command::new("htpasswd").args(["-nbB", "-C", "10", "a", "b"]).output().unwrap();
    site.write("etc/users", &String::from_utf8(made.stdout).unwrap());
    site.run(&["start"]).succeeds();
    let served = Served::serve(site);
    let passwords: Vec<String> = (0..40).map(|number| basic(&format!("a:{number}"))).collect();
    let mut flood: Vec<_> = passwords
        .iter()
        .map(|password| {
            let mut connection = served.connect();
            connection.send(&format!("GET /private HTTP/1.1\r\nHost: a\r\n{password}\r\n"));
            connection
        })
        .collect();
    let begun = Instant::now();
    for _ in 0..50 {
        assert_eq!(served.get("/release.txt").status, 200);
    }
    let took = begun.elapsed();
    // One client has 16 places; its further requests get 503.
    let mut busy = 0;
    for connection in &mut flood {
        let answer = connection.answer().unwrap();
        assert!(matches!(answer.status, 401 | 503), "{}", answer.status);
        busy += usize::from(answer.status == 503);
    }
    assert!(begun.elapsed() > took, "the flood has taken longer than the other requests");
    assert!(busy > 0, "{busy}");
    assert_eq!(login(&served, "/private", "a:b").status, 200);
}
