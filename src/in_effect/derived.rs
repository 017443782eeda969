//! The values of keys whose defaults depend on other things.

use toml::Value;

use super::Derived;
use crate::config::{Global, Strategy};
use crate::pool::{Command, Pool, Server};
use crate::release::Release;
use crate::runtime::{self, php_fpm};

const UNITS: [(&str, u64); 4] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// A value of `etc/pools-manager.toml`; None: the key has no derived value.
pub(super) fn of_all_pools(global: &Global, table: &str, key: &str) -> Option<Derived> {
    let front = &global.front;
    Some(match (table, key) {
        ("gateway", "threads") => {
            let count = i64::try_from(front.thread_count()).ok()?;
            (Some(count.into()), "half of the cores".to_owned())
        }
        ("gateway", "max_temp_per_pool") => {
            (Some(size(front.temp_of_pool())), "half of max_temp".to_owned())
        }
        ("gateway", "max_temp_per_client") => {
            (Some(size(front.temp_of_client())), "an eighth of max_temp".to_owned())
        }
        _ => return None,
    })
}

/// A value of a `pools-manager.toml`; None: the key has no derived value.
pub(super) fn of_pool(pool: &Pool, table: &str, key: &str) -> Option<Derived> {
    match (table, key) {
        ("php" | "command", "isolate") => Some(isolate(pool)),
        ("php", "php_fpm_cmd") => Some(php_fpm_cmd(pool)),
        ("rollout", "strategy") => Some(strategy(pool)),
        ("rollout", "warm_up") => Some(warm_up(pool)),
        ("gateway", "document_root") => Some(document_root(pool)),
        ("gateway", "max_body") => Some(max_body(pool)),
        ("gateway", "server_software") => {
            let software = &pool.settings.backend.gateway()?.server_software;
            Some((Some(software.as_str().into()), "the version of pools-manager".to_owned()))
        }
        ("command", key) => of_command(pool.settings.command()?, key),
        _ => None,
    }
}

fn current(pool: &Pool) -> Option<Release> {
    Release::resolve(&pool.settings.pinning.as_ref()?.symlink).ok()
}

fn document_root(pool: &Pool) -> Derived {
    let Some(gateway) = pool.settings.backend.gateway() else {
        return (None, "there is no [gateway]".to_owned());
    };
    if gateway.configured_root().is_some() {
        return (Some("".into()), "the server speaks HTTP: it gets every path".to_owned());
    }
    let release = current(pool);
    let dir = match (&release, &pool.settings.pinning) {
        (Some(release), _) => &release.path,
        (None, None) => pool.root.path(),
        (None, Some(_)) => return (None, "there is no release yet".to_owned()),
    };
    let root = gateway.document_root_at(dir);
    (Some(root.below.as_str().into()), gateway.reason_for(&root))
}

fn max_body(pool: &Pool) -> Derived {
    let global = Global::read(&pool.root).ok();
    (global.map(|global| size(global.front.max_body)), "max_body of all pools".to_owned())
}

fn isolate(pool: &Pool) -> Derived {
    let Some(pinning) = &pool.settings.pinning else {
        return (None, "releases are not pinned".to_owned());
    };
    let Some(release) = current(pool) else {
        return (None, "true where the layout allows it, but there is no release yet".to_owned());
    };
    match pinning.obstacle(&pinning.beside(&release)) {
        None => (Some(true.into()), "the layout allows it".to_owned()),
        Some(why) => (Some(false.into()), why.to_owned()),
    }
}

fn php_fpm_cmd(pool: &Pool) -> Derived {
    match php_fpm::Command::of(pool) {
        Ok(command) => {
            let words = [command.program].into_iter().chain(command.args).map(Value::String);
            (Some(Value::Array(words.collect())), "the newest installed php-fpm".to_owned())
        }
        Err(error) => (None, error.message),
    }
}

fn strategy(pool: &Pool) -> Derived {
    let backend = pool.settings.backend.name();
    let (name, why) = match pool.settings.strategy() {
        Strategy::Rolling => ("rolling", format!("the pool has [{backend}]")),
        Strategy::Swap => ("swap", "the pool has neither [apache] nor [haproxy]".to_owned()),
    };
    (Some(name.into()), why)
}

fn warm_up(pool: &Pool) -> Derived {
    let is_php = matches!(pool.settings.server, Server::PhpFpm(_));
    let script = current(pool).and_then(|release| runtime::front_script(pool, &release.path));
    let why = match script.filter(|_| is_php) {
        Some(script) => format!("one request to the front page, {}", script.display()),
        None => "one request to the front page, if there is one".to_owned(),
    };
    (None, why)
}

fn of_command(command: &Command, key: &str) -> Option<Derived> {
    let text = |text: &Option<String>| text.as_deref().map(Value::from);
    Some(match key {
        "listen" => (Value::try_from(command.listen).ok(), "the placeholders of run".to_owned()),
        "concurrency" => match command.concurrency {
            Some(count) => (Some(i64::from(count).into()), "the protocol is fastcgi".to_owned()),
            None => (None, "no limit: the protocol is http".to_owned()),
        },
        "socket" => {
            (Some(command.socket.display().to_string().into()), "the name of the pool".to_owned())
        }
        "socket_owner" => (text(&command.user), "user".to_owned()),
        "socket_group" => (text(&command.group), "group, or that of user".to_owned()),
        _ => return None,
    })
}

/// A number of bytes, in the largest unit that divides it.
fn size(bytes: u64) -> Value {
    let unit = UNITS.iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    Value::String(match unit {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short_and_exact() {
        let sizes = [4 << 30, 1 << 40, 1536, 1000, 0, (1 << 20) + 1].map(size);
        let expected = ["4GiB", "1TiB", "1536", "1000", "0", "1048577"];
        assert_eq!(sizes.map(|size| size.as_str().unwrap().to_owned()), expected);
    }
}
