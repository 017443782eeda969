//! The file that starts a generation, and the record in it.

use proptest::option::of;
use proptest::prelude::*;

use super::*;
use crate::backend;
use crate::config::{Hooks, Limits, Rollout, Systemd, Watch};
use crate::file::Stamp;
use crate::fuzz::{Bytes, a_megabyte_of, damaged};
use crate::pool::{self, Settings};
use crate::pool::{Listen, Protocol};
use crate::root::Root;
use crate::runtime::command;
use crate::runtime::php_fpm::{self, Resolved, conf};
use crate::runtime::{Children, LogFile, LogKind, Server};

const RECORDED: &str = r#"{"replica":1,"number":7,"public":"/srv/sockets/php-fpm-www1.sock","bound":"/srv/sockets/php-fpm-www1.g7.sock","socket":"/srv/sockets/php-fpm-www1.g7.sock","pid_file":"/srv/pid/www.1.g7.pid","public_pid":"/srv/pid/php-fpm-www1.pid","ping_path":"/ping-php-fpm","ping_response":"pong","status_path":"/status-php-fpm","release":{"path":"/srv/www/release1","dev":65024,"ino":262157}}"#;

const SAMPLES: &[&str] = &[
    concat!(
        "; Generation 7 of replica 1 of the pool \"www\", written by pools-manager.\n; record: ",
        r#"{"replica":1,"number":7,"public":"/srv/php-fpm-www1.sock","bound":"/srv/php-fpm-www1.g7.sock","socket":"/srv/php-fpm-www1.g7.sock","pid_file":"/srv/pid/www.1.g7.pid","public_pid":null,"ping_path":"/ping","ping_response":"pong","status_path":"/status","release":null}"#,
        "\ninclude=\"/srv/etc/php/fpm/redundant-pools/www/1.conf\"\n[global]\npid = \"/srv/pid/www.1.g7.pid\"\n",
    ),
    concat!("; record: ", "{}", "\n"),
];

const WORDS: &[&str] =
    &["{", "}", "[", "]", "{\"a\":", ",", ":", "null", "; record: ", "\\ud800", "\"number\":8,"];

/// A path or a setting, without line ends: php-fpm prints one setting for each line.
fn line() -> impl Strategy<Value = String> {
    prop_oneof!["/[a-z]{1,8}", "\\PC{0,20}"]
}

fn release() -> impl Strategy<Value = Release> {
    (any::<String>(), any::<u64>(), any::<u64>()).prop_map(|(path, dev, ino)| Release {
        path: path.into(),
        dev,
        ino,
    })
}

fn children() -> impl Strategy<Value = Children> {
    (any::<u32>(), any::<bool>()).prop_map(|(max, fixed)| Children { max, fixed })
}

prop_compose! {
    fn generation()(
        replica: u32,
        number in 1..u32::MAX,
        names in [line(), line(), line(), line()],
        public_pid in of(line()),
        ping in [line(), line()],
        status_path in of(line()),
        release in of(release()),
        children in of(children()),
        section in line(),
        log_of in of(line()),
    ) -> Generation {
        let log = |path: String| LogFile { path: path.into(), kind: LogKind::Slow };
        let logs = log_of.map(log).into_iter().collect();
        let [public, bound, socket, pid_file] = names.map(PathBuf::from);
        let [ping_path, ping_response] = ping;
        let public_pid = public_pid.map(PathBuf::from);
        Generation {
            replica, number: Number::Started(number), public, bound, socket, pid_file, public_pid,
            release,
            server: Server::PhpFpm(php_fpm::Server {
                ping_path, ping_response, status_path, children, section, logs,
            }),
        }
    }
}

fn pool() -> Pool {
    pool_in("/srv")
}

/// A pool of two replicas.
pub(super) fn pool_in(root: &str) -> Pool {
    let settings = Settings {
        pinning: None,
        server: pool::Server::PhpFpm(pool::Php { command: Vec::new() }),
        monitor_url: None,
        backend: backend::Settings::None,
        rollout: Rollout::default(),
        hooks: Hooks::default(),
        watch: Watch::default(),
        limits: Limits::default(),
        systemd: Systemd::default(),
    };
    Pool {
        name: "www".to_owned(),
        root: Root::new(root.into()),
        replica_count: 2,
        settings,
        stamp: Stamp::default(),
    }
}

/// A resolved configuration without problems.
pub(in crate::runtime) fn resolved() -> Resolved {
    Resolved {
        section: "www1".to_owned(),
        listen: "/srv/php-fpm-www1.sock".into(),
        pid: None,
        ping_path: None,
        ping_response: "pong".to_owned(),
        status_path: None,
        start_servers: 1,
        children: None,
        stops_gently: true,
        user: None,
        group: None,
        file_cache: None,
        memory_limit: None,
        logs: Vec::new(),
        opened: Vec::new(),
        uploads: php_fpm::Uploads::default(),
    }
}

prop_compose! {
    fn command()(
        text in line(),
        health_path in of(line()),
        children in of(children()),
        is_http: bool,
        stop_signal: i32,
    ) -> Server {
        let protocol = if is_http { Protocol::Http } else { Protocol::Fastcgi };
        let (listen, release_dir) = (Listen::Fd3, PathBuf::from(text));
        let server = command::Server {
            protocol, listen, health_path, release_dir, children, stop_signal,
        };
        Server::Command(server)
    }
}

proptest! {
    #[test]
    fn record_of_a_command_is_read_as_such(generation in generation(), server in command()) {
        let generation = Generation { server, ..generation };
        let line = generation.record_line().unwrap();
        prop_assert_eq!(line.lines().count(), 1);
        prop_assert_eq!(format!("{:?}", record(&line)), format!("{:?}", Some(generation)));
    }

    #[test]
    fn written_record_is_read_and_is_one_line(generation in generation()) {
        let Server::PhpFpm(server) = &generation.server else { unreachable!() };
        let text = conf::text(&pool(), &generation, server, &resolved(), Some(60));
        let Ok(text) = text else { return Ok(()) };
        let read = record(&text).map(|read| format!("{read:?}"));
        prop_assert_eq!(read, Some(format!("{generation:?}"))); // with the release's path
        prop_assert_eq!(text.lines().count(), 12, "{}", text);
    }

    #[test]
    fn truncated_record_is_not_read(cut in 0..RECORDED.len()) {
        let whole = record(&format!("{RECORD}{RECORDED}"));
        prop_assert!(whole.is_some());
        prop_assert_eq!(record(&format!("{RECORD}{}", &RECORDED[..cut])), None);
    }

    #[test]
    fn damaged_record_yields_only_values_that_are_in_it(Bytes(bytes) in damaged(SAMPLES, WORDS)) {
        let Ok(text) = String::from_utf8(bytes) else { return Ok(()) };
        let Some(read) = record(&text) else { return Ok(()) };
        for number in [read.replica, read.number.into()] {
            prop_assert!(text.contains(&number.to_string()), "{read:?}");
        }
        let again = format!("{RECORD}{}", serde_json::to_string(&read).unwrap());
        prop_assert_eq!(record(&again), Some(read));
    }
}

#[test]
fn a_megabyte_is_read_without_delay() {
    for word in WORDS {
        let much = a_megabyte_of(word);
        assert_eq!(record(&format!("{RECORD}{much}")), None);
        assert_eq!(record(&format!("{RECORD}{}", RECORDED.replace("\"pong\"", &much))), None);
    }
}
