//! What a command relies on, as far as it is known without asking php-fpm.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::config::Hook;
use crate::hook;
use crate::php_fpm::{Command, Generation, Resolved};
use crate::pool::Pool;
use crate::root::Root;

/// What all pools share: the root, `etc/` with its files, `pid/` and `sockets/`.
pub fn of_root(root: &Root) -> Vec<PathBuf> {
    let below = ["pid", "sockets", "etc", "etc/pools-manager.toml"];
    let below = below.into_iter().map(|name| root.path().join(name));
    [root.path().to_owned()].into_iter().chain(below).chain([root.pools_dir()]).collect()
}

/// The directory of a pool and the configuration in it: a replica's `N.conf` includes files beside
/// it. What it includes from elsewhere is not known here.
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

/// php-fpm itself.
pub fn php_fpm_program(pool: &Pool) -> Option<PathBuf> {
    let command = Command::of(pool).ok()?; // what is wrong with it is reported elsewhere
    in_path(hook::locate(&pool.root, &command.program))
}

/// The programs of the pool's hooks.
pub fn hook_programs(pool: &Pool) -> Vec<PathBuf> {
    let program = |hook: Hook| {
        let words = pool.fill_in(pool.settings.hooks.command(hook)?).ok()?;
        in_path(hook::locate(&pool.root, words.first()?))
    };
    Hook::ALL.into_iter().filter_map(program).collect()
}

/// The directories in which a replica's sockets and pid files are: of what php-fpm makes of its
/// configuration, and of the generations on record.
pub fn of_generations<'a>(
    resolved: impl IntoIterator<Item = &'a Resolved>,
    generations: impl IntoIterator<Item = &'a Generation>,
) -> Vec<PathBuf> {
    let configured = resolved.into_iter().flat_map(|it| [Some(&it.listen), it.pid.as_ref()]);
    let recorded =
        generations.into_iter().flat_map(|it| [Some(&it.public), it.public_pid.as_ref()]);
    let names = configured.chain(recorded).flatten();
    let mut dirs: Vec<PathBuf> = names.filter_map(|name| Some(name.parent()?.to_owned())).collect();
    dirs.sort();
    dirs.dedup();
    dirs
}

/// Where a bare name is found; None: nowhere.
fn in_path(program: PathBuf) -> Option<PathBuf> {
    if program.is_absolute() {
        return Some(program);
    }
    let dirs = env::var_os("PATH")?;
    env::split_paths(&dirs).map(|dir| dir.join(&program)).find(|place| place.is_file())
}
