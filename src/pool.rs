//! Pools, and the paths of their files.
//!
//! A pool is a directory below `etc/php/fpm/redundant-pools/` with a `pools-manager.toml`. Each
//! pool is read on its own, so that a mistake in one does not stop the others.

mod placeholders;
mod settings;

use std::fs;
use std::path::{Path, PathBuf};

pub use placeholders::user_name;
pub use settings::{
    Command, Isolate, Listen, Php, Pinning, Protocol, Server, Settings, TABLES, templates,
};

use crate::backend::{self, Backend};
use crate::error::{Error, Result};
use crate::file::{self, Stamp};
use crate::root::Root;

/// One application: a directory with `pools-manager.toml` and `1.conf`, `2.conf`, ...
#[derive(Debug, Clone)]
pub struct Pool {
    /// The name of its directory.
    pub name: String,
    /// The root that it belongs to.
    pub root: Root,
    /// How many replicas it has. With php-fpm: as many as `1.conf` to `N.conf` without a gap. With
    /// `[command]`: the value of `replicas`.
    pub replica_count: u32,
    /// The settings in its `pools-manager.toml`.
    pub settings: Settings,
    /// The stamp of that file. Another file or a changed file has another stamp.
    pub stamp: Stamp,
}

impl Pool {
    /// The numbers of its replicas, from 1.
    pub fn replicas(&self) -> impl Iterator<Item = u32> + use<> {
        1..=self.replica_count
    }

    /// Its `pools-manager.toml`.
    pub fn settings_file(&self) -> PathBuf {
        self.root.pools_dir().join(&self.name).join(FILE_NAME)
    }

    /// The driver of its backend. Does not talk to the backend yet.
    pub fn backend(&self) -> Result<Backend> {
        let context = backend::Context {
            root: &self.root,
            pool: &self.name,
            monitor_url: self.settings.monitor_url.as_deref(),
            note: self.ignored_errors_file(),
            stamp: self.stamp,
        };
        Backend::new(&self.settings.backend, context)
    }

    /// The file that configures one replica, as its operator wrote it: php-fpm's `N.conf`, or the
    /// pool's `pools-manager.toml`.
    pub fn replica_conf(&self, replica: u32) -> PathBuf {
        if self.settings.command().is_some() {
            return self.settings_file();
        }
        self.root.pools_dir().join(&self.name).join(format!("{replica}.conf"))
    }

    /// The file of the pool's lock, see [`crate::lock`].
    pub fn lock_file(&self) -> PathBuf {
        self.root.pid_dir().join(format!("{}.lock", self.name))
    }

    /// The file that exists while pools-manager lets Apache ignore a member's errors.
    fn ignored_errors_file(&self) -> PathBuf {
        self.root.pid_dir().join(format!("{}.ignored-errors", self.name))
    }

    /// The pool's state file, see [`crate::state`].
    pub fn state_file(&self) -> PathBuf {
        self.root.pid_dir().join(format!("{}.state.json", self.name))
    }

    /// The file of its hold and maintenance, see [`crate::traffic`].
    pub fn traffic_file(&self) -> PathBuf {
        self.root.pid_dir().join(format!("{}.traffic.json", self.name))
    }

    /// The lock of the traffic file.
    pub fn traffic_lock_file(&self) -> PathBuf {
        self.root.pid_dir().join(format!("{}.traffic-lock", self.name))
    }

    /// The record of its canary, see [`crate::canary`].
    pub fn canary_file(&self) -> PathBuf {
        self.root.pid_dir().join(format!("{}.canary.json", self.name))
    }
}

/// The name of a pool's configuration file.
pub const FILE_NAME: &str = "pools-manager.toml";

/// The most bytes of a pool's name. Most filesystems take 255 bytes for the name of a file, and the
/// longest file name with a pool's name in it is `NAME.state.json.bad-20260102T030405Z.1000`.
const NAME_MAX: usize = 200;

/// The most pools that an error lists.
const LISTED_MAX: usize = 20;

