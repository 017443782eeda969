//! Sends the same requests to the gateway, nginx, Caddy and Apache, with the same php-fpm and release.
//!
//! [`rows`] has the expected outcome of each request. It lists each server that responds differently from
//! the gateway, with its outcome and the reason.

mod rows;
mod servers;

use serde_json::Value;
use std::fmt::Write as _;

use harness::Site;
use harness::served::{Answer, Connection, Served};
use rows::{Row, rows};
use servers::Server;

/// A script that shows what it gets of a request.
const PAGE: &str = "<?php header('Content-Type: application/json');
    echo json_encode(['vars' => $_SERVER], JSON_INVALID_UTF8_SUBSTITUTE);";

/// The servers that the gateway is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Other {
    Nginx,
    Caddy,
    Apache,
}

#[test]
fn gateway_responds_like_nginx_caddy_and_apache_but_for_listed_differences() {
    let site = Served::site("", "");
    write_release(&site);
    site.run(&["start"]).succeeds();
    let served = Served::serve(site);
    let site = &served.site;
    let others = [
        (Other::Nginx, Server::nginx(site)),
        (Other::Caddy, Server::caddy(site)),
        (Other::Apache, Server::apache(site)),
    ];
    let mut wrong = Vec::new();
    for row in rows() {
        let mut check = |name: &str, port: u16, expected: &str| {
            let found = outcome(site, &row, port);
            if found != expected {
                wrong.push(format!("{row}\n    {name}: {found:?}, and not {expected:?}"));
            }
        };
        check("the gateway", served.port(), row.ours);
        for (other, server) in &others {
            let differs = row.others.iter().find(|(it, _)| it == other);
            check(&format!("{other:?}"), server.port, differs.map_or(row.ours, |(_, it)| it));
        }
        assert_eq!(row.others.is_empty(), row.why.is_empty(), "{row}: a difference has a reason");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn write_release(site: &Site) {
    for script in ["index.php", "vars.php", "a b.php", "sub/index.php", "sub/vars.php"] {
        site.add_page(script, PAGE);
    }
    for (file, text) in [
        ("a.txt", "text"),
        ("docs/index.html", "docs"),
        ("docs/b.txt", "b"),
        ("a<b>.txt", "brackets"),
        ("caf\u{e9}.txt", "coffee"),
        (".well-known/acme", "known"),
        ("empty/.keep", "secret"),
        (".env", "secret"),
        (".git/config", "secret"),
        ("x.php.bak", "secret"),
        ("x.jpg", "picture"),
        ("root.txt", &site.root().display().to_string()),
    ] {
        site.add_page(file, text);
    }
}

/// The outcome of a row: the status, and the content of the response.
///
/// | response | outcome |
/// |---|---|
/// | of a script | `200 SCRIPT_NAME\|PATH_INFO\|QUERY_STRING`; with `\|REQUEST_URI` if that is not the target |
/// | a file or other text | `200 =text` |
/// | a redirect | `301 > path` |
/// | an error | `404` |
/// | none | `closed` |
///
/// Response headers that the row shows follow, as `[name: value]`.
fn outcome(site: &Site, row: &Row, port: u16) -> String {
    let mut connection = Connection::to(port);
    connection.send_bytes(&row.request);
    let mut answer = connection.answer();
    while answer.as_ref().is_ok_and(|answer| answer.status == 100) {
        answer = connection.answer();
    }
    let Ok(answer) = answer else { return "closed".to_owned() };
    let mut shown = shown(site, row, &answer);
    for name in row.shows {
        let value = answer.header(name).unwrap_or_default();
        write!(shown, " [{name}: {value}]").unwrap();
    }
    shown
}

fn shown(site: &Site, row: &Row, answer: &Answer) -> String {
    let (status, text) = (answer.status, answer.text());
    if let Some(location) = answer.header("location") {
        let path = location.strip_prefix("http://localhost").unwrap_or(location);
        let port = path.find('/').unwrap_or(0);
        return format!("{status} > {}", &path[port..]);
    }
    let json: Option<Value> = serde_json::from_str(&text).ok();
    if let Some(vars) = json.as_ref().and_then(|json| json.get("vars")) {
        return format!("{status} {}", script(site, row, vars));
    }
    if status < 400 { format!("{status} ={text}") } else { status.to_string() }
}

/// The variables that a script got. The document root and the script's file are checked.
fn script(site: &Site, row: &Row, vars: &Value) -> String {
    let var = |name: &str| {
        let value = vars[name].as_str().unwrap_or_default();
        value.replace("/www/current.release", "/www/current")
    };
    let (name, root) = (var("SCRIPT_NAME"), site.path("www/current").display().to_string());
    assert_eq!(var("DOCUMENT_ROOT"), root, "{row}");
    assert_eq!(var("SCRIPT_FILENAME"), format!("{root}{name}"), "{row}");
    assert_eq!(var("PHP_SELF"), format!("{name}{}", var("PATH_INFO")), "{row}");
    let mut shown = format!("{name}|{}|{}", var("PATH_INFO"), var("QUERY_STRING"));
    if var("REQUEST_URI") != row.target() {
        write!(shown, "|{}", var("REQUEST_URI")).unwrap();
    }
    shown
}
