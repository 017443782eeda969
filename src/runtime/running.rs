//! What is true of a generation now, as the kernel tells it.

use std::path::Path;
use std::time::{Duration, Instant};

use super::Generation;
use crate::error::{Error, Result};
use crate::process::{self, Holders, Process};
use crate::release::{self, Pinned};
use crate::socket::{self, Name, Table};
use crate::step::Number;

/// How long the socket of a process that is ending may outlive its files.
const ENDING: Duration = Duration::from_millis(200);
const POLL: Duration = Duration::from_millis(2);

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
    let sockets = listeners(generation, table)?;
    let Some(holders) = holders(generation, &sockets)? else { return Ok(None) };
    let reachable = matches!(socket::read_name(&generation.socket), Ok(Name::Socket));
    let generation = generation.clone();
    Ok(Some(Running { generation, sockets, reachable, master: holders.master }))
}

/// The inodes of the sockets that listen for it. To take what lives for dead
/// would remove its socket: where the kernel lists none, it is asked.
fn listeners(generation: &Generation, table: &Table) -> Result<Vec<u64>> {
    let mut sockets = table.bound(&generation.bound).listeners;
    if sockets.is_empty() && socket::is_listening(&generation.socket)? {
        sockets = Table::read()?.bound(&generation.bound).listeners;
        if sockets.is_empty() && socket::is_listening(&generation.socket)? {
            let path = generation.socket.display();
            return Err(Error::failed(format!("{path} answers, but the kernel does not list it"))
                .hint("its process runs in another network namespace, or the root was moved since it was started: run pools-manager where it was started"));
        }
    }
    Ok(sockets)
}

/// Who holds these sockets: the master at least, where its pid file is right.
/// None when there are none, or when they have gone while we looked; also where a program that is
/// not php-fpm has taken the name of a generation, or has outlived it: that must not be signalled.
fn holders(generation: &Generation, sockets: &[u64]) -> Result<Option<Holders>> {
    // What cannot be read here is read below, or is an error there.
    let is_master = |it: &Process| {
        it.holds(sockets).unwrap_or(false) && generation.server.is_master(it).unwrap_or(false)
    };
    let by_file = process::read_pid_file(&generation.pid_file)
        .and_then(|pid| Process::open(pid).ok())
        .filter(is_master);
    if by_file.is_some() {
        return Ok(Some(Holders { master: by_file, children: Vec::new() }));
    }
    // No pid file, or it lies: the kernel knows who holds the socket. A process
    // that is ending holds nothing any more, and its socket is still there.
    let deadline = Instant::now() + ENDING;
    let mut listed = sockets.to_vec();
    while listed.iter().any(|inode| sockets.contains(inode)) {
        let holders = process::holders(sockets).map_err(unseen)?;
        if !holders.is_empty() {
            let are_strangers = holders.are_strangers().map_err(unseen)?;
            return match generation.number {
                _ if !are_strangers => Ok(Some(holders)),
                Number::Adopted => Err(other_program(generation, &holders)),
                Number::Started(_) => Ok(None),
            };
        }
        if Instant::now() >= deadline {
            return Err(stranger(generation));
        }
        std::thread::sleep(POLL);
        listed = Table::read()?.bound(&generation.bound).listeners;
    }
    Ok(None)
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn unseen(error: std::io::Error) -> Error {
    Error::failed(format!("cannot look through /proc: {error}"))
}

fn stranger(generation: &Generation) -> Error {
    let path = generation.bound.display();
    Error::config(format!("{path} is listened on by a process that is not yours"))
        .hint("run pools-manager as the user who started it, or as root")
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