/// The names of all pools below the root, sorted.
pub fn names(root: &Root) -> Result<Vec<String>> {
    let dir = root.pools_dir();
    let entries = fs::read_dir(&dir).map_err(|error| {
        Error::config(format!("cannot read {}: {error}", dir.display())).hint(format!(
            "the root is {}: run the command in the directory that holds etc/, or name it with --root or POOLS_MANAGER_ROOT",
            root.path().display()
        ))
    })?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| Error::config(format!("{}: {error}", dir.display())))?;
        if file::may_exist(&entry.path().join(FILE_NAME)) {
            // A name that is not UTF-8 is listed with replacement characters, and refused when the
            // pool is read.
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    if names.is_empty() {
        return Err(Error::config(format!("there is no pool below {}", dir.display()))
            .hint(format!("a pool is a directory there that holds a {FILE_NAME}")));
    }
    names.sort();
    Ok(names)
}

/// Reads and checks one pool.
pub fn load(root: &Root, name: &str) -> Result<Pool> {
    let dir = root.pools_dir().join(name);
    let path = dir.join(FILE_NAME);
    // "www/" would be found too, but it cannot be a part of the names of the pool's files.
    if !is_file_name(name) || !file::may_exist(&path) {
        return Err(no_such_pool(root, name));
    }
    check_name(name)?;
    // The stamp is taken before the file is read: if the file changes in between, it is the stamp of
    // the old file.
    let stamp = Stamp::of(&path);
    let settings = Settings::read(&path, root)?;
    let replica_count = match &settings.server {
        Server::PhpFpm(_) => count_replicas(&dir)?,
        Server::Command(command) => command.replicas,
    };
    settings.backend.check_replicas(&path, replica_count)?;
    Ok(Pool { name: name.to_owned(), root: root.clone(), replica_count, settings, stamp })
}

/// Refuses a name that no pool can have.
pub fn check_name(name: &str) -> Result<()> {
    if !is_file_name(name) {
        return Err(Error::config(format!("\"{name}\" is no name for a pool"))
            .hint("it is the name of a directory"));
    }
    let length = name.len();
    if length > NAME_MAX {
        return Err(Error::config(format!(
            "the name of the pool \"{name}\" has {length} bytes, and {NAME_MAX} are the most"
        ))
        .hint("its files in pid/ are named after it: give it a shorter one"));
    }
    Ok(())
}

fn is_file_name(name: &str) -> bool {
    Path::new(name).file_name() == Some(name.as_ref())
}

fn no_such_pool(root: &Root, name: &str) -> Error {
    if name.contains(char::REPLACEMENT_CHARACTER) {
        return Error::config(format!("the name of the pool \"{name}\" is not UTF-8"))
            .hint("rename its directory");
    }
    let error = Error::config(format!("there is no pool \"{name}\""));
    match names(root) {
        Ok(names) => error.hint(known(name, &names)),
        Err(none) => none,
    }
}

/// The hint for an unknown name: the pool with a similar name, if there is one, and all pools.
fn known(unknown: &str, names: &[String]) -> String {
    let likeness = |name: &&String| {
        strsim::normalized_damerau_levenshtein(&unknown.to_lowercase(), &name.to_lowercase())
    };
    let similar = names.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let similar = similar.filter(|name| likeness(name) >= 0.5);
    let meant = similar.map(|name| format!("did you mean \"{name}\"? ")).unwrap_or_default();
    let more = match names.len().saturating_sub(LISTED_MAX) {
        0 => String::new(),
        more => format!(", and {more} more (pools-manager list -q)"),
    };
    let listed: Vec<&str> = names.iter().take(LISTED_MAX).map(String::as_str).collect();
    format!("{meant}the pools are: {}{more}", listed.join(", "))
}

/// Counts the replicas up to the first gap, as the original tool does.
fn count_replicas(dir: &Path) -> Result<u32> {
    let is_there = |n: &u32| dir.join(format!("{n}.conf")).is_file();
    match (1..=u32::MAX).take_while(is_there).last() {
        Some(count) => Ok(count),
        None => Err(Error::config(format!("{} has no 1.conf", dir.display())).hint(
            "each replica has a php-fpm configuration of its own there: 1.conf, 2.conf, ...",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_name_gets_a_similar_one_and_the_list() {
        let two = ["shop", "www"].map(str::to_owned);
        assert_eq!(known("wwww", &two), "did you mean \"www\"? the pools are: shop, www");
        assert_eq!(known("SHOP", &two), "did you mean \"shop\"? the pools are: shop, www");
        assert_eq!(known("restart", &two), "the pools are: shop, www");
        let many: Vec<String> = (10..50).map(|n| format!("pool{n}")).collect();
        let hint = known("x", &many);
        assert!(hint.ends_with(", pool29, and 20 more (pools-manager list -q)"), "{hint}");
    }
}
