//! Configurations, right ones and damaged ones.

use std::path::Path;
use std::time::Duration;

use proptest::collection::{hash_set, vec};
use proptest::prelude::*;

use super::{Pinning, Server, Settings};
use crate::backend;
use crate::config::File;
use crate::error::Result;
use crate::fuzz::{Bytes, a_megabyte_of, damaged};
use crate::http;
use crate::root::Root;

const SAMPLES: &[&str] = &[
    include_str!("../../../etc/php/fpm/redundant-pools/www/pools-manager.toml"),
    r#"[php]
current_release_symlink = "www/current.release"
current_dir = "www/current"
php_fpm_cmd = ["sudo", "-u", "%CURRENT_USER%", "php-fpm", "-p", "%CURRENT_DIR%"]
monitor_url = "http://localhost:82/ping-php-fpm"
[apache]
manager_url = "http://localhost:82/balancer-manager"
balancer_name = "phpfpmlb"
member_urls = [
    "fcgi://pool-1", # 1.conf
    "fcgi://pool-2",
]
[rollout]
strategy = "swap"
drain_timeout = "1m 30s"
ready_timeout = "500ms"
warm_up = ["/index.php", "/login?from=deploy"]
on_failure = "stop"
"#,
    r#"[command]
current_release_symlink = "www/current.release"
current_dir = "www/current"
run = ["node", "{release}/server.js", "--port={port}"]
protocol = "http"
listen = "port"
replicas = 3
processes = 2
concurrency = 50
socket = "sockets/shop.{replica}.sock"
socket_mode = "0666"
user = "shop"
group = "shop"
environment = { NODE_ENV = "production", ID = "{replica}-{process}" }
directory = "app"
health_path = "/health"
stop_signal = "SIGINT"
[gateway]
"#,
];

const WORDS: &[&str] = &[
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "{a=",
    "[a.",
    "a.",
    "=",
    ",",
    "#",
    "\"\"\"",
    "'''",
    "\\u0000",
    "\\uD800",
    "nan",
    "inf",
    "1979-05-27T07:32:00Z",
    "0x",
    "true",
    "60s",
    "[php]\n",
    "php = ",
    "[apache]\n",
    "[command]\n",
    "{port}",
    "{socket}",
    "[rollout]\n",
    "warm_up = [\n",
    "a = 1\n",
];

fn settings(text: &[u8]) -> Result<Settings> {
    let file = File::of(Path::new("/root/pool.toml"), text.to_vec())?;
    Settings::of(&file, &Root::new("/root".into()), "www")
}

fn member_urls(settings: &Settings) -> &[String] {
    match &settings.backend {
        backend::Settings::Apache(apache) => apache.member_urls(),
        other => panic!("{other:?}"),
    }
}

/// A JSON string is also a TOML string, except for one character that must be escaped in TOML.
fn quoted(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap().replace('\u{7f}', "\\u007f")
}

proptest! {
    #[test]
    fn written_settings_are_read(
        link in "\\PC{1,20}",
        words in vec(any::<String>(), 0..4),
        members in hash_set(any::<String>(), 1..4),
        warm_up in vec("/.{0,20}", 0..4),
        drain in 0..1_000_000_u64,
    ) {
        let members: Vec<String> = members.into_iter().collect();
        let text = format!(
            "[php]\ncurrent_release_symlink = {}\ncurrent_dir = \"at\"\nphp_fpm_cmd = {}\n\
             [apache]\nmanager_url = \"http://localhost/\"\nbalancer_name = \"b\"\nmember_urls = {}\n\
             [rollout]\ndrain_timeout = \"{drain}ms\"\nwarm_up = {}\n",
            quoted(&link), quoted(&words), quoted(&members), quoted(&warm_up),
        );
        let settings = settings(text.as_bytes()).unwrap();
        let root = Root::new("/root".into());
        let (symlink, current_dir) = (root.resolve(link), root.resolve("at"));
        prop_assert_eq!(&settings.pinning, &Some(Pinning { symlink, current_dir, isolate: crate::pool::Isolate::WherePossible }));
        let Server::PhpFpm(php) = &settings.server else { panic!("{settings:?}") };
        prop_assert_eq!(&php.command, &words);
        prop_assert_eq!(member_urls(&settings), members);
        prop_assert_eq!(settings.rollout.drain_timeout, Duration::from_millis(drain));
        prop_assert_eq!(settings.rollout.warm_up(), warm_up.as_slice());
    }

    #[test]
    fn error_names_an_existing_line(Bytes(bytes) in damaged(SAMPLES, WORDS)) {
        let Err(error) = settings(&bytes) else { return Ok(()) };
        let text = String::from_utf8_lossy(&bytes);
        let place = error.message.strip_prefix("/root/pool.toml:").unwrap();
        let (number, said) = place.split_once(": ").unwrap();
        let number: usize = number.parse().unwrap();
        prop_assert!((1..=text.lines().count().max(1)).contains(&number), "{error}");
        prop_assert!(!said.trim().is_empty());
        let quoted = error.hint.as_deref().unwrap().split_once(" this line: ");
        if let Some((_, quoted)) = quoted {
            // What may be a password is not shown.
            let line = text.lines().nth(number - 1).map(|line| http::masked(line.trim()));
            prop_assert_eq!(Some(quoted.to_owned()), line);
        }
    }
}

#[test]
fn error_names_the_wrong_line() {
    let lines: Vec<&str> = SAMPLES[1].lines().collect();
    for at in 0..=lines.len() {
        let text = [&lines[..at], &["nonsense = 1"], &lines[at..]].concat().join("\n");
        let error = settings(text.as_bytes()).unwrap_err();
        let place = format!("/root/pool.toml:{}: ", at + 1);
        assert!(error.message.starts_with(&place), "line {}: {error}", at + 1);
    }
}

#[test]
fn a_megabyte_is_read_without_delay() {
    for word in ["[", "{a=", "a.", "\"", "[rollout]\n"] {
        let much = a_megabyte_of(word);
        for text in [format!("{}{much}", SAMPLES[1]), format!("{much}a = 1"), format!("a = {much}")]
        {
            let _ = settings(text.as_bytes());
        }
    }
    let urls: Vec<String> = (0..30_000).map(|n| format!("\"fcgi://pool-{n:09}\"")).collect();
    let many = SAMPLES[1].replace("\"fcgi://pool-2\"", &urls.join(",\n"));
    assert_eq!(member_urls(&settings(many.as_bytes()).unwrap()).len(), 30_001);
}
