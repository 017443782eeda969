//! Errors, with their exit status and help.

use std::fmt;
use std::process::ExitCode;

/// The exit status of every program in this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Something failed at run time. What could be undone has been undone.
    Failed = 1,
    /// Usage or configuration: nothing was changed.
    Config = 2,
    /// Another process holds the pool's lock: nothing was changed.
    Locked = 3,
    /// Cancelled because the terminal was closed (SIGHUP).
    HungUp = 129,
    /// Cancelled by Ctrl-C (SIGINT).
    Interrupted = 130,
    /// Cancelled by SIGTERM.
    Terminated = 143,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error as the operator reads it: the problem, and what to do about it.
#[derive(Debug, Clone, thiserror::Error)]
pub struct Error {
    /// The status that the program ends with.
    pub exit: Exit,
    /// What is wrong and where, in one sentence without a final full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The pool that the error is about; None: no single pool.
    pub pool: Option<String>,
    /// The errors of several pools, if this error combines them. Then `message` has all of their messages.
    pub parts: Vec<Error>,
}

/// The result of everything that can fail in this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with this exit status.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None, pool: None, parts: Vec::new() }
    }

    /// An error in the usage or in the configuration.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(Exit::Config, message)
    }

    /// Something failed at run time.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// Another process holds the pool's lock.
    pub fn locked(message: impl Into<String>) -> Self {
        Self::new(Exit::Locked, message)
    }

    /// Adds what to do about the error.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the pool that the error is about.
    #[must_use]
    pub fn of_pool(mut self, pool: &str) -> Self {
        self.pool = Some(pool.to_owned());
        self
    }

    /// Puts `what: ` ahead of the message.
    #[must_use]
    pub fn within(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// The message and the hint, for a log.
    pub fn in_one_line(&self) -> String {
        self.to_string().replace("\n  help: ", "; help: ").replace(char::is_control, " ")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  help: {hint}"),
            None => Ok(()),
        }
    }
}
