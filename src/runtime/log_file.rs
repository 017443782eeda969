//! The log files that the server of a replica writes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Generation, Log, Server};
use crate::process::{self, Process};

/// A log that a server writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFile {
    /// As the server's configuration names it. It is no path if the server logs to syslog.
    pub path: PathBuf,
    /// What it contains.
    pub kind: LogKind,
}

/// What a log contains, which decides how its lines are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogKind {
    /// php-fpm's `error_log`: the master's messages, and the output of its children.
    Error,
    /// php-fpm's `slowlog`.
    Slow,
    /// PHP's own `error_log`.
    Php,
    /// The standard output and standard error of a process.
    Output,
}

impl LogKind {
    /// Its name in messages and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Slow => "slow",
            Self::Php => "php",
            Self::Output => "output",
        }
    }
}

impl Generation {
    /// The logs that its processes write. A record of an older version names none: then it is the
    /// file that its master has as standard error.
    pub fn logs(&self) -> Vec<LogFile> {
        let recorded = self.server.logs();
        if !recorded.is_empty() {
            return recorded.to_vec();
        }
        let master = process::read_pid_file(&self.pid_file).and_then(|pid| Process::open(pid).ok());
        let master = master.filter(|it| self.server.is_master(it).unwrap_or(false));
        let stderr = master.as_ref().and_then(Log::of);
        let error = |log: Log| LogFile { path: log.path().to_owned(), kind: LogKind::Error };
        stderr.map(error).into_iter().collect()
    }

    /// The file that its processes were started with: their title names it.
    pub fn started_with(&self, pool: &crate::pool::Pool) -> PathBuf {
        self.file(pool)
    }
}

impl Server {
    /// Its logs, as they were configured when it was started.
    pub fn logs(&self) -> &[LogFile] {
        match self {
            Self::PhpFpm(server) => &server.logs,
        }
    }

    /// The name that its lines have in a log which it shares with others: `www1` in `[pool www1]`.
    pub fn name_in_logs(&self) -> Option<&str> {
        match self {
            Self::PhpFpm(server) => Some(server.section.as_str()).filter(|it| !it.is_empty()),
        }
    }
}
