//! The log files that the server of a replica writes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Generation, Server, php_fpm};
use crate::pool::Pool;

/// A log that a server writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFile {
    /// As the server's configuration names it: it may be `syslog`.
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
    /// The logs that its processes write, as far as they are known.
    pub fn logs(&self, pool: &Pool) -> Vec<LogFile> {
        let mut logs = self.server.logs().to_vec();
        match &self.server {
            Server::PhpFpm(_) => {
                let error = php_fpm::error_log(pool, self);
                logs.extend(error.map(|path| LogFile { path, kind: LogKind::Error }));
            }
            Server::Command(_) => {
                logs.extend(self.log().map(|path| LogFile { path, kind: LogKind::Output }));
            }
        }
        logs
    }

    /// The file that its processes were started with: their title names it.
    pub fn started_with(&self, pool: &Pool) -> PathBuf {
        self.file(pool)
    }
}

impl Server {
    /// Its logs that are on record.
    pub fn logs(&self) -> &[LogFile] {
        match self {
            Self::PhpFpm(server) => &server.logs,
            Self::Command(_) => &[],
        }
    }

    /// The name that its lines have in a log which it shares with others: `www1` in `[pool www1]`.
    pub fn name_in_logs(&self) -> Option<&str> {
        match self {
            Self::PhpFpm(server) => Some(server.section.as_str()).filter(|it| !it.is_empty()),
            Self::Command(_) => None,
        }
    }
}
