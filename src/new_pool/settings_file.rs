//! The text of a new `pools-manager.toml`, and of `etc/pools-manager.toml`: each key with its meaning,
//! set or as a comment with its default.

use std::fmt::Write;

use toml::Value;

use super::layout::written;
use super::{Choices, WebServer};
use crate::config::GLOBAL_TABLES;
use crate::config::keys::{Default, Key, Kind, Table, plain};
use crate::pool::TABLES;
use crate::root::Root;
use crate::wrapped::wrapped;

const WIDTH: usize = 90;

/// Values that are set, by table and key.
type Set = Vec<(&'static str, &'static str, Value)>;

/// The settings of the pool.
pub(super) fn of_pool(root: &Root, choices: &Choices) -> String {
    let layout = &choices.layout;
    let program = choices.php_fpm.display().to_string();
    let command = [program.as_str(), "-p", "%CURRENT_DIR%"].map(Value::from);
    let mut set: Set = vec![
        ("php", "current_release_symlink", written(root, &layout.symlink).into()),
        ("php", "current_dir", written(root, &layout.current_dir).into()),
        ("php", "php_fpm_cmd", Value::Array(command.into())),
    ];
    let found = &choices.found;
    if choices.web_server == WebServer::Gateway {
        let hosts = choices.hosts.iter().map(|host| Value::from(host.as_str())).collect();
        set.push(("gateway", "hosts", Value::Array(hosts)));
        set.push(("gateway", "document_root", found.document_root.as_str().into()));
        set.push(("gateway", "front_controller", found.front_controller.as_str().into()));
        if found.outward.is_some() {
            set.push(("gateway", "follow_symlinks", true.into()));
        }
    }
    let mut text = wrapped(
        &format!(
            "The pool \"{}\" ({}), written by pools-manager init. Relative paths are relative to the root: the directory that holds etc/ pid/ sockets/. A key in a comment has the value that is shown, or is an example where it says so.",
            choices.pool,
            found.framework.name()
        ),
        "# ",
        WIDTH,
    );
    for table in TABLES {
        let is_used = match table.name {
            "command" | "apache" | "haproxy" => false,
            "gateway" => choices.web_server == WebServer::Gateway,
            _ => true,
        };
        if is_used {
            text.push_str(&of_table(table, &set));
        }
    }
    if choices.web_server != WebServer::Gateway {
        let name = choices.web_server.name();
        let note = format!(
            "There is no table for {name}: it connects to the sockets of the replicas by path. `pools-manager snippet {name} {}` prints its configuration.",
            choices.pool
        );
        text.push('\n');
        text.push_str(&wrapped(&note, "# ", WIDTH));
    }
    text
}

/// The settings of all pools, with a gateway at an address.
pub(super) fn of_all_pools(listen: &str) -> String {
    let set = vec![("gateway", "listen", Value::Array(vec![listen.into()]))];
    let mut text =
        "# The settings that all pools share. A key in a comment has the value that is shown.\n"
            .to_owned();
    for table in GLOBAL_TABLES {
        text.push_str(&of_table(table, &set));
    }
    text
}

fn of_table(table: &Table, set: &Set) -> String {
    let mut text = format!("\n[{}]", table.name);
    for key in table.keys {
        text.push('\n');
        let value = set.iter().find(|(of, name, _)| *of == table.name && *name == key.name);
        text.push_str(&of_key(table, key, value.map(|(_, _, value)| value)));
    }
    text
}

fn of_key(table: &Table, key: &Key, value: Option<&Value>) -> String {
    let mut meaning = plain(key.meaning);
    if let Default::Derived(what) | Default::Unset(what) = key.default {
        let _ = write!(meaning, ". Default: {}", plain(what));
    }
    let mut text = wrapped(&meaning, "# ", WIDTH);
    let name = key.name;
    let _ = match (value, key.default) {
        (Some(value), _) => writeln!(text, "{name} = {value}"),
        (None, Default::Value(value)) => writeln!(text, "#{name} = {value}"),
        (None, _) => writeln!(text, "#{name} = {}    # an example", example(table, key)),
    };
    text
}

/// A value for a key that has no default to show.
fn example(table: &Table, key: &Key) -> &'static str {
    match (table.name, key.name, key.kind) {
        ("php", "php_fpm_cmd", _) => "[\"/usr/sbin/php-fpm8.2\", \"-p\", \"%CURRENT_DIR%\"]",
        ("rollout", "warm_up", _) => "[\"/\"]",
        ("rollout", "strategy", _) => "\"swap\"",
        ("hooks", "before_rollout", _) => "[\"bin/migrate\", \"--check\"]",
        ("limits", "max_age", _) => "\"1day\"",
        ("systemd", "cpu_quota", _) => "\"150%\"",
        ("gateway", "access_log_format", _) => "\"json\"",
        ("gateway", "server_software", _) => "\"nginx\"",
        (_, _, Kind::Command) => "[\"bin/notify\"]",
        (_, _, Kind::Time { .. }) => "\"5m\"",
        (_, _, Kind::Size) => "\"512MiB\"",
        (_, _, Kind::Number) => "1000",
        (_, _, Kind::Bool) => "true",
        _ => "\"\"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::File;
    use crate::pool::Settings;

    fn uncommented(text: &str) -> String {
        text.lines()
            .map(|line| line.strip_prefix('#').filter(|it| !it.starts_with(' ')).unwrap_or(line))
            .fold(String::new(), |text, line| text + line + "\n")
    }

    #[test]
    fn file_is_valid_with_and_without_its_comments() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path().to_owned());
        for web_server in [WebServer::Gateway, WebServer::Nginx] {
            let choices = Choices::sample(&root, web_server);
            let text = of_pool(&root, &choices);
            assert!(
                text.lines()
                    .filter(|line| line.starts_with("# "))
                    .all(|line| line.chars().count() <= WIDTH),
                "{text}"
            );
            for text in [text.clone(), uncommented(&text)] {
                let path = dir.path().join("pools-manager.toml");
                std::fs::write(&path, &text).unwrap();
                let read = Settings::read(&path, &root);
                assert!(read.is_ok(), "{text}{}", read.unwrap_err());
            }
            assert_eq!(text.contains("\n[gateway]\n"), web_server == WebServer::Gateway);
        }
        let text = of_all_pools("127.0.0.1:8080");
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        for text in [text.clone(), uncommented(&text)] {
            std::fs::write(dir.path().join("etc/pools-manager.toml"), &text).unwrap();
            let read = crate::config::Global::read(&root);
            assert!(read.is_ok(), "{text}{}", read.unwrap_err());
        }
    }

    #[test]
    fn shown_defaults_change_nothing() {
        let table = Table {
            name: "watch",
            keys: TABLES.iter().find(|it| it.name == "watch").unwrap().keys,
        };
        let text = of_table(&table, &Set::new());
        assert!(text.contains("\n#debounce = \"500ms\"\n"), "{text}");
        let file = File::of(std::path::Path::new("/f"), text.into_bytes()).unwrap();
        assert!(file.written().unwrap().get("watch", "debounce").is_none());
    }
}
