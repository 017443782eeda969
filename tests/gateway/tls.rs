//! TLS, with curl and openssl as clients.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use harness::served::{Served, certify, curl, curl_tls, openssl};
use harness::wait_for;

const SHOW: &str = "<?php foreach (['SERVER_PROTOCOL', 'HTTPS', 'REQUEST_SCHEME', 'SERVER_PORT', \
    'HTTP_HOST', 'REMOTE_ADDR'] as $name) echo $_SERVER[$name] ?? '-', ' ';";

#[test]
fn versions_and_ciphers_are_modern() {
    let served = Served::with_tls("", "");
    let chosen = |args: &[&str]| {
        let said = served.handshake(args);
        let line = said.lines().find(|line| line.starts_with("New, TLSv")).map(str::to_owned);
        line.unwrap_or_else(|| "refused".to_owned())
    };
    // Security level 0, so that openssl itself refuses nothing.
    let old = |version| chosen(&[version, "-cipher", "ALL:@SECLEVEL=0"]);
    for version in ["-tls1", "-tls1_1"] {
        assert!(
            ["refused", "New, (NONE), Cipher is (NONE)"].contains(&&*old(version)),
            "{version}"
        );
    }
    assert!(chosen(&["-tls1_2"]).starts_with("New, TLSv1.2, Cipher is ECDHE-ECDSA-"));
    assert!(chosen(&["-tls1_3"]).starts_with("New, TLSv1.3, Cipher is TLS_AES_256_GCM"));
    // Without forward secrecy, with CBC, RC4, 3DES, no encryption, no authentication.
    for weak in [
        "AES128-SHA",
        "AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES128-SHA256",
        "ECDHE-ECDSA-AES256-SHA",
        "RC4",
        "3DES",
        "eNULL",
        "aNULL",
        "DHE",
    ] {
        let chosen = chosen(&["-tls1_2", "-cipher", &format!("{weak}:@SECLEVEL=0")]);
        assert!(!chosen.contains("New, TLSv1"), "{weak}: {chosen}");
    }
    let said = served.handshake(&["-tls1_2", "-no_ticket"]);
    assert!(
        said.contains("Secure Renegotiation IS supported") && said.contains("Compression: NONE")
    );
}

#[test]
fn tls_min_refuses_older_versions_after_a_reload_too() {
    let served = Served::with_tls("", "tls_min = \"1.3\"");
    let is_accepted = |version| served.handshake(&[version]).contains("New, TLSv1.");
    assert!(!is_accepted("-tls1_2") && is_accepted("-tls1_3"));
    served.site.replace("etc/pools-manager.toml", "tls_min = \"1.3\"", "tls_min = \"1.2\"");
    served.reload();
    assert!(is_accepted("-tls1_2") && is_accepted("-tls1_3"));
}

#[test]
fn protocol_is_chosen_by_alpn() {
    let served = Served::with_tls("", "");
    let chosen = |offer: &str| {
        let said = served.handshake(&["-alpn", offer]);
        said.lines().find_map(|line| line.strip_prefix("ALPN protocol: ")).map(str::to_owned)
    };
    assert_eq!(chosen("h2,http/1.1").as_deref(), Some("h2"));
    assert_eq!(chosen("http/1.1,h2").as_deref(), Some("h2"));
    assert_eq!(chosen("http/1.1").as_deref(), Some("http/1.1"));
    assert!(served.handshake(&["-alpn", "spdy/3"]).contains("no application protocol"));
    served.page("show.php", SHOW);
    let port = served.tls_port();
    let expect = |protocol| format!("{protocol} on https {port} a.test:{port} 127.0.0.1 ");
    let curl = |option| served.curl_tls("a.test", "/show.php", &[option]);
    assert_eq!(curl("--http2"), expect("HTTP/2.0"));
    assert_eq!(curl("--http1.1"), expect("HTTP/1.1"));
    assert_eq!(curl("--no-alpn"), expect("HTTP/1.1"));
}

