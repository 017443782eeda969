//! The paths that a command uses, as far as they are known without running php-fpm.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::config::Hook;
use crate::hook;
use crate::pool::Pool;
use crate::root::Root;
use crate::runtime::{Generation, Spec};

/// The paths that all pools share: the root, `etc/` with its files, `pid/` and `sockets/`.
pub fn of_root(root: &Root) -> Vec<PathBuf> {
    let below = ["pid", "sockets", "etc", "etc/pools-manager.toml"];
    let below = below.into_iter().map(|name| root.path().join(name));
    [root.path().to_owned()].into_iter().chain(below).chain([root.pools_dir()]).collect()
}

/// The directory of a pool and the configuration in it: a replica's `N.conf` includes files beside
/// it. Files that it includes from elsewhere are not known here.
pub fn of_pool(pool: &Pool) -> Vec<PathBuf> {
    let settings = pool.settings_file();
    let dir = settings.parent().unwrap_or(Path::new("/")).to_owned();
    let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
    let is_read = |path: &PathBuf| {
        *path == settings || path.extension().is_some_and(|it| it == "conf" || it == "ini")
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_read).collect();
    files.sort();
    [dir].into_iter().chain(files).collect()
}

/// A program that is started: a path, or a name to look up in `PATH`.
pub fn program(root: &Root, program: &str) -> Option<PathBuf> {
    in_path(hook::locate(root, program))
}

/// The programs of the pool's hooks.
pub fn hook_programs(pool: &Pool) -> Vec<PathBuf> {
    let of_hook = |hook: Hook| {
        let words = pool.fill_in(pool.settings.hooks.command(hook)?).ok()?;
        program(&pool.root, words.first()?)
    };
    Hook::ALL.into_iter().filter_map(of_hook).collect()
}

/// The directories of the replicas' sockets and pid files, from the resolved configurations and
/// from the generations' records.
pub fn of_generations<'a>(
    specs: impl IntoIterator<Item = &'a Spec>,
    generations: impl IntoIterator<Item = &'a Generation>,
) -> Vec<PathBuf> {
    let configured = specs.into_iter().flat_map(|it| [Some(it.public()), it.public_pid()]);
    let recorded =
        generations.into_iter().flat_map(|it| [Some(&*it.public), it.public_pid.as_deref()]);
    let names = configured.chain(recorded).flatten();
    let mut dirs: Vec<PathBuf> = names.filter_map(|name| Some(name.parent()?.to_owned())).collect();
    dirs.sort();
    dirs.dedup();
    dirs
}

/// Looks up a bare name in `PATH`; None: it is not there.
fn in_path(program: PathBuf) -> Option<PathBuf> {
    if program.is_absolute() {
        return Some(program);
    }
    let dirs = env::var_os("PATH")?;
    env::split_paths(&dirs).map(|dir| dir.join(&program)).find(|place| place.is_file())
}
