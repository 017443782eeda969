//! The messages between the parent and the child.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::control::Request;
use crate::error::{Error, Exit};
use crate::privsep::Identity;
use crate::privsep::files::Open;

/// The result of a request.
pub(in crate::gateway) type Outcome<T = ()> = Result<T, Failure>;

/// An [`Error`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::gateway) struct Failure {
    is_config: bool,
    message: String,
    hint: Option<String>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let is_config = error.exit == Exit::Config;
        Self { is_config, message: error.message, hint: error.hint }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let exit = if failure.is_config { Exit::Config } else { Exit::Failed };
        let hint = failure.hint.as_deref().map(harmless);
        Self { hint, ..Self::new(exit, harmless(&failure.message)) }
    }
}

/// Makes a text of the child harmless for the terminal of root: the child may be hostile.
pub(super) fn harmless(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// The first message to the child.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Begin {
    /// The account that the child takes.
    pub identity: Identity,
    /// The root.
    pub root: PathBuf,
    /// Whether `serve` was told to write JSON.
    pub is_json: bool,
}

/// A request to the child. The answer is an [`Outcome`], unless the variant names another one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToChild {
    /// Listening sockets for clients come with this message. For each: whether it is for TLS.
    Sockets(Vec<bool>),
    /// Start the gateway with the sockets that have come, but accept no connections yet.
    Start {
        /// Whether the parent replaces another process.
        is_successor: bool,
    },
    /// Check that the gateway can serve these pools: it sends a request to itself.
    Probe(Vec<String>),
    /// Observe all pools.
    Observe,
    /// Accept connections.
    Open,
    /// Answer: a [`Passed`].
    Pass,
    /// Another process accepts now.
    HandOver,
    /// Begin no request of this pool.
    Pause(String),
    /// Observe this pool, and serve it again.
    Unpause(String),
    /// The same for all pools that are paused.
    UnpauseAll,
    /// Close idle connections.
    CloseIdle,
    /// Answer when the connections have ended.
    Drained,
    /// Accept no more, and end after the requests.
    ShutDown,
    /// End now.
    End,
    /// Read the configuration again.
    Reload,
    /// A request of a command. Answer: a [`Response`](crate::control::Response).
    Control(Request),
    /// Answer.
    Ping,
}

/// The facts about the child that an upgrade needs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Passed {
    /// The pools that the child can serve.
    pub pools: Vec<String>,
    /// How long the child drains at most, in milliseconds.
    pub drain_limit_ms: u64,
    /// How long the successor may take to start, in milliseconds.
    pub upgrade_timeout_ms: u64,
}

/// A request to the parent. The answer is an [`Outcome`], unless the variant names another one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::gateway) enum ToParent {
    /// Open this file. Answer: a result with [`Refused`](crate::privsep::files::Refused), and the descriptor.
    Open(Open),
    /// Observe this pool. Answer: an outcome with a [`Seen`](crate::gateway::seen::Seen).
    Observe(String),
    /// Read the record of this pool's canary. Answer: an outcome with the
    /// [`Record`](crate::canary::Record) that is in force, if one is.
    Canary(String),
    /// Make the process that the parent replaces begin no request of this pool.
    Pause(String),
    /// Make that process serve the pool again.
    Unpause(String),
    /// A command has made the child read its configuration again.
    Reloaded,
}