#[test]
fn certificate_is_chosen_by_the_name_of_the_host() {
    let site = Served::site_with_tls("", "", &["a", "b", "c"]);
    certify(&site, "a", "DNS:a.test", "90");
    certify(&site, "b", "DNS:b.test,DNS:*.b.test,IP:127.0.0.1", "90");
    certify(&site, "c", "DNS:x.b.test", "90");
    site.run(&["start"]).succeeds();
    let served = Served::serve(site);
    let chosen = |args: &[&str]| {
        let said = served.handshake(args);
        let line = said.lines().find(|line| line.starts_with("subject="));
        line.unwrap_or(&said).to_owned()
    };
    for (host, certificate) in [
        ("a.test", "a"),
        ("A.TEST", "a"),
        ("b.test", "b"),
        ("w.b.test", "b"),
        ("x.b.test", "c"),
        ("v.w.b.test", "a"),
        ("other.test", "a"),
    ] {
        assert_eq!(chosen(&["-servername", host]), format!("subject=CN = {certificate}"), "{host}");
    }
    assert_eq!(chosen(&["-noservername"]), "subject=CN = a");
}

#[test]
fn session_is_resumed_by_a_ticket() {
    let served = Served::with_tls("", "");
    let file = served.site.path("session");
    let file = file.to_str().unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        // A ticket of TLS 1.3 comes after the handshake: the request waits for it.
        let args = [
            "-c",
            &format!(
                "printf 'GET /ping.php HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n' | timeout 60 openssl s_client -ign_eof {version} -connect 127.0.0.1:{} $0 {file} 2>&1",
                served.tls_port()
            ),
        ];
        let run = |option: &str| {
            let output = served.site.command("sh").args(args).arg(option).output().unwrap();
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        assert!(run("-sess_out").contains("New, TLSv1"), "{version}");
        let again = run("-sess_in");
        assert!(again.contains("Reused, TLSv1") && again.contains("pong1"), "{version}: {again}");
    }
}

#[test]
fn http_on_the_port_for_https_gets_an_explanation() {
    let served = Served::with_tls("", "");
    let mut stream = TcpStream::connect(("127.0.0.1", served.tls_port())).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut said = String::new();
    // The unread request may make the kernel reset the connection after the page.
    let _ = stream.read_to_string(&mut said);
    assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("This port is for HTTPS"), "{said}");
    for noise in [
        &b"\x15\x03\x01\x00\x02\x02\x28"[..],
        b"\x16\x03\x01\xff\xff",
        b"\0\0\0",
        b"\x80\x2e\x01\x03\x01",
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", served.tls_port())).unwrap();
        stream.write_all(noise).unwrap();
        // The gateway may have closed the connection already.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        assert!(said.len() < 100, "{noise:?}: {said:?}");
    }
    assert_eq!(served.curl_tls("a.test", "/ping.php", &[]), "pong1\n");
}

/// A client that begins a handshake and sends no more.
#[test]
fn slow_handshake_is_ended_by_the_header_timeout() {
    let served = Served::with_tls("", "header_timeout = \"1s\"\nmax_connections = 8");
    // As many as there may be connections: another client waits until they are closed.
    let slow: Vec<_> = (0..8)
        .map(|number| {
            let mut stream = TcpStream::connect(("127.0.0.1", served.tls_port())).unwrap();
            if number % 2 == 0 {
                stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00").unwrap();
            }
            stream
        })
        .collect();
    assert_eq!(served.curl_tls("a.test", "/ping.php", &[]), "pong1\n");
    for mut stream in slow {
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

#[test]
fn proxy_protocol_comes_before_the_handshake() {
    let served = Served::with_tls("", "proxy_protocol = true");
    served.page("show.php", SHOW);
    // curl sends only version 1 of the PROXY protocol: a proxy in between sends version 2.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, target) = (listener.local_addr().unwrap().port(), served.tls_port());
    let proxy = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut upstream = TcpStream::connect(("127.0.0.1", target)).unwrap();
        let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        header.extend([192, 0, 2, 7, 192, 0, 2, 1, 0, 99, 1, 187]);
        upstream.write_all(&header).unwrap();
        let (mut forth, mut back) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
        let up = thread::spawn(move || {
            let _ = std::io::copy(&mut forth, &mut back);
            let _ = back.shutdown(std::net::Shutdown::Write);
        });
        let _ = std::io::copy(&mut upstream, &mut client);
        let _ = client.shutdown(std::net::Shutdown::Both);
        up.join().unwrap();
    });
    let said = curl(&[&format!("https://127.0.0.1:{port}/show.php")]);
    assert_eq!(said, format!("HTTP/2.0 on https 443 127.0.0.1:{port} 192.0.2.7 "));
    proxy.join().unwrap();
}

