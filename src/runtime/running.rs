//! A running generation, as the kernel shows it.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{Generation, Log};
use crate::error::{Error, Result};
use crate::process::{self, Holders, Process};
use crate::release::{self, Pinned, Release};
use crate::socket::{self, Name, UnixSockets};
use crate::step::Number;

/// How long the socket of an exiting process may stay after its descriptors are closed.
const ENDING: Duration = Duration::from_millis(200);
const POLL: Duration = Duration::from_millis(2);

/// A generation whose socket a process listens on.
#[derive(Debug)]
pub struct Running {
    /// The generation.
    pub generation: Generation,
    /// The inodes of its listening sockets.
    pub sockets: Vec<u64>,
    /// Whether clients can connect: the socket's file may have been removed.
    pub reachable: bool,
    /// Its master; None: the master has died, and its children serve on.
    pub master: Option<Process>,
}

impl Running {
    /// The log of the generation from now on. If the generation has a log of its own, the whole log.
    pub fn new_log(&self) -> Option<Log> {
        match self.generation.log() {
            Some(path) => Some(Log::whole(path)),
            None => self.master.as_ref().and_then(Log::of),
        }
    }

    /// Adds the path of a later release to what the generation's processes see. For them, that path
    /// leads to their own release. Does nothing if the other releases are not hidden from them. An error
    /// has one effect only: a web server that sends such paths gets 404 from this generation.
    pub fn learn(&self, release: &Release) -> std::io::Result<()> {
        super::pin::add_name(self, release)
    }

    /// What its processes see mounted on `current_dir`.
    pub fn pinned(&self, current_dir: &Path) -> Option<Pinned> {
        release::pinned_by(self.master.as_ref()?.pid(), current_dir).ok()
    }
}

/// Observes one generation; None: no process listens on its socket.
pub fn look(generation: &Generation, unix_sockets: &UnixSockets) -> Result<Option<Running>> {
    let sockets = listeners(generation, unix_sockets)?;
    let Some(holders) = holders(generation, &sockets)? else { return Ok(None) };
    let reachable = matches!(socket::read_name(&generation.socket), Ok(Name::Socket));
    let generation = generation.clone();
    Ok(Some(Running { generation, sockets, reachable, master: holders.master }))
}

/// The inodes of its listening sockets. If the snapshot shows none, a connection is tried: the
/// socket of a live generation must not be removed.
fn listeners(generation: &Generation, unix_sockets: &UnixSockets) -> Result<Vec<u64>> {
    let mut sockets = unix_sockets.bound(&generation.bound).listeners;
    if sockets.is_empty() && socket::is_listening(&generation.socket)? {
        sockets = UnixSockets::read()?.bound(&generation.bound).listeners;
        if sockets.is_empty() && socket::is_listening(&generation.socket)? {
            let path = generation.socket.display();
            return Err(Error::failed(format!("{path} answers, but the kernel does not list it"))
                .hint("its process runs in another network namespace, or the root was moved since it was started: run pools-manager where it was started"));
        }
    }
    Ok(sockets)
}

/// The processes that hold these sockets: only the master, if its pid file is right. None: there
/// are none, or they exited meanwhile, or a program that is not the pool's server holds the socket.
/// Such a program must not be signalled.
fn holders(generation: &Generation, sockets: &[u64]) -> Result<Option<Holders>> {
    // A failed read counts as no here: the scan below repeats it, and returns its error.
    let is_master = |it: &Process| {
        it.holds(sockets).unwrap_or(false) && generation.server.is_master(it).unwrap_or(false)
    };
    let by_file = process::read_pid_file(&generation.pid_file)
        .and_then(|pid| Process::open(pid).ok())
        .filter(is_master);
    if by_file.is_some() {
        return Ok(Some(Holders { master: by_file, children: Vec::new() }));
    }
    // The pid file is missing or wrong, so scan /proc for the socket's holders. An exiting process
    // holds no descriptor any more, though its socket still exists.
    let deadline = Instant::now() + ENDING;
    let mut listed = sockets.to_vec();
    while listed.iter().any(|inode| sockets.contains(inode)) {
        let holders = process::holders(sockets).map_err(cannot_scan)?;
        if !holders.is_empty() {
            let are_foreign = holders.are_foreign(&generation.bound).map_err(cannot_scan)?;
            return match generation.number {
                _ if !are_foreign => Ok(Some(holders)),
                Number::Adopted => Err(other_program(generation, &holders)),
                Number::Started(_) => Ok(None),
            };
        }
        if Instant::now() >= deadline {
            return Err(foreign_process(generation));
        }
        std::thread::sleep(POLL);
        listed = UnixSockets::read()?.bound(&generation.bound).listeners;
    }
    Ok(None)
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn cannot_scan(error: std::io::Error) -> Error {
    Error::failed(format!("cannot look through /proc: {error}"))
}

fn foreign_process(generation: &Generation) -> Error {
    let path = generation.bound.display();
    Error::config(format!("{path} is listened on by a process that is not yours"))
        .hint("run pools-manager as the user who started it, or as root")
}

/// A mistake in `listen` must not make pools-manager adopt and stop another program, such as a
/// database.
fn other_program(generation: &Generation, holders: &Holders) -> Error {
    let path = generation.bound.display();
    let pids: Vec<String> = holders.children.iter().map(|it| it.pid().to_string()).collect();
    let (server, place) = generation.server.described();
    let pids = pids.join(", ");
    let message = format!("{path} is listened on by a program that is not {server}: pid {pids}");
    Error::config(message).hint(format!("correct {place}, or end that program"))
}
