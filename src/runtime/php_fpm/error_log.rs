//! The error log of a replica, by a symlink in `pid/`.
//!
//! `php-fpm -tt` does not always show this log: without a filter (see `unopened_logs.rs`) it would write
//! to the log itself, so it runs with another one. A master has the log as its standard error. The
//! symlink `POOL.R.error.log` keeps the log's path for the time after the end of the master, and for
//! users who may not look at the process.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Log;
use crate::file;
use crate::pool::Pool;
use crate::process::{self, Process};
use crate::runtime::Generation;
use crate::socket;

/// The error log of a replica: of its last generation that was started, else of the master that runs.
/// None: it is no file, or nothing has been started yet.
pub(in crate::runtime) fn error_log(pool: &Pool, generation: &Generation) -> Option<PathBuf> {
    let named = fs::read_link(link(pool, generation.replica)).ok();
    named.filter(|path| path.is_absolute()).or_else(|| of_master(generation))
}

/// Notes the error log of a generation that has just come up. A failure is no failure of the start: then
/// the log is found only while the master runs.
pub(super) fn note(pool: &Pool, generation: &Generation) {
    let link = link(pool, generation.replica);
    let _ = match of_master(generation) {
        Some(log) => point(&link, &log),
        None => file::remove(&link),
    };
}

fn point(link: &Path, log: &Path) -> io::Result<()> {
    if fs::read_link(link).is_ok_and(|it| it == log) {
        return Ok(());
    }
    let new = socket::unfinished(link);
    file::remove(&new)?;
    std::os::unix::fs::symlink(log, &new)?;
    fs::rename(new, link)
}

fn link(pool: &Pool, replica: u32) -> PathBuf {
    pool.root.pid_dir().join(format!("{}.{replica}.error.log", pool.name))
}

fn of_master(generation: &Generation) -> Option<PathBuf> {
    let master = Process::open(process::read_pid_file(&generation.pid_file)?).ok()?;
    let is_master = generation.server.is_master(&master).unwrap_or(false);
    Some(Log::of(&master).filter(|_| is_master)?.path().to_owned())
}