#[test]
fn redirect_leads_to_https_and_does_not_loop() {
    let global = "https_port = 8443\ntrusted_proxies = [\"127.0.0.1\"]";
    let served = Served::with_tls("redirect_to_https = true\nhsts = \"max-age=600\"", global);
    served.page("public.txt", "public");
    served.page(".well-known/acme-challenge/token", "proof");
    let answer = served.get_from("a.test:80", "/ping.php?x=1");
    let location = answer.header("location");
    assert_eq!((answer.status, location), (301, Some("https://a.test:8443/ping.php?x=1")));
    assert_eq!(answer.header("strict-transport-security"), None);
    let post = b"POST /ping.php HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(served.raw(post).unwrap().status, 308);
    // The redirect needs no replica, and gives no file away.
    assert_eq!(served.get("/public.txt").status, 301);
    assert_eq!(served.get("/.well-known/acme-challenge/token").text(), "proof");
    assert_eq!(served.get("/.pools-manager/health").status, 200);
    // The client uses TLS up to a trusted proxy.
    let answer = served.get_with("/ping.php", "X-Forwarded-Proto: https\r\n");
    assert_eq!(
        (answer.status, answer.header("strict-transport-security")),
        (200, Some("max-age=600"))
    );
    assert_eq!(served.get_with("/ping.php", "X-Forwarded-Proto: http\r\n").status, 301);
    let head = served.curl_tls("a.test", "/ping.php", &["--include"]);
    assert!(
        head.starts_with("HTTP/2 200") && head.contains("strict-transport-security: max-age=600")
    );
}

fn subject(served: &Served) -> String {
    let said = served.handshake(&["-servername", "a.test"]);
    said.lines().find(|line| line.starts_with("subject=")).unwrap_or_default().to_owned()
}

/// As certbot renews: new files in `archive/`, then each symlink in `live/` is replaced.
#[test]
fn certificate_is_swapped_under_load_when_its_symlink_moves() {
    let served = {
        let site = Served::site_with_tls("", "", &["live/a"]);
        fs::create_dir(site.path("live")).unwrap();
        for name in ["one", "two"] {
            certify(&site, name, "DNS:a.test", "90");
        }
        point(&site, "one");
        site.run(&["start"]).succeeds();
        Served::serve(site)
    };
    assert_eq!(subject(&served), "subject=CN = one");
    let is_done = AtomicBool::new(false);
    let port = served.tls_port();
    let requests = thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut requests = 0;
                    while !is_done.load(Ordering::Relaxed) {
                        // 20 requests on two connections; curl fails if one of them fails.
                        let url = "/ping.php?[1-10]";
                        let said = curl_tls(port, "a.test", url, &["--fail"]);
                        assert_eq!(said, "pong1\n".repeat(10));
                        requests += 10;
                    }
                    requests
                })
            })
            .collect();
        point(&served.site, "two");
        wait_for("the new certificate", || (subject(&served) == "subject=CN = two").then_some(()));
        // A key that does not belong to the certificate: the previous pair stays.
        fs::remove_file(served.site.path("live/a.key")).unwrap();
        symlink("../one.key", served.site.path("live/a.key")).unwrap();
        let line = served.await_log("does not belong to the certificate");
        assert!(line.contains("the previous certificate stays in use"), "{line}");
        assert_eq!(subject(&served), "subject=CN = two");
        is_done.store(true, Ordering::Relaxed);
        clients.into_iter().map(|it| it.join().unwrap()).sum::<u32>()
    });
    assert!(requests > 0);
}

fn point(site: &harness::Site, name: &str) {
    for kind in ["pem", "key"] {
        let link = site.path(&format!("live/a.{kind}"));
        let _ = fs::remove_file(&link);
        symlink(format!("../{name}.{kind}"), link).unwrap();
    }
}

