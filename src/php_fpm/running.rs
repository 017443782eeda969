//! What is true of a generation now, as the kernel tells it.

use std::path::Path;

use super::Generation;
use crate::error::{Error, Result};
use crate::process::{self, Holders, Process};
use crate::release::{self, Pinned};
use crate::socket::{self, Name, Table};

/// A generation that somebody listens for.
#[derive(Debug)]
pub struct Running {
    /// Which one it is.
    pub generation: Generation,
    /// The inodes of its listening sockets.
    pub sockets: Vec<u64>,
    /// Whether its socket is still where it was bound: somebody may have
    /// removed the file, and then no new client gets to it.
    pub reachable: bool,
    /// Its master; None when that has died and left its children serving.
    pub master: Option<Process>,
}

impl Running {
    /// What its processes see on `current_dir`.
    pub fn pinned(&self, current_dir: &Path) -> Option<Pinned> {
        release::pinned_by(self.master.as_ref()?.pid(), current_dir).ok()
    }
}

/// Looks whether a generation runs; None when nobody listens on its socket.
pub fn look(generation: &Generation, table: &Table) -> Result<Option<Running>> {
    let mut sockets = table.bound(&generation.bound).listeners;
    if sockets.is_empty() {
        // To take what lives for dead would remove its socket: ask it.
        if !socket::is_listening(&generation.socket) {
            return Ok(None);
        }
        sockets = Table::read().unwrap_or_default().bound(&generation.bound).listeners;
    }
    if sockets.is_empty() {
        let path = generation.socket.display();
        return Err(Error::failed(format!("{path} answers, but the kernel does not list it"))
            .hint("its process runs in another network namespace, or the root was moved since it was started: run pools-manager where it was started"));
    }
    let by_file = process::read_pid_file(&generation.pid_file)
        .and_then(|pid| Process::open(pid).ok())
        .filter(|process| process.holds(&sockets) && process.is_php_fpm_master());
    let master = if by_file.is_some() {
        by_file
    } else {
        // No pid file, or it lies: the kernel knows who holds the socket.
        let holders = process::holders(&sockets)
            .map_err(|error| Error::failed(format!("cannot look through /proc: {error}")))?;
        if holders.master.is_none() && holders.children.is_empty() {
            return stranger(generation, table);
        }
        if generation.number == 0 && holders.are_strangers() {
            return Err(other_program(generation, &holders));
        }
        holders.master
    };
    let reachable = matches!(socket::read_name(&generation.socket), Ok(Name::Socket));
    Ok(Some(Running { generation: generation.clone(), sockets, reachable, master }))
}

/// Nobody whom we may look into holds the socket: it has ended just now, or it
/// is another user's.
fn stranger(generation: &Generation, table: &Table) -> Result<Option<Running>> {
    let now = Table::read().unwrap_or_default();
    if now.bound(&generation.bound).listeners != table.bound(&generation.bound).listeners {
        return Ok(None);
    }
    let path = generation.bound.display();
    Err(Error::config(format!("{path} is listened on by a process that is not yours"))
        .hint("run pools-manager as the user who started it, or as root"))
}

/// Whoever has a mistake in `listen` must not have a database adopted, and stopped.
fn other_program(generation: &Generation, holders: &Holders) -> Error {
    let path = generation.bound.display();
    let pids: Vec<String> = holders.children.iter().map(|it| it.pid().to_string()).collect();
    let message =
        format!("{path} is listened on by a program that is not php-fpm: pid {}", pids.join(", "));
    Error::config(message)
        .hint("correct `listen` in the php-fpm configuration, or end that program")
}
