//! The messages between the two processes of an upgrade. A message is a line with a JSON document.

use serde::{Deserialize, Serialize};

use crate::inherited::Purpose;

/// The version of these messages. A process that knows only other versions refuses the upgrade.
pub(super) const VERSION: u32 = 1;

/// The first message of the old process, after the sockets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Hello {
    /// The version of the messages.
    pub version: u32,
    /// The pid of the old process.
    pub pid: u32,
    /// The sockets in the order in which they were passed: what each is for, and whether it belongs to the
    /// service manager.
    pub sockets: Vec<(Purpose, bool)>,
    /// The pools that the old process can serve.
    pub pools: Vec<String>,
    /// How long the old process drains at most, in milliseconds: its `shutdown_timeout`.
    pub drain_limit_ms: u64,
}

/// A message of the old process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FromOld {
    /// Serve: the supervisor's lock and the control socket are free.
    Go,
    /// The service manager knows the new process.
    Main,
    /// What [`FromNew::Pause`] or [`FromNew::Unpause`] asks for is done.
    Done,
    /// The request cannot be carried out: a process that the old process itself has replaced does not
    /// answer.
    Refused(String),
}

/// A message of the new process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromNew {
    /// The new process can serve.
    Ready,
    /// The new process cannot serve, and ends.
    Failed(String),
    /// The new process accepts connections.
    Serves,
    /// Begin no request of this pool until [`FromNew::Unpause`].
    Pause(String),
    /// The release of this pool has changed: observe it, and serve it.
    Unpause(String),
}
