//! `[log]`: the log of `serve`.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::keys::{Default as Holds, Key, Kind};
use super::values;
use crate::root::Root;

/// `[log]`, all paths absolute.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// The format of the lines.
    pub format: LineFormat,
    #[serde(deserialize_with = "values::not_empty")]
    output: String,
    syslog_socket: PathBuf,
    /// Whether the logs of the replicas are gathered.
    pub replicas: bool,
}

/// The format of the log's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LineFormat {
    /// Time, level, and message.
    Text,
    /// One JSON document.
    Json,
}

/// Where the log is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogOutput {
    /// Standard error.
    Stderr,
    /// A file, to which lines are appended.
    File(PathBuf),
    /// The datagram socket of syslog or journald.
    Syslog(PathBuf),
}

/// The keys of `[log]`.
pub(crate) const KEYS: &[Key] = &[
    Key::new(
        "format",
        Kind::OneOf(&["text", "json"]),
        Holds::Value("\"text\""),
        "the format of all lines. `serve --json` is JSON in any case",
    ),
    Key::new(
        "output",
        Kind::PathOr(&["stderr", "syslog"]),
        Holds::Value("\"stderr\""),
        "where they are written",
    ),
    Key::new(
        "syslog_socket",
        Kind::Path,
        Holds::Value("\"/dev/log\""),
        "the datagram socket of syslog or journald",
    ),
    Key::new(
        "replicas",
        Kind::Bool,
        Holds::Value("true"),
        "gather the logs of the replicas, if `serve` supervises",
    ),
];

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LineFormat::Text,
            output: "stderr".to_owned(),
            syslog_socket: PathBuf::from("/dev/log"),
            replicas: true,
        }
    }
}

impl Log {
    /// Where it is written.
    pub fn output(&self, root: &Root) -> LogOutput {
        match self.output.as_str() {
            "stderr" => LogOutput::Stderr,
            "syslog" => LogOutput::Syslog(root.resolve(&self.syslog_socket)),
            path => LogOutput::File(root.resolve(Path::new(path))),
        }
    }
}