#[test]
fn reload_reads_certificates_and_keeps_what_it_cannot_replace() {
    let served = Served::with_tls("", "");
    served.site.write("a.pem", "no certificate");
    assert!(served.reload().contains("a.pem has no certificate"));
    assert_eq!(subject(&served), "subject=CN = a");
    certify(&served.site, "b", "DNS:a.test", "90");
    served.site.replace("etc/pools-manager.toml", "\"a.", "\"b.");
    served.reload();
    assert_eq!(subject(&served), "subject=CN = b");
    let removed = ["[[gateway.certificates]]\n", "certificate = \"b.pem\"\n", "key = \"b.key\"\n"];
    for line in removed {
        served.site.replace("etc/pools-manager.toml", line, "");
    }
    assert!(served.reload().contains("listen_tls needs a certificate"));
    assert_eq!(subject(&served), "subject=CN = b");
    assert_eq!(served.curl_tls("a.test", "/ping.php", &[]), "pong1\n");
}

/// What `serve` refuses, `check` refuses in the same words.
#[test]
fn wrong_certificates_are_refused() {
    let site = Served::site_with_tls("", "", &["a"]);
    let refused = |part: &str| {
        let serve = site.run(&["serve", "--json"]).status(2).error_message();
        assert!(serve.contains(part), "{serve}");
        let check = site.run(&["check"]);
        let message = serve.split_whitespace().collect::<Vec<_>>().join(" ");
        let said =
            check.to_string().replace('\n', " ").split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(&message), "{message}\n{said}");
    };
    refused("cannot read the certificate");
    certify(&site, "a", "DNS:a.test", "90");
    certify(&site, "b", "DNS:a.test", "90");
    let key = site.read("a.key");
    site.write("a.key", &site.read("b.key"));
    refused("does not belong to the certificate");
    site.write("a.key", "");
    refused("a.key has no private key");
    openssl(
        site.root(),
        &["pkey", "-in", "b.key", "-aes128", "-passout", "pass:x", "-out", "a.key"],
    );
    let said = site.run(&["serve", "--json"]).status(2).error_message();
    assert!(said.contains("a.key has no private key that is readable"), "{said}");
    fs::remove_file(site.path("a.key")).unwrap();
    refused("cannot read the key");
    site.write("a.key", &key);
    let pem = site.read("a.pem");
    site.write("a.pem", &pem.replace("-----END", "-----MISSING"));
    refused("a.pem is not a valid PEM file");
    site.write("a.pem", &pem.replacen("MI", "AI", 1));
    refused("the certificate");
}

#[test]
fn check_warns_of_the_end_of_a_certificate_and_of_an_open_key() {
    let site = Served::site_with_tls("", "", &["a"]);
    let warned = |part: &str| {
        let said = site.run(&["check"]).to_string();
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(part), "{part}: {said}");
    };
    certify(&site, "a", "DNS:a.test", "3");
    warned("a.pem expires at 20");
    let request = ["req", "-new", "-key", "a.key", "-out", "a.csr", "-subj", "/CN=a"];
    let expired =
        ["x509", "-req", "-in", "a.csr", "-signkey", "a.key", "-days", "-1", "-out", "a.pem"];
    openssl(site.root(), &request);
    fs::write(site.path("names"), "subjectAltName=DNS:a.test").unwrap();
    openssl(site.root(), &[&expired[..], &["-extfile", "names"]].concat());
    warned("a.pem has expired at 20");
    certify(&site, "a", "email:a@a.test", "90");
    warned("a.pem names no host, so browsers refuse it");
    fs::set_permissions(site.path("a.key"), Permissions::from_mode(0o644)).unwrap();
    warned("every user of this machine can read the key");
}

/// The gateway frees what hyper and rustls hold for idle connections, and goes on with the next request.
#[test]
fn idle_connection_with_tls_goes_on() {
    let served = Served::with_tls("", "");
    let port = served.tls_port();
    let script = format!(
        "(for end in keep-alive keep-alive close; do \
         printf 'GET /ping.php HTTP/1.1\\r\\nHost: a\\r\\nConnection: %s\\r\\n\\r\\n' $end; \
         sleep 0.3; done) | \
         timeout 60 openssl s_client -quiet -connect 127.0.0.1:{port} 2>/dev/null | head -c 100000"
    );
    let output = served.site.command("sh").args(["-c", &script]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.matches("pong1").count(), 3, "{said}");
}
