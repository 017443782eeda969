//! Pools whose servers speak HTTP, behind nginx and HAProxy with their snippets.

use harness::served::Connection;
use harness::{HAPROXY, Site, wait_for};
use rustix::process::geteuid;
use serde_json::Value;

use super::clients::Kept;

const SETTINGS: &str = "etc/php/fpm/redundant-pools/www/pools-manager.toml";

/// A pool of two Python servers, which take their connections on descriptor 3.
fn prepared(kind: &str) -> Site {
    let site = Site::prepared();
    let user = if geteuid().is_root() { "user = \"www-data\"\n" } else { "" };
    let backend = if kind == "haproxy" { HAPROXY } else { "" };
    site.write(
        SETTINGS,
        &format!(
            "[command]\ncurrent_release_symlink = \"www/current.release\"\n\
             current_dir = \"www/current\"\nrun = [\"/usr/bin/python3\", \"server.py\", \"fd\"]\n\
             protocol = \"http\"\nlisten = \"fd3\"\nhealth_path = \"/health\"\nconcurrency = 64\n\
             {user}\n{backend}\n"
        ),
    );
    for release in ["release1", "release2"] {
        let server = include_str!("../../gateway/servers/server.py");
        site.write(&format!("www/{release}/server.py"), server);
    }
    site
}

fn started(kind: &'static str) -> Site {
    let site = prepared(kind).serve_snippet(kind);
    site.run(&["start"]).succeeds();
    wait_for("the web server", || {
        site.client().ask("GET", "/", "", "").is_ok_and(|it| it.status == 200).then_some(())
    });
    site
}

/// Restarts lose no request: pages, on kept connections of clients too, and forms of 100 KB.
fn restarts_lose_nothing(kind: &'static str, strategy: &str) {
    let site = started(kind);
    let pages = site.visitors(2, |client, _| {
        let answer = client.get("/");
        assert!(answer.status == 200 && ["1", "2"].contains(&&*answer.body), "{answer:?}");
    });
    let forms = site.visitors(1, |client, number| {
        let answer = client.post(&format!("/echo?{number}"), &"x".repeat(100_000));
        let echoed: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, &echoed["length"]), (200, &100_000.into()));
    });
    let kept = Kept::begin_at(&site, 2, "/", "");
    for release in [2, 1, 2, 1] {
        site.switch(format!("release{release}"));
        site.run(&["restart", "--strategy", strategy]).succeeds();
        assert_eq!(site.get("/").body, release.to_string());
    }
    kept.finish();
    assert!(pages.finish() > 20 && forms.finish() > 5);
    let ran = site.run(&["check"]);
    assert!(ran.succeeds().stdout.contains("Balancer  [OK]"), "{ran}");
}

#[test]
fn rolling_restarts_of_http_servers_behind_haproxy_lose_nothing() {
    restarts_lose_nothing("haproxy", "rolling");
}

#[test]
#[ignore = "takes long: bin/test --all"]
fn swaps_of_http_servers_behind_haproxy_lose_nothing() {
    restarts_lose_nothing("haproxy", "swap");
}

#[test]
#[ignore = "takes long: bin/test --all"]
fn swaps_of_http_servers_behind_nginx_lose_nothing() {
    restarts_lose_nothing("nginx", "swap");
}

/// Headers in which a client claims an address of its own do not reach the server.
#[test]
fn http_servers_get_the_headers_of_the_web_server() {
    for kind in ["nginx", "haproxy"] {
        let site = started(kind);
        let mut connection = Connection::to(site.port());
        connection.send(
            "GET /echo HTTP/1.1\r\nHost: example.com\r\nX-Forwarded-For: 6.6.6.6\r\n\
             X-Forwarded-Proto: https\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n\
             Proxy: x\r\nX-Own: 1\r\n\r\n",
        );
        let echoed: Value = serde_json::from_slice(&connection.answer().unwrap().body).unwrap();
        let values = |name: &str| -> Vec<&str> {
            let all = echoed["headers"].as_array().unwrap().iter();
            all.filter(|it| it[0] == name).map(|it| it[1].as_str().unwrap()).collect()
        };
        let port = site.port().to_string();
        for (name, expected) in [
            ("host", &["example.com"][..]),
            ("connection", &["close"]),
            ("x-forwarded-for", &["127.0.0.1"]),
            ("x-forwarded-proto", &["http"]),
            ("x-forwarded-host", &["example.com"]),
            ("x-forwarded-port", &[&port]),
            ("x-real-ip", &[]),
            ("forwarded", &[]),
            ("proxy", &[]),
            ("x-own", &["1"]),
        ] {
            assert_eq!(values(name), expected, "{kind}: {name}");
        }
    }
}

#[test]
fn snippets_for_http_servers_have_no_traps_and_others_are_refused() {
    for kind in ["nginx", "haproxy"] {
        let site = prepared(kind);
        let printed = site.run(&["snippet", kind, "www"]);
        site.write("printed", &printed.succeeds().stdout);
        let ran = site.run(&["snippet", "--diff", "printed"]);
        assert!(ran.succeeds().stdout.contains("nothing would lose"), "{ran}");
    }
    let site = prepared("");
    for kind in ["apache", "caddy"] {
        let ran = site.run(&["snippet", kind, "www"]);
        assert!(
            ran.status(2).stderr.contains("the servers of the pool \"www\" speak HTTP"),
            "{ran}"
        );
        assert_eq!(ran.stdout, "");
    }
}
