//! The order that a master gets when it is started: JSON on its standard input.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::pool::Listen;
use crate::pool::templates::{self, Placeholder};

/// All that a master needs. It reads no file of the operator.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Order {
    /// The program and its arguments, with their placeholders.
    pub(super) run: Vec<String>,
    /// The whole environment, with its placeholders.
    pub(super) environment: BTreeMap<String, String>,
    /// The account of the processes; None: the master's own.
    pub(super) account: Option<Ids>,
    /// The working directory of the processes.
    pub(super) directory: PathBuf,
    /// How they get their connections.
    pub(super) listen: Listen,
    /// How many processes there are.
    pub(super) processes: u32,
    /// What ends an idle process.
    pub(super) stop_signal: i32,
    /// The private socket, which the master makes.
    pub(super) socket: PathBuf,
    /// Its mode.
    pub(super) socket_mode: u32,
    /// Its owner and group, if they are not the master's.
    pub(super) socket_owner: (Option<u32>, Option<u32>),
    /// The directory of the sockets that the processes make; for [`Listen::Socket`].
    pub(super) sockets_dir: PathBuf,
    /// The master's pid file.
    pub(super) pid_file: PathBuf,
    /// The file that gets the output of the processes, and the master's messages.
    pub(super) log: PathBuf,
    /// The value of `{release}`.
    pub(super) release: String,
    /// The value of `{replica}`.
    pub(super) replica: u32,
    /// The value of `{generation}`.
    pub(super) generation: u32,
}

/// The ids of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ids {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
}

impl Order {
    /// A text for one process (from 1), with its placeholders filled in.
    pub(super) fn fill(&self, text: &str, process: u32, port: Option<u16>) -> String {
        templates::fill(text, |what| {
            Some(match what {
                Placeholder::Socket => self.socket_of(process).display().to_string(),
                Placeholder::Port => port?.to_string(),
                Placeholder::Release => self.release.clone(),
                Placeholder::Replica => self.replica.to_string(),
                Placeholder::Generation => self.generation.to_string(),
                Placeholder::Process => process.to_string(),
            })
        })
    }

    /// The path at which a process makes its socket.
    pub(super) fn socket_of(&self, process: u32) -> PathBuf {
        self.sockets_dir.join(process.to_string())
    }
}
