//! The texts of `pool.conf` and `N.conf`, in php-fpm's format.

use std::fmt::Write;

use super::{Choices, OldPool, WebServer};
use crate::error::{Error, Result};
use crate::wrapped::wrapped;

const WIDTH: usize = 90;

/// The directives of a new pool, each with its comment.
#[derive(Debug, Default)]
struct Conf {
    text: String,
}

impl Conf {
    fn comment(&mut self, text: &str) {
        self.text.push('\n');
        self.text.push_str(&wrapped(text, "; ", WIDTH));
    }

    fn set(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.text, "{name} = {}", written(name, value));
    }

    fn commented(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.text, ";{name} = {value}");
    }
}

/// A value in php-fpm's format. The values of PHP and of the environment are always quoted: `no` is
/// a word there, not a boolean.
fn written(name: &str, value: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "/._-+@:, ".contains(it);
    if !name.ends_with(']') && !value.is_empty() && value.chars().all(is_plain) {
        return value.to_owned();
    }
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The section of a replica: its name begins with that of the pool.
pub(super) fn section(pool: &str, replica: u32) -> String {
    // "www" and 11 is not "www1" and 1.
    let between = if pool.ends_with(|it: char| it.is_ascii_digit()) { "-" } else { "" };
    format!("{pool}{between}{replica}")
}

/// The public socket name of a replica, below the root.
pub(super) fn socket(pool: &str, replica: u32) -> String {
    format!("sockets/php-fpm-{}.sock", section(pool, replica))
}

/// `N.conf`. `dir` is the directory of the pool, below the root.
pub(super) fn of_replica(choices: &Choices, replica: u32, dir: &str) -> String {
    let Choices { pool, .. } = choices;
    let section = section(pool, replica);
    let next = choices.replicas + 1;
    format!(
        "; Replica {replica} of the pool \"{pool}\". To add a replica, copy this file to {next}.conf and replace\n\
         ; {section} in it by {}.\n\
         \n\
         [global]\n\
         pid = pid/php-fpm-{section}.pid\n\
         error_log = pid/php-fpm-{section}.log\n\
         \n\
         ; How long a master waits for running requests after SIGQUIT. The default of php-fpm, 0, cuts them.\n\
         process_control_timeout = 60s\n\
         \n\
         [{section}]\n\
         include = {dir}/pool.conf\n",
        self::section(pool, next)
    )
}

/// `pool.conf`: what all replicas have. Without `logs`, the logs that php-fpm would open when it only
/// checks a configuration are /dev/null.
pub(super) fn of_all_replicas(choices: &Choices, logs: bool) -> String {
    let mut conf = Conf::default();
    let old = choices.old.as_ref();
    heading(&mut conf, choices);
    account(&mut conf, choices);
    listen(&mut conf, choices, old);
    children(&mut conf, old);
    pages(&mut conf, old);
    uploads(&mut conf, choices, old);
    own_logs(&mut conf, old, logs);
    if let Some(old) = old {
        conf.comment(&format!("From [{}] in {}:", old.name, old.file.display()));
        let rest = old.taken.iter().filter(|(name, _)| !is_written_above(name));
        for (name, value) in rest {
            conf.set(name, value);
        }
    }
    conf.text
}

fn heading(conf: &mut Conf, choices: &Choices) {
    conf.text = wrapped(
        &format!(
            "The common settings of all replicas of the pool \"{}\", written by pools-manager init. $pool is the section that includes this file. Relative paths are relative to the root.",
            choices.pool
        ),
        "; ",
        WIDTH,
    );
    let Some(old) = &choices.old else { return };
    conf.comment(&format!("Taken from {}. Not as there:", old.file.display()));
    for changed in &old.changed {
        let line = format!("{} = {}: {}", changed.directive, changed.value, changed.why);
        conf.text.push_str(&wrapped(&line, ";   ", WIDTH));
    }
}

fn account(conf: &mut Conf, choices: &Choices) {
    conf.comment("The account that runs the code of the site. It has to reach the release: each directory above it needs the x bit. Only a php-fpm of root uses both; else it runs as the user who starts it.");
    if let Some(account) = &choices.account {
        conf.set("user", &account.user);
        conf.set("group", &account.group);
    } else {
        conf.commented("user", "www-data");
        conf.commented("group", "www-data");
    }
}

fn listen(conf: &mut Conf, choices: &Choices, old: Option<&OldPool>) {
    conf.comment("The public name of the replica. It never changes: pools-manager points it at one php-fpm after the other.");
    let _ = writeln!(conf.text, "listen = sockets/php-fpm-$pool.sock");
    let taken = |name| old.and_then(|old| old.get(name));
    let (owner, group) = (taken("listen.owner"), taken("listen.group"));
    let mode = taken("listen.mode");
    let server = choices.web_server;
    let account = choices.account.is_some().then(|| server.account()).flatten();
    let who = match server {
        WebServer::Gateway => "the gateway, which runs as the user who starts php-fpm".to_owned(),
        other => other.name().to_owned(),
    };
    conf.comment(&format!("Who may connect: {who}."));
    // If the existing pool sets an owner of its socket, this owner is right for the same web server.
    let usual = account.as_ref().filter(|_| owner.is_none());
    for (name, taken, usual) in [
        ("listen.owner", owner, usual.map(|it| it.user.as_str())),
        ("listen.group", group, usual.map(|it| it.group.as_str())),
    ] {
        if let Some(value) = taken.or(usual) {
            conf.set(name, value);
        }
    }
    let is_known = account.is_some() || owner.is_some() || server == WebServer::Gateway;
    conf.set("listen.mode", mode.unwrap_or(if is_known { "0660" } else { "0666" }));
    if taken("listen.backlog").is_none() {
        conf.comment("How many connections may wait in the kernel while all children are busy.");
    }
    conf.set("listen.backlog", taken("listen.backlog").unwrap_or("511"));
}

/// The directives of `pm`, with their order and their usual values.
const CHILDREN: [(&str, &str); 5] = [
    ("pm", "dynamic"),
    ("pm.max_children", "5"),
    ("pm.start_servers", "2"),
    ("pm.min_spare_servers", "1"),
    ("pm.max_spare_servers", "3"),
];

fn children(conf: &mut Conf, old: Option<&OldPool>) {
    conf.comment("Each replica runs this many requests at a time. While one replica restarts, the others carry the whole load: leave them room. `pools-manager check` says whether all of them fit into the memory.");
    for (name, usual) in CHILDREN {
        let value = old.map_or(Some(usual), |old| old.get(name));
        if let Some(value) = value {
            conf.set(name, value);
        }
    }
}

fn pages(conf: &mut Conf, old: Option<&OldPool>) {
    conf.comment("pools-manager requests these to see whether a replica responds, and whether children are busy. Neither runs PHP code.");
    let taken = |name| old.and_then(|old| old.get(name));
    conf.set("ping.path", taken("ping.path").unwrap_or("/ping-php-fpm"));
    conf.set("pm.status_path", taken("pm.status_path").unwrap_or("/status-php-fpm"));
    conf.comment(
        "Warnings of scripts and error_log() go to the log of the replica: pools-manager logs",
    );
    conf.set("catch_workers_output", "yes");
}

/// The gateway accepts longer bodies than PHP does by default.
fn uploads(conf: &mut Conf, choices: &Choices, old: Option<&OldPool>) {
    let values = UPLOADS.map(|name| (name, old.is_some_and(|old| old.get(name).is_some())));
    if choices.web_server != WebServer::Gateway || values.iter().any(|(_, is_taken)| *is_taken) {
        return;
    }
    conf.comment("The size of uploads and forms: as much as the gateway accepts (max_body in etc/pools-manager.toml).");
    for name in UPLOADS {
        conf.set(name, "64M");
    }
}

const UPLOADS: [&str; 2] =
    ["php_admin_value[upload_max_filesize]", "php_admin_value[post_max_size]"];

fn own_logs(conf: &mut Conf, old: Option<&OldPool>, logs: bool) {
    for (name, suffix) in [("access.log", "access"), ("slowlog", "slow")] {
        if old.is_some_and(|old| old.changes(name)) {
            let file = format!("pid/php-fpm-$pool.{suffix}.log");
            let _ = writeln!(conf.text, "{name} = {}", if logs { &file } else { "/dev/null" });
        }
    }
}

/// Whether a part of `pool.conf` above the rest has this directive of an existing pool.
fn is_written_above(name: &str) -> bool {
    let above = [
        "user",
        "group",
        "listen.owner",
        "listen.group",
        "listen.mode",
        "listen.backlog",
        "ping.path",
        "pm.status_path",
        "catch_workers_output",
    ];
    above.contains(&name) || CHILDREN.iter().any(|(child, _)| *child == name)
}

/// The configuration of the first replica, for a check by php-fpm that writes nothing.
pub(super) fn to_be_checked(choices: &Choices) -> String {
    let text = of_all_replicas(choices, false);
    format!("[global]\nerror_log = /dev/null\n\n[{}]\n{text}", section(&choices.pool, 1))
}

/// Checks that php-fpm reads each directive of an existing pool as it was there.
pub(super) fn check_taken(old: &OldPool, read: &[(String, String)]) -> Result<()> {
    let is_same = |(name, value): &&(String, String)| {
        read.iter().any(|(key, now)| key == name && now == value)
    };
    // Another value is written on purpose: see `pages`.
    let taken = old.taken.iter().filter(|(name, _)| name != "catch_workers_output");
    match taken.clone().find(|pair| !is_same(pair)) {
        None => Ok(()),
        Some((name, value)) => Err(Error::config(format!(
            "{name} = {value} of {} cannot be written so that php-fpm reads the same",
            old.file.display()
        ))
        .hint("run init with a copy of the file without this line, and write it into pool.conf by hand")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_values_are_quoted() {
        assert_eq!(written("pm", "dynamic"), "dynamic");
        assert_eq!(written("env[A]", "no"), "\"no\"");
        assert_eq!(written("access.format", "%R \"%m\""), "\"%R \\\"%m\\\"\"");
    }

    #[test]
    fn sections_of_pools_differ() {
        assert_eq!([section("www", 11), section("www1", 1)], ["www11", "www1-1"]);
        assert_eq!(socket("a", 2), "sockets/php-fpm-a2.sock");
    }
}
