//! The program of `run`, and the directories that its processes see.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::error::{Error, Result};
use crate::pool::templates::{self, Placeholder};
use crate::pool::{Command, Pool};

/// `PATH` of the processes, unless `environment` sets one.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The program of a pool's `run`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// As it is written, with its placeholders filled in.
    pub name: String,
    /// Its path as a process sees it; None: no directory of `PATH` has it.
    pub path: Option<PathBuf>,
    /// Whether it is a part of the release: then it runs as `user`, and may belong to another user.
    pub is_of_release: bool,
}

/// The directory in which the processes of a pool see their release.
pub(super) fn release_dir(pool: &Pool) -> &Path {
    pool.settings.current_dir().unwrap_or(pool.root.path())
}

/// The working directory of the processes.
pub(super) fn directory(pool: &Pool, command: &Command) -> PathBuf {
    match command.directory.as_str() {
        "" => release_dir(pool).to_owned(),
        below => release_dir(pool).join(below),
    }
}

impl Program {
    /// The program of a pool.
    pub(in crate::runtime) fn of(pool: &Pool, command: &Command) -> Self {
        let release = release_dir(pool);
        let word = command.run.first().map(String::as_str).unwrap_or_default();
        let name = templates::fill(word, |what| match what {
            Placeholder::Release => Some(release.display().to_string()),
            _ => None,
        });
        let path = if name.contains('/') {
            Some(directory(pool, command).join(&name))
        } else {
            let path = command.environment.get("PATH").map_or(PATH, String::as_str);
            let places = std::env::split_paths(path).map(|dir| dir.join(&name));
            places.into_iter().find(|place| is_executable(place))
        };
        let is_of_release = pool.settings.current_dir().is_some()
            && path.as_ref().is_some_and(|path| path.starts_with(release));
        Self { name, path, is_of_release }
    }

    /// Refuses a program that does not exist or is not executable. `release`: the directory that is
    /// mounted for the processes; None: releases are not pinned, or none is known.
    pub(super) fn check(&self, pool: &Pool, release: Option<&Path>) -> Result<()> {
        let name = &self.name;
        let Some(path) = &self.path else {
            return Err(Error::config(format!("the program {name} is not in PATH"))
                .hint("install it, name its whole path in run, or set PATH in environment"));
        };
        let place = match (path.strip_prefix(release_dir(pool)), release) {
            (Ok(below), Some(release)) if self.is_of_release => release.join(below),
            (Ok(_), None) if self.is_of_release => return Ok(()),
            _ => path.clone(),
        };
        let shown = place.display();
        if !place.exists() {
            return Err(Error::config(format!("the program {shown} does not exist"))
                .hint("install it, or correct run"));
        }
        if !is_executable(&place) {
            return Err(Error::config(format!("{shown} is no program"))
                .hint(format!("it has to be a file that may be executed: chmod +x {shown}")));
        }
        Ok(())
    }
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).is_ok()
}
