//! The logs that the settings of a section name. `find` returns the value of a key of a section.

use std::path::PathBuf;

use crate::runtime::{LogFile, LogKind};

/// The error log with which `-tt` runs if there is no filter: see `unopened_logs.rs`.
pub(super) const NO_LOG: &str = "/dev/null";

/// The logs that a master opens, except those that are no files.
pub(super) fn opened<'a>(
    find: &impl Fn(&str, &str) -> Option<&'a str>,
    section: &str,
) -> Vec<(&'static str, PathBuf)> {
    let all = [
        ("error_log", find("global", "error_log")),
        ("access.log", find(section, "access.log")),
        ("slowlog", slow_log(find, section)),
    ];
    let path = |(key, path): (&'static str, Option<&str>)| Some((key, PathBuf::from(path?)));
    let is_file = |(_, path): &(_, PathBuf)| path.is_absolute() && path.as_os_str() != NO_LOG;
    all.into_iter().filter_map(path).filter(is_file).collect()
}

/// The slow log, if requests are written to it.
fn slow_log<'a>(find: &impl Fn(&str, &str) -> Option<&'a str>, section: &str) -> Option<&'a str> {
    let timeout = find(section, "request_slowlog_timeout")?;
    find(section, "slowlog").filter(|_| !["0", "0s"].contains(&timeout))
}

/// The slow log if requests are written to it, and the log of PHP itself if it has one. The error log is
/// known when the master runs: see `error_log.rs`.
pub(super) fn logs<'a>(
    find: &impl Fn(&str, &str) -> Option<&'a str>,
    section: &str,
    of_php: Option<&str>,
) -> Vec<LogFile> {
    let all = [
        (slow_log(find, section), LogKind::Slow),
        (of_php.filter(|path| !path.is_empty()), LogKind::Php),
    ];
    let file = |(path, kind): (Option<&str>, LogKind)| Some(LogFile { path: path?.into(), kind });
    all.into_iter().filter_map(file).collect()
}
