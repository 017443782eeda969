//! A program that has run: what it said, compared word for word.

use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use super::DEADLINE;

/// What a program has said, and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) status: Option<i32>,
    command: String,
}

impl Ran {
    pub(super) fn of(command: &mut Command) -> Self {
        let shown = format!("{command:?}");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap_or_else(|error| panic!("{shown}: {error}"));
        let pid = Pid::from_child(&child);
        let (ended, end) = mpsc::channel();
        thread::spawn(move || ended.send(child.wait_with_output()));
        let Ok(output) = end.recv_timeout(DEADLINE) else {
            // Nobody has waited for it, so that the number is still its own.
            let _ = kill_process(pid, Signal::KILL);
            panic!("{shown} did not end within {DEADLINE:?}");
        };
        Self::new(shown, &output.unwrap())
    }

    fn new(command: String, output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self {
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
            status: output.status.code(),
            command,
        }
    }

    /// It ended well, and printed just this.
    pub(crate) fn prints(&self, stdout: &str) {
        self.stdout(stdout).stderr("").status(0);
    }

    /// Its standard output, exactly.
    pub(crate) fn stdout(&self, expected: &str) -> &Self {
        assert_eq!(self.stdout, expected, "standard output\n{self}");
        self
    }

    /// Its standard error, exactly.
    pub(crate) fn stderr(&self, expected: &str) -> &Self {
        assert_eq!(self.stderr, expected, "standard error\n{self}");
        self
    }

    /// Its exit status.
    pub(crate) fn status(&self, expected: i32) -> &Self {
        assert_eq!(self.status, Some(expected), "exit status\n{self}");
        self
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { stdout, stderr, status, command } = self;
        write!(f, "{command}\n{stdout}\n{stderr}\nexit status: {status:?}")
    }
}
