//! A program that has ended: its output and exit status.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::Signal;
use serde_json::Value;

/// The output of a program, and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub stdout: String,
    pub stderr: String,
    pub status: ExitStatus,
    pub(super) command: String,
}

impl Ran {
    /// Requires that it succeeded, and printed exactly this.
    pub fn prints(&self, stdout: &str) {
        self.status(0).stderr("").stdout(stdout);
    }

    /// Requires that it succeeded, and printed no error.
    pub fn succeeds(&self) -> &Self {
        self.status(0).stderr("")
    }

    /// Requires exactly this standard output.
    pub fn stdout(&self, expected: &str) -> &Self {
        assert_eq!(self.stdout, expected, "standard output\n{self}");
        self
    }

    /// Requires exactly this standard error.
    pub fn stderr(&self, expected: &str) -> &Self {
        assert_eq!(self.stderr, expected, "standard error\n{self}");
        self
    }

    /// The message of its error, which it printed as JSON.
    pub fn error_message(&self) -> String {
        let last = self.stderr.lines().last().unwrap_or_default();
        let error: Value = serde_json::from_str(last).unwrap_or_else(|_| panic!("{self}"));
        assert_eq!(error["event"], "error", "{self}");
        error["message"].as_str().unwrap().to_owned()
    }

    /// Requires this exit status.
    pub fn status(&self, expected: i32) -> &Self {
        assert_eq!(self.status.code(), Some(expected), "exit status\n{self}");
        self
    }

    /// Whether it succeeded.
    pub fn has_succeeded(&self) -> bool {
        self.status.success()
    }

    /// Requires that this signal has ended it.
    pub fn killed_by(&self, expected: Signal) {
        assert_eq!(self.status.signal(), Some(expected.as_raw()), "signal\n{self}");
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stdout, stderr, status, command } = self;
        write!(f, "{command}\n{stdout}\n{stderr}\n{status}")
    }
}
