//! The command that starts php-fpm.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::path;
use crate::pool::{Php, Pool, Server, user_name};

/// The program and its arguments before `--fpm-config FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program, as an absolute path or a name to look up in `PATH`.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
}

impl Command {
    /// The pool's `php_fpm_cmd` with its placeholders filled in, or the newest installed php-fpm.
    pub fn of(pool: &Pool) -> Result<Self> {
        Self::read(pool).map_err(|error| error.within(pool.settings_file().display()))
    }

    fn read(pool: &Pool) -> Result<Self> {
        let Server::PhpFpm(Php { command: configured }) = &pool.settings.server else {
            return Err(Error::config("the pool has no [php]"));
        };
        if configured.is_empty() {
            let args = vec!["-p".to_owned(), pool.root_as_text()?.to_owned()];
            return Ok(Self { program: newest()?, args });
        }
        let words = pool.fill_in(configured)?;
        let mut words = without_sudo(words, &user_name())?.into_iter();
        let program = words.next().filter(|program| !program.is_empty()).ok_or_else(no_program)?;
        let args: Vec<String> = words.collect();
        if let Some(word) = args.iter().find(|arg| ["-F", "--nodaemonize"].contains(&arg.as_str()))
        {
            return Err(Error::config(format!("php_fpm_cmd has {word}"))
                .hint("leave it out: php-fpm reports that it is up by going to the background"));
        }
        Ok(Self { program, args })
    }
}

fn no_program() -> Error {
    Error::config("php_fpm_cmd names no program")
        .hint("name php-fpm there, or leave php_fpm_cmd out: the newest php-fpm is taken then")
}

/// Drops a leading `sudo -u USER`, which old files have: a user namespace needs no sudo.
fn without_sudo(words: Vec<String>, user: &str) -> Result<Vec<String>> {
    if words.first().is_none_or(|first| Path::new(first).file_name() != Some("sudo".as_ref())) {
        return Ok(words);
    }
    let mut rest = words.into_iter().skip(1).peekable();
    while let Some(flag) = rest.next_if(|word| word.starts_with('-')) {
        if flag == "-u" {
            let name = rest.next().unwrap_or_default();
            if name != user {
                return Err(Error::config(format!("php_fpm_cmd runs sudo -u {name}, but you are {user}"))
                    .hint(format!("leave sudo out and run pools-manager as {name}, or as root with `user = {name}` in the pool's php-fpm configuration")));
            }
        }
    }
    Ok(rest.collect())
}

/// The newest installed php-fpm.
fn newest() -> Result<String> {
    match installed().pop() {
        Some(path) => Ok(path.display().to_string()),
        None => Err(Error::config("no php-fpm is installed")
            .hint("install it (Debian: apt-get install php-fpm), or name it in php_fpm_cmd")),
    }
}

/// Each installed php-fpm, the newest last. Debian names the programs php-fpm8.2 and so on, other
/// systems php-fpm.
pub fn installed() -> Vec<PathBuf> {
    let dirs = path::program_dirs().into_iter();
    let programs = dirs.filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten();
    let mut found: Vec<_> = programs
        .filter_map(|entry| Some((version(entry.file_name().to_str()?)?, entry.path())))
        .collect();
    // Of the programs of one version, the first one in PATH is taken, as a shell does.
    let mut known = HashSet::new();
    found.retain(|(version, _)| known.insert(version.clone()));
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

fn version(name: &str) -> Option<Vec<u32>> {
    let version = name.strip_prefix("php-fpm")?;
    if version.is_empty() {
        return Some(Vec::new());
    }
    version.split('.').map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn sudo_to_oneself_is_dropped() {
        let plain = words("/usr/sbin/php-fpm8.2 -p /srv");
        for line in ["sudo -u ann", "/usr/bin/sudo -n -u ann --", "sudo"] {
            let line = words(&format!("{line} /usr/sbin/php-fpm8.2 -p /srv"));
            assert_eq!(without_sudo(line, "ann").unwrap(), plain);
        }
        assert!(without_sudo(words("sudo -u bob php-fpm"), "ann").is_err());
        assert_eq!(without_sudo(plain.clone(), "ann").unwrap(), plain);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(version("php-fpm8.10") > version("php-fpm8.9"));
        assert!(version("php-fpm8.2") > version("php-fpm"));
        assert_eq!(version("php-fpm.conf"), None);
    }
}
